package release_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/serve/release"
)

var begin = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// ends are buckets of a millisecond.
func ends() []time.Duration {
	out := make([]time.Duration, 20)
	for b := range out {
		out[b] = time.Duration(b+1) * time.Millisecond
	}
	return out
}

// counts has n requests, of which bad failed and slow took long.
func counts(n, bad, slow int64) release.Counts {
	c := release.Counts{Requests: n, Errors: bad, Latency: make([]int64, 20)}
	// The faster half, the slower half, and 4 % beyond the rest.
	c.Latency[19] = slow + (n-slow)/25
	c.Latency[2] = (n - c.Latency[19]) / 2
	c.Latency[1] = n - c.Latency[19] - c.Latency[2]
	return c
}

func judge(t *testing.T, edit func(*release.Rule)) *release.Judge {
	t.Helper()
	rule := &release.Rule{}
	if edit != nil {
		edit(rule)
	}
	r, err := release.Plan{Mode: release.Canary, Rule: rule}.Begin(1, 2, "user/ann", begin)
	if err != nil {
		t.Fatal(err)
	}
	return release.NewJudge(*r.Rule, ends(), begin)
}

func TestACandidateThatFailsIsRolledBackAtOnce(t *testing.T) {
	j := judge(t, nil)
	j.Observe(counts(950, 0, 0), counts(50, 3, 0))
	v := j.Look(begin.Add(time.Second), 25, true)
	if v.Call != release.RollBack || !strings.Contains(v.Reasons[0], "3 of 50 requests to the candidate failed, 0 of 950 to the stable version") {
		t.Errorf("%+v", v)
	}
}

func TestErrorsOfBothAlikeSayNothing(t *testing.T) {
	j := judge(t, nil)
	for range 100 {
		j.Observe(counts(950, 190, 0), counts(50, 10, 0))
	}
	if v := j.Look(begin.Add(time.Second), 25, true); v.Call != release.Wait || v.Tests[0].Evidence > 1 {
		t.Errorf("%+v", v)
	}
}

func TestAStepUpTakesRequestsTimeAndProof(t *testing.T) {
	j := judge(t, nil)
	look := func(after time.Duration) release.Verdict { return j.Look(begin.Add(after), 25, true) }
	j.Observe(counts(1900, 0, 0), counts(100, 0, 0))
	if v := look(time.Minute); v.Call != release.Wait || !strings.Contains(v.Reasons[0], "100 of the 200 requests") {
		t.Errorf("%+v", v)
	}
	j.Observe(counts(9500, 0, 0), counts(500, 0, 0))
	if v := look(10 * time.Second); v.Call != release.Wait || !strings.Contains(v.Reasons[0], "10 s of the 30 s") || v.Looks != 0 {
		t.Errorf("%+v", v)
	}
	v := look(time.Minute)
	if v.Call != release.Advance || v.Looks != 2 || v.Next != 800 || len(v.Reasons) != 3 {
		t.Errorf("%+v", v)
	}
	for _, test := range v.Tests {
		if test.Bound <= 0 || test.Bound > test.Margin {
			t.Errorf("%+v", test)
		}
	}
	j.Step(begin.Add(time.Minute))
	if v := look(2 * time.Minute); v.Call != release.Wait || v.Tests[0].Candidate.Requests != 0 {
		t.Errorf("in the next step: %+v", v)
	}
	j.Observe(counts(1900, 0, 0), counts(1900, 0, 0))
	if v := j.Look(begin.Add(time.Hour), 100, true); v.Call != release.Promote {
		t.Errorf("before the last share: %+v", v)
	}
}

func TestWhatIsNeverShownIsHeldForAPerson(t *testing.T) {
	j := judge(t, func(r *release.Rule) { r.MaxSeconds = 60 })
	j.Observe(counts(95, 0, 0), counts(5, 0, 0))
	if v := j.Look(begin.Add(time.Minute), 25, true); v.Call != release.Hold || !strings.Contains(v.Reasons[0], "after 1m0s at this share") {
		t.Errorf("%+v", v)
	}
}

func TestASlowCandidateIsRolledBack(t *testing.T) {
	j := judge(t, nil)
	for range 3 {
		j.Observe(counts(950, 0, 0), counts(50, 0, 25))
	}
	v := j.Look(begin.Add(time.Minute), 25, true)
	if v.Call != release.RollBack || !strings.Contains(strings.Join(v.Reasons, " "), "slower than") {
		t.Errorf("%+v", v)
	}
}

// The mean of the evidence under likeness is 1 at most: that is what bounds how often it ever grows large.
func TestTheEvidenceIsAMartingaleWhenTheVersionsAreAlike(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const runs = 4000
	sum, over := 0.0, 0
	for range runs {
		j := judge(t, nil)
		most := 0.0
		for range 20 {
			rate := rng.Float64() * 0.2 // of both, another in each window
			draw := func(n int64) release.Counts {
				c := counts(n, 0, 0)
				for range n {
					if rng.Float64() < rate {
						c.Errors++
					}
				}
				return c
			}
			j.Observe(draw(90), draw(10))
			most = max(most, j.Look(begin, 25, true).Tests[0].Evidence)
		}
		sum += j.Look(begin, 25, true).Tests[0].Evidence
		if most >= 40 {
			over++
		}
	}
	if mean := sum / runs; mean > 1.3 {
		t.Errorf("the evidence is %.2f on average, not 1 at most", mean)
	}
	if share := float64(over) / runs; share > 1.0/40+3*math.Sqrt(1.0/40/runs) {
		t.Errorf("evidence of 40 came up in %.3f of the runs, and may in %.3f", share, 1.0/40)
	}
}

func FuzzTheJudgeNeverSaysNaN(f *testing.F) {
	f.Add(int64(10), int64(1), int64(100), int64(3))
	f.Add(int64(0), int64(0), int64(1e15), int64(1e15))
	f.Fuzz(func(t *testing.T, n, bad, m, worse int64) {
		const most = 1 << 24
		n, m = min(max(0, n), most), min(max(0, m), most)
		bad, worse = min(max(0, bad), n), min(max(0, worse), m)
		j := judge(t, nil)
		for range 3 {
			j.Observe(counts(n, bad, 0), counts(m, worse, 0))
		}
		for _, test := range j.Look(begin.Add(time.Hour), 25, true).Tests {
			if math.IsNaN(test.Evidence) || math.IsNaN(test.Bound) || test.Evidence < 0 || test.Bound > 1.01 {
				t.Errorf("%+v", test)
			}
		}
	})
}
