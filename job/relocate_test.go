package job_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
)

// moveOf is a move of the job's tasks to one node.
func moveOf(j job.Job, node string) job.Move {
	m := job.Move{Job: j.ID, Attempt: j.Attempt}
	for _, t := range j.Tasks {
		m.From = append(m.From, job.PlannedPlace{Task: t.Index, Node: t.Node, Accelerators: t.Accelerators})
		m.To = append(m.To, job.PlannedPlace{Task: t.Index, Node: node})
	}
	return m
}

// newMover is a hall of two nodes, and the spec of a job that may move between them.
func newMover(t *testing.T) (*sim, job.Spec) {
	s := newSim(t, node("n1", 4), node("n2", 4))
	s.machine.automatic, s.machine.obedient = true, true
	s.adopt()
	spec := command("mover")
	spec.Preemptible, spec.Resources.CPU = true, 3
	return s, spec
}

func TestAJobMovesWithItsPlaceKeptAndGoesOnThere(t *testing.T) {
	s, spec := newMover(t)
	j := s.get(s.submit(spec).ID)
	s.settle()
	j = s.get(j.ID)
	from := j.Tasks[0].Node
	to := map[string]string{"n1": "n2", "n2": "n1"}[from]
	move := job.Relocate{Moves: []job.Move{moveOf(j, to)}, Reason: "job 2 starts then", Nodes: s.nodes, Actor: "policy/defragment"}
	if err := s.step(0, move); err != nil {
		t.Fatal(err)
	}
	if j = s.get(j.ID); j.State != job.Stopping || len(j.Claim) != 1 || !strings.Contains(j.Reason, "moved to "+to) {
		t.Fatalf("it is %s, claims %v: %s", j.State, j.Claim, j.Reason)
	}
	// One that is more important does not get the place that is kept, nor does a crash lose it.
	s.crash()
	s.adopt()
	spec.Name, spec.Priority, spec.Preemptible = "wide", 100, false
	wide := s.submit(spec)
	if err := s.step(0, move); err != nil {
		t.Fatalf("asked again: %v", err)
	}
	s.settle()
	j, wide = s.get(j.ID), s.get(wide.ID)
	if j.State != job.Running || j.Tasks[0].Node != to || j.Attempt != 2 || len(j.Claim) != 0 {
		t.Errorf("the job that moved is %s on %s in attempt %d, claims %v", j.State, j.Tasks[0].Node, j.Attempt, j.Claim)
	}
	if wide.State != job.Running || wide.Tasks[0].Node != from {
		t.Errorf("the one it made room for is %s on %s", wide.State, wide.Tasks[0].Node)
	}
	if err := s.step(0, move); err != nil || s.get(j.ID).State != job.Running {
		t.Errorf("asked once more, after it has moved: %v", err)
	}
}

func TestWhatIsKeptForAJobThatWasLostBeforeIsKeptToo(t *testing.T) {
	s, spec := newMover(t)
	j := s.submit(spec)
	for range 3 { // without any progress: it is tried again after a pause
		s.settle()
		j = s.get(j.ID)
		s.machine.change(ref(j.ID, 0, j.Tasks[0].Attempt), func(st *exec.Status) { st.State = exec.Lost })
		s.adopt()
		s.now = s.now.Add(time.Second)
		_ = s.step(0)
	}
	s.settle()
	j = s.get(j.ID)
	to := map[string]string{"n1": "n2", "n2": "n1"}[j.Tasks[0].Node]
	move := job.Relocate{Moves: []job.Move{moveOf(j, to)}, Reason: "job 2 starts then", Nodes: s.nodes, Actor: "policy/defragment"}
	if err := s.step(0, move); err != nil || j.Lost != 3 {
		t.Fatalf("lost %d times: %v", j.Lost, err)
	}
	spec.Name, spec.Preemptible, spec.Resources.CPU = "other", false, 4
	first, second := s.submit(spec), s.submit(spec)
	s.settle()
	if j = s.get(j.ID); j.State != job.Running || j.Tasks[0].Node != to {
		t.Errorf("the job is %s: %s; the others are %s and %s", j.State, j.Reason, s.get(first.ID).State, s.get(second.ID).State)
	}
}

func TestWhatIsKeptForAJobIsFreeOnceItIsCanceled(t *testing.T) {
	s := newSim(t, node("n1", 4), node("n2", 4))
	s.machine.automatic = true // and nothing stops before its grace is over
	s.adopt()
	spec := command("mover")
	spec.Preemptible, spec.Resources.CPU = true, 3
	j := s.get(s.submit(spec).ID)
	s.settle()
	j = s.get(j.ID)
	to := map[string]string{"n1": "n2", "n2": "n1"}[j.Tasks[0].Node]
	if err := s.step(0, job.Relocate{Moves: []job.Move{moveOf(j, to)}, Reason: "job 2 starts then", Nodes: s.nodes, Actor: "policy/defragment"}); err != nil {
		t.Fatal(err)
	}
	spec.Name = "other"
	other := s.submit(spec)
	if other = s.get(other.ID); other.State != job.Queued {
		t.Fatalf("the other is %s before", other.State)
	}
	if err := s.step(0, job.CancelRequested{ID: j.ID, Actor: "user/ann"}); err != nil {
		t.Fatal(err)
	}
	if j, other = s.get(j.ID), s.get(other.ID); j.State != job.Stopping || other.State == job.Queued || other.Tasks[0].Node != to {
		t.Errorf("the job is %s, the other is %s: %s", j.State, other.State, other.Reason)
	}
}

