package serve_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/release"
)

func lead(t *testing.T, m *serve.Manager, p release.Plan) serve.Service {
	t.Helper()
	s, err := m.SetRelease(context.Background(), "user/ann", "m", p)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func share(p float64) *float64 { return &p }

// dealt counts which versions answer n requests that name none.
func dealt(t *testing.T, m *serve.Manager, n int) map[int64]int {
	t.Helper()
	out := map[int64]int{}
	for range n {
		out[answer(t, m, 0, "")]++
	}
	return out
}

func TestASplitDealsRequestsOutEvenlyByItsShare(t *testing.T) {
	w := newWorld(4)
	m := newManager(t, w)
	deploy(t, m, 3)
	s := lead(t, m, release.Plan{Candidate: 4, Percent: share(10)})
	if s.Default != 3 || s.Release.Stable != 3 || s.Release.Mode != release.Split {
		t.Errorf("%+v", s)
	}
	for range 5 {
		if got := dealt(t, m, 100)[4]; got < 9 || got > 11 {
			t.Errorf("%d of 100 requests went to the candidate, not 10", got)
		}
	}
	if answer(t, m, 3, "") != 3 || answer(t, m, 4, "") != 4 {
		t.Error("a version that is named does not answer")
	}
	lead(t, m, release.Plan{Percent: share(100)})
	if got := dealt(t, m, 50); got[4] != 50 {
		t.Errorf("at 100 %%: %v", got)
	}
	lead(t, m, release.Plan{Percent: share(0)})
	if got := dealt(t, m, 50); got[3] != 50 {
		t.Errorf("at 0 %%: %v", got)
	}
	want := "service.deployed service/m user/ann, service.release_began service/m user/ann, service.release_changed service/m user/ann, service.release_changed service/m user/ann"
	if got := strings.Join(w.kinds(), ", "); got != want {
		t.Errorf("recorded %s", got)
	}
}

func TestAReleaseOutlivesTheServerAndEndsWithOneVersion(t *testing.T) {
	for _, c := range []struct {
		outcome release.Outcome
		left    int64
	}{{release.Promoted, 4}, {release.RolledBack, 3}} {
		t.Run(string(c.outcome), func(t *testing.T) {
			w := newWorld(4)
			first := newManager(t, w)
			deploy(t, first, 3)
			lead(t, first, release.Plan{Candidate: 4, Mode: release.BlueGreen})
			lead(t, first, release.Plan{Percent: share(100)})
			if got := answer(t, first, 0, ""); got != 4 {
				t.Errorf("after the switch version %d answers", got)
			}

			kept, err := json.Marshal(w.records["m"])
			if err != nil {
				t.Fatal(err)
			}
			again := newWorld(4)
			var r serve.Record
			if err := json.Unmarshal(kept, &r); err != nil {
				t.Fatal(err)
			}
			again.records["m"] = r
			m := newManager(t, again)
			if got := answer(t, m, 0, ""); got != 4 {
				t.Errorf("after a restart version %d answers", got)
			}
			s, err := m.EndRelease(context.Background(), "user/bob", "m", 4, c.outcome, []string{"because"})
			if err != nil || s.Default != c.left || s.Release != nil || s.Last.Outcome != c.outcome || s.Last.Reasons[0] != "because" {
				t.Fatalf("%+v, %v", s, err)
			}
			if got := dealt(t, m, 20); got[c.left] != 20 {
				t.Errorf("after the end: %v", got)
			}
			if _, err := m.EndRelease(context.Background(), "user/bob", "m", 4, c.outcome, nil); err != nil {
				t.Errorf("the same end twice: %v", err)
			}
			if _, err := m.EndRelease(context.Background(), "user/bob", "m", 0, c.outcome, nil); !errs.Is(err, errs.NotFound) {
				t.Errorf("an end without a release: %v", err)
			}
			if c.outcome == release.Promoted && s.Previous != 3 {
				t.Errorf("the version before is said to be %d", s.Previous)
			}
		})
	}
}

func TestACandidateThatCannotBeLoadedChangesNothing(t *testing.T) {
	w := newWorld(4)
	m := newManager(t, w)
	deploy(t, m, 3)
	w.set(func() { w.broken[4] = errors.New("a hole in the file") })
	if _, err := m.SetRelease(context.Background(), "user/ann", "m", release.Plan{Candidate: 4, Percent: share(50)}); err == nil {
		t.Fatal("no error")
	}
	if s, _ := m.Get("m"); s.Release != nil || s.Default != 3 {
		t.Errorf("%+v", s)
	}
	if got := dealt(t, m, 10); got[3] != 10 {
		t.Errorf("%v", got)
	}
}

func TestAPlanThatMakesNoSenseIsRefused(t *testing.T) {
	w := newWorld(4)
	m := newManager(t, w)
	deploy(t, m, 3)
	for says, p := range map[string]release.Plan{
		"answers already":        {Candidate: 3, Percent: share(10)},
		"needs a share":          {Candidate: 4},
		"no share":               {Candidate: 4, Percent: share(101)},
		"is not known":           {Candidate: 4, Mode: "red"},
		"belong to the mode":     {Candidate: 4, Mode: release.Split, Percent: share(1), Manual: true},
		"not rising":             {Candidate: 4, Mode: release.Canary, Steps: []float64{50, 5}},
		"0 or 100":               {Candidate: 4, Mode: release.BlueGreen, Percent: share(50)},
		"a part between 0 and 1": {Candidate: 4, Mode: release.Canary, Rule: &release.Rule{ErrorMargin: 2}},
		"no version 9":           {Candidate: 9, Percent: share(10)},
	} {
		if _, err := m.SetRelease(context.Background(), "user/ann", "m", p); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v; want %q", p, err, says)
		}
		if _, err := m.PlanRelease(context.Background(), "user/ann", "m", p); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("as a preview, %+v: %v; want %q", p, err, says)
		}
	}
	lead(t, m, release.Plan{Candidate: 4, Percent: share(10)})
	for says, p := range map[string]release.Plan{
		"is under way: promote it or roll it back": {Candidate: 2, Percent: share(10)},
		"before beginning one in the mode":         {Mode: release.Shadow, Percent: share(10)},
		"percent is missing":                       {},
	} {
		if _, err := m.SetRelease(context.Background(), "user/ann", "m", p); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v; want %q", p, err, says)
		}
	}
}

