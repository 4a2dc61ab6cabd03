// Package health answers the standard health service of gRPC (grpc.health.v1) on serving's port, asked by the name of a
// model. Load balancers, grpc_health_probe and Kubernetes probes understand it.
//
// A model is SERVING while a version of it answers a caller who names none, NOT_SERVING while it is in service and none
// does. The empty name is the server itself: SERVING once everything that was in service before is back. Who may ask
// is decided as on the REST port.
package health

import (
	"context"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve"
)

// watchEvery is how often a watched state is looked at.
const watchEvery = time.Second

// Options is what the service works with.
type Options struct {
	Manager *serve.Manager
	// Allow says who asks, or refuses. The action is read; model is empty for what concerns none.
	Allow func(ctx context.Context, action, model string) (actor string, err error)
}

// Register lets g answer for the health of models.
func Register(g grpc.ServiceRegistrar, o Options) { healthpb.RegisterHealthServer(g, &server{o: o}) }

type server struct {
	healthpb.UnimplementedHealthServer
	o Options
}

func (s *server) allowed(ctx context.Context, model string) error {
	_, err := s.o.Allow(ctx, "read", model)
	return err
}

// Check answers for one model or, without a name, for the server.
func (s *server) Check(ctx context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if err := s.allowed(ctx, r.GetService()); err != nil {
		return nil, err
	}
	st := s.state(r.GetService())
	if st == healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
		return nil, errs.Errorf("health.Check", errs.NotFound, "no model %q is in service", r.GetService())
	}
	return &healthpb.HealthCheckResponse{Status: st}, nil
}

// List answers for the server and every model the caller may know of.
func (s *server) List(ctx context.Context, _ *healthpb.HealthListRequest) (*healthpb.HealthListResponse, error) {
	if err := s.allowed(ctx, ""); err != nil {
		return nil, err
	}
	all := map[string]*healthpb.HealthCheckResponse{"": {Status: s.state("")}}
	for _, service := range s.o.Manager.List() {
		if s.allowed(ctx, service.Model) == nil {
			all[service.Model] = &healthpb.HealthCheckResponse{Status: s.state(service.Model)}
		}
	}
	return &healthpb.HealthListResponse{Statuses: all}, nil
}

// Watch sends the state now and whenever it has changed, until the caller goes.
func (s *server) Watch(r *healthpb.HealthCheckRequest, stream healthpb.Health_WatchServer) error {
	ctx := stream.Context()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	last := healthpb.HealthCheckResponse_ServingStatus(-1)
	for {
		// Asked anew each time: a token may end while its holder watches.
		if err := s.allowed(ctx, r.GetService()); err != nil {
			return err
		}
		if now := s.state(r.GetService()); now != last {
			last = now
			if err := stream.Send(&healthpb.HealthCheckResponse{Status: now}); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case <-tick.C:
		}
	}
}

func (s *server) state(model string) healthpb.HealthCheckResponse_ServingStatus {
	if model == "" {
		select {
		case <-s.o.Manager.Restored():
			return healthpb.HealthCheckResponse_SERVING
		default:
			return healthpb.HealthCheckResponse_NOT_SERVING
		}
	}
	service, err := s.o.Manager.Get(model)
	switch {
	case err != nil:
		return healthpb.HealthCheckResponse_SERVICE_UNKNOWN
	case service.Default == 0:
		return healthpb.HealthCheckResponse_NOT_SERVING
	}
	return healthpb.HealthCheckResponse_SERVING
}

var _ healthpb.HealthServer = (*server)(nil)
