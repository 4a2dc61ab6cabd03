package control_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/control"
	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/job"
)

var start = time.Unix(10_000, 0).UTC()

// world is one service as its owner keeps it, and the store of the loop; both outlive the loop.
type world struct {
	mu      sync.Mutex
	now     time.Time
	tasks   []job.Task
	gone    bool
	actions map[string]control.Action
	modes   map[string]control.Mode
	starts  map[string]int // by replica and attempt that died
	events  []event.Event
	broken  error // of the store
	refuse  error // of the owner
	changed chan struct{}
}

func newWorld(replicas int) *world {
	w := &world{now: start, actions: map[string]control.Action{}, modes: map[string]control.Mode{}, starts: map[string]int{}, changed: make(chan struct{})}
	for i := range replicas {
		w.tasks = append(w.tasks, job.Task{Index: i})
		w.run(i)
	}
	return w
}

func (w *world) run(i int) {
	at := w.now
	w.tasks[i] = job.Task{Index: i, Attempt: w.tasks[i].Attempt + 1, State: job.Running, Started: &at}
}

func (w *world) die(i int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tasks[i].State, w.tasks[i].Reason, w.tasks[i].ExitCode = job.Failed, "the process was killed from outside", 137
	w.tell()
}

func (w *world) tell() { close(w.changed); w.changed = make(chan struct{}) }

func (w *world) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

func (w *world) service() job.Job {
	return job.Job{ID: 12, Name: "web", Kind: job.Service, State: job.Running, Spec: job.Spec{Tasks: len(w.tasks)}, Tasks: slices.Clone(w.tasks)}
}

func (w *world) Active(context.Context) ([]job.Job, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone {
		return nil, nil
	}
	return []job.Job{w.service()}, nil
}

func (w *world) RestartReplica(_ context.Context, _ string, id job.ID, index, attempt int) (job.Job, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.tasks[index]
	switch {
	case w.refuse != nil:
		return job.Job{}, w.refuse
	case t.Attempt != attempt: // as job does
	case t.State == job.Running:
		return job.Job{}, errs.Errorf("world", errs.Conflict, "replica %d runs", index)
	default:
		w.starts[fmt.Sprint(index, "#", attempt)]++
		w.run(index)
		w.tell()
	}
	return w.service(), nil
}

func (w *world) PutAction(_ context.Context, a control.Action, e ...event.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken != nil {
		return w.broken
	}
	w.actions[a.ID], w.events = a, append(w.events, e...)
	return nil
}

func (w *world) ListActions(_ context.Context, f control.Filter) ([]control.Action, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []control.Action
	for _, a := range w.actions {
		if (!f.Open || a.State.Open()) && !a.Changed.Before(f.Since) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b control.Action) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.ID, b.ID))
	})
	return out, nil
}

func (w *world) PutMode(_ context.Context, policy string, m control.Mode, e ...event.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.modes[policy], w.events = m, append(w.events, e...)
	return w.broken
}

func (w *world) Modes(context.Context) (map[string]control.Mode, error) { return w.modes, nil }

func (w *world) SetReplicas(context.Context, string, job.ID, int) (job.Job, error) {
	return job.Job{}, nil
}

func (w *world) Relocations(context.Context) ([]job.Relocation, error) { return nil, nil }

func (w *world) Relocate(context.Context, string, string, []job.Move) error { return nil }

var (
	_ control.Jobs  = (*world)(nil)
	_ control.Store = (*world)(nil)
)

// loop runs a core over the world without goroutines.
type loop struct {
	*testing.T
	*world
	core *control.Core
}

func policies() []control.Policy {
	return []control.Policy{control.Restart(control.RestartOptions{})}
}

func newLoop(t *testing.T, w *world) *loop {
	l := &loop{T: t, world: w}
	l.crash()
	return l
}

// crash drops the core and takes up what the store has.
func (l *loop) crash() {
	open, _ := l.ListActions(context.Background(), control.Filter{Open: true})
	recent, _ := l.ListActions(context.Background(), control.Filter{Since: l.now.Add(-10 * time.Minute)})
	l.core = control.NewCore(policies(), l.modes, append(open, recent...))
}

// step writes what the core decides, and returns what it wants applied.
func (l *loop) step(inputs ...control.Input) (applies []control.Action) {
	l.Helper()
	seen, _ := l.Active(context.Background())
	for _, e := range l.core.Step(l.now, append(inputs, control.Seen{Jobs: seen})...) {
		switch e := e.(type) {
		case control.SaveAction:
			if old, ok := l.actions[e.Action.ID]; ok && old.State != e.Action.State && !old.State.May(e.Action.State) {
				l.Fatalf("%s went from %s to %s", e.Action.ID, old.State, e.Action.State)
			}
			_ = l.PutAction(context.Background(), e.Action, e.Events...)
		case control.SaveMode:
			_ = l.PutMode(context.Background(), e.Policy, e.Mode, e.Events...)
		case control.Refused:
			l.Fatalf("refused: %v", e.Err)
		case control.Apply:
			if l.actions[e.Action.ID].State != control.Decided {
				l.Fatalf("%s is applied while %q is written", e.Action.ID, l.actions[e.Action.ID].State)
			}
			applies = append(applies, e.Action)
		}
	}
	return applies
}

