package job

import (
	"fmt"
	"time"

	"github.com/lineshaft/lineshaft/exec"
)

// observe takes what an executor says of one attempt. Only the newest attempt of a task counts: an older one, or one
// of a job that has ended, has no right to run and is stopped.
func (c *Core) observe(st exec.Status) {
	alive := st.State == exec.Starting || st.State == exec.Running
	id, ok := parseRef(st.Ref)
	j := c.jobs[id]
	if !ok || j == nil || st.Ref.Index < 0 || st.Ref.Index >= len(j.Tasks) || !j.Tasks[st.Ref.Index].State.Live() || st.Ref.Attempt < j.Tasks[st.Ref.Index].Attempt {
		if alive {
			c.do(StopTask{Ref: st.Ref})
		}
		return
	}
	t := &j.Tasks[st.Ref.Index]
	switch {
	case st.Ref.Attempt > t.Attempt:
		c.fromTheFuture(j, t, st, alive)
	case !alive:
		c.ended(j, t, st)
	case t.State == Stopping:
		c.do(StopTask{Ref: st.Ref, Grace: time.Duration(j.Spec.Grace)})
	case st.State == exec.Running && t.State == Starting:
		c.started(j, t, st)
	}
}

// fromTheFuture meets an attempt that the store does not know, as after a restored backup: it is stopped, and the
// numbering goes on above it.
func (c *Core) fromTheFuture(j *Job, t *Task, st exec.Status, alive bool) {
	if alive {
		c.do(StopTask{Ref: st.Ref})
	}
	t.Attempt = st.Ref.Attempt
	c.ended(j, t, exec.Status{Ref: st.Ref, State: exec.Lost, Reason: "the store is older than the machine"})
}

func (c *Core) started(j *Job, t *Task, st exec.Status) {
	t.State, t.PID, t.Started = Running, st.PID, stamp(st.Started, c.now)
	t.Isolation = features(st)
	if j.Started == nil {
		j.Started = t.Started
	}
	c.up(j)
	c.quiet(j, "job.task_started", nil)
}

func features(st exec.Status) (out []Feature) {
	for _, f := range st.Isolation {
		out = append(out, Feature(f))
	}
	return out
}

// up moves a job to running when no task waits to start; a service is up with its first replica.
func (c *Core) up(j *Job) {
	if j.State != Starting {
		return
	}
	for _, t := range j.Tasks {
		if j.Kind != Service && (t.State == Starting || t.State == Queued) {
			return
		}
	}
	if c.move(j, Up) {
		c.note(j, "job.started")
	}
}

// verdict is what an end means for the job.
type verdict int

const (
	well  verdict = iota // exit code 0
	wrong                // the program's own failure: costs a retry
	lost                 // the machine's: does not
)

// ended takes the end of a task and decides what becomes of the job.
func (c *Core) ended(j *Job, t *Task, st exec.Status) {
	v, reason := judge(j, st)
	if len(st.Isolation) > 0 { // it may have ended before it was seen to run
		t.Isolation = features(st)
	}
	if t.Started == nil && !st.Started.IsZero() {
		t.Started = stamp(st.Started, c.now)
		if j.Started == nil {
			j.Started = t.Started
		}
	}
	stopped := t.State == Stopping
	t.Ended, t.ExitCode, t.PID = stamp(st.Ended, c.now), st.ExitCode, 0
	t.State, t.Reason = Succeeded, ""
	if v != well {
		t.State, t.Reason = Failed, reason
	}
	if stopped && v != well {
		t.State = Canceled
	}
	c.quiet(j, "job.task_ended", nil)
	switch {
	case j.State == Stopping:
		c.settle(j)
	case j.Kind == Service:
		c.replicaEnded(j, t, stopped)
	case v == well:
		c.up(j)
		c.allWell(j)
	case v == lost:
		c.lost(j, reason)
	default:
		c.failed(j, reason)
	}
}

