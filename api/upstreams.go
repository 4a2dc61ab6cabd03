package api

import (
	"context"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/serve/upstream"
	"github.com/lineshaft/lineshaft/trust/access"
)

// Upstreams puts servers that are not ours behind the serving port; *upstream.Upstreams does.
type Upstreams interface {
	List() []upstream.Status
}

func (s *server) upstreamRoutes() {
	get(s, "/upstreams", "The services that are answered by servers of their own: replicas of jobs, and servers elsewhere", s.listUpstreams)
}

func (s *server) listUpstreams(ctx context.Context, _ *none) (Page[upstream.Status], error) {
	page := Page[upstream.Status]{Items: []upstream.Status{}}
	if err := s.allow(ctx, "list", access.Resource{Type: "service"}); err != nil || s.o.Upstreams == nil {
		return page, err
	}
	for _, up := range s.o.Upstreams.List() {
		ok, err := s.visible(ctx, serviceResource(up.Name))
		if err != nil {
			return page, err
		}
		if ok {
			page.Items = append(page.Items, up)
		}
	}
	return page, nil
}

// checkServe looks at whether the submitter may put a service under its name, which must be free.
func (s *server) checkServe(ctx context.Context, spec job.Spec) error {
	if spec.Serve == nil {
		return nil
	}
	name := spec.Serve.Model
	if err := s.allow(ctx, "deploy", serviceResource(name)); err != nil {
		return err
	}
	if _, err := s.o.Services.Get(name); err == nil {
		return errs.Errorf("api.checkServe", errs.Exists, "the model %q is in service under that name: give another in serve.model, or `lineshaft undeploy %[1]s`", name)
	}
	if s.o.Upstreams == nil {
		return nil
	}
	for _, up := range s.o.Upstreams.List() {
		if up.Name == name && up.Job == 0 {
			return errs.Errorf("api.checkServe", errs.Exists, "the configuration has an upstream %q: give another name in serve.model", name)
		}
	}
	return nil
}
