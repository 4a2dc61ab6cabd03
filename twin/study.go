package twin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/sched"
	"github.com/lineshaft/lineshaft/sched/learn"
)

// Study is episodes by which policies are compared: a measure of traces in a hall. An episode is a trace and a number. It
// numbers windows of the trace, which follow each other in time and have equally many jobs; each begins with an empty
// hall, so that a later window is work that was not known before. Without windows, where the hall is filled, it numbers
// orders of the same jobs: these tell how lucky an order was, and not how other work would fare.
type Study struct {
	Traces  []Trace // their names tell them apart
	Options Options // the hall, and what is known of durations
	Measure string  // a name of Measures
	Windows int     // into which each trace is cut; 0 is not cut, for Allocation
	Orders  int     // in which each window is filled: their mean counts; 1 when 0
}

// Episode is one of them.
type Episode struct {
	Trace  int // index
	Number int
}

// The measures.
const (
	Allocation = "allocation" // of a hall that is filled
	JCT        = "jct"        // mean completion time
)

// Measures are the names that Study.Measure knows.
func Measures() []string { return []string{Allocation, JCT} }

// fewestJobs is how many jobs a window has at least.
const fewestJobs = 10

// Check refuses a study that cannot be made.
func (s *Study) Check() error {
	const op = "twin.Study"
	s.Orders = max(s.Orders, 1)
	switch {
	case !slices.Contains(Measures(), s.Measure):
		return errs.Errorf(op, errs.Invalid, "there is no measure %q; choose from %s", s.Measure, strings.Join(Measures(), ", "))
	case len(s.Traces) == 0:
		return errs.Errorf(op, errs.Invalid, "there is no trace")
	case s.Windows < 0 || s.Windows > learn.MostEpisodes || s.Windows == 0 && s.Measure != Allocation:
		return errs.Errorf(op, errs.Invalid, "%d windows: give 1 to %d; with the measure %s also 0", s.Windows, learn.MostEpisodes, Allocation)
	case s.Orders > learn.MostEpisodes:
		return errs.Errorf(op, errs.Invalid, "%d orders: give 1 to %d", s.Orders, learn.MostEpisodes)
	}
	for i, t := range s.Traces {
		if slices.ContainsFunc(s.Traces[:i], func(o Trace) bool { return o.Name == t.Name }) {
			return errs.Errorf(op, errs.Invalid, "two traces are named %q: rename one", t.Name)
		}
		if len(t.Jobs) < fewestJobs*s.Windows {
			return errs.Errorf(op, errs.Invalid, "%s has %d jobs, too few for %d windows: give at most %d", t.Name, len(t.Jobs), s.Windows, max(len(t.Jobs)/fewestJobs, 1))
		}
	}
	return nil
}

// Kind is what the episodes are judged by.
func (s Study) Kind() learn.Measure {
	if s.Measure == Allocation {
		return learn.Measure{Name: Allocation, Unit: "%"}
	}
	return learn.Measure{Name: JCT, Unit: "h", Less: true}
}

// Protocol is what an episode is, in words.
func (s Study) Protocol() string {
	const fill = "% allocated when arrivals reach the hall's capacity, as FGD: jobs in the order of a seed, then resamples, each placed once or dropped, none leaves"
	switch {
	case s.Measure == Allocation && s.Windows == 0:
		return fill
	case s.Measure == Allocation:
		return fmt.Sprintf("%s; each trace cut into windows of equally many jobs, mean of %d orders of each", fill, s.Orders)
	}
	return "hours in the mean: each trace cut into windows of equally many jobs, each replayed in virtual time from an empty hall"
}

// Episodes are those of the numbers, of every trace.
func (s Study) Episodes(numbers []int) ([]Episode, error) {
	var out []Episode
	for i := range s.Traces {
		for _, n := range numbers {
			if s.Windows > 0 && (n < 1 || n > s.Windows) {
				return nil, errs.Errorf("twin.Episodes", errs.Invalid, "there is no window %d: a trace has %d, from 1", n, s.Windows)
			}
			out = append(out, Episode{i, n})
		}
	}
	return out, nil
}

// Label names an episode.
func (s Study) Label(e Episode) string { return fmt.Sprintf("%s/%d", s.Traces[e.Trace].Name, e.Number) }

// Score is the measure of the policy in the episode.
func (s Study) Score(ctx context.Context, p sched.Policy, e Episode) (float64, error) {
	t := s.Traces[e.Trace]
	if s.Windows == 0 {
		return Fill(ctx, t, s.Options.Nodes, p.Weights, int64(e.Number))
	}
	from, to := (e.Number-1)*len(t.Jobs)/s.Windows, e.Number*len(t.Jobs)/s.Windows
	t.Jobs = t.Jobs[from:to]
	if s.Measure == Allocation {
		return s.fill(ctx, p, t)
	}
	o := s.Options
	o.Policy = p
	if o.Queues == nil {
		o.Queues = s.Traces[e.Trace].queues()
	}
	r, err := Replay(ctx, t, o)
	if err != nil {
		return 0, errs.Errorf("twin.Score", errs.KindOf(err), "%s: %w", s.Label(e), err)
	}
	return r.JCT.Mean / 3600, nil
}

// fill is the mean of some orders.
func (s Study) fill(ctx context.Context, p sched.Policy, t Trace) (mean float64, err error) {
	for seed := range s.Orders {
		v, err := Fill(ctx, t, s.Options.Nodes, p.Weights, int64(seed))
		if err != nil {
			return 0, err
		}
		mean += v / float64(s.Orders)
	}
	return mean, nil
}

