package serve_test

import (
	"context"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/release"
)

// copies waits until the shadow's figures are so.
func copies(t *testing.T, m *serve.Manager, so func(release.Copies) bool) release.Copies {
	t.Helper()
	for {
		s, err := m.Get("m")
		if err != nil {
			t.Fatal(err)
		}
		if c := s.Release.Copies; c != nil && so(*c) {
			return *c
		}
		if t.Context().Err() != nil {
			t.Fatal(t.Context().Err())
		}
		time.Sleep(time.Millisecond)
	}
}

func TestAShadowGetsCopiesAndAnswersNobody(t *testing.T) {
	w := newWorld(4)
	m := newManager(t, w)
	deploy(t, m, 3)
	lead(t, m, release.Plan{Candidate: 4, Mode: release.Shadow, Percent: share(100)})
	for n := range int64(20) {
		if got := answer(t, m, 0, ""); got != 3 {
			t.Fatalf("version %d answers", got)
		}
		copies(t, m, func(c release.Copies) bool { return c.Compared == n+1 })
	}
	c := copies(t, m, func(release.Copies) bool { return true })
	if c.MaxAbs != 1 || c.Alike != 0 || c.Failed != 0 { // version 4 answers 4, version 3 answers 3
		t.Errorf("%+v", c)
	}
	lead(t, m, release.Plan{Percent: share(0)})
	answer(t, m, 0, "")
	if c := copies(t, m, func(release.Copies) bool { return true }); c.Compared+c.Dropped != 20 {
		t.Errorf("at 0 %%: %+v", c)
	}
	s, err := m.EndRelease(context.Background(), "user/ann", "m", 0, release.Promoted, nil)
	if err != nil || s.Default != 4 || s.Last.Release.Copies == nil || s.Last.Release.Copies.Compared != 20 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestABusyShadowHoldsNobodyUp(t *testing.T) {
	w := newWorld(4)
	m := newManager(t, w)
	deploy(t, m, 3)
	w.set(func() { w.stuck = make(chan struct{}) })
	lead(t, m, release.Plan{Candidate: 4, Mode: release.Shadow, Percent: share(100)})
	for range 200 {
		answer(t, m, 3, "")
	}
	c := copies(t, m, func(c release.Copies) bool { return c.Dropped > 0 })
	if c.Compared != 0 {
		t.Errorf("%+v", c)
	}
	close(w.stuck)
	copies(t, m, func(c release.Copies) bool { return c.Compared+c.Dropped == 200 })
}
