package serve_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/drift"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// shelf keeps references.
type shelf struct {
	mu   sync.Mutex
	refs map[int64]*drift.Reference
}

func (s *shelf) Reference(_ context.Context, v model.Version) (*drift.Reference, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.refs[v.Version]; r != nil {
		return r, nil
	}
	return nil, errs.Errorf("test", errs.NotFound, "none")
}

func (s *shelf) PutReference(_ context.Context, _ string, v model.Version, r *drift.Reference) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refs[v.Version] = r
	return nil
}

// reference is that of inputs from 0 to 1, and of the answer of version 3.
func reference(t *testing.T) *drift.Reference {
	t.Helper()
	x, y := make([]float32, 1000), make([]float32, 1000)
	for i := range x {
		x[i], y[i] = float32(i)/1000, 3
	}
	ref, err := drift.Measure("training", []tensor.Tensor{tensor.Float32s(x, 1000, 1)}, []tensor.Tensor{tensor.Float32s(y, 1000, 1)}, []string{"x"}, []string{"y"}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func TestDriftIsToldOnceWhenItBeginsAndIsShown(t *testing.T) {
	w := newWorld(4)
	kept := &shelf{refs: map[int64]*drift.Reference{3: reference(t)}}
	now := clock.NewFake(start)
	m := newManager(t, w, func(o *serve.Options) { o.References, o.Clock, o.Tick = kept, now, time.Millisecond })
	deploy(t, m, 3)
	for {
		l, err := m.Acquire("m", 0, "")
		if err != nil {
			t.Fatal(err)
		}
		c := serve.Call{In: []tensor.Tensor{tensor.Float32s([]float32{7, 7, 7, 7}, 4, 1)}} // far above
		if err := l.Run(context.Background(), &c); err != nil {
			t.Fatal(err)
		}
		l.Release()
		now.Advance(time.Second)
		if s, _ := m.Get("m"); s.Versions[0].Drift != nil && s.Versions[0].Drift.State == drift.Drifted {
			if d := s.Versions[0].Drift; d.Inputs.Name != "x" || d.Inputs.State != drift.Drifted || d.Outputs.State != drift.Stable {
				t.Errorf("%+v", d)
			}
			break
		}
		time.Sleep(10 * time.Millisecond) // a few rows are looked at every twentieth of a second
	}
	now.Advance(time.Minute)
	until(t, m, func(serve.Service) bool {
		return strings.Contains(strings.Join(w.kinds(), ","), "service.drift service/m system")
	})
	if n := strings.Count(strings.Join(w.kinds(), ","), "service.drift"); n != 1 {
		t.Errorf("told %d times", n)
	}
}

func TestAReferenceIsTakenFromRequests(t *testing.T) {
	w := newWorld(4)
	kept := &shelf{refs: map[int64]*drift.Reference{}}
	m := newManager(t, w, func(o *serve.Options) { o.References = kept })
	deploy(t, m, 4)
	if _, err := m.TakeReference(context.Background(), "user/ann", "m", 0); !errs.Is(err, errs.Conflict) || !strings.Contains(err.Error(), "needs 200") {
		t.Error(err)
	}
}