func TestAMoveThatCannotBeIsRefusedAndStopsNothing(t *testing.T) {
	s, spec := newMover(t)
	one, two := s.submit(spec).ID, s.submit(spec).ID
	spec.Preemptible, spec.Resources.CPU = false, 1
	fixed := s.submit(spec).ID
	s.settle()
	a, b := s.get(one), s.get(two)
	elsewhere := moveOf(a, b.Tasks[0].Node)
	elsewhere.From[0].Node = "n9"
	for name, c := range map[string]struct {
		move job.Move
		kind errs.Kind
	}{
		"to a place that is taken":                {moveOf(a, b.Tasks[0].Node), errs.Conflict},
		"to a node that is not there":             {moveOf(a, "n9"), errs.Conflict},
		"of a job that is not there":              {job.Move{Job: 99, Attempt: 1}, errs.Conflict},
		"of a job that may not be stopped":        {moveOf(s.get(fixed), "n1"), errs.Denied},
		"from where it does not lie, as it seems": {elsewhere, errs.Conflict},
	} {
		err := s.step(0, job.Relocate{Moves: []job.Move{c.move}, Nodes: s.nodes, Actor: "user/ann"})
		if !errs.Is(err, c.kind) {
			t.Errorf("a move %s: %v", name, err)
		}
	}
	for _, id := range []job.ID{one, two, fixed} {
		if j := s.get(id); j.State != job.Running || j.Attempt != 1 || len(j.Claim) != 0 {
			t.Errorf("job %d is %s in attempt %d", id, j.State, j.Attempt)
		}
	}
}

func TestAPlaceThatIsLostOnTheWayMakesTheJobWaitLikeAnyOther(t *testing.T) {
	s, spec := newMover(t)
	id := s.submit(spec).ID
	s.settle()
	j := s.get(id)
	to := map[string]string{"n1": "n2", "n2": "n1"}[j.Tasks[0].Node]
	if err := s.step(0, job.Relocate{Moves: []job.Move{moveOf(j, to)}, Nodes: s.nodes, Actor: "policy/defragment"}); err != nil {
		t.Fatal(err)
	}
	for i := range s.nodes {
		s.nodes[i].Cordoned = true
	}
	s.settle()
	if j = s.get(id); j.State != job.Queued || len(j.Claim) != 0 || len(j.Reasons) == 0 {
		t.Fatalf("it is %s, claims %v, waits for %+v", j.State, j.Claim, j.Reasons)
	}
	for i := range s.nodes {
		s.nodes[i].Cordoned = false
	}
	s.now = s.now.Add(time.Second)
	_ = s.step(0)
	s.settle()
	if j = s.get(id); j.State != job.Running {
		t.Errorf("it is %s: %s", j.State, j.Reason)
	}
}

func TestAWaitingJobStartsOnceAnotherHasMovedForIt(t *testing.T) {
	h := newHall(t, func(o *job.Options) {
		o.Nodes = func() []fleet.Node { return []fleet.Node{node("n1", 4), node("n2", 4)} }
	})
	spec := command("first")
	spec.Resources.CPU = 3
	first := h.state(h.submit(spec).ID, job.Running)
	spec.Name, spec.Preemptible, spec.Resources.CPU = "tune", true, 2
	mover := h.state(h.submit(spec).ID, job.Running)
	h.machine.exit(ref(first.ID, 0, 1), 0)
	h.state(first.ID, job.Succeeded)
	spec.Name, spec.Preemptible = "other", false
	spec.Resources.CPU = 1
	other := h.state(h.submit(spec).ID, job.Running)
	if other.Tasks[0].Node == mover.Tasks[0].Node {
		t.Fatalf("both lie on %s: the test proves nothing", other.Tasks[0].Node)
	}
	spec.Name, spec.Resources.CPU = "wide", 4
	wide := h.submit(spec)
	if found, err := h.Relocations(t.Context()); err != nil || len(found) != 0 {
		t.Fatalf("before it has settled: %+v, %v", found, err)
	}
	h.clock.Advance(11 * time.Minute)
	found, err := h.Relocations(t.Context())
	if err != nil || len(found) != 1 {
		t.Fatalf("found %+v, %v", found, err)
	}
	r := found[0]
	if r.Starts != wide.ID.String() || r.Name != "wide" || r.Unit != "cores" || r.Holds != 2 || r.Gains != 4 || r.Earliest != nil {
		t.Errorf("found %+v", r)
	}
	if err := h.Relocate(t.Context(), "policy/defragment", "wide starts then", r.Moves); err != nil {
		t.Fatal(err)
	}
	h.state(wide.ID, job.Running)
	if j := h.state(mover.ID, job.Running); j.Tasks[0].Node != other.Tasks[0].Node || j.Attempt != 2 || j.RetriesLeft != 0 {
		t.Errorf("what moved: %+v", j)
	}
}
