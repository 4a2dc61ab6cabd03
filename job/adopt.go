package job

import (
	"slices"

	"github.com/lineshaft/lineshaft/exec"
)

// adopt compares what the executor knows with what was decided, after a start and every now and then. What was decided
// and is not there is done again: effects are safe to repeat. What is there and was not decided is stopped.
func (c *Core) adopt(in Observed) {
	c.ready = true
	known := map[exec.TaskRef]bool{}
	for _, st := range in.Statuses {
		known[st.Ref] = true
		c.observe(st)
	}
	for _, id := range c.ids() {
		if !in.Fresh(id) {
			continue
		}
		j := c.jobs[id]
		for i := range slices.Clone(j.Tasks) {
			if t := &j.Tasks[i]; t.State.Live() && !known[j.ref(t.Index, t.Attempt)] {
				c.missing(j, t)
			}
		}
		c.settle(j)
	}
}

// missing handles an attempt that was decided and that the executor does not know.
func (c *Core) missing(j *Job, t *Task) {
	switch t.State {
	case Starting:
		c.do(StartTask{Job: j.clone(), Task: *t})
	case Running:
		c.ended(j, t, exec.Status{Ref: j.ref(t.Index, t.Attempt), State: exec.Lost, Reason: "the executor no longer knows it"})
	case Stopping: // stopped before it was ever started
		c.ended(j, t, exec.Status{Ref: j.ref(t.Index, t.Attempt), State: exec.Exited, ExitCode: -1, Reason: "canceled"})
	}
}
