package serve_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lineshaft/lineshaft/internal/artifact"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// world is a registry, a store and a runtime in memory. A version answers with its own number.
type world struct {
	mu       sync.Mutex
	records  map[string]serve.Record
	events   []event.Event
	versions int64
	aliases  map[string]int64
	broken   map[int64]error // versions that cannot be loaded
	full     error           // what the store answers writes with
	gate     chan struct{}   // where set, loads wait for it
	stuck    chan struct{}   // where set, version 4 waits for it before it answers
	edition  string          // of every artifact: another one has another digest
	loads    []int64
	inMemory atomic.Int64
}

func newWorld(versions int64) *world {
	return &world{records: map[string]serve.Record{}, versions: versions, aliases: map[string]int64{}, broken: map[int64]error{}}
}

func (w *world) PutService(_ context.Context, r serve.Record, events ...event.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.full != nil {
		return w.full
	}
	w.records[r.Model] = r
	w.events = append(w.events, events...)
	return nil
}

func (w *world) DeleteService(_ context.Context, name string, events ...event.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.records, name)
	w.events = append(w.events, events...)
	return nil
}

func (w *world) Services(context.Context) ([]serve.Record, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Values(w.records)), nil
}

func (w *world) Emit(_ context.Context, events ...event.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, events...)
	return nil
}

func (w *world) Resolve(_ context.Context, name string, version int64, _ string) (model.Version, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if version == 0 {
		version = w.versions
	}
	if version > w.versions {
		return model.Version{}, errs.Errorf("test", errs.NotFound, "model %q has no version %d", name, version)
	}
	return model.Version{Model: name, Version: version, Digest: fmt.Sprint(version) + w.edition, Format: model.KerasH5, Size: 10}, nil
}

func (w *world) Model(_ context.Context, name string) (model.Model, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return model.Model{Name: name, Aliases: maps.Clone(w.aliases)}, nil
}

type file struct{ *bytes.Reader }

func (file) Close() error { return nil }

func (w *world) Open(_ context.Context, v model.Version) (artifact.ReaderAt, error) {
	return file{bytes.NewReader([]byte(v.Digest))}, nil
}

func (w *world) Load(ctx context.Context, _ model.Format, r io.ReaderAt, _ int64) (serve.Servable, error) {
	text, err := io.ReadAll(io.NewSectionReader(r, 0, 10))
	if err != nil {
		return nil, err
	}
	var n int64
	fmt.Sscan(string(text), &n)
	w.mu.Lock()
	w.loads = append(w.loads, n)
	gate, broken := w.gate, w.broken[n]
	w.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if broken != nil {
		if broken.Error() == "panic" {
			panic("a hole in the file")
		}
		return nil, broken
	}
	w.inMemory.Add(1)
	return &servable{w: w, n: n}, nil
}

func (w *world) set(edit func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	edit()
}

func (w *world) kinds() (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if !e.Quiet {
			all = append(all, e.Kind+" "+e.Subject+" "+e.Actor)
		}
	}
	return all
}

type servable struct {
	w      *world
	n      int64
	closed atomic.Bool
}

func (s *servable) Signature() serve.Signature {
	one := func(name string) []tensor.Spec {
		return []tensor.Spec{{Name: name, Type: tensor.Float32, Shape: []int{tensor.Any, 1}}}
	}
	return serve.Signature{Inputs: one("x"), Outputs: one("y"), Batched: true}
}

func (s *servable) Run(ctx context.Context, c *serve.Call) error {
	s.w.mu.Lock()
	stuck := s.w.stuck
	s.w.mu.Unlock()
	if stuck != nil && s.n == 4 {
		select {
		case <-stuck:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if s.closed.Load() {
		return errors.New("used after it was freed")
	}
	c.Out[0].Reset(tensor.Float32, c.Rows, 1)
	for i := range c.Out[0].Float32s() {
		c.Out[0].Float32s()[i] = float32(s.n)
	}
	return nil
}

func (s *servable) MemoryBytes() int64 { return 10 }

func (s *servable) Close() {
	if s.closed.Swap(true) {
		panic("freed twice")
	}
	s.w.inMemory.Add(-1)
}
