package twin_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/sched"
	"github.com/lineshaft/lineshaft/twin"
)

func replay(t *testing.T, trace twin.Trace, p sched.Policy) twin.Report {
	t.Helper()
	r, err := twin.Replay(t.Context(), trace, twin.Options{Nodes: twin.Nodes(2, 8), Policy: p, Predict: true})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func randomTrace(seed uint64, n int) (t twin.Trace) {
	r := rand.New(rand.NewPCG(seed, 2))
	at := time.Unix(1e6, 0)
	for i := range n {
		at = at.Add(time.Duration(r.IntN(3)*r.IntN(900)) * time.Second)
		j := twin.Job{ID: fmt.Sprint("job-", i), Submit: at, Duration: time.Duration(1+r.IntN(9000)) * time.Second, Tasks: 1}
		j.Each.Accelerators = []int{1, 1, 2, 4, 8}[r.IntN(5)]
		if r.IntN(9) == 0 {
			j.Tasks, j.Each.Accelerators = 2, 8
		}
		t.Jobs = append(t.Jobs, j)
	}
	return t
}

func TestPlanningTheHeadOfTheQueueAloneChangesNothing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		trace := randomTrace(seed, 300)
		head := replay(t, trace, sched.Policy{Backfill: sched.Strict})
		// A grace that nobody is ever given lets the whole queue be planned.
		whole := replay(t, trace, sched.Policy{Backfill: sched.Strict, Preempt: sched.Preemption{Grace: time.Second}})
		if head.JCT != whole.JCT || head.Wait != whole.Wait || head.Longest != whole.Longest || head.Makespan != whole.Makespan || head.First != whole.First {
			t.Errorf("seed %d: the head alone gives %+v, the whole queue %+v", seed, head.JCT, whole.JCT)
		}
		if head.Decisions >= whole.Decisions/2 {
			t.Errorf("seed %d: %d decisions instead of %d", seed, head.Decisions, whole.Decisions)
		}
	}
}

func TestTheSameTraceGivesTheSameReport(t *testing.T) {
	t.Parallel()
	trace := randomTrace(7, 300)
	p := sched.WithForesight()
	p.Overdue, p.Preempt.Cost = 3*time.Hour, 5*time.Minute
	one, two := replay(t, trace, p), replay(t, trace, p)
	a, err := json.Marshal(one)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := json.Marshal(two); err != nil || string(a) != string(b) {
		t.Errorf("two replays differ:\n%s\n%s", a, b)
	}
	if one.Stops == 0 || one.Makespan <= 0 {
		t.Errorf("nothing was stopped: %+v", one)
	}
}

func TestWhatIsKeptBetweenPlansGivesThePlanThatAllMadeAfreshGives(t *testing.T) {
	t.Parallel()
	for _, rule := range []string{"lineshaft", "srtf-any", "easy", "las"} {
		trace, o := randomTrace(7, 60), options(t, rule)
		o.Nodes, o.Policy.Preempt.Grace = twin.Nodes(2, 8), 2*time.Minute
		plans := 0
		twin.Plans(&o, func(kept, afresh sched.Snapshot) {
			plans++
			a, err := json.Marshal(sched.Plan(kept))
			if err != nil {
				t.Fatal(err)
			}
			b, err := json.Marshal(sched.Plan(afresh))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(a, b) {
				t.Fatalf("%s, plan %d:\n%s\n%s", rule, plans, a, b)
			}
		})
		replayed(t, trace, o)
		if plans < 60 {
			t.Errorf("%s: only %d plans were compared", rule, plans)
		}
	}
}
