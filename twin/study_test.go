package twin_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/sched"
	"github.com/lineshaft/lineshaft/sched/learn"
	"github.com/lineshaft/lineshaft/twin"
)

func file(t testing.TB, name string) *os.File {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// The small halls: one in which a better weight is known, which is the example, and one in which luck decides.
const (
	cores = "../../examples/learn/"
	luck  = "luck_"
)

// filled is a study of one of the small halls.
func filled(t testing.TB, name string) twin.Study {
	t.Helper()
	trace, err := twin.ReadOpenb(file(t, name+"pods.csv"), true)
	if err != nil {
		t.Fatal(err)
	}
	trace.Name = "pods"
	s := twin.Study{Traces: []twin.Trace{trace}, Measure: twin.Allocation}
	if s.Options.Nodes, err = twin.ReadOpenbNodes(file(t, name+"nodes.csv")); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	return s
}

func numbered(t testing.TB, s twin.Study, from, to int) []twin.Episode {
	t.Helper()
	var numbers []int
	for ; from <= to; from++ {
		numbers = append(numbers, from)
	}
	out, err := s.Episodes(numbers)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func places(t testing.TB) []learn.Knob {
	t.Helper()
	return learn.Knobs(learn.Places)
}

func TestFillIsAsByHand(t *testing.T) {
	for _, c := range []struct {
		jobs, hall string
		want       float64
	}{
		{"id,submit,duration,accelerators\na,0,1,1\nb,1,1,1\n", "1x4", 100},
		{"id,submit,duration,accelerators\na,0,1,3\nb,1,1,3\n", "1x4", 75},           // the second is dropped
		{"id,submit,duration,accelerators\na,0,1,2\nb,1,1,2\n", "4x3", 100. / 3 * 2}, // a third of each node stays free
		{"id,submit,duration,cpu\na,0,1,512\nb,1,1,512\n", "1x0", 100},
	} {
		nodes, err := twin.ParseNodes(c.hall)
		if err != nil {
			t.Fatal(err)
		}
		got, err := twin.Fill(context.Background(), table(t, c.jobs), nodes, sched.Weights{}, 1)
		if err != nil {
			t.Fatal(err)
		}
		near(t, c.hall+" filled", got, c.want)
	}
	nodes, _ := twin.ParseNodes("2x4")
	if _, err := twin.Fill(context.Background(), table(t, "id,submit,duration,cpu\na,0,1,1\n"), nodes, sched.Weights{}, 1); err == nil {
		t.Error("jobs without accelerators fill a hall of accelerators")
	}
}

// In this hall every node has few cores for its devices, or many; shares take many cores for each device. The default
// prices cores too low for so small a hall: with a congestion of 60 and more the shares go where there are cores.
func TestABetterWeightIsFound(t *testing.T) {
	s := filled(t, cores)
	better := sched.DefaultWeights()
	better.Congestion = 90
	gain := 0.0
	for _, e := range numbered(t, s, 100, 119) {
		base, err := s.Score(context.Background(), sched.Policy{}, e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Score(context.Background(), sched.Policy{Weights: better}, e)
		if err != nil {
			t.Fatal(err)
		}
		gain += (got - base) / 20
	}
	if gain < 1.5 {
		t.Fatalf("the weight that is known to be better gains %v points: the test proves nothing", gain)
	}
	run := func() learn.Rule {
		r, err := s.Learn(context.Background(), places(t), numbered(t, s, 1, 6), numbered(t, s, 7, 14), 0.5, learn.Options{Seed: 1, Arms: 16})
		if err != nil {
			t.Fatal(err)
		}
		r.Name = "cores"
		return r
	}
	r := run()
	if r.Verdict != learn.Learned || r.Learned["congestion"] < 50 || r.Validation.Result.Gain < 1.5 {
		t.Errorf("%s (%s) with %v", r.Verdict, r.Why, r.Learned)
	}
	if r.Learned["power"] != 5 || r.Learned["tightness"] != 1 {
		t.Errorf("%v: no node draws power, which is not to be changed", r.Learned)
	}
	one, err := r.YAML()
	if err != nil {
		t.Fatal(err)
	}
	two, err := run().YAML()
	if err != nil || !bytes.Equal(one, two) {
		t.Errorf("the same seed gave another rule (%v):\n%s\n%s", err, one, two)
	}
	if _, err := learn.Parse(one); err != nil {
		t.Errorf("what was learned cannot be read: %v", err)
	}

	part, err := s.Test(context.Background(), r, numbered(t, s, 20, 39), nil)
	if err != nil {
		t.Fatal(err)
	}
	if part.Looks != 1 || part.Result.Gain < 1 {
		t.Errorf("test: %+v", part)
	}
	r.Test = &part
	if again, err := s.Test(context.Background(), r, numbered(t, s, 20, 22), nil); err != nil || again.Looks != 2 {
		t.Errorf("a second test: %+v, %v", again, err)
	}
	if _, err := s.Test(context.Background(), r, numbered(t, s, 14, 20), nil); err == nil || !strings.Contains(err.Error(), "chosen on pods/14") {
		t.Errorf("a test on a validation episode: %v", err)
	}
	s.Traces[0].Jobs = s.Traces[0].Jobs[1:]
	if _, err := s.Test(context.Background(), r, numbered(t, s, 20, 22), nil); err == nil || !strings.Contains(err.Error(), "not the trace") {
		t.Errorf("a test on another trace of the same name: %v", err)
	}
}

// Here the order of arrivals decides more than any weight: what looks like a gain in training does not last.
func TestLuckLeavesTheDefault(t *testing.T) {
	s := filled(t, luck)
	r, err := s.Learn(context.Background(), places(t), numbered(t, s, 1, 6), numbered(t, s, 7, 14), 0.5, learn.Options{Seed: 1, Arms: 16})
	if err != nil {
		t.Fatal(err)
	}
	if r.Training.Result.Gain < 1 {
		t.Fatalf("training gains %v: the test proves nothing", r.Training.Result.Gain)
	}
	if r.Verdict != learn.Default || !strings.Contains(r.Why, "may be worse") {
		t.Errorf("%s: %s", r.Verdict, r.Why)
	}
	if p := r.In(sched.Policy{}); p != (sched.Policy{}) {
		t.Errorf("a rule that is not used plans by %+v", p)
	}
}

func TestWindowsOfATraceAreReplayedApart(t *testing.T) {
	trace, err := twin.ReadPhilly(file(t, "philly.csv"), twin.Philly{})
	if err != nil {
		t.Fatal(err)
	}
	s := twin.Study{Traces: []twin.Trace{trace}, Options: options(t, "lineshaft"), Measure: twin.JCT, Windows: 8}
	s.Options.Nodes = twin.Nodes(6, 8)
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	r, err := s.Learn(context.Background(), learn.Knobs(learn.Times), numbered(t, s, 1, 4), numbered(t, s, 5, 8), 0.5, learn.Options{Seed: 1, Arms: 4, Rounds: 1})
	if err != nil {
		t.Fatal(err)
	}
	part := trace
	part.Jobs = trace.Jobs[len(trace.Jobs)*4/8 : len(trace.Jobs)*5/8]
	near(t, "the fifth window", r.Validation.Result.Default[0], replayed(t, part, s.Options).JCT.Mean/3600)
	if len(r.Training.Episodes) != 4 || r.Training.Episodes[0] != "philly/1" || r.Setting.Windows != 8 {
		t.Errorf("%+v", r.Training)
	}
	if _, err := s.Episodes([]int{9}); err == nil {
		t.Error("there is no ninth window of eight")
	}
	s.Windows = 200
	if err := s.Check(); err == nil || !strings.Contains(err.Error(), "too few") {
		t.Errorf("windows of two jobs: %v", err)
	}
}

func TestStudiesThatCannotBeAreRefused(t *testing.T) {
	s := filled(t, cores)
	if _, err := s.Learn(context.Background(), learn.Knobs(), numbered(t, s, 1, 2), numbered(t, s, 3, 5), 0.5, learn.Options{}); err == nil || !strings.Contains(err.Error(), "order in time") {
		t.Errorf("the order in time by filling: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Learn(ctx, places(t), numbered(t, s, 1, 2), numbered(t, s, 3, 5), 0.5, learn.Options{}); !errs.Is(err, errs.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	for _, change := range []func(*twin.Study){
		func(s *twin.Study) { s.Measure = "beauty" },
		func(s *twin.Study) { s.Traces = nil },
		func(s *twin.Study) { s.Windows = -1 },
		func(s *twin.Study) { s.Traces = append(s.Traces, s.Traces[0]) },
	} {
		bad := s
		change(&bad)
		if err := bad.Check(); err == nil {
			t.Errorf("%+v is accepted", bad.Measure)
		}
	}
}