// allWell ends a batch job whose every task has succeeded.
func (c *Core) allWell(j *Job) {
	for _, t := range j.Tasks[:min(j.World(), len(j.Tasks))] {
		if t.State != Succeeded {
			return
		}
	}
	c.end(j, Succeeded, "")
}

// judge reads an end. A kill that nobody here asked for (no reason given) is the machine's doing, as is a lost shim.
func judge(j *Job, st exec.Status) (verdict, string) {
	switch {
	case st.State == exec.Lost:
		return lost, "the process was lost" + because(st.Reason)
	case st.Reason == "oom":
		return wrong, fmt.Sprintf("it needed more memory than its %v; ask for more in resources.memory", j.Spec.Resources.Memory)
	case st.Reason == "timeout":
		return wrong, timedOut(j)
	case st.Reason == "disk":
		return wrong, fmt.Sprintf("it filled its %v of disk; ask for more in resources.disk", j.Spec.Resources.Disk)
	case st.Reason == "storage":
		return wrong, fmt.Sprintf("it left more than its %v of storage in its out folder; ask for more in resources.storage", j.Spec.Resources.Storage)
	case st.Reason == "processes":
		return wrong, "it started more processes and threads than it may" + mostProcesses(j) + "; ask for more in resources.processes"
	case st.Reason == "canceled":
		return wrong, "it was stopped"
	case (st.Signal == "SIGKILL" || st.Signal == "killed") && (st.Reason == "" || st.Reason == "killed"):
		return lost, "the process was killed from outside"
	case st.Signal != "":
		return wrong, "it was ended by signal " + st.Signal + because(st.Reason)
	case st.Reason != "":
		return wrong, fmt.Sprintf("it ended with exit code %d: %s", st.ExitCode, st.Reason)
	case st.ExitCode != 0:
		return wrong, fmt.Sprintf("it ended with exit code %d; `lineshaft logs %d` shows why", st.ExitCode, j.ID)
	}
	return well, ""
}

func mostProcesses(j *Job) string {
	if n := j.Spec.Resources.Processes; n > 0 {
		return fmt.Sprintf(" (%d)", n)
	}
	return ""
}

func timedOut(j *Job) string {
	return fmt.Sprintf("it ran longer than its timeout of %v", time.Duration(j.Spec.Timeout))
}

func because(detail string) string {
	if detail == "" {
		return ""
	}
	return ": " + detail
}

// stamp is the time of an executor, or now where it gave none.
func stamp(t, now time.Time) *time.Time {
	if t.IsZero() {
		t = now
	}
	return &t
}

// journal takes what a task wrote about itself; of an old attempt nothing counts any more.
func (c *Core) journal(in JournalRead) {
	j := c.jobs[in.ID]
	if j == nil || in.Index < 0 || in.Index >= len(j.Tasks) || j.Tasks[in.Index].Attempt != in.Attempt {
		return
	}
	if in.Progress != nil {
		if j.Progress == nil || in.Progress.Fraction > j.Progress.Fraction {
			j.Lost = 0 // it gets on, so the losses so far were not for nothing
		}
		j.Progress = in.Progress
		c.quiet(j, "job.progress", nil)
	}
	if len(in.Metrics) > 0 {
		c.quiet(j, "job.metric", in.Metrics)
	}
}

// due ends what has run too long. The shim does so itself; this is for a shim that cannot.
func (c *Core) due() {
	const margin = 5 * time.Second
	for _, id := range c.ids() {
		j := c.jobs[id]
		if j.State == Stopping && j.Next == Succeeded {
			c.settle(j)
		}
		limit := time.Duration(j.Spec.Timeout)
		if limit <= 0 || (j.State != Starting && j.State != Running) {
			continue
		}
		for _, t := range j.Tasks {
			if t.State == Running && t.Started != nil && c.now.After(t.Started.Add(limit+time.Duration(j.Spec.Grace)+margin)) {
				c.failed(j, timedOut(j))
				break
			}
		}
	}
}
