package kserve_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/artifact"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/kserve"
	"github.com/lineshaft/lineshaft/serve/port"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// echo gives back what it takes, under other names.
type echo struct {
	sig  serve.Signature
	wait time.Duration
	seen *serve.Call // the last call
}

func (e *echo) Signature() serve.Signature { return e.sig }
func (*echo) MemoryBytes() int64           { return 7 }
func (*echo) Close()                       {}

func (e *echo) Run(ctx context.Context, c *serve.Call) error {
	if e.wait > 0 {
		select {
		case <-time.After(e.wait):
		case <-ctx.Done():
			return errs.E("echo", errs.KindOf(ctx.Err()), ctx.Err())
		}
	}
	e.seen = &serve.Call{Rows: c.Rows, Priority: c.Priority}
	for i := range c.In {
		c.Out[i].Reset(c.In[i].Type, c.In[i].Shape...)
		copy(c.Out[i].Data, c.In[i].Data)
		for j := range c.In[i].Strings {
			c.Out[i].Strings[j] = bytes.Clone(c.In[i].Strings[j])
		}
	}
	return nil
}

// echoOf makes an echo of inputs "in0", "in1" and so on, outputs "out0" and so on.
func echoOf(batched bool, shape []int, types ...tensor.Type) *echo {
	e := &echo{sig: serve.Signature{Batched: batched}}
	for i, t := range types {
		n := string(rune('0' + i%10))
		if i >= 10 {
			n = "1" + n
		}
		e.sig.Inputs = append(e.sig.Inputs, tensor.Spec{Name: "in" + n, Type: t, Shape: shape})
		e.sig.Outputs = append(e.sig.Outputs, tensor.Spec{Name: "out" + n, Type: t, Shape: shape})
	}
	return e
}

// world is a registry of echoes: a file's bytes name one of models.
type world struct {
	mu     sync.Mutex
	models map[string]*echo
	files  map[string][]string // of a model: the names of what its versions are
}

func (*world) PutService(context.Context, serve.Record, ...event.Event) error { return nil }
func (*world) DeleteService(context.Context, string, ...event.Event) error    { return nil }
func (*world) Services(context.Context) ([]serve.Record, error)               { return nil, nil }
func (*world) Emit(context.Context, ...event.Event) error                     { return nil }

func (w *world) Resolve(_ context.Context, name string, version int64, _ string) (model.Version, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if version == 0 {
		version = int64(len(w.files[name]))
	}
	if version == 0 || int(version) > len(w.files[name]) {
		return model.Version{}, errs.Errorf("test", errs.NotFound, "model %q has no version %d", name, version)
	}
	return model.Version{Model: name, Version: version, Size: int64(len(w.files[name][version-1]))}, nil
}

func (w *world) Model(_ context.Context, name string) (model.Model, error) {
	return model.Model{Name: name, Aliases: map[string]int64{"prod": 1}}, nil
}

type file struct{ *strings.Reader }

func (file) Close() error { return nil }

func (w *world) Open(_ context.Context, v model.Version) (artifact.ReaderAt, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return file{strings.NewReader(w.files[v.Model][v.Version-1])}, nil
}

func (w *world) Load(_ context.Context, _ model.Format, r io.ReaderAt, size int64) (serve.Servable, error) {
	b := make([]byte, size)
	if _, err := r.ReadAt(b, 0); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	e, ok := w.models[string(b)]
	if !ok {
		return nil, errs.Errorf("test", errs.Invalid, "%q is no model", b)
	}
	return e, nil
}

func (w *world) add(name, what string) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.files[name] = append(w.files[name], what)
	return int64(len(w.files[name]))
}

type served struct {
	*httptest.Server
	world   *world
	manager *serve.Manager
	options kserve.Options
	denied  string // action that is refused
	asked   []string
	mu      sync.Mutex
}

func (s *served) authorize(action, model string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, action+" "+model)
	if action == s.denied {
		return "", errs.Errorf("test", errs.Denied, "no right to %s %s", action, model)
	}
	return "user/ann", nil
}

var every = []tensor.Type{
	tensor.Bool, tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64, tensor.Int8, tensor.Int16, tensor.Int32,
	tensor.Int64, tensor.Float16, tensor.BFloat16, tensor.Float32, tensor.Float64, tensor.Bytes,
}

// open serves:
//   - f, of FP32 rows [?, 3], versions 1 and 2, label prod for 1;
//   - s, of BYTES [?, ?], not batched;
//   - all, an input of every type, [?, 2];
//   - slow, as f, whose answers take long.
//
// The model "spare" is in the registry only.
func open(t testing.TB) *served {
	t.Helper()
	return openWith(t, func(w *world) serve.Runtime { return w })
}

func openWith(t testing.TB, runtime func(*world) serve.Runtime) *served {
	t.Helper()
	slow := echoOf(true, []int{tensor.Any, 3}, tensor.Float32)
	slow.wait = time.Minute
	s := &served{world: &world{
		models: map[string]*echo{
			"f": echoOf(true, []int{tensor.Any, 3}, tensor.Float32), "s": echoOf(false, []int{tensor.Any, tensor.Any}, tensor.Bytes),
			"all": echoOf(true, []int{tensor.Any, 2}, every...), "slow": slow, "spare": echoOf(true, []int{tensor.Any}, tensor.Int32),
		},
		files: map[string][]string{"f": {"f", "f"}, "s": {"s"}, "all": {"all"}, "slow": {"slow"}, "spare": {"spare", "spare"}},
	}}
	s.manager = serve.New(serve.Options{Store: s.world, Models: s.world, Runtime: runtime(s.world)})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.manager.Run(ctx) }()
	for _, name := range []string{"f", "s", "all", "slow"} {
		if _, err := s.manager.Deploy(ctx, "user/ann", name, 0); err != nil {
			t.Fatal(err)
		}
	}
	s.options = kserve.Options{
		Manager: s.manager, Version: "1.2.3",
		Registry: func(context.Context) ([]model.Model, error) {
			return []model.Model{{Name: "f", Latest: 2}, {Name: "spare", Latest: 2}, {Name: "empty"}}, nil
		},
		Load: func(ctx context.Context, actor, name, _ string, body io.Reader) (int64, error) {
			b, err := io.ReadAll(body)
			if err != nil {
				return 0, err
			}
			v, err := s.world.Resolve(ctx, name, s.world.add(name, string(b)), "")
			if err == nil {
				_, err = s.manager.Add(ctx, actor, v)
			}
			return v.Version, err
		},
	}
	p := port.New(port.Options{
		BodyLimit: units.MiB,
		Authorize: func(_ *http.Request, action, model string) (string, error) { return s.authorize(action, model) },
	})
	s.Server = httptest.NewServer(p.Handler(http.NotFoundHandler(), map[string]http.Handler{"v2": kserve.On(p, s.options)}))
	t.Cleanup(func() {
		s.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// ask sends a request and gives status, body and header.
func (s *served) ask(t testing.TB, method, path, body string, header ...string) (int, string, http.Header) {
	t.Helper()
	r, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

func (s *served) saw(what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.asked, what)
}
