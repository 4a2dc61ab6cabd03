package control_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/control"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/serve/scale"
	"github.com/lineshaft/lineshaft/serve/upstream"
)

// load is a service under the policy scale, in virtual time.
type load struct {
	t    *testing.T
	core *control.Core
	now  time.Time
	job  job.Job
	wish int
	last control.Action
	sets []int
}

func newLoad(t *testing.T, mode control.Mode) *load {
	l := &load{t: t, now: time.Unix(1_700_000_000, 0), wish: 1}
	l.job = job.Job{ID: 7, Name: "chat", Kind: job.Service, State: job.Running, Spec: job.Spec{Tasks: 1}, Tasks: []job.Task{{State: job.Running}}}
	l.core = control.NewCore([]control.Policy{control.Scale(control.ScaleOptions{})}, map[string]control.Mode{"scale": mode}, nil)
	return l
}

// step lets a second pass; what is applied is done at once.
func (l *load) step(inputs ...control.Input) {
	l.now = l.now.Add(time.Second)
	wish := upstream.Wish{Job: 7, Service: "chat", Time: l.now, Decision: scale.Decision{Replicas: l.wish, Reasons: []string{"a reason"}}}
	inputs = append([]control.Input{control.Seen{Jobs: []job.Job{l.job}}, control.Wished{Wishes: []upstream.Wish{wish}}}, inputs...)
	for _, e := range l.core.Step(l.now, inputs...) {
		switch e := e.(type) {
		case control.SaveAction:
			l.last = e.Action
		case control.Refused:
			l.t.Fatal(e.Err)
		case control.Apply:
			n := e.Action.Replicas.To
			l.sets = append(l.sets, n)
			l.job.Spec.Tasks = n
			l.job.Tasks = nil
			for i := range n {
				l.job.Tasks = append(l.job.Tasks, job.Task{Index: i, State: job.Running})
			}
			for _, e := range l.core.Step(l.now, control.Done{ID: e.Action.ID}) {
				if save, ok := e.(control.SaveAction); ok {
					l.last = save.Action
				}
			}
		}
	}
}

func (l *load) steps(n int) {
	for range n {
		l.step()
	}
}

func TestReplicasFollowTheWishWithItsReasons(t *testing.T) {
	l := newLoad(t, control.Act)
	l.steps(3)
	l.wish = 3
	l.steps(2)
	if len(l.sets) != 1 || l.sets[0] != 3 || l.last.State != control.Verified {
		t.Fatalf("3 are wanted: set to %v, the action is %+v", l.sets, l.last)
	}
	if all := strings.Join(l.last.Reasons, "\n"); !strings.Contains(all, "service chat needs more replicas: 3, not 1") || !strings.Contains(all, "a reason") {
		t.Errorf("reasons: %v", l.last.Reasons)
	}
	l.wish = 0
	l.steps(10)
	if len(l.sets) != 2 || l.sets[1] != 0 {
		t.Fatalf("none is wanted: set to %v", l.sets)
	}
	l.wish = 1
	l.step()
	if len(l.sets) != 3 || l.sets[2] != 1 {
		t.Fatalf("a request waits: set to %v", l.sets)
	}
}

func TestOnTheWayDownThereIsAPause(t *testing.T) {
	l := newLoad(t, control.Act)
	l.wish = 9
	l.step()
	for _, n := range []int{8, 7, 6, 5, 4} {
		l.wish = n
		l.step()
	}
	if len(l.sets) > 2 {
		t.Fatalf("within five seconds it was set to %v", l.sets)
	}
}

func TestAnAdviceWaitsForAPersonAndEndsWhenItIsOvertaken(t *testing.T) {
	l := newLoad(t, control.Advise)
	l.wish = 5
	l.steps(4)
	id := l.last.ID
	if len(l.sets) != 0 || l.last.State != control.Proposed {
		t.Fatalf("in the mode advise: set to %v, the action is %+v", l.sets, l.last)
	}
	l.wish = 4 // nearly the same
	l.step()
	if l.last.ID != id || l.last.State != control.Proposed {
		t.Fatalf("4 instead of 5 replaced the advice: %+v", l.last)
	}
	l.step(control.Approved{ID: id, Actor: "user/ann"})
	if len(l.sets) != 1 || l.sets[0] != 5 {
		t.Fatalf("approved: set to %v", l.sets)
	}
	l.wish = 1
	l.steps(10)
	id = l.last.ID
	l.wish = 5
	l.step()
	if l.last.ID != id || l.last.State != control.Failed {
		t.Fatalf("there is no need any more: %+v", l.last)
	}
}

func TestTurnedOffNothingIsScaled(t *testing.T) {
	l := newLoad(t, control.Off)
	l.wish = 5
	if l.steps(5); len(l.sets) != 0 || l.last.ID != "" {
		t.Fatalf("turned off: set to %v, %+v", l.sets, l.last)
	}
}
