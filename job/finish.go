package job

import (
	"fmt"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// maxLost is how many attempts in a row the machine may lose without any progress before the job fails: kills do not
// lose a job, and a job that kills its machine does not go on for ever.
const maxLost = 50

// backoff is how long the next try waits after the n-th failure in a row that was not the program's: the first is
// tried at once, then 100 ms doubling up to 5 s.
func backoff(n int) time.Duration {
	if n <= 1 {
		return 0
	}
	return min(100*time.Millisecond<<min(n-2, 20), 5*time.Second)
}

// end decides that the job's tasks are to stop and where it goes then.
func (c *Core) end(j *Job, next State, reason string) {
	if !c.move(j, End) {
		return
	}
	j.Next, j.Reason, j.Reasons = next, reason, nil
	c.stopTasks(j, 0)
	c.note(j, "job.ending")
	c.settle(j)
}

// stopTasks stops the live tasks from an index on and drops those that wait.
func (c *Core) stopTasks(j *Job, from int) {
	for i := from; i < len(j.Tasks); i++ {
		t := &j.Tasks[i]
		switch {
		case t.State.Live():
			t.State = Stopping
			c.do(StopTask{Ref: j.ref(t.Index, t.Attempt), Grace: time.Duration(j.Spec.Grace)})
		case t.State == Queued:
			t.State = Canceled
		}
	}
}

// failed spends a retry, or fails the job.
func (c *Core) failed(j *Job, reason string) {
	if j.RetriesLeft <= 0 {
		c.end(j, Failed, reason)
		return
	}
	j.RetriesLeft--
	c.end(j, Queued, fmt.Sprintf("attempt %d failed: %s; %d retries left", j.Attempt, reason, j.RetriesLeft))
}

// lost tries again without spending a retry, with a growing pause.
func (c *Core) lost(j *Job, reason string) {
	j.Lost++
	if j.Lost > maxLost {
		c.end(j, Failed, fmt.Sprintf("given up after %d attempts in a row that got no further: %s", j.Lost, reason))
		return
	}
	c.end(j, Queued, fmt.Sprintf("attempt %d was lost: %s; it is tried again", j.Attempt, reason))
}

// settle moves a stopping job on when its last task has ended.
func (c *Core) settle(j *Job) {
	if j.State != Stopping {
		return
	}
	for _, t := range j.Tasks {
		if t.State.Live() {
			return
		}
	}
	switch j.Next {
	case Queued:
		c.requeue(j)
	case Succeeded:
		c.register(j)
	case Canceled:
		c.close(j, Drop)
	default:
		c.close(j, Fail)
	}
}

func (c *Core) requeue(j *Job) {
	if !c.move(j, Requeue) {
		return
	}
	j.Next = ""
	j.Attempt++
	j.NotBefore = nil
	if wait := backoff(j.Lost); wait > 0 && len(j.Claim) == 0 { // nothing is kept for who is not in the queue
		at := c.now.Add(wait)
		j.NotBefore = &at
	}
	j.queueTasks()
	c.note(j, "job.requeued")
}

// queueTasks lets every wanted task wait for a place; what it was before stays for its record until then.
func (j *Job) queueTasks() {
	for i := range j.Tasks {
		if i < j.Spec.Tasks {
			j.Tasks[i].State = Queued
		}
	}
}

// register asks for the result to be registered, once at a time and not before it is due.
func (c *Core) register(j *Job) {
	if !c.ready || c.finishing[j.ID] || (j.NotBefore != nil && c.now.Before(*j.NotBefore)) {
		return
	}
	c.finishing[j.ID] = true
	c.do(Finish{Job: j.clone()})
}

// finishDone ends a job whose result is registered. What may pass (a full disk) is tried again; what cannot pass
// fails the job.
func (c *Core) finishDone(in FinishDone) {
	j := c.jobs[in.ID]
	if j == nil || j.State != Stopping || j.Next != Succeeded {
		return
	}
	delete(c.finishing, j.ID)
	switch {
	case in.Reason == "":
		j.Model, j.Reason = in.Model, ""
		c.close(j, Complete)
	case in.Transient:
		j.Lost++
		at := c.now.Add(max(backoff(j.Lost), time.Second))
		j.NotBefore, j.Reason = &at, "its result is not registered yet: "+in.Reason+"; it is tried again"
		c.note(j, "job.finish_delayed")
	default:
		j.Next, j.Reason = Failed, "its result could not be registered: "+in.Reason
		c.settle(j)
	}
}

// close gives the job its last state and frees the older attempts; the newest keeps its log.
func (c *Core) close(j *Job, on Cause) {
	if !c.move(j, on) {
		return
	}
	at := c.now
	c.learn(j)
	j.Finished, j.Next, j.NotBefore, j.Reasons, j.Claim = &at, "", nil, nil, nil
	if j.State == Succeeded && j.Progress != nil {
		whole := *j.Progress
		whole.Fraction, whole.ETASeconds = 1, 0
		j.Progress = &whole
	}
	for _, t := range j.Tasks {
		for old := max(1, t.Attempt-keepAttempts); old < t.Attempt; old++ {
			c.do(RemoveTask{Ref: j.ref(t.Index, old)})
		}
	}
	c.note(j, "job.finished")
}

// startFailed takes that an attempt could not be started. What never can be started fails the job at once: a retry
// would be refused for the same reason.
func (c *Core) startFailed(in StartFailed) {
	id, _ := parseRef(in.Ref)
	j := c.jobs[id]
	if j == nil || in.Ref.Index >= len(j.Tasks) || j.Tasks[in.Ref.Index].Attempt != in.Ref.Attempt {
		return
	}
	t := &j.Tasks[in.Ref.Index]
	if t.State != Starting && t.State != Stopping {
		return
	}
	c.do(StopTask{Ref: in.Ref}) // should it have come up behind the error's back
	t.State, t.Reason, t.Ended = Failed, "it could not be started: "+in.Reason, stamp(time.Time{}, c.now)
	c.quiet(j, "job.task_ended", nil)
	switch {
	case j.State == Stopping:
		c.settle(j)
	case !in.Transient:
		c.end(j, Failed, t.Reason)
	case j.Kind == Service:
		c.replicaEnded(j, t, false)
	default:
		c.lost(j, t.Reason)
	}
}

func (c *Core) cancel(in CancelRequested) error {
	const op = "job.Cancel"
	j, err := c.active(op, in.ID)
	if err != nil {
		return err
	}
	reason := "canceled by " + in.Actor
	switch {
	case j.State == Queued:
		j.Reason = reason
		j.stopWaiting()
		c.noteBy(j, "job.canceled", in.Actor)
		c.close(j, Drop)
	case j.State == Stopping && c.finishing[j.ID]:
		return errs.Errorf(op, errs.Conflict, "job %d has done its work and is registering the result: it ends by itself", in.ID)
	case j.State == Stopping:
		j.Next, j.Reason, j.Claim = Canceled, reason, nil
		c.noteBy(j, "job.canceled", in.Actor)
		c.settle(j)
	default:
		c.noteBy(j, "job.canceled", in.Actor)
		c.end(j, Canceled, reason)
	}
	return nil
}

func (j *Job) stopWaiting() {
	for i := range j.Tasks {
		j.Tasks[i].State = Canceled
	}
}

// retry takes a job that has ended up again, as if newly submitted but with its number, history and checkpoints.
func (c *Core) retry(in RetryRequested) error {
	const op = "job.Retry"
	if j, ok := c.jobs[in.Job.ID]; ok {
		return errs.Errorf(op, errs.Conflict, "job %d is %s: only a job that failed or was canceled can be retried", j.ID, j.State)
	}
	j := in.Job.clone()
	if !c.move(&j, Retry) {
		return errs.Errorf(op, errs.Conflict, "job %d has succeeded: submit it again for another run", j.ID)
	}
	j.Attempt++
	j.RetriesLeft, j.Lost, j.Reason, j.Reasons, j.Finished, j.NotBefore = j.Spec.Retries, 0, "", nil, nil, nil
	if j.Spec.Tasks = max(1, j.Spec.Tasks); len(j.Tasks) == 0 { // a service that had no replica
		j.Tasks = []Task{{}}
	}
	j.queueTasks()
	c.jobs[j.ID] = &j
	c.noteBy(&j, "job.retried", in.Actor)
	return nil
}
