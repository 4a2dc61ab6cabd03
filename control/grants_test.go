package control_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/control"
	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/job"
)

// tenants are two running tasks on one node of 2 cores, each promised 1 core and 1 GiB, as their owner keeps them: a
// change of a grant holds from the next measurement on.
type tenants struct {
	*testing.T
	now     time.Time
	core    *control.Core
	uses    []job.Use
	journal []control.Action
}

func newTenants(t *testing.T, mode control.Mode) *tenants {
	p := control.Grants(control.GrantsOptions{})
	w := &tenants{T: t, now: start, core: control.NewCore([]control.Policy{p}, map[string]control.Mode{"grants": mode}, nil)}
	promise := job.Grant{CPU: 1, Memory: units.GiB, Disk: units.GiB}
	for id := range job.ID(2) {
		w.uses = append(w.uses, job.Use{Job: id + 1, Attempt: 1, Node: "n", Promise: promise, Grant: promise, Room: job.Grant{CPU: 2}})
		w.does(int(id), 0.8, 0, 700*units.MiB)
	}
	return w
}

// does is what a task does for the whole window before now.
func (w *tenants) does(task int, cpu, throttled float64, memory units.Bytes) {
	u := &w.uses[task].Used
	u.CPU, u.Throttled, u.Memory, u.Disk = cpu, throttled, memory, 700*units.MiB
	u.Recent = exec.Recent{Over: 30 * time.Second, CPU: cpu, Memory: memory, Disk: u.Disk}
	u.Span = 2 * time.Second
}

// passes lets time pass, a second at a time, and carries out what is decided.
func (w *tenants) passes(d time.Duration) {
	w.Helper()
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(time.Second)
		var jobs []job.Job
		for i := range w.uses {
			w.uses[i].Used.Time = w.now
			jobs = append(jobs, job.Job{ID: w.uses[i].Job, State: job.Running, Tasks: []job.Task{{Attempt: 1, State: job.Running, Node: "n"}}})
		}
		effects := w.core.Step(w.now, control.Seen{Jobs: jobs}, control.Measured{Uses: append([]job.Use{}, w.uses...)})
		for len(effects) > 0 {
			var done []control.Input
			for _, e := range effects {
				switch e := e.(type) {
				case control.SaveAction:
					w.journal = append(w.journal, e.Action)
				case control.Apply:
					u := &w.uses[e.Action.Target.Job-1]
					u.Grant = u.Grant.With(e.Action.Grant.Change)
					done = append(done, control.Done{ID: e.Action.ID})
				}
			}
			if effects = nil; len(done) > 0 {
				effects = w.core.Step(w.now, done...)
			}
		}
	}
}

func (w *tenants) ended(state control.ActionState) (out []control.Action) {
	for _, a := range w.journal {
		if a.State == state {
			out = append(out, a)
		}
	}
	return out
}

func TestAnIdleTasksGrantShrinksSlowlyAndComesBackAtOnce(t *testing.T) {
	w := newTenants(t, control.Act)
	w.does(0, 0.01, 0, 50*units.MiB)
	w.passes(2 * time.Second)
	if g := w.uses[0].Grant; g.CPU != 0.5 || g.Memory != 512*units.MiB || w.uses[1].Grant != w.uses[1].Promise {
		t.Fatalf("%+v %+v", g, w.uses[1].Grant)
	}
	w.passes(5 * time.Minute)
	if g := w.uses[0].Grant; g.CPU != 0.25 || g.Memory != 256*units.MiB {
		t.Errorf("not at its floor: %+v", g)
	}
	if done := w.ended(control.Verified); len(done) != 4 || !strings.Contains(done[0].Reasons[1], "it has used 0.01 cores at most") || done[0].Outcome == "" {
		t.Errorf("%+v", done)
	}
	w.does(0, 0.25, 0.6, 240*units.MiB)
	w.passes(2 * time.Second)
	if g := w.uses[0].Grant; g != w.uses[0].Promise {
		t.Errorf("%+v", g)
	}
}

func TestATaskThatOthersSlowDownWantsItsPromiseBackToo(t *testing.T) {
	w := newTenants(t, control.Act)
	w.does(0, 0.01, 0, 700*units.MiB)
	w.passes(3 * time.Minute)
	w.does(0, 0.1, 0, 700*units.MiB)
	w.uses[0].Used.Waiting = 0.8
	w.passes(2 * time.Second)
	if g := w.uses[0].Grant.CPU; g != 1 {
		t.Errorf("%v cores", g)
	}
}

