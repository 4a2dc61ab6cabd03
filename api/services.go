package api

import (
	"context"
	"net/http"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/trust/access"
)

// Services keeps models in service; *serve.Manager does.
type Services interface {
	List() []serve.Service
	Get(model string) (serve.Service, error)
	Deploy(ctx context.Context, actor, model string, version int64) (serve.Service, error)
	Undeploy(ctx context.Context, actor, model string) error
	Releases
	Batching
	Sleepers
	Watches
}

// Deployment asks for a version of a model in service: by number, by alias, or, with neither, the newest.
type Deployment struct {
	Model   string `json:"model"`
	Version int64  `json:"version,omitempty"`
	Alias   string `json:"alias,omitempty"`
}

func (s *server) serviceRoutes() {
	get(s, "/services", "The models in service", s.listServices)
	get(s, "/services/{model}", "One model in service", func(ctx context.Context, in *ServicePath) (serve.Service, error) {
		return s.service(ctx, in.Model, "read")
	})
	send(s, route{method: http.MethodPost, path: "/services", summary: "Deploy a version; the answer comes when it serves", slow: true}, s.deploy)
	send(s, route{method: http.MethodDelete, path: "/services/{model}", summary: "Take a model out of service"}, s.undeploy)
	stream(s, route{
		method: http.MethodPost, path: "/services/{model}/predict", summary: "Ask a model, in the form of TensorFlow Serving's REST API",
		takes: "application/json", gives: "application/json",
	}, s.predict)
}

// ServicePath names a model in service.
type ServicePath struct {
	Model string `path:"model"`
}

func serviceResource(model string) access.Resource {
	return access.Resource{Type: "service", Name: model}
}

// service finds a service that the caller may do the action to.
func (s *server) service(ctx context.Context, model, action string) (serve.Service, error) {
	svc, err := s.o.Services.Get(model)
	if err == nil {
		err = s.allow(ctx, action, serviceResource(model))
	}
	return svc, hidden(err, serviceResource(model))
}

func (s *server) listServices(ctx context.Context, _ *none) (Page[serve.Service], error) {
	if err := s.allow(ctx, "list", access.Resource{Type: "service"}); err != nil {
		return Page[serve.Service]{}, err
	}
	page := Page[serve.Service]{Items: []serve.Service{}}
	for _, svc := range s.o.Services.List() {
		ok, err := s.visible(ctx, serviceResource(svc.Model))
		if err != nil {
			return page, err
		}
		if ok {
			page.Items = append(page.Items, svc)
		}
	}
	return page, nil
}

func (s *server) deploy(ctx context.Context, in *Change, d Deployment) (serve.Service, error) {
	const op = "api.deploy"
	if d.Model == "" || d.Version < 0 || d.Version > 0 && d.Alias != "" {
		return serve.Service{}, errs.Errorf(op, errs.Invalid, `send {"model": NAME} with "version": N, "alias": NAME, or neither for the newest version`)
	}
	m, err := s.model(ctx, d.Model, "deploy")
	if err != nil {
		return serve.Service{}, err
	}
	version := d.Version
	if d.Alias != "" {
		if version = m.Aliases[d.Alias]; version == 0 {
			return serve.Service{}, errs.Errorf(op, errs.NotFound, "model %q has no alias %q; `lineshaft models alias %s %s VERSION` sets one", d.Model, d.Alias, d.Model, d.Alias)
		}
	}
	if version == 0 {
		version = m.Latest
	}
	if _, err := s.version(ctx, &VersionPath{ModelPath{d.Model}, version}, "deploy"); err != nil {
		return serve.Service{}, err
	}
	if in.DryRun {
		return serve.Service{Model: d.Model, Version: version, Versions: []serve.VersionStatus{}, Actor: callOf(ctx).who.Actor()}, nil
	}
	return s.o.Services.Deploy(ctx, callOf(ctx).who.Actor(), d.Model, version)
}

type serviceChange struct {
	ServicePath
	Change
}

func (s *server) undeploy(ctx context.Context, in *serviceChange, _ none) (none, error) {
	if _, err := s.service(ctx, in.Model, "delete"); err != nil || in.DryRun {
		return none{}, err
	}
	return none{}, s.o.Services.Undeploy(ctx, callOf(ctx).who.Actor(), in.Model)
}

type predictQuery struct {
	ServicePath
	Version int64  `query:"version" minimum:"1"`
	Label   string `query:"label"`
}

func (s *server) predict(w http.ResponseWriter, r *http.Request, in *predictQuery) error {
	const op = "api.predict"
	if _, err := s.service(r.Context(), in.Model, "predict"); err != nil {
		return err
	}
	if in.Version > 0 && in.Label != "" {
		return errs.Errorf(op, errs.Invalid, "both version %d and label %q are given: name one of them", in.Version, in.Label)
	}
	body, err := read(w, r, s.o.BodyLimit)
	if err != nil {
		return err
	}
	answer, err := s.o.Predict(r.Context(), in.Model, in.Version, in.Label, body)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(answer)
	return errs.E(op, errs.Canceled, err)
}
