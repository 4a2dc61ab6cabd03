package release

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// This file judges a canary. The statistics, and why these:
//
//   - Three things are compared: requests that failed, requests slower than the median, and requests slower than the 95th
//     percentile. The thresholds come from the stable version's own latencies in earlier windows; the candidate is slow
//     beyond Slowdown times them, and by SlackMs at least. So all three are proportions, of requests that were dealt out to the versions by chance.
//   - To roll back, a sequential test: at every look, given how many requests each version got and how many of both
//     together were bad, the number among the candidate's is hypergeometric if the versions are alike (Fisher's exact
//     test). The likelihood ratios of eight ways of being worse (odds of 1.25 to 100 times) are multiplied up over the
//     looks and averaged. That product is a martingale under likeness, whatever the rate of errors does meanwhile, so by
//     Ville's inequality it ever exceeds 1/α with a probability of at most α: one may look as often as one likes. α is
//     shared out: half to errors, a quarter to each latency. Besides, the difference must be worth it: a fifth of the margin.
//   - To go a step up, the other way round: the candidate must be shown to be at most the margin worse in all three. Looks
//     are at MinRequests of the candidate in this step, and at each doubling; the j-th spends 6β/(π²j²) on the upper bound of
//     the difference (Newcombe's, of Wilson's intervals), so that all of them spend β. A candidate that is worse than a
//     margin passes one step with a probability of at most β, and must pass all.
//   - What is neither shown to be worse nor to be no worse within MaxSeconds at a step is held for a person.
//
// What the product of the ratios has gathered is lost when the server restarts; the test then begins anew.
//
// Sources: Fisher 1935; Ville 1939; Wald 1947; Robbins 1970 (mixtures); Newcombe 1998 (method 10).

// Rule is what a canary is judged by. A zero field takes the default.
type Rule struct {
	FalseRollback  float64 `json:"false_rollback,omitempty" doc:"α: probability at most of rolling a candidate back that is no worse; 0.05"`
	FalsePromotion float64 `json:"false_promotion,omitempty" doc:"β: probability at most of going a step up with a candidate that is worse than a margin; 0.05"`
	ErrorMargin    float64 `json:"error_margin,omitempty" doc:"how much larger a part of requests may fail; 0.01"`
	Slowdown       float64 `json:"slowdown,omitempty" doc:"how many times slower the candidate may be; 1.25"`
	SlackMs        float64 `json:"slack_ms,omitempty" doc:"slower by less than this does not count; 0.5"`
	SlowMargin     float64 `json:"slow_margin,omitempty" doc:"how much larger a part of requests may be slow: beyond the 95th percentile, and twice as much beyond the median; 0.05"`
	MinRequests    int64   `json:"min_requests,omitempty" doc:"of the candidate before a step up; 200"`
	MinSeconds     float64 `json:"min_seconds,omitempty" doc:"before a step up; 30"`
	MaxSeconds     float64 `json:"max_seconds,omitempty" doc:"at a step before a person is asked; 3600"`
}

