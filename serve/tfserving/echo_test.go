package tfserving_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/rpc"
	"github.com/lineshaft/lineshaft/serve/runtime"
	"github.com/lineshaft/lineshaft/serve/tensor"
	"github.com/lineshaft/lineshaft/serve/tfserving"
)

// types is every type a tensor may have.
var types = []tensor.Type{
	tensor.Bool, tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64, tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64,
	tensor.Float16, tensor.BFloat16, tensor.Float32, tensor.Float64, tensor.Bytes,
}

// echoes are models that give back what they are given, under other names.
func echoes() map[string]serve.Signature {
	one := func(typ tensor.Type, in, out string, shape ...int) serve.Signature {
		return serve.Signature{
			Inputs: []tensor.Spec{{Name: in, Type: typ, Shape: shape}}, Outputs: []tensor.Spec{{Name: out, Type: typ, Shape: shape}},
			Batched: len(shape) > 0 && shape[0] == tensor.Any,
		}
	}
	join := func(batched bool, all ...serve.Signature) (s serve.Signature) {
		for _, a := range all {
			s.Inputs, s.Outputs = append(s.Inputs, a.Inputs...), append(s.Outputs, a.Outputs...)
		}
		s.Batched = batched
		return s
	}
	var all []serve.Signature
	for _, typ := range types {
		all = append(all, one(typ, typ.String(), typ.String()+"_out", tensor.Any, 2))
	}
	return map[string]serve.Signature{
		"all":    join(true, all...),
		"three":  one(tensor.Float32, "x", "y", tensor.Any, 3),
		"loose":  one(tensor.Int64, "x", "y", tensor.Any, tensor.Any, 2),
		"images": one(tensor.Uint8, "jpeg", "pixels", tensor.Any, tensor.Any),
		"mixed":  join(false, one(tensor.Float32, "input", "output", tensor.Any, tensor.Any), one(tensor.Int64, "sr", "rate")),
		"words":  join(true, one(tensor.Bytes, "word", "text", tensor.Any), one(tensor.Bytes, "raw", "raw_bytes", tensor.Any, 1)),
		"word":   one(tensor.Bytes, "word", "word_bytes", tensor.Any),
		"scores": join(true, one(tensor.Float32, "a", "scores", tensor.Any, 2), one(tensor.Bytes, "b", "classes", tensor.Any, 2)),
		"wide":   one(tensor.Float32, "x", "y", tensor.Any, tensor.Any),
		"value":  join(true, one(tensor.Float32, "x", "value", tensor.Any, 1)),
	}
}

// echo is a runtime, and a servable of it.
type echo struct{ sig serve.Signature }

func (echo) Load(ctx context.Context, format model.Format, r io.ReaderAt, size int64) (serve.Servable, error) {
	b := make([]byte, size)
	if _, err := r.ReadAt(b, 0); err != nil {
		return nil, err
	}
	sig, ok := echoes()[string(b)]
	if !ok { // a network, for tests that want one
		return runtime.New(runtime.Options{}).Load(ctx, format, r, size)
	}
	return echo{sig}, nil
}

func (e echo) Signature() serve.Signature { return e.sig }
func (echo) MemoryBytes() int64           { return 1 }
func (echo) Close()                       {}

func (e echo) Run(_ context.Context, c *serve.Call) error {
	for i := range c.In {
		in, out := &c.In[i], &c.Out[i]
		out.Reset(in.Type, in.Shape...)
		copy(out.Data, in.Data)
		for k, s := range in.Strings {
			out.Strings[k] = slices.Clone(s)
		}
	}
	return nil
}

// openEchoes serves them by REST and gRPC.
func openEchoes(t testing.TB, edit ...func(*tfserving.Calls)) (*port, *grpc.ClientConn) {
	t.Helper()
	p := &port{files: &registry{files: map[string][][]byte{}, aliases: map[string]int64{"prod": 1}}}
	p.manager = serve.New(serve.Options{Store: p.files, Models: p.files, Runtime: echo{}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- p.manager.Run(ctx) }()
	for name := range echoes() {
		p.files.add(name, []byte(name))
		if _, err := p.manager.Deploy(ctx, "user/ann", name, 0); err != nil {
			t.Fatal(err)
		}
	}
	p.Server = httptest.NewServer(tfserving.New(tfserving.Options{
		Manager: p.manager, Authorize: func(*http.Request, string, string) (string, error) { return "anonymous", nil },
	}))
	may := func(_ context.Context, token, action, name string) (string, error) {
		if token == "none" || name == "hidden" {
			return "", errs.Errorf("test", errs.Denied, "no grant to %s %s", action, name)
		}
		return "user/ann", nil
	}
	g := rpc.New(rpc.Options{Authorize: may}, func(g grpc.ServiceRegistrar, allow rpc.Allow) {
		c := tfserving.Calls{Manager: p.manager, Allow: allow}
		for _, e := range edit {
			e(&c)
		}
		tfserving.Register(g, c)
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { done <- g.Serve(ln) }()
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("localhost"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		g.Stop()
		p.Close()
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	return p, conn
}
