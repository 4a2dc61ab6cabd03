package tfserving_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lineshaft/lineshaft/internal/artifact"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/runtime"
	"github.com/lineshaft/lineshaft/serve/tfserving"
)

// registry keeps files in memory, one model for each name, a version for each file.
type registry struct {
	mu      sync.Mutex
	files   map[string][][]byte
	aliases map[string]int64
}

func (*registry) PutService(context.Context, serve.Record, ...event.Event) error { return nil }
func (*registry) DeleteService(context.Context, string, ...event.Event) error    { return nil }
func (*registry) Services(context.Context) ([]serve.Record, error)               { return nil, nil }
func (*registry) Emit(context.Context, ...event.Event) error                     { return nil }

func (g *registry) Resolve(_ context.Context, name string, version int64, _ string) (model.Version, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if version == 0 {
		version = int64(len(g.files[name]))
	}
	if version == 0 || int(version) > len(g.files[name]) {
		return model.Version{}, errs.Errorf("test", errs.NotFound, "model %q has no version %d", name, version)
	}
	return model.Version{Model: name, Version: version, Size: int64(len(g.files[name][version-1]))}, nil
}

func (g *registry) Model(_ context.Context, name string) (model.Model, error) {
	return model.Model{Name: name, Aliases: g.aliases}, nil
}

type file struct{ *bytes.Reader }

func (file) Close() error { return nil }

func (g *registry) Open(_ context.Context, v model.Version) (artifact.ReaderAt, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return file{bytes.NewReader(g.files[v.Model][v.Version-1])}, nil
}

func (g *registry) add(name string, b []byte) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.files[name] = append(g.files[name], b)
	return int64(len(g.files[name]))
}

func keras(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../../nn/keras/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type reference struct{ Inputs, Outputs [][]float32 }

func outputs(t testing.TB, name string) (r reference) {
	t.Helper()
	if err := json.Unmarshal(keras(t, name), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

type port struct {
	*httptest.Server
	manager *serve.Manager
	files   *registry
	loaded  []string // actor, model, file name of every load
}

// open serves the regression model (12 numbers in, 1 out) as r, versions 1 and 2, and a classifier as c.
func open(t testing.TB, edit ...func(*tfserving.Options)) *port {
	t.Helper()
	p := &port{files: &registry{files: map[string][][]byte{}, aliases: map[string]int64{"prod": 1}}}
	p.files.add("r", keras(t, "regression.h5"))
	p.files.add("r", keras(t, "regression.h5"))
	p.files.add("c", keras(t, "keras3.keras"))
	p.manager = serve.New(serve.Options{Store: p.files, Models: p.files, Runtime: runtime.New(runtime.Options{})})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.manager.Run(ctx) }()
	for _, name := range []string{"r", "c"} {
		if _, err := p.manager.Deploy(ctx, "user/ann", name, 0); err != nil {
			t.Fatal(err)
		}
	}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(p.manager.Metrics())
	o := tfserving.Options{
		Manager:   p.manager,
		Metrics:   metrics,
		Authorize: func(*http.Request, string, string) (string, error) { return "anonymous", nil },
		Load: func(ctx context.Context, actor, name, filename string, body io.Reader) (int64, error) {
			p.loaded = append(p.loaded, actor+" "+name+" "+filename)
			b, err := io.ReadAll(body)
			if err != nil {
				return 0, err
			}
			if err := runtime.Check("", bytes.NewReader(b), int64(len(b))); err != nil {
				return 0, err
			}
			v, err := p.files.Resolve(ctx, name, p.files.add(name, b), "")
			if err == nil {
				_, err = p.manager.Add(ctx, actor, v)
			}
			return v.Version, err
		},
	}
	for _, e := range edit {
		e(&o)
	}
	p.Server = httptest.NewServer(tfserving.New(o))
	t.Cleanup(func() {
		p.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p
}

// ask sends a request and gives status and body.
func (p *port) ask(t testing.TB, method, path, body string, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, p.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
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
	if ct := resp.Header.Get("Content-Type"); ct != "application/json" && !strings.Contains(path, "metrics") {
		t.Errorf("%s %s: Content-Type %q", method, path, ct)
	}
	return resp.StatusCode, string(b)
}

func encode(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