func TestWhatAnIdleTaskLeavesIsLentAndTakenBackAtOnce(t *testing.T) {
	w := newTenants(t, control.Act)
	w.does(0, 0.01, 0, 700*units.MiB)
	w.does(1, 1, 0.9, 700*units.MiB)
	w.passes(3 * time.Minute)
	if a, b := w.uses[0].Grant.CPU, w.uses[1].Grant.CPU; a != 0.25 || b != 1.75 {
		t.Fatalf("%v and %v cores", a, b)
	}
	w.does(0, 0.25, 0.9, 700*units.MiB)
	w.passes(2 * time.Second)
	if a, b := w.uses[0].Grant.CPU, w.uses[1].Grant.CPU; a != 1 || b != 1 {
		t.Errorf("%v and %v cores", a, b)
	}
}

func TestWhatIsPromisedToATaskThatIsNotMeasuredYetIsNotLent(t *testing.T) {
	w := newTenants(t, control.Act)
	w.uses = w.uses[:1]
	w.does(0, 1, 0.9, 700*units.MiB)
	other := job.Job{ID: 9, State: job.Starting, Tasks: []job.Task{{Attempt: 1, State: job.Starting, Node: "n"}}}
	other.Spec.Resources.CPU = 1
	w.uses[0].Used.Time = w.now
	self := job.Job{ID: 1, State: job.Running, Tasks: []job.Task{{Attempt: 1, State: job.Running, Node: "n"}}}
	if e := w.core.Step(w.now, control.Seen{Jobs: []job.Job{self, other}}, control.Measured{Uses: w.uses}); len(e) > 0 {
		t.Errorf("%+v", e)
	}
}

func TestGrantsAreOnlyAdvisedInThatModeButForWhatWasPromised(t *testing.T) {
	w := newTenants(t, control.Advise)
	w.does(0, 0.01, 0, 50*units.MiB)
	w.passes(10 * time.Second)
	if w.uses[0].Grant != w.uses[0].Promise || len(w.ended(control.Proposed)) != 2 {
		t.Fatalf("%+v %+v", w.uses[0].Grant, w.journal)
	}
	w.uses[0].Grant.CPU = 0.3 // as a person approved
	w.does(0, 0.3, 0.5, 700*units.MiB)
	w.passes(70 * time.Second)
	if w.uses[0].Grant.CPU != 1 {
		t.Errorf("%+v", w.uses[0].Grant)
	}
	if len(w.ended(control.Failed)) == 0 {
		t.Error("what was advised and is not needed any more stays open")
	}
}

func TestGrantsDoNotMoveWhenUseIsSteady(t *testing.T) {
	w := newTenants(t, control.Act)
	w.passes(10 * time.Minute)
	if len(w.journal) > 0 {
		t.Errorf("%+v", w.journal)
	}
}

func TestAChangeThatDoesNotHoldIsSaid(t *testing.T) {
	w := newTenants(t, control.Act)
	w.does(0, 0.01, 0, 700*units.MiB)
	for range 20 {
		w.passes(time.Second)
		w.uses[0].Grant = w.uses[0].Promise // the machine does not take it
	}
	if failed := w.ended(control.Failed); len(failed) != 1 || !strings.Contains(failed[0].Outcome, "1 core is granted still") {
		t.Errorf("%+v", failed)
	}
}

// tardy is one running task that is granted less than its promise, whose owner fails to change that at first.
type tardy struct {
	mu   sync.Mutex
	use  job.Use
	fail int
}

func (w *tardy) Uses(context.Context, job.ID) ([]job.Use, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return []job.Use{w.use}, nil
}

func (w *tardy) AdjustGrant(_ context.Context, _ string, _ job.ID, _, _ int, change job.Grant) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail--; w.fail >= 0 {
		return errs.Errorf("test", errs.Unavailable, "not now")
	}
	w.use.Grant = w.use.Grant.With(change)
	return nil
}

func TestWhereGrantsDoNotFollowNeedPromisesComeBackInTheEnd(t *testing.T) {
	w := &tardy{use: job.Use{Job: 1, Attempt: 1, Promise: job.Grant{CPU: 2}, Grant: job.Grant{CPU: 1}}, fail: 2}
	c, store := clock.NewFake(start), newWorld(1)
	r := control.NewRunner(control.Options{
		Store: store, Jobs: store, Tasks: w, Clock: c, Log: slog.New(slog.DiscardHandler), Tick: time.Millisecond,
		Policies: []control.Policy{control.Grants(control.GrantsOptions{})},
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	if err := r.SetMode(ctx, "user/ann", "grants", control.Off); err == nil {
		t.Error("it is not said that a promise could not be given back")
	}
	for range 5000 {
		if uses, _ := w.Uses(ctx, 0); uses[0].Grant == uses[0].Promise {
			break
		}
		c.Advance(time.Second)
		time.Sleep(time.Millisecond)
	}
	if uses, _ := w.Uses(ctx, 0); uses[0].Grant != uses[0].Promise {
		t.Errorf("%+v", uses)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}
