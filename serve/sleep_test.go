package serve_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
)

// until waits for the service to be so.
func until(t *testing.T, m *serve.Manager, so func(serve.Service) bool) serve.Service {
	t.Helper()
	for {
		s, err := m.Get("m")
		if err != nil {
			t.Fatal(err)
		}
		if so(s) {
			return s
		}
		if t.Context().Err() != nil {
			t.Fatal(t.Context().Err())
		}
		time.Sleep(time.Millisecond)
	}
}

// sleeping is a manager whose model leaves memory after a minute without a request.
func sleeping(t *testing.T, w *world) (*serve.Manager, *clock.Fake) {
	t.Helper()
	now := clock.NewFake(start)
	m := newManager(t, w, func(o *serve.Options) { o.Clock, o.Tick = now, time.Millisecond })
	deploy(t, m, 3)
	if _, err := m.SetIdle(context.Background(), "user/ann", "m", time.Minute); err != nil {
		t.Fatal(err)
	}
	return m, now
}

func asleep(s serve.Service) bool { return s.Versions[0].Asleep }

func TestAVersionThatNobodyAsksLeavesMemoryAndComesBackWhenAsked(t *testing.T) {
	w := newWorld(3)
	m, now := sleeping(t, w)
	for round := range int64(3) {
		if got := answer(t, m, 0, ""); got != 3 {
			t.Fatalf("version %d answers", got)
		}
		s := until(t, m, func(s serve.Service) bool { return !asleep(s) })
		if s.Versions[0].Wakes != round || s.Versions[0].State != serve.Available {
			t.Errorf("%+v", s.Versions[0])
		}
		s = until(t, m, func(s serve.Service) bool {
			now.Advance(30 * time.Second)
			return asleep(s)
		})
		if n := w.inMemory.Load(); n != 0 || s.Versions[0].MemoryBytes != 0 || s.Versions[0].State != serve.Available {
			t.Errorf("%d versions in memory; %+v", n, s.Versions[0])
		}
	}
}

func TestRequestsThatComeWhileAVersionWakesWaitAndAreAnswered(t *testing.T) {
	w := newWorld(3)
	m, now := sleeping(t, w)
	until(t, m, func(s serve.Service) bool {
		now.Advance(30 * time.Second)
		return asleep(s)
	})
	gate := make(chan struct{})
	w.set(func() { w.gate = gate })
	var all sync.WaitGroup
	refused := make(chan error, 1000)
	for range 300 {
		all.Go(func() {
			l, err := m.Acquire("m", 0, "")
			if err != nil {
				t.Error(err)
				return
			}
			defer l.Release()
			if _, err := ask(l); err != nil {
				refused <- err
			}
		})
	}
	for range 300 - 256 {
		if err := <-refused; !errs.Is(err, errs.Exhausted) || !strings.Contains(err.Error(), "256 requests wait for it already") {
			t.Error(err)
		}
	}
	close(gate)
	all.Wait()
	if n := len(refused); n != 0 {
		t.Errorf("%d more were refused", n)
	}
	if s, _ := m.Get("m"); s.Versions[0].Wakes != 1 {
		t.Errorf("%+v", s.Versions[0])
	}
}

func TestAVersionThatCannotComeBackSaysWhyAndIsTriedAgain(t *testing.T) {
	w := newWorld(3)
	m, now := sleeping(t, w)
	until(t, m, func(s serve.Service) bool {
		now.Advance(30 * time.Second)
		return asleep(s)
	})
	w.set(func() { w.broken[3] = errors.New("a hole in the file") })
	for range 2 {
		l, err := m.Acquire("m", 0, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ask(l); err == nil || !strings.Contains(err.Error(), "a hole in the file") {
			t.Error(err)
		}
		l.Release()
	}
	w.set(func() { delete(w.broken, 3) })
	now.Advance(3 * time.Second)
	if got := answer(t, m, 0, ""); got != 3 {
		t.Errorf("version %d answers", got)
	}
}

func TestARequestThatIsUnderWayKeepsAVersionAwake(t *testing.T) {
	w := newWorld(3)
	m, now := sleeping(t, w)
	l, err := m.Acquire("m", 0, "")
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		now.Advance(time.Minute)
		time.Sleep(time.Millisecond)
	}
	if s, _ := m.Get("m"); asleep(s) {
		t.Error("it sleeps")
	}
	if y, err := ask(l); err != nil || y != 3 {
		t.Error(y, err)
	}
	l.Release()
}

func TestVersionsSleepAndWakeUnderRequestsAndChanges(t *testing.T) {
	w := newWorld(4)
	m, now := sleeping(t, w)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 300 {
				l, err := m.Acquire("m", 0, "")
				if err != nil {
					t.Error(err)
					return
				}
				if y, err := ask(l); err != nil || int64(y) != l.Version() {
					t.Error(y, err)
				}
				l.Release()
				now.Advance(20 * time.Second)
			}
		})
	}
	all.Go(func() {
		for n := range int64(20) {
			deploy(t, m, 3+n%2)
		}
	})
	all.Wait()
}

func TestAVersionAnswersItsWarmUpRequestsBeforeOthers(t *testing.T) {
	w := newWorld(4)
	var warmed []int64
	m := newManager(t, w, func(o *serve.Options) {
		o.Warm = func(_ context.Context, v model.Version, l serve.Lease) error {
			y, err := ask(l)
			warmed = append(warmed, int64(y))
			if v.Version == 4 {
				return errors.New("request 1 failed")
			}
			return err
		}
	})
	s := deploy(t, m, 3)
	if len(warmed) != 1 || warmed[0] != 3 || s.Requests != 0 || s.Versions[0].Requests != 0 {
		t.Errorf("warmed %v, %+v", warmed, s)
	}
	if _, err := m.Deploy(context.Background(), "user/ann", "m", 4); err == nil || !strings.Contains(err.Error(), "request 1 failed") {
		t.Error(err)
	}
	if got := answer(t, m, 0, ""); got != 3 || w.inMemory.Load() != 1 {
		t.Errorf("version %d answers, %d in memory", got, w.inMemory.Load())
	}
}
