package job

import (
	"fmt"
	"time"

	"github.com/lineshaft/lineshaft/sched"
)

// An elastic job runs with Spec.MinTasks to Spec.Tasks tasks. The size is fixed for an attempt, since the tasks are told it
// when they start. To grow or to shrink, the attempt is ended with its grace, and the next one starts from the last
// checkpoint where the claim says, before anything else gets that room. It shrinks when the scheduler would else stop it
// whole, and grows when everything that waits has had its turn and room is left, not sooner than a pause after its start
// or its last change.

// ResizePause is how long an elastic job runs before it is started anew to grow, where nobody sets it.
const ResizePause = 10 * time.Minute

// elastic is whether the job may run with fewer tasks than it would like.
func (s Spec) elastic() bool { return s.MinTasks > 0 && s.MinTasks < s.Tasks }

// World is how many tasks the job's attempt has.
func (j Job) World() int {
	if j.Size > 0 && j.Spec.elastic() {
		return j.Size
	}
	return j.Spec.Tasks
}

// complete is whether all tasks of the attempt run or start: what has ended is not started anew for another size.
func (j *Job) complete() bool {
	for _, t := range j.Tasks[:min(j.World(), len(j.Tasks))] {
		if t.State != Running && t.State != Starting {
			return false
		}
	}
	return true
}

// more are the tasks that a running job would start anew for, when it is time for that.
func (j *Job) more(now time.Time, pause time.Duration) (out []int) {
	if j.State != Running || !j.Spec.elastic() || j.Size >= j.Spec.Tasks || !j.complete() {
		return nil
	}
	if j.Resized != nil && now.Sub(j.Resized.Time) < pause {
		return nil
	}
	for _, t := range j.Tasks[:j.Size] {
		if t.Started == nil || now.Sub(*t.Started) < pause {
			return nil
		}
	}
	if p := j.Progress; p != nil && p.ETASeconds > 0 && time.Duration(p.ETASeconds*float64(time.Second)) < pause {
		return nil // it is nearly done
	}
	for i := j.Size; i < j.Spec.Tasks; i++ {
		out = append(out, i)
	}
	return out
}

// grow starts a running job anew with more tasks.
func (c *Core) grow(g sched.Growth) {
	j := c.jobs[parseID(g.Gang)]
	if j == nil || j.State != Running {
		return
	}
	c.resize(j, append(j.held(), placed(g.Placements)...), "there is room for more")
}

// shrink starts a running job anew with fewer tasks, so that another gets the rest; false when it cannot.
func (c *Core) shrink(j *Job, e sched.Eviction, by *Job) bool {
	if len(e.Tasks) == 0 || !j.Spec.elastic() || !j.complete() {
		return false
	}
	claim := j.held()
	claim = claim[:len(claim)-len(e.Tasks)]
	at := c.now
	j.Preempted = &at
	c.resize(j, claim, fmt.Sprintf("job/%d needs the room of the others", by.ID))
	return true
}

func (c *Core) resize(j *Job, claim []PlannedPlace, why string) {
	j.Claim, j.Resized = claim, &Resize{Time: c.now, From: j.Size, To: len(claim), Why: why}
	c.note(j, "job.resized")
	c.end(j, Queued, fmt.Sprintf("goes on with %d tasks instead of %d, from its last checkpoint: %s", len(claim), j.Size, why))
}

// size says with how many tasks an elastic job runs, in words.
func (j Job) size() string {
	if !j.Spec.elastic() || j.Size == 0 || j.State.Terminal() || j.State == Queued {
		return ""
	}
	s := fmt.Sprintf(", with %d of up to %d tasks", j.Size, j.Spec.Tasks)
	if r := j.Resized; r != nil && j.State != Stopping {
		s += fmt.Sprintf(" (%d before: %s)", r.From, r.Why)
	}
	return s
}