// filled checks the rule and fills in the defaults. A nil rule is all defaults.
func (r *Rule) filled() (Rule, error) {
	const op = "release.Rule"
	var f Rule
	if r != nil {
		f = *r
	}
	f.FalseRollback = cmp.Or(f.FalseRollback, 0.05)
	f.FalsePromotion = cmp.Or(f.FalsePromotion, 0.05)
	f.ErrorMargin = cmp.Or(f.ErrorMargin, 0.01)
	f.Slowdown = cmp.Or(f.Slowdown, 1.25)
	f.SlackMs = cmp.Or(f.SlackMs, 0.5)
	f.SlowMargin = cmp.Or(f.SlowMargin, 0.05)
	f.MinRequests = cmp.Or(f.MinRequests, 200)
	f.MinSeconds = cmp.Or(f.MinSeconds, 30)
	f.MaxSeconds = cmp.Or(f.MaxSeconds, 3600)
	for _, part := range []struct {
		name  string
		value float64
	}{{"false_rollback", f.FalseRollback}, {"false_promotion", f.FalsePromotion}, {"error_margin", f.ErrorMargin}, {"slow_margin", f.SlowMargin}} {
		if !(part.value > 0 && part.value < 1) {
			return f, errs.Errorf(op, errs.Invalid, "%s is %v: write a part between 0 and 1", part.name, part.value)
		}
	}
	switch {
	case !(f.Slowdown >= 1 && f.Slowdown <= 1000):
		return f, errs.Errorf(op, errs.Invalid, "slowdown is %v: write how many times slower the candidate may be, 1 to 1000", f.Slowdown)
	case !(f.SlackMs > 0 && f.SlackMs <= 1e9):
		return f, errs.Errorf(op, errs.Invalid, "slack_ms is %v: write a positive number of milliseconds", f.SlackMs)
	case f.MinRequests < 1:
		return f, errs.Errorf(op, errs.Invalid, "min_requests is %d: write at least 1", f.MinRequests)
	case !(f.MinSeconds > 0 && f.MaxSeconds >= f.MinSeconds && f.MaxSeconds <= 1e9):
		return f, errs.Errorf(op, errs.Invalid, "min_seconds %v and max_seconds %v: write positive times of which the second is not smaller", f.MinSeconds, f.MaxSeconds)
	}
	return f, nil
}

// Call is what is to be done.
type Call string

// The calls.
const (
	Wait     Call = "wait"      // nothing is shown yet
	Advance  Call = "advance"   // a step up
	Promote  Call = "promote"   // the last step is done
	RollBack Call = "roll_back" // the candidate is worse
	Hold     Call = "hold"      // time is up: a person decides
)

// Verdict is what the requests so far say about a candidate.
type Verdict struct {
	Call    Call      `json:"call"`
	Reasons []string  `json:"reasons"`
	Tests   []Test    `json:"tests"`
	Looks   int       `json:"looks"` // at whether to go up, in this step
	Next    int64     `json:"next"`  // requests of the candidate in this step at the next one
	Time    time.Time `json:"time"`
}

// Test is one thing that is compared.
type Test struct {
	Name      string  `json:"name"` // errors, median, tail
	Stable    Tally   `json:"stable"`
	Candidate Tally   `json:"candidate"`
	AboveMs   float64 `json:"above_ms,omitempty"` // from when a request of the stable version counts as slow
	Evidence  float64 `json:"evidence"`           // that the candidate is worse: likelihood ratio
	Needed    float64 `json:"needed"`             // to roll back
	Bound     float64 `json:"bound"`              // the candidate is worse by this at most, as of the last look
	Margin    float64 `json:"margin"`             // by which it may be
}

// Tally counts requests of one version, and the bad ones, in this step.
type Tally struct {
	Requests int64 `json:"requests"`
	Bad      int64 `json:"bad"`
}

// Rate is the part that was bad.
func (t Tally) Rate() float64 { return float64(t.Bad) / float64(max(1, t.Requests)) }

func (t *Tally) add(o Tally) { t.Requests, t.Bad = t.Requests+o.Requests, t.Bad+o.Bad }

// Counts is what one version did in a window: its requests, how many failed, and how many took how long, by the buckets
// that the judge was made with.
type Counts struct {
	Requests, Errors int64
	Latency          []int64
}

// Judge follows one canary. It is used by one goroutine.
type Judge struct {
	rule    Rule
	ends    []time.Duration // of the buckets
	base    []float64       // latencies of the stable version, older ones fading
	began   time.Time       // the step
	looks   int
	metrics [3]metric
}

// metric is one of the three comparisons.
type metric struct {
	name         string
	quantile     float64
	alpha        float64
	margin       float64
	above        time.Duration
	log          [len(odds)]float64 // of the product of likelihood ratios, for each way of being worse
	step, all    [2]Tally           // stable, candidate
	bound, level float64            // of the last look
}

// odds are the ways of being worse that evidence is gathered for.
var odds = [...]float64{1.25, 1.5, 2, 3, 5, 10, 30, 100}

