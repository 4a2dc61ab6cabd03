package control

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"github.com/lineshaft/lineshaft/job"
)

// RestartOptions tune the restart of replicas. A zero field takes the default.
type RestartOptions struct {
	First  time.Duration // before the first restart within the window; 1 s
	Max    time.Duration // the pause doubles with each restart up to this; 1 min
	Stable time.Duration // a replica that has run this long is well; 10 s
	Window time.Duration // in which restarts are counted; 10 min
	Limit  int           // restarts of one replica within the window, beyond which a person is asked; 5
}

func (o RestartOptions) defaults() RestartOptions {
	o.First = cmp.Or(o.First, time.Second)
	o.Max = cmp.Or(o.Max, time.Minute)
	o.Stable = cmp.Or(o.Stable, 10*time.Second)
	o.Window = cmp.Or(o.Window, 10*time.Minute)
	o.Limit = cmp.Or(o.Limit, 5)
	return o
}

// restartTask is the verb: start the replica's next attempt.
const restartTask = "restart_task"

// Restart is the reaction to a service's replica that ended although a service should not: it is started again after
// a pause that doubles with every restart, and the restart is verified by the replica then running for a while. One
// that keeps dying is held for a person.
func Restart(o RestartOptions) Policy {
	r := restart{o.defaults()}
	return Policy{
		Name:    "restart",
		About:   "starts a service's replica again when it has died, with growing pauses, and asks a person when it keeps dying",
		Default: Act,
		Memory:  r.Window,
		Propose: r.propose,
		Verify:  r.verify,
	}
}

type restart struct{ RestartOptions }

// dead finds the replicas that should run and have ended.
func dead(j job.Job) []job.Task {
	if j.Kind != job.Service || (j.State != job.Starting && j.State != job.Running) {
		return nil
	}
	var out []job.Task
	for _, t := range j.Tasks {
		if t.Index < j.Spec.Tasks && (t.State == job.Failed || t.State == job.Succeeded) {
			out = append(out, t)
		}
	}
	return out
}

func (r restart) propose(s State) []Action {
	var out []Action
	for _, j := range s.Jobs {
		for _, t := range dead(j) {
			out = append(out, r.action(s, j, t))
		}
	}
	return out
}

func (r restart) action(s State, j job.Job, t job.Task) Action {
	n := r.recent(s, j.ID, t.Index)
	pause := r.pause(n)
	why := t.Reason
	if why == "" {
		why = fmt.Sprintf("it ended with exit code %d", t.ExitCode)
	}
	a := Action{
		ID:      fmt.Sprintf("act_restart_%d_%d_%d", j.ID, t.Index, t.Attempt),
		Subject: "job/" + j.ID.String(),
		Verb:    restartTask,
		Target:  Target{Job: j.ID, Task: t.Index, Attempt: t.Attempt},
		Reasons: []string{
			fmt.Sprintf("replica %d of service %s has ended: %s", t.Index, j.Name, why),
			fmt.Sprintf("a service should run: %d of %d replicas are down", len(dead(j)), j.Spec.Tasks),
		},
		Evidence: []Fact{
			{"exit_code", strconv.Itoa(t.ExitCode)},
			{"attempt", strconv.Itoa(t.Attempt)},
			{"restarts_within_" + r.Window.String(), strconv.Itoa(n)},
			{"pause", pause.String()},
		},
		NotBefore: s.Now.Add(pause),
	}
	if n >= r.Limit {
		a.Hold = true
		a.Reasons = append(a.Reasons, fmt.Sprintf(
			"it was restarted %d times within %v and died each time: given up; mend its cause (`lineshaft logs %d`), then approve this action, or cancel the job", n, r.Window, j.ID))
	}
	return a
}

// recent counts the restarts of a replica within the window. A person's approval starts the count anew.
func (r restart) recent(s State, id job.ID, index int) int {
	n := 0
	for _, a := range s.Actions {
		if a.Verb != restartTask || a.Target.Job != id || a.Target.Task != index || s.Now.Sub(a.Time) > r.Window {
			continue
		}
		if n++; a.Hold {
			n = 0
		}
	}
	return n
}

// pause doubles with each restart; no chance is in it, for a replica is restarted by one server only.
func (r restart) pause(n int) time.Duration {
	return min(r.First<<min(n, 20), r.Max)
}

func (r restart) verify(s State, a Action) (ActionState, string) {
	j, ok := s.Job(a.Target.Job)
	if !ok || (j.State != job.Starting && j.State != job.Running && j.State != job.Queued) {
		return Failed, "overtaken: the service has ended"
	}
	if a.Target.Task >= j.Spec.Tasks || a.Target.Task >= len(j.Tasks) {
		return Failed, "overtaken: the service was scaled down"
	}
	t := j.Tasks[a.Target.Task]
	if a.State != Applied {
		if t.Attempt > a.Target.Attempt {
			return Failed, "overtaken: the replica was started in another way"
		}
		return "", ""
	}
	switch {
	case t.Attempt <= a.Target.Attempt: // waits for its place
	case t.State == job.Failed || t.State == job.Succeeded || t.Attempt > a.Target.Attempt+1:
		return Failed, fmt.Sprintf("the replica ended again: %s", t.Reason)
	case t.State == job.Running && t.Started != nil && s.Now.Sub(*t.Started) >= r.Stable:
		return Verified, fmt.Sprintf("attempt %d has run for %v", t.Attempt, r.Stable)
	}
	return "", ""
}
