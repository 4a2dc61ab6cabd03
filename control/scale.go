package control

import (
	"fmt"
	"time"

	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/serve/upstream"
)

// setReplicas is the verb of scaling.
const setReplicas = "set_replicas"

const scaleName = "scale"

// Replicas is a change of how many replicas a service has.
type Replicas struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// ScaleOptions tune how replicas follow the load. A zero field takes the default.
type ScaleOptions struct {
	Pause  time.Duration // from one change of a service to the next on the way down; 5 s
	Settle time.Duration // within which the replicas must be there; 10 min
}

type scaling struct{ ScaleOptions }

// Scale is the reaction to the load of services that say how their replicas follow it (`scale` in the job): what
// serve/scale wishes for is proposed with its reasons. It is a service's owner who asked for that, so it acts unless it is
// told not to.
func Scale(o ScaleOptions) Policy {
	if o.Pause == 0 {
		o.Pause = 5 * time.Second
	}
	if o.Settle == 0 {
		o.Settle = 10 * time.Minute
	}
	s := scaling{o}
	return Policy{
		Name:    scaleName,
		About:   "gives a service the replicas that its load asks for, within the limits of its job",
		Default: Act,
		Memory:  time.Minute,
		Propose: s.propose,
		Verify:  s.verify,
	}
}

func (c scaling) propose(s State) (out []Action) {
	for _, w := range s.Wishes {
		j, ok := s.Job(w.Job)
		n := w.Decision.Replicas
		if !ok || n == j.Spec.Tasks || j.State != job.Running && j.State != job.Starting || c.busy(s, w.Job, n < j.Spec.Tasks) {
			continue
		}
		way := "more"
		if n < j.Spec.Tasks {
			way = "fewer"
		}
		d := w.Decision
		out = append(out, Action{
			ID:       fmt.Sprintf("act_scale_%d_%d_%d_%d", j.ID, j.Spec.Tasks, n, w.Time.UnixMilli()),
			Subject:  "job/" + j.ID.String(),
			Verb:     setReplicas,
			Target:   Target{Job: j.ID},
			Replicas: &Replicas{From: j.Spec.Tasks, To: n},
			Reasons:  append([]string{fmt.Sprintf("service %s needs %s replicas: %d, not %d", w.Service, way, n, j.Spec.Tasks)}, d.Reasons...),
			Evidence: []Fact{
				{"requests_per_second", fmt.Sprintf("%.3g", d.Rate)},
				{"seconds_a_request", fmt.Sprintf("%.3g", d.Service)},
				{"at_once", fmt.Sprintf("%.3g", d.Load)},
				{"waiting", fmt.Sprintf("%.0f", d.Waiting)},
			},
			NotBefore: s.Now,
		})
	}
	return out
}

// busy tells whether another change of the service is not through, or was a moment ago.
func (c scaling) busy(s State, id job.ID, down bool) bool {
	for _, a := range s.Actions {
		if a.Verb != setReplicas || a.Target.Job != id {
			continue
		}
		if a.State == Proposed || a.State == Decided || down && s.Now.Sub(a.Time) < c.Pause {
			return true
		}
	}
	return false
}

func (c scaling) verify(s State, a Action) (ActionState, string) {
	j, ok := s.Job(a.Target.Job)
	if !ok || a.Replicas == nil || (j.State != job.Starting && j.State != job.Running && j.State != job.Queued) {
		return Failed, "overtaken: the service has ended"
	}
	if a.State != Applied {
		return c.needed(s, j, a)
	}
	if j.Spec.Tasks != a.Replicas.To {
		return Verified, fmt.Sprintf("overtaken: another number, %d, is wanted by now", j.Spec.Tasks)
	}
	up, live := 0, 0
	for _, t := range j.Tasks {
		if t.State == job.Running {
			up++
		}
		if t.State.Live() {
			live++
		}
	}
	switch {
	case up == a.Replicas.To && live == up:
		return Verified, fmt.Sprintf("%d replicas run after %v", up, s.Now.Sub(a.Changed).Round(100*time.Millisecond))
	case s.Now.Sub(a.Changed) > c.Settle:
		return Failed, fmt.Sprintf("%d of %d replicas run after %v; `lineshaft why %d` says what the others wait for", up, a.Replicas.To, c.Settle, j.ID)
	}
	return "", ""
}

// needed ends a proposal that the load has overtaken. A proposal that waits for a person is not replaced at every small
// change of the load.
func (c scaling) needed(s State, j job.Job, a Action) (ActionState, string) {
	if j.Spec.Tasks != a.Replicas.From {
		return Failed, fmt.Sprintf("overtaken: the service has %d replicas by now", j.Spec.Tasks)
	}
	for _, w := range s.Wishes {
		n, to, from := w.Decision.Replicas, a.Replicas.To, a.Replicas.From
		if w.Job != j.ID || n == to {
			continue
		}
		if off := n - to; n == from || (n > from) != (to > from) || off > max(1, to/4) || -off > max(1, to/4) {
			return Failed, fmt.Sprintf("overtaken: %d replicas are wanted by now", n)
		}
	}
	return "", ""
}

// Scaled is what the loop needs to know how many replicas services should have; *upstream.Upstreams is one.
type Scaled interface {
	Wishes() []upstream.Wish
}

var _ Scaled = (*upstream.Upstreams)(nil)
