// Package rpc is the gRPC port of serving, 8500: the one server on which every protocol registers its services, with
// what they have in common. A call is let in as on the REST port (web.Guard's rules for Host and Origin), a message may
// be as long as a body there, and who may do what is decided by Options.Authorize, which services ask through Allow.
//
// Services return errors of internal/errs as everything else does; their gRPC codes are given here, once. Reflection
// answers whoever may read.
//
//	g := rpc.New(rpc.Options{Authorize: mayUse}, func(g grpc.ServiceRegistrar, allow rpc.Allow) {
//		health.Register(g, health.Options{Manager: m, Allow: allow})
//	})
//	err := g.Serve(ln)
package rpc

import (
	"context"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/internal/web"
)

const (
	maxStreams = 256 // of one connection
	handshake  = 10 * time.Second
	idle       = 10 * time.Minute
)

// Options is what the server works with.
type Options struct {
	// Authorize says who asks, or refuses; token is the bearer token of the call, or empty. Actions are predict, read and
	// load; model is empty for what concerns none.
	Authorize    func(ctx context.Context, token, action, model string) (actor string, err error)
	Guard        web.Options
	MessageLimit units.Bytes // of one message; 0: 64 MiB
	InFlight     units.Bytes // of all messages in memory at once; 0: eight times MessageLimit
}

// Allow says who calls, or refuses with an error that the service returns as it is.
type Allow func(ctx context.Context, action, model string) (actor string, err error)

// New makes the server of port 8500. Its owner serves and stops it.
func New(o Options, services ...func(g grpc.ServiceRegistrar, allow Allow)) *grpc.Server {
	if o.MessageLimit == 0 {
		o.MessageLimit = 64 * units.MiB
	}
	if o.InFlight == 0 {
		o.InFlight = 8 * o.MessageLimit
	}
	return build(o, &memory{limit: int64(o.InFlight)}, services...)
}

func build(o Options, held *memory, services ...func(g grpc.ServiceRegistrar, allow Allow)) *grpc.Server {
	s := &server{o: o}
	g := grpc.NewServer(
		grpc.MaxRecvMsgSize(int(o.MessageLimit)),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(handshake),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idle}),
		grpc.ForceServerCodecV2(newCodec(held)),
		grpc.Creds(newGate(held)),
		grpc.InTapHandle(held.admit),
		experimental.BufferPool(held),
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.stream),
	)
	for _, register := range services {
		register(g, s.allow)
	}
	reflection.Register(g)
	return g
}

type server struct{ o Options }

// unary and stream let a call in; which model it may know of is decided where the model is known.
func (s *server) unary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if err := s.guard(ctx); err != nil {
		return nil, Error(err)
	}
	resp, err := next(ctx, req)
	return resp, Error(err)
}

func (s *server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if err := s.guard(ss.Context()); err != nil {
		return Error(err)
	}
	if strings.HasPrefix(info.FullMethod, "/grpc.reflection.") {
		if _, err := s.allow(ss.Context(), "read", ""); err != nil {
			return Error(err)
		}
	}
	return Error(next(srv, ss))
}

func (s *server) guard(ctx context.Context) error {
	return s.o.Guard.Check(header(ctx, ":authority"), header(ctx, "origin"))
}

func (s *server) allow(ctx context.Context, action, model string) (actor string, err error) {
	token := header(ctx, "authorization")
	if len(token) > 7 && strings.EqualFold(token[:7], "bearer ") {
		token = token[7:]
	}
	return s.o.Authorize(ctx, token, action, model)
}

func header(ctx context.Context, key string) string {
	if v := metadata.ValueFromIncomingContext(ctx, key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Error gives an error gRPC's code for its kind, as TensorFlow Serving uses them, and RetryInfo where trying again makes
// sense after a known time; one that has a code keeps it.
func Error(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	s := status.New(Code(errs.KindOf(err)), err.Error())
	if after, ok := errs.Retry(err); ok {
		if told, err := s.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(after)}); err == nil {
			s = told
		}
	}
	return s.Err()
}

// Code is gRPC's code for a kind of error.
func Code(k errs.Kind) codes.Code {
	switch k {
	case errs.Invalid:
		return codes.InvalidArgument
	case errs.Unauthenticated:
		return codes.Unauthenticated
	case errs.Denied:
		return codes.PermissionDenied
	case errs.NotFound:
		return codes.NotFound
	case errs.Exists:
		return codes.AlreadyExists
	case errs.Conflict:
		return codes.Aborted
	case errs.TooLarge, errs.Exhausted, errs.Full: // what grpc itself says of a message over the limit
		return codes.ResourceExhausted
	case errs.Unavailable:
		return codes.Unavailable
	case errs.Timeout:
		return codes.DeadlineExceeded
	case errs.Unsupported:
		return codes.Unimplemented
	case errs.Corrupt:
		return codes.DataLoss
	case errs.Canceled:
		return codes.Canceled
	}
	return codes.Internal
}
