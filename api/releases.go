package api

import (
	"context"
	"net/http"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/release"
)

// Releases leads models in service from one version to another; *serve.Manager does.
type Releases interface {
	PlanRelease(ctx context.Context, actor, model string, p release.Plan) (serve.Service, error)
	SetRelease(ctx context.Context, actor, model string, p release.Plan) (serve.Service, error)
	EndRelease(ctx context.Context, actor, model string, candidate int64, o release.Outcome, reasons []string) (serve.Service, error)
}

func (s *server) releaseRoutes() {
	get(s, "/services/{model}/release", "The release that leads a model in service from one version to another", s.release)
	send(s, route{
		method: http.MethodPut, path: "/services/{model}/release", slow: true,
		summary: "Begin a release (traffic split, canary, blue-green, shadow), or move the share of the one under way",
	}, s.setRelease)
	send(s, route{method: http.MethodDelete, path: "/services/{model}/release", summary: "End a release: roll the candidate back, or promote it"}, s.endRelease)
}

func (s *server) release(ctx context.Context, in *ServicePath) (release.Release, error) {
	svc, err := s.service(ctx, in.Model, "read")
	if err == nil && svc.Release == nil {
		err = errs.Errorf("api.release", errs.NotFound, "no release of %s is under way; `lineshaft deploy %[1]s:VERSION --canary 10%%` begins one", in.Model)
	}
	if err != nil {
		return release.Release{}, err
	}
	return *svc.Release, nil
}

func (s *server) setRelease(ctx context.Context, in *serviceChange, p release.Plan) (serve.Service, error) {
	svc, err := s.service(ctx, in.Model, "deploy")
	if err != nil {
		return svc, err
	}
	if p.Candidate < 0 {
		return svc, errs.Errorf("api.setRelease", errs.Invalid, "candidate %d is no version", p.Candidate)
	}
	if svc.Release == nil { // a version comes into service: that is a deployment
		m, err := s.model(ctx, in.Model, "deploy")
		if err != nil {
			return svc, err
		}
		if p.Candidate == 0 {
			p.Candidate = m.Latest
		}
		if _, err := s.version(ctx, &VersionPath{ModelPath{in.Model}, p.Candidate}, "deploy"); err != nil {
			return svc, err
		}
	}
	actor := callOf(ctx).who.Actor()
	if in.DryRun {
		return s.o.Services.PlanRelease(ctx, actor, in.Model, p)
	}
	return s.o.Services.SetRelease(ctx, actor, in.Model, p)
}

type releaseEnd struct {
	ServicePath
	Change
	Outcome string `query:"outcome" enum:"rolled_back,promoted" default:"rolled_back"`
}

func (s *server) endRelease(ctx context.Context, in *releaseEnd, _ none) (serve.Service, error) {
	svc, err := s.service(ctx, in.Model, "deploy")
	if err == nil && svc.Release == nil {
		_, err = s.release(ctx, &in.ServicePath)
	}
	if err != nil || in.DryRun {
		return svc, err
	}
	return s.o.Services.EndRelease(ctx, callOf(ctx).who.Actor(), in.Model, 0, release.Outcome(in.Outcome), nil)
}
