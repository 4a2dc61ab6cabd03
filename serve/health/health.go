// Package health is the gRPC side of serving, port 8500: the standard health service (grpc.health.v1), asked by the
// name of a model, and reflection. Load balancers, grpc_health_probe and Kubernetes probes understand it.
//
// A model is SERVING while a version of it answers a caller who names none, NOT_SERVING while it is in service and none
// does. The empty name is the server itself: SERVING once everything that was in service before is back. Who may ask
// is decided as on the REST port.
package health

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/web"
	"github.com/lineshaft/lineshaft/serve"
)

const (
	maxMessage = 64 << 10
	maxStreams = 256 // of one connection
	handshake  = 10 * time.Second
	idle       = 10 * time.Minute
	watchEvery = time.Second
)

// Options is what the server works with.
type Options struct {
	Manager *serve.Manager
	// Authorize says who asks, or refuses; token is the bearer token of the call, or empty. The action is read; model is
	// empty for what concerns none.
	Authorize func(ctx context.Context, token, action, model string) (actor string, err error)
	Guard     web.Options
}

// New makes the server of port 8500. Its owner serves and stops it.
func New(o Options) *grpc.Server {
	s := &server{o: o}
	g := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(handshake),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idle}),
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.stream),
	)
	healthpb.RegisterHealthServer(g, s)
	reflection.Register(g)
	return g
}

type server struct {
	healthpb.UnimplementedHealthServer
	o Options
}

// unary and stream let a call in; which model it may know of is decided where the model is known.
func (s *server) unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if err := s.guard(ctx); err != nil {
		return nil, err
	}
	return next(ctx, req)
}

func (s *server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if err := s.guard(ss.Context()); err != nil {
		return err
	}
	if info.FullMethod != healthpb.Health_Watch_FullMethodName { // reflection
		if err := s.allowed(ss.Context(), ""); err != nil {
			return err
		}
	}
	return next(srv, ss)
}

func (s *server) guard(ctx context.Context) error {
	return coded(s.o.Guard.Check(header(ctx, ":authority"), header(ctx, "origin")))
}

func (s *server) allowed(ctx context.Context, model string) error {
	token := header(ctx, "authorization")
	if len(token) > 7 && strings.EqualFold(token[:7], "bearer ") {
		token = token[7:]
	}
	_, err := s.o.Authorize(ctx, token, "read", model)
	return coded(err)
}

func header(ctx context.Context, key string) string {
	md, _ := metadata.FromIncomingContext(ctx)
	if v := md.Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Check answers for one model or, without a name, for the server.
func (s *server) Check(ctx context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if err := s.allowed(ctx, r.GetService()); err != nil {
		return nil, err
	}
	st := s.state(r.GetService())
	if st == healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
		return nil, status.Errorf(codes.NotFound, "no model %q is in service", r.GetService())
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

// coded gives an error gRPC's code for its kind.
func coded(err error) error {
	if err == nil {
		return nil
	}
	code, ok := map[errs.Kind]codes.Code{
		errs.Invalid: codes.InvalidArgument, errs.Unauthenticated: codes.Unauthenticated, errs.Denied: codes.PermissionDenied,
		errs.NotFound: codes.NotFound, errs.Unavailable: codes.Unavailable, errs.Exhausted: codes.ResourceExhausted, errs.Full: codes.ResourceExhausted,
		errs.Timeout: codes.DeadlineExceeded, errs.Canceled: codes.Canceled, errs.Unsupported: codes.Unimplemented,
	}[errs.KindOf(err)]
	if !ok {
		code = codes.Internal
	}
	return status.Error(code, err.Error())
}

var _ healthpb.HealthServer = (*server)(nil)