// tick lets time pass and everything that is due happen.
func (l *loop) tick(d time.Duration) {
	l.Helper()
	for end := l.now.Add(d); l.now.Before(end); {
		l.now = l.now.Add(min(500*time.Millisecond, end.Sub(l.now)))
		for _, a := range l.step() {
			l.step(l.applied(a))
		}
	}
}

func (l *loop) applied(a control.Action) control.Done {
	_, err := l.RestartReplica(context.Background(), "policy/restart", a.Target.Job, a.Target.Task, a.Target.Attempt)
	if err != nil {
		return control.Done{ID: a.ID, Reason: err.Error(), Transient: errs.Is(err, errs.Unavailable)}
	}
	return control.Done{ID: a.ID}
}

func (l *loop) expect(id string, want control.ActionState, outcome string) {
	l.Helper()
	a, ok := l.actions[id]
	if !ok || a.State != want || !strings.Contains(a.Outcome, outcome) {
		l.Fatalf("action %s is %q with outcome %q, want %s with %q; there are %v", id, a.State, a.Outcome, want, outcome, l.actions)
	}
}

func TestADeadReplicaIsRestartedAndTheOutcomeVerified(t *testing.T) {
	l := newLoop(t, newWorld(2))
	l.tick(time.Second)
	l.die(1)
	l.tick(500 * time.Millisecond)
	l.expect("act_restart_12_1_1", control.Decided, "")
	l.tick(time.Second)
	l.expect("act_restart_12_1_1", control.Applied, "")
	l.tick(9 * time.Second)
	l.expect("act_restart_12_1_1", control.Applied, "")
	l.tick(2 * time.Second)
	l.expect("act_restart_12_1_1", control.Verified, "attempt 2 has run for 10s")
	var kinds []string
	for _, e := range l.events {
		kinds = append(kinds, e.Kind)
	}
	if want := []string{"action.proposed", "action.decided", "action.applied", "action.verified"}; !slices.Equal(kinds, want) {
		t.Fatalf("events %v, want %v", kinds, want)
	}
	if a := l.actions["act_restart_12_1_1"]; len(a.Reasons) != 2 || a.Reasons[0] != "replica 1 of service web has ended: the process was killed from outside" || a.Mode != control.Act || a.Subject != "job/12" {
		t.Fatalf("%+v", a)
	}
}

func TestPausesDoubleAndAPersonIsAskedAtTheEnd(t *testing.T) {
	l := newLoop(t, newWorld(1))
	for n := 1; n <= 5; n++ {
		l.die(0)
		l.tick(500 * time.Millisecond)
		id := fmt.Sprintf("act_restart_12_0_%d", n)
		a := l.actions[id]
		if want := time.Second << (n - 1); a.NotBefore.Sub(a.Time) != want {
			t.Fatalf("restart %d waits %v, want %v", n, a.NotBefore.Sub(a.Time), want)
		}
		l.tick(a.NotBefore.Sub(a.Time) + time.Second)
		l.expect(id, control.Applied, "")
	}
	l.die(0)
	l.tick(time.Hour)
	l.expect("act_restart_12_0_5", control.Failed, "the replica ended again")
	l.expect("act_restart_12_0_6", control.Proposed, "")
	a := l.actions["act_restart_12_0_6"]
	if !a.Hold || !strings.Contains(a.Reasons[2], "restarted 5 times within 10m0s and died each time: given up") {
		t.Fatalf("%+v", a)
	}
	for _, a := range l.step(control.Approved{ID: a.ID, Actor: "user/ann"}) {
		l.step(l.applied(a))
	}
	l.tick(20 * time.Second)
	l.expect(a.ID, control.Verified, "")
	l.die(0)
	l.tick(500 * time.Millisecond)
	l.expect("act_restart_12_0_7", control.Decided, "") // the count begins anew
}

func TestModesSayHowFarAPolicyGoes(t *testing.T) {
	l := newLoop(t, newWorld(1))
	set := func(m control.Mode) {
		l.step(control.ModeSet{Policy: "restart", Mode: m, Actor: "user/ann"})
	}
	set(control.Off)
	l.die(0)
	l.tick(time.Minute)
	if len(l.actions) != 0 {
		t.Fatalf("a policy that is off proposes %v", l.actions)
	}
	set(control.Advise)
	l.tick(time.Minute)
	l.expect("act_restart_12_0_1", control.Proposed, "")
	l.crash()
	set(control.Act)
	l.expect("act_restart_12_0_1", control.Decided, "")
	l.crash()
	set(control.Advise) // before it was applied
	l.expect("act_restart_12_0_1", control.Proposed, "a person decides")
	l.crash()
	l.tick(time.Minute)
	l.expect("act_restart_12_0_1", control.Proposed, "")
	if got := l.step(control.Approved{ID: "act_restart_12_0_1", Actor: "user/ann"}); len(got) != 1 {
		t.Fatalf("approved, and %v is applied", got)
	}
	if l.actions["act_restart_12_0_1"].By != "user/ann" {
		t.Fatal("the action does not say who approved it")
	}
}

