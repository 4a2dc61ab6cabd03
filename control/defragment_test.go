package control_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/control"
	"github.com/lineshaft/lineshaft/job"
)

// apart is a job on two nodes' worth of room that one relocation would bring together.
type apart struct {
	*testing.T
	core  *control.Core
	now   time.Time
	mover job.Job
	found []job.Relocation
}

func newApart(t *testing.T) *apart {
	earliest := start.Add(30 * time.Minute)
	a := &apart{T: t, now: start, mover: job.Job{
		ID: 3, Name: "tune", Kind: job.Command, State: job.Running, Attempt: 1, Spec: job.Spec{Tasks: 1, Preemptible: true},
		Tasks: []job.Task{{Attempt: 1, State: job.Running, Node: "n1", Accelerators: []string{"0"}}},
	}}
	a.found = []job.Relocation{{
		Starts: "7", Name: "wide", Earliest: &earliest, Unit: "accelerators", Holds: 1, Gains: 8,
		Moves: []job.Move{{
			Job: 3, Name: "tune", Attempt: 1, Grace: job.Duration(10 * time.Second),
			From: []job.PlannedPlace{{Node: "n1", Accelerators: []string{"0"}}}, To: []job.PlannedPlace{{Node: "n2", Accelerators: []string{"1"}}},
		}},
	}}
	a.core = control.NewCore([]control.Policy{control.Defragment(control.DefragmentOptions{})}, nil, nil)
	return a
}

// step looks, and gives the actions that were written and those to be applied.
func (a *apart) step(inputs ...control.Input) (saved, apply []control.Action) {
	a.Helper()
	inputs = append(inputs, control.Seen{Jobs: []job.Job{a.mover}}, control.Found{Relocations: a.found})
	for _, e := range a.core.Step(a.now, inputs...) {
		switch e := e.(type) {
		case control.SaveAction:
			saved = append(saved, e.Action)
		case control.Apply:
			apply = append(apply, e.Action)
		case control.Refused:
			a.Fatal(e.Err)
		}
	}
	return saved, apply
}

func (a *apart) proposed() control.Action {
	a.Helper()
	saved, apply := a.step()
	if len(saved) != 1 || len(apply) != 0 || saved[0].State != control.Proposed {
		a.Fatalf("proposed %+v, applied %+v", saved, apply)
	}
	return saved[0]
}

func TestAMoveWaitsForAPersonWithItsCostAndGain(t *testing.T) {
	a := newApart(t)
	act := a.proposed()
	// 1 accelerator for 10 s of grace and 30 s of restart, against 8 accelerators for half an hour.
	want := []control.Fact{{"cost_accelerator_seconds", "40"}, {"gain_accelerator_seconds", "14400"}}
	if !slices.Equal(act.Evidence[:2], want) || act.Subject != "job/7" || !reflect.DeepEqual(act.Moves, a.found[0].Moves) {
		t.Errorf("%+v", act)
	}
	if !strings.Contains(act.Reasons[0], "job 7 (wide) would start at once, otherwise in 30m0s") || !strings.Contains(act.Reasons[1], "n2/1") {
		t.Errorf("reasons: %q", act.Reasons)
	}
	if saved, apply := a.step(); len(saved)+len(apply) != 0 {
		t.Errorf("seen again: %+v %+v", saved, apply)
	}
}

func TestAMoveThatIsApprovedIsVerifiedByTheJobRunningInItsNewPlace(t *testing.T) {
	a := newApart(t)
	act := a.proposed()
	if _, apply := a.step(control.Approved{ID: act.ID, Actor: "user/ann"}); len(apply) != 1 {
		t.Fatalf("applied %+v", apply)
	}
	a.mover.State, a.found = job.Stopping, nil
	a.step(control.Done{ID: act.ID})
	a.now = a.now.Add(12 * time.Second)
	a.mover.State, a.mover.Attempt = job.Running, 2
	a.mover.Tasks = []job.Task{{Attempt: 2, State: job.Running, Node: "n2", Accelerators: []string{"1"}}}
	saved, _ := a.step()
	if len(saved) != 1 || saved[0].State != control.Verified || !strings.Contains(saved[0].Outcome, "12s") {
		t.Errorf("%+v", saved)
	}
}

func TestAMoveThatWentElsewhereOrNeverEndedHasFailed(t *testing.T) {
	for name, then := range map[string]func(*apart){
		"elsewhere": func(a *apart) { a.mover.State, a.mover.Attempt = job.Running, 2 },
		"never":     func(a *apart) { a.mover.State, a.now = job.Queued, a.now.Add(11*time.Minute) },
	} {
		a := newApart(t)
		act := a.proposed()
		a.step(control.Approved{ID: act.ID, Actor: "user/ann"})
		a.found = nil
		a.step(control.Done{ID: act.ID})
		then(a)
		if saved, _ := a.step(); len(saved) != 1 || saved[0].State != control.Failed || saved[0].Outcome == "" {
			t.Errorf("%s: %+v", name, saved)
		}
	}
}

func TestAMoveIsOnlyProposedWhileItIsWorthIt(t *testing.T) {
	for name, change := range map[string]func(*apart){
		"the gain is less than twice the cost": func(a *apart) { at := a.now.Add(9 * time.Second); a.found[0].Earliest = &at },
		"it was stopped for others just now":   func(a *apart) { at := a.now.Add(-time.Minute); a.mover.Preempted = &at },
		"the job has ended":                    func(a *apart) { a.mover.ID = 4 },
	} {
		a := newApart(t)
		change(a)
		if saved, _ := a.step(); len(saved) != 0 {
			t.Errorf("%s: %+v", name, saved)
		}
	}
	a := newApart(t)
	a.proposed()
	a.found = nil
	if saved, _ := a.step(); len(saved) != 1 || saved[0].State != control.Failed || !strings.Contains(saved[0].Outcome, "overtaken") {
		t.Errorf("when the need has gone: %+v", saved)
	}
}