func TestADeploymentReplacesARelease(t *testing.T) {
	w := newWorld(4)
	m := newManager(t, w)
	deploy(t, m, 2)
	lead(t, m, release.Plan{Candidate: 3, Percent: share(50)})
	s := deploy(t, m, 4)
	if s.Release != nil || s.Last.Outcome != release.Replaced || s.Previous != 2 || s.Default != 4 {
		t.Errorf("%+v", s)
	}
	if got := states(t, m); !strings.HasPrefix(got, "4 AVAILABLE") || strings.Count(got, "AVAILABLE") != 1 {
		t.Error(got)
	}
}

func TestACanaryIsJudgedByWhatItsRequestsDid(t *testing.T) {
	for _, c := range []struct {
		name  string
		fails bool
		call  release.Call
	}{{"worse", true, release.RollBack}, {"as good", false, release.Advance}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(4)
			m := newManager(t, w, func(o *serve.Options) { o.Tick, o.Clock = time.Millisecond, clock.System{} })
			deploy(t, m, 3)
			lead(t, m, release.Plan{Candidate: 4, Mode: release.Canary, Rule: &release.Rule{MinSeconds: 1e-9, ErrorMargin: 0.05}})
			for n := 1; ; n++ {
				l, err := m.Acquire("m", 0, "")
				if err != nil {
					t.Fatal(err)
				}
				l.Observe(time.Millisecond, c.fails && l.Version() == 4 && n%2 == 0)
				l.Release()
				if n%1000 != 0 {
					continue
				}
				time.Sleep(3 * time.Millisecond)
				s, _ := m.Get("m")
				if v := s.Release.Verdict; v != nil && v.Call == c.call && len(v.Reasons) > 0 {
					break
				} else if n > 100_000 {
					t.Fatalf("%+v", v)
				}
			}
			if c.call == release.RollBack {
				return
			}
			for range 2 { // twice does what once does
				if err := m.AdvanceRelease(context.Background(), "policy/release", "m", 4, 5, 25, nil); err != nil {
					t.Fatal(err)
				}
			}
			if s, _ := m.Get("m"); s.Release.Percent != 25 || s.Release.Verdict != nil && s.Release.Verdict.Call == release.Advance {
				t.Errorf("%+v", s.Release)
			}
			if err := m.AdvanceRelease(context.Background(), "policy/release", "m", 4, 5, 50, nil); !errs.Is(err, errs.Conflict) {
				t.Errorf("from a share that it no longer has: %v", err)
			}
		})
	}
}