func TestWhatIsNoLongerNeededIsNotDone(t *testing.T) {
	l := newLoop(t, newWorld(3))
	l.die(0)
	l.die(1)
	l.die(2)
	l.tick(500 * time.Millisecond)
	l.run(0) // by somebody else
	l.tasks = l.tasks[:2]
	l.tick(500 * time.Millisecond)
	l.expect("act_restart_12_0_1", control.Failed, "started in another way")
	l.expect("act_restart_12_2_1", control.Failed, "scaled down")
	l.gone = true
	l.tick(500 * time.Millisecond)
	l.expect("act_restart_12_1_1", control.Failed, "the service has ended")
	if len(l.starts) != 0 {
		t.Fatalf("restarted: %v", l.starts)
	}
}

func TestWhatCannotBeAppliedNowIsAppliedLaterAndWhatNeverCanFails(t *testing.T) {
	l := newLoop(t, newWorld(1))
	l.refuse = errs.Errorf("test", errs.Unavailable, "the server starts")
	l.die(0)
	l.tick(5 * time.Second)
	l.expect("act_restart_12_0_1", control.Decided, "the server starts")
	l.refuse = errs.Errorf("test", errs.NotFound, "no such replica")
	l.tick(10 * time.Second)
	l.expect("act_restart_12_0_1", control.Failed, "no such replica")
}

func TestEveryChangeOfAnActionIsInTheTable(t *testing.T) {
	states := []control.ActionState{control.Proposed, control.Decided, control.Applied, control.Verified, control.Failed}
	want := map[string]bool{
		"proposed decided": true, "proposed failed": true, "decided applied": true, "decided proposed": true,
		"decided failed": true, "applied verified": true, "applied failed": true,
	}
	for _, from := range states {
		for _, to := range states {
			if key := fmt.Sprint(from, " ", to); from.May(to) != want[key] {
				t.Errorf("%s: %v", key, from.May(to))
			}
			if !from.Open() && from.May(to) {
				t.Errorf("%s is an end and leads to %s", from, to)
			}
		}
	}
}

func TestTheRunnerWritesBeforeItActsAndSurvivesAFullDisk(t *testing.T) {
	w := newWorld(1)
	c := clock.NewFake(start)
	r := control.NewRunner(control.Options{
		Store: w, Jobs: w, Clock: c, Log: slog.New(slog.DiscardHandler), Tick: time.Millisecond,
		Policies: []control.Policy{control.Restart(control.RestartOptions{First: time.Millisecond, Stable: time.Second})},
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	action := func(id string, want control.ActionState) {
		t.Helper()
		for range 5000 {
			list, _ := r.Actions(ctx, control.Filter{})
			for _, a := range list {
				if a.ID == id && a.State == want {
					return
				}
			}
			c.Advance(10 * time.Millisecond)
			time.Sleep(time.Millisecond)
		}
		t.Fatalf("%s never was %s: %v", id, want, w.actions)
	}
	w.die(0)
	action("act_restart_12_0_1", control.Verified)

	w.mu.Lock()
	w.broken = errs.Errorf("test", errs.Full, "the disk is full")
	w.mu.Unlock()
	w.die(0)
	for range 20 {
		time.Sleep(time.Millisecond)
		c.Advance(time.Second)
	}
	w.mu.Lock()
	if w.tasks[0].State == job.Running {
		t.Error("a replica was restarted by an action that is not written down")
	}
	w.broken = nil
	w.mu.Unlock()
	action("act_restart_12_0_2", control.Verified)

	for what, err := range map[string]error{
		"mode of no policy": r.SetMode(ctx, "user/ann", "none", control.Act),
		"no mode":           r.SetMode(ctx, "user/ann", "restart", "loud"),
		"approve nothing":   func() error { _, err := r.Approve(ctx, "user/ann", "act_x"); return err }(),
		"approve twice":     func() error { _, err := r.Approve(ctx, "user/ann", "act_restart_12_0_2"); return err }(),
	} {
		if k := errs.KindOf(err); k != errs.NotFound && k != errs.Invalid && k != errs.Conflict {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := r.SetMode(ctx, "user/ann", "restart", control.Advise); err != nil {
		t.Fatal(err)
	}
	if p, err := r.Policies(ctx); err != nil || len(p) != 1 || p[0].Mode != control.Advise {
		t.Fatalf("policies %v, %v", p, err)
	}
	w.die(0)
	action("act_restart_12_0_3", control.Proposed)
	if a, err := r.Approve(ctx, "user/ann", "act_restart_12_0_3"); err != nil || a.By != "user/ann" {
		t.Fatalf("%+v, %v", a, err)
	}
	action("act_restart_12_0_3", control.Verified)
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}
