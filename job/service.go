package job

import (
	"fmt"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// MaxTasks bounds the tasks of a job.
const MaxTasks = 1024

// replicaEnded takes the end of a service's task. The job itself goes on: whether and when the replica is started
// again is decided by the loop (control/restart), through RestartReplica.
func (c *Core) replicaEnded(j *Job, t *Task, stopped bool) {
	switch {
	case t.Index >= j.Spec.Tasks:
		t.State = Canceled // scaled away
	case stopped:
		t.State = Queued // scaled away, and wanted again before it was gone
	}
	up := 0
	for _, t := range j.Tasks {
		if t.State == Running {
			up++
		}
	}
	j.Reason = ""
	if up < j.Spec.Tasks {
		j.Reason = fmt.Sprintf("%d of %d replicas run", up, j.Spec.Tasks)
	}
	if stopped {
		c.note(j, "job.replica_stopped")
		return
	}
	c.note(j, "job.replica_died")
}

func (c *Core) restartReplica(in RestartReplica) error {
	const op = "job.RestartReplica"
	j, err := c.service(op, in.ID)
	if err != nil {
		return err
	}
	if in.Index < 0 || in.Index >= j.Spec.Tasks || in.Index >= len(j.Tasks) {
		return errs.Errorf(op, errs.NotFound, "job %d has no replica %d: it has %d, from 0", in.ID, in.Index, j.Spec.Tasks)
	}
	t := &j.Tasks[in.Index]
	if t.Attempt != in.Attempt || t.State == Queued {
		return nil // asked before and done
	}
	if t.State.Live() {
		return errs.Errorf(op, errs.Conflict, "replica %d of job %d is %s: there is nothing to restart", in.Index, in.ID, t.State)
	}
	t.State = Queued
	t.Restarts++
	c.noteBy(j, "job.replica_restarted", in.Actor)
	return nil
}

func (c *Core) setReplicas(in SetReplicas) error {
	const op = "job.SetReplicas"
	j, err := c.service(op, in.ID)
	if err != nil {
		return err
	}
	if few := j.Spec.few(); in.N < few || in.N > MaxTasks {
		return errs.Errorf(op, errs.Invalid, "%d replicas are not allowed: give %d to %d, or cancel the job", in.N, few, MaxTasks)
	}
	if j.Spec.Serve != nil && j.Spec.Serve.Port != AutoPort && in.N > 1 {
		return errs.Errorf(op, errs.Invalid, "job %d insists on port %s, which replicas on one machine cannot share: it has one at most", in.ID, j.Spec.Serve.Port)
	}
	if in.N == j.Spec.Tasks {
		return nil
	}
	j.Spec.Tasks = in.N
	for i := range min(in.N, len(j.Tasks)) {
		if j.Tasks[i].State == Canceled {
			j.Tasks[i].State = Queued
		}
	}
	for i := len(j.Tasks); i < in.N; i++ {
		j.Tasks = append(j.Tasks, Task{Index: i, State: Queued})
	}
	c.stopTasks(j, in.N)
	c.noteBy(j, "job.scaled", in.Actor)
	return nil
}

// service finds a service that is not ending.
func (c *Core) service(op string, id ID) (*Job, error) {
	j, err := c.active(op, id)
	switch {
	case err != nil:
		return nil, err
	case j.Kind != Service:
		return nil, errs.Errorf(op, errs.Invalid, "job %d is a %s job: only services have replicas", id, j.Kind)
	case j.State == Stopping:
		return nil, errs.Errorf(op, errs.Conflict, "job %d is stopping", id)
	}
	return j, nil
}
