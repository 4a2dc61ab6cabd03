package api

import (
	"context"
	"net/http"
	"time"

	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/serve"
)

// Sleepers let versions that nobody asks leave memory; *serve.Manager does.
type Sleepers interface {
	SetIdle(ctx context.Context, actor, model string, after time.Duration) (serve.Service, error)
}

// Idle is after how long without a request the versions of a model leave memory, such as "5m"; "0s" is never.
type Idle struct {
	After job.Duration `json:"after"`
}

func (s *server) idleRoutes() {
	send(s, route{
		method: http.MethodPut, path: "/services/{model}/idle",
		summary: "Set after how long without a request a model's versions leave memory, until one comes",
	}, func(ctx context.Context, in *serviceChange, i Idle) (serve.Service, error) {
		svc, err := s.service(ctx, in.Model, "deploy")
		if err == nil {
			err = serve.CheckIdle(time.Duration(i.After))
		}
		if err != nil || in.DryRun {
			svc.Idle = i.After
			return svc, err
		}
		return s.o.Services.SetIdle(ctx, callOf(ctx).who.Actor(), in.Model, time.Duration(i.After))
	})
}
