package rpc

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Method describes a method of a service ("package.Service") whose requests carry tensors: it is given their bytes, which
// are valid until it returns, and reads them itself. What it returns is a message, or what Encode made.
func Method(service, name string, call func(ctx context.Context, msg []byte) (any, error)) grpc.MethodDesc {
	full := "/" + service + "/" + name
	return grpc.MethodDesc{MethodName: name, Handler: func(srv any, ctx context.Context, dec func(any) error, in grpc.UnaryServerInterceptor) (any, error) {
		m := new(message)
		if err := dec(m); err != nil {
			return nil, err
		}
		defer m.held.Free()
		next := func(ctx context.Context, _ any) (any, error) { return call(ctx, m.held.ReadOnlyData()) }
		if in == nil {
			return next(ctx, m)
		}
		return in(ctx, m, &grpc.UnaryServerInfo{Server: srv, FullMethod: full}, next)
	}}
}

// Stream describes a method that takes and gives messages until its caller has no more. recv gives the bytes of the next,
// valid until it is asked again, and io.EOF after the last.
func Stream(name string, call func(ctx context.Context, recv func() ([]byte, error), send func(any) error) error) grpc.StreamDesc {
	return grpc.StreamDesc{StreamName: name, ClientStreams: true, ServerStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
		var m message
		defer func() {
			if m.held != nil {
				m.held.Free()
			}
		}()
		recv := func() ([]byte, error) {
			if m.held != nil {
				m.held.Free()
				m.held = nil
			}
			if err := s.RecvMsg(&m); err != nil {
				return nil, err
			}
			return m.held.ReadOnlyData(), nil
		}
		return call(s.Context(), recv, s.SendMsg)
	}}
}

// message is a request that stays as it came: one piece of memory, the connection's own where it came in one frame.
type message struct{ held mem.Buffer }

// DecodeMessage keeps the bytes.
func (m *message) DecodeMessage(data mem.BufferSlice, pool mem.BufferPool) error {
	m.held = data.MaterializeToBuffer(pool)
	return nil
}

// maxSmall bounds a request without tensors: read through reflection, a message can take fifty times its bytes.
const maxSmall = 1 << 20

// Small describes a method whose requests are read by protobuf.
func Small[T any, P interface {
	*T
	proto.Message
}](service, name string, call func(context.Context, P) (proto.Message, error)) grpc.MethodDesc {
	return Method(service, name, func(ctx context.Context, b []byte) (any, error) {
		req := P(new(T))
		if len(b) > maxSmall {
			return nil, errs.Errorf("rpc.Small", errs.TooLarge, "a request of %s has at most %d bytes, and this has %d", name, maxSmall, len(b))
		}
		if err := proto.Unmarshal(b, req); err != nil {
			return nil, Broken()
		}
		return call(ctx, req)
	})
}

// Fields walks over the fields of a message. A varint comes as n; what has a length comes as b; fixed values come as b.
func Fields(msg []byte, field func(num protowire.Number, typ protowire.Type, b []byte, n uint64) error) error {
	for len(msg) > 0 {
		num, typ, k := protowire.ConsumeTag(msg)
		if k < 0 {
			return Broken()
		}
		msg = msg[k:]
		var b []byte
		var n uint64
		switch typ {
		case protowire.VarintType:
			n, k = protowire.ConsumeVarint(msg)
		case protowire.BytesType:
			b, k = protowire.ConsumeBytes(msg)
		default:
			k = protowire.ConsumeFieldValue(num, typ, msg)
			b = msg[:max(k, 0)]
		}
		if k < 0 {
			return Broken()
		}
		msg = msg[k:]
		if err := field(num, typ, b, n); err != nil {
			return err
		}
	}
	return nil
}

// Broken says that a message cannot be read.
func Broken() error {
	return errs.Errorf("rpc.Fields", errs.Invalid, "the message is not a protocol buffer of its type: it ends early, or a field in it does")
}

// encoded is an answer on its way.
type encoded struct{ b mem.Buffer }

// EncodeMessage hands it over.
func (e encoded) EncodeMessage(mem.BufferPool) (mem.BufferSlice, error) {
	return mem.BufferSlice{e.b}, nil
}

// Encode has an answer of a size written into memory that is used again once it is sent.
func Encode(size int, write func([]byte) []byte) any {
	if mem.IsBelowBufferPoolingThreshold(size) {
		return encoded{mem.SliceBuffer(write(make([]byte, 0, size)))}
	}
	pool := mem.DefaultBufferPool()
	b := pool.Get(size)
	*b = write((*b)[:0])
	return encoded{mem.NewBuffer(b, pool)}
}

var (
	_ Decoder = (*message)(nil)
	_ Encoder = encoded{}
)