// Source is what a rule says of a trace.
func (t Trace) Source() learn.Source {
	return learn.Source{Name: t.Name, Jobs: len(t.Jobs), Digest: digest(func(enc *json.Encoder) error {
		for i := range t.Jobs {
			if err := enc.Encode(&t.Jobs[i]); err != nil {
				return err
			}
		}
		return nil
	})}
}

// HallDigest tells halls apart.
func HallDigest(nodes []fleet.Node) string {
	return digest(func(enc *json.Encoder) error { return enc.Encode(nodes) })
}

func digest(write func(*json.Encoder) error) string {
	h := sha256.New()
	if err := write(json.NewEncoder(h)); err != nil {
		_, _ = io.WriteString(h, err.Error()) // what JSON cannot tell is told by why
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// Learn looks for numbers on the training episodes and judges them on the others. The caller names the rule.
func (s Study) Learn(ctx context.Context, knobs []learn.Knob, train, validate []Episode, tolerance float64, o learn.Options) (learn.Rule, error) {
	if s.Measure == Allocation && slices.ContainsFunc(knobs, func(k learn.Knob) bool {
		return slices.ContainsFunc(learn.Knobs(learn.Times), func(t learn.Knob) bool { return t.Name == k.Name })
	}) {
		return learn.Rule{}, errs.Errorf("twin.Learn", errs.Invalid, "the order in time changes nothing where a hall is filled: learn it by completion times, with the measure %s", JCT)
	}
	policy := s.Options.Policy
	p := learn.Problem{Knobs: knobs, Default: policy, Measure: s.Kind(), Episodes: len(train), Pull: func(p sched.Policy, i int) (float64, error) {
		return s.Score(ctx, p, train[i])
	}}
	found, err := learn.Search(p, o)
	if err != nil {
		return learn.Rule{}, err
	}
	r := learn.Rule{
		Version: learn.Version, Default: learn.Of(policy, knobs), Learned: found.Numbers, Measure: s.Kind(), Tolerance: tolerance,
		Setting:  s.setting(),
		Search:   learn.Record{Method: learn.Method, Seed: o.Seed, Rounds: found.Rounds, Arms: found.Arms, Tried: found.Tried, Pulls: found.Pulls},
		Training: learn.Part{Episodes: s.labels(train), Result: learn.Compare(s.Kind(), found.Default, found.Learned)},
	}
	if r.Validation, err = s.compare(ctx, r, validate, nil); err != nil {
		return learn.Rule{}, err
	}
	if r.Verdict, r.Why = learn.Judge(s.Kind(), r.Validation.Result, tolerance); maps.Equal(r.Default, r.Learned) {
		r.Why = "nothing that was tried is better than the default on the training episodes"
	}
	return r, nil
}

// Test compares the rule's numbers with its default on episodes that it has never seen, whatever its verdict.
func (s Study) Test(ctx context.Context, r learn.Rule, list []Episode, told func(done, all int)) (learn.Part, error) {
	const op = "twin.Test"
	seen := slices.Concat(r.Training.Episodes, r.Validation.Episodes)
	for _, e := range list {
		label := s.Label(e)
		source := s.Traces[e.Trace].Source()
		for _, t := range r.Setting.Traces {
			if t.Digest == source.Digest && slices.Contains(seen, fmt.Sprintf("%s/%d", t.Name, e.Number)) {
				return learn.Part{}, errs.Errorf(op, errs.Invalid, "the rule was chosen on %s: test it on what was held out", label)
			}
			if t.Digest != source.Digest && t.Name == source.Name {
				return learn.Part{}, errs.Errorf(op, errs.Invalid, "%s is not the trace of that name that the rule was learned on: rename it, if it is to be another", t.Name)
			}
		}
	}
	part, err := s.compare(ctx, r, list, told)
	if part.Looks = 1; r.Test != nil {
		part.Looks += r.Test.Looks
	}
	return part, err
}

func (s Study) compare(ctx context.Context, r learn.Rule, list []Episode, told func(done, all int)) (learn.Part, error) {
	var base, learned []float64
	for i, e := range list {
		for _, n := range []learn.Numbers{r.Default, r.Learned} {
			v, err := s.Score(ctx, n.In(s.Options.Policy), e)
			if err != nil {
				return learn.Part{}, err
			}
			if base = append(base, v); len(base) > i+1 {
				learned, base = append(learned, v), base[:i+1]
			}
		}
		if told != nil {
			told(2*(i+1), 2*len(list))
		}
	}
	return learn.Part{Episodes: s.labels(list), Result: learn.Compare(s.Kind(), base, learned)}, nil
}

func (s Study) labels(list []Episode) (out []string) {
	for _, e := range list {
		out = append(out, s.Label(e))
	}
	return out
}

func (s Study) setting() learn.Setting {
	out := learn.Setting{Protocol: s.Protocol(), Nodes: len(s.Options.Nodes), Hall: HallDigest(s.Options.Nodes)}
	out.Windows = s.Windows
	if s.Measure == Allocation && s.Windows > 0 {
		out.Orders = s.Orders
	}
	for _, n := range s.Options.Nodes {
		out.Accelerators += len(n.Accelerators)
	}
	for _, t := range s.Traces {
		out.Traces = append(out.Traces, t.Source())
	}
	return out
}