// NewJudge makes a judge; ends are where the buckets of latencies end, rising.
func NewJudge(rule Rule, ends []time.Duration, now time.Time) *Judge {
	j := &Judge{rule: rule, ends: ends, base: make([]float64, len(ends)), began: now}
	j.metrics = [3]metric{
		{name: "errors", alpha: rule.FalseRollback / 2, margin: rule.ErrorMargin, bound: 1},
		{name: "median", quantile: 0.5, alpha: rule.FalseRollback / 4, margin: min(1, 2*rule.SlowMargin), bound: 1},
		{name: "tail", quantile: 0.95, alpha: rule.FalseRollback / 4, margin: rule.SlowMargin, bound: 1},
	}
	return j
}

// Step begins a step: what was counted for going up is forgotten, the evidence for rolling back stays.
func (j *Judge) Step(now time.Time) {
	j.began, j.looks = now, 0
	for i := range j.metrics {
		j.metrics[i].step, j.metrics[i].bound = [2]Tally{}, 1
	}
}

// Observe takes what the two versions did in a window.
func (j *Judge) Observe(stable, candidate Counts) {
	for i := range j.metrics {
		m := &j.metrics[i]
		s, c := Tally{stable.Requests, stable.Errors}, Tally{candidate.Requests, candidate.Errors}
		if m.quantile > 0 {
			b, ok := j.threshold(m.quantile)
			if !ok {
				continue
			}
			m.above = j.ends[b]
			s, c = slow(stable.Latency, b), slow(candidate.Latency, j.slower(b))
		}
		m.observe(s, c)
	}
	const fade, enough = 0.5, 5000
	n := 0.0
	for _, x := range j.base {
		n += x
	}
	for b := range j.base {
		if n > enough {
			j.base[b] *= fade
		}
		j.base[b] += float64(stable.Latency[b])
	}
}

// threshold is the bucket that holds a quantile of the stable version's latencies, once there are enough.
func (j *Judge) threshold(q float64) (int, bool) {
	n := 0.0
	for _, x := range j.base {
		n += x
	}
	if n < 100 {
		return 0, false
	}
	left := q * n
	for b, x := range j.base {
		if left -= x; left <= 0 {
			return b, true
		}
	}
	return len(j.base) - 1, true
}

// slower is the bucket that ends at Slowdown times where b ends, and SlackMs later, or beyond.
func (j *Judge) slower(b int) int {
	end := float64(j.ends[b])
	limit := time.Duration(max(end*j.rule.Slowdown, end+j.rule.SlackMs*float64(time.Millisecond)))
	for b < len(j.ends)-1 && j.ends[b] < limit {
		b++
	}
	return b
}

// slow counts the requests beyond bucket b.
func slow(latency []int64, b int) (t Tally) {
	for i, n := range latency {
		t.Requests += n
		if i > b {
			t.Bad += n
		}
	}
	return t
}

func (m *metric) observe(s, c Tally) {
	m.step[0].add(s)
	m.step[1].add(c)
	m.all[0].add(s)
	m.all[1].add(c)
	bad := s.Bad + c.Bad
	if s.Requests == 0 || c.Requests == 0 || bad == 0 || bad == s.Requests+c.Requests {
		return // the split of what was bad says nothing
	}
	for i, o := range odds {
		m.log[i] += logRatio(s.Requests, c.Requests, bad, c.Bad, o)
	}
}

// evidence is the mean of the products.
func (m *metric) evidence() float64 {
	most := m.log[0]
	for _, l := range m.log {
		most = max(most, l)
	}
	sum := 0.0
	for _, l := range m.log {
		sum += math.Exp(l - most)
	}
	return math.Exp(min(most, 600)) * sum / float64(len(m.log))
}

func (m *metric) worse() bool {
	return m.evidence() >= 1/m.alpha && m.all[1].Rate()-m.all[0].Rate() > m.margin/5
}

// Worse says whether the candidate is shown to be worse.
func (j *Judge) Worse() bool {
	return slices.ContainsFunc(j.metrics[:], func(m metric) bool { return m.worse() })
}

