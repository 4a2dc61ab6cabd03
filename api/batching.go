package api

import (
	"context"
	"net/http"

	"github.com/lineshaft/lineshaft/serve"
)

// Batching changes how requests to a model are queued and joined; *serve.Manager does.
type Batching interface {
	SetBatching(ctx context.Context, actor, model string, b *serve.Batching) (serve.Service, error)
}

func (s *server) batchingRoutes() {
	send(s, route{
		method: http.MethodPut, path: "/services/{model}/batching",
		summary: "Set how requests to a model are queued and joined: sizes of batches, bounds of the queue, time to answer in",
	}, func(ctx context.Context, in *serviceChange, b serve.Batching) (serve.Service, error) {
		return s.setBatching(ctx, in, &b)
	})
	send(s, route{method: http.MethodDelete, path: "/services/{model}/batching", summary: "Leave queueing and joining to the runtime"},
		func(ctx context.Context, in *serviceChange, _ none) (serve.Service, error) {
			return s.setBatching(ctx, in, nil)
		})
}

func (s *server) setBatching(ctx context.Context, in *serviceChange, b *serve.Batching) (serve.Service, error) {
	svc, err := s.service(ctx, in.Model, "deploy")
	if err == nil && b != nil {
		err = b.Check()
	}
	if err != nil || in.DryRun {
		svc.Batching = b
		return svc, err
	}
	return s.o.Services.SetBatching(ctx, callOf(ctx).who.Actor(), in.Model, b)
}
