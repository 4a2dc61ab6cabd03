package health_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/lineshaft/lineshaft/internal/artifact"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/health"
	"github.com/lineshaft/lineshaft/serve/rpc"
)

// registry has one version of every model, and those of broken cannot be loaded.
type registry struct{}

func (registry) PutService(context.Context, serve.Record, ...event.Event) error { return nil }
func (registry) DeleteService(context.Context, string, ...event.Event) error    { return nil }
func (registry) Emit(context.Context, ...event.Event) error                     { return nil }

func (registry) Services(context.Context) ([]serve.Record, error) {
	return []serve.Record{{Model: "mnist", Version: 1}, {Model: "broken", Version: 1}}, nil
}

func (registry) Resolve(_ context.Context, name string, _ int64, _ string) (model.Version, error) {
	return model.Version{Model: name, Version: 1}, nil
}

func (registry) Model(context.Context, string) (model.Model, error) { return model.Model{}, nil }

func (registry) Open(_ context.Context, v model.Version) (artifact.ReaderAt, error) {
	if v.Model == "broken" {
		return nil, errs.Errorf("test", errs.Corrupt, "a bit is flipped")
	}
	return closer{}, nil
}

type closer struct{ artifact.ReaderAt }

func (closer) Close() error { return nil }

func (registry) Load(context.Context, model.Format, io.ReaderAt, int64) (serve.Servable, error) {
	return servable{}, nil
}

type servable struct{ serve.Servable }

func (servable) Signature() serve.Signature { return serve.Signature{} }
func (servable) MemoryBytes() int64         { return 1 }
func (servable) Close()                     {}

// open starts a manager and the gRPC server, and gives a connection to it and the manager.
func open(t *testing.T, target string) (*grpc.ClientConn, *serve.Manager) {
	t.Helper()
	m := serve.New(serve.Options{Store: registry{}, Models: registry{}, Runtime: registry{}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- m.Run(ctx) }()
	<-m.Restored()
	g := rpc.New(rpc.Options{Authorize: func(_ context.Context, token, action, name string) (string, error) {
		switch {
		case token != "secret":
			return "", errs.Errorf("test", errs.Unauthenticated, "send a token")
		case action != "read" || name == "hidden":
			return "", errs.Errorf("test", errs.Denied, "no grant")
		}
		return "user/ann", nil
	}}, func(g grpc.ServiceRegistrar, allow rpc.Allow) {
		health.Register(g, health.Options{Manager: m, Allow: allow})
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { done <- g.Serve(ln) }()
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority(target))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		g.Stop()
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	return conn, m
}

func with(t *testing.T, token string) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
}

func TestHealthIsAskedByTheNameOfAModel(t *testing.T) {
	conn, _ := open(t, "localhost")
	c := healthpb.NewHealthClient(conn)
	for name, want := range map[string]healthpb.HealthCheckResponse_ServingStatus{
		"": healthpb.HealthCheckResponse_SERVING, "mnist": healthpb.HealthCheckResponse_SERVING, "broken": healthpb.HealthCheckResponse_NOT_SERVING,
	} {
		r, err := c.Check(with(t, "secret"), &healthpb.HealthCheckRequest{Service: name})
		if err != nil || r.GetStatus() != want {
			t.Errorf("%q: %v, %v", name, r, err)
		}
	}
	for name, want := range map[string]codes.Code{"other": codes.NotFound, "hidden": codes.PermissionDenied} {
		if _, err := c.Check(with(t, "secret"), &healthpb.HealthCheckRequest{Service: name}); status.Code(err) != want {
			t.Errorf("%q: %v", name, err)
		}
	}
	l, err := c.List(with(t, "secret"), &healthpb.HealthListRequest{})
	if err != nil || len(l.GetStatuses()) != 3 {
		t.Errorf("%v, %v", l, err)
	}
}

func TestACallWithoutATokenLearnsNothing(t *testing.T) {
	conn, _ := open(t, "localhost")
	c := healthpb.NewHealthClient(conn)
	for _, name := range []string{"", "mnist", "other"} {
		if _, err := c.Check(with(t, "wrong"), &healthpb.HealthCheckRequest{Service: name}); status.Code(err) != codes.Unauthenticated {
			t.Errorf("check %q: %v", name, err)
		}
		w, err := c.Watch(t.Context(), &healthpb.HealthCheckRequest{Service: name})
		if err == nil {
			_, err = w.Recv()
		}
		if status.Code(err) != codes.Unauthenticated {
			t.Errorf("watch %q: %v", name, err)
		}
	}
	if _, err := c.List(t.Context(), &healthpb.HealthListRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("list: %v", err)
	}
	if _, err := services(t, conn, t.Context()); status.Code(err) != codes.Unauthenticated {
		t.Errorf("reflection: %v", err)
	}
}

func services(t *testing.T, conn *grpc.ClientConn, ctx context.Context) (*reflectionpb.ServerReflectionResponse, error) {
	t.Helper()
	s, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		return nil, err
	}
	ask := &reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}
	if err := s.Send(ask); err != nil && !errors.Is(err, io.EOF) { // io.EOF: Recv says why
		return nil, err
	}
	return s.Recv()
}

func TestReflectionNamesTheServices(t *testing.T) {
	conn, _ := open(t, "localhost")
	r, err := services(t, conn, with(t, "secret"))
	if err != nil || len(r.GetListServicesResponse().GetService()) < 2 {
		t.Errorf("%v, %v", r, err)
	}
}

func TestAWatcherHearsOfChanges(t *testing.T) {
	conn, m := open(t, "localhost")
	w, err := healthpb.NewHealthClient(conn).Watch(with(t, "secret"), &healthpb.HealthCheckRequest{Service: "mnist"})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := w.Recv(); err != nil || r.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("%v, %v", r, err)
	}
	if err := m.Undeploy(t.Context(), "user/ann", "mnist"); err != nil {
		t.Fatal(err)
	}
	if r, err := w.Recv(); err != nil || r.GetStatus() != healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
		t.Errorf("%v, %v", r, err)
	}
}

func TestAForeignHostIsRefused(t *testing.T) {
	conn, _ := open(t, "evil.example")
	if _, err := healthpb.NewHealthClient(conn).Check(with(t, "secret"), &healthpb.HealthCheckRequest{}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("%v", err)
	}
}