// Look says what is to be done at a share, from which next is the share to go to, if any.
func (j *Judge) Look(now time.Time, next float64, more bool) Verdict {
	v := Verdict{Call: Wait, Time: now}
	for i := range j.metrics {
		if m := &j.metrics[i]; m.worse() {
			v.Call = RollBack
			v.Reasons = append(v.Reasons, m.says()+fmt.Sprintf("; that is %s times likelier if the candidate is worse (%.0f suffices)", short(m.evidence()), 1/m.alpha))
		}
	}
	if v.Call == Wait {
		j.rise(now, &v, next, more)
	}
	v.Looks, v.Next = j.looks, j.rule.MinRequests<<min(j.looks, 40)
	for i := range j.metrics {
		m := &j.metrics[i]
		v.Tests = append(v.Tests, Test{
			Name: m.name, Stable: m.step[0], Candidate: m.step[1], AboveMs: float64(m.above) / float64(time.Millisecond),
			Evidence: min(m.evidence(), 1e12), Needed: 1 / m.alpha, Bound: m.bound, Margin: m.margin,
		})
	}
	return v
}

// rise looks whether the candidate is shown to be no worse than the margins.
func (j *Judge) rise(now time.Time, v *Verdict, next float64, more bool) {
	n, spent := j.metrics[0].step[1].Requests, now.Sub(j.began).Seconds()
	due := n >= j.rule.MinRequests<<min(j.looks, 40) && spent >= j.rule.MinSeconds
	if due {
		for n >= j.rule.MinRequests<<min(j.looks, 40) { // one look, however many doublings went by
			j.looks++
		}
		level := j.rule.FalsePromotion * 6 / (math.Pi * math.Pi * float64(j.looks) * float64(j.looks))
		passed := true
		for i := range j.metrics {
			m := &j.metrics[i]
			m.bound, m.level = upper(m.step[1], m.step[0], level), level
			passed = passed && m.bound <= m.margin
		}
		if passed {
			v.Call = Advance
			if !more || next >= 100 {
				v.Call = Promote
			}
			for i := range j.metrics {
				m := &j.metrics[i]
				v.Reasons = append(v.Reasons, m.says()+fmt.Sprintf(": worse by %s at most, and %s are allowed", points(max(0, m.bound)), points(m.margin)))
			}
			return
		}
	}
	if spent >= j.rule.MaxSeconds {
		v.Call = Hold
		v.Reasons = append(v.Reasons, fmt.Sprintf("after %v at this share the candidate is shown neither to be worse nor to be no worse", now.Sub(j.began).Round(time.Second)))
	}
	for i := range j.metrics {
		if m := &j.metrics[i]; j.looks > 0 && m.bound > m.margin {
			v.Reasons = append(v.Reasons, m.says()+fmt.Sprintf(": it may be worse by %s, and %s are allowed", points(m.bound), points(m.margin)))
		}
	}
	switch {
	case n < j.rule.MinRequests:
		v.Reasons = append(v.Reasons, fmt.Sprintf("%d of the %d requests that the candidate must have had at this share", n, j.rule.MinRequests))
	case spent < j.rule.MinSeconds:
		v.Reasons = append(v.Reasons, fmt.Sprintf("%.0f s of the %.0f s that the share must have stood", spent, j.rule.MinSeconds))
	}
}

// says what was counted, over all of the release.
func (m *metric) says() string {
	what := "failed"
	switch m.name {
	case "median":
		what = "were slower than the median"
	case "tail":
		what = "were slower than 95 %"
	}
	return fmt.Sprintf("%d of %d requests to the candidate %s, %d of %d to the stable version", m.all[1].Bad, m.all[1].Requests, what, m.all[0].Bad, m.all[0].Requests)
}

func points(p float64) string { return fmt.Sprintf("%.2f points", 100*p) }

func short(x float64) string {
	if x > 1e6 {
		return fmt.Sprintf("%.0e", x)
	}
	return fmt.Sprintf("%.0f", x)
}
