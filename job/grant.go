package job

import (
	"context"
	"slices"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
)

// A task is promised what its job's spec asks for, and plans count promises only (docs/adr/0017). What it may use now, its
// grant, can be less while it needs less and more while nobody else needs it. The record has the grant where it is not
// the promise; the executor makes it hold.

// Grant is how much of its node a task may use. In a change of one, zero leaves as it is.
type Grant struct {
	CPU       float64             `json:"cpu,omitempty"` // cores
	Memory    units.Bytes         `json:"memory,omitempty"`
	Disk      units.Bytes         `json:"disk,omitempty"`
	Storage   units.Bytes         `json:"storage,omitempty"`
	Bandwidth units.BitsPerSecond `json:"bandwidth,omitempty"`
}

// Use is a running task: what it was promised, what it is granted and what it uses.
type Use struct {
	Job     ID         `json:"job"`
	Task    int        `json:"task"`
	Attempt int        `json:"attempt"`
	Node    string     `json:"node"`
	Promise Grant      `json:"promise"`
	Grant   Grant      `json:"grant"` // that holds; of what the machine cannot change, the promise
	Fixed   []string   `json:"fixed"` // what it cannot change: cpu, memory, bandwidth
	Room    Grant      `json:"room"`  // of the whole node: cores and bandwidth
	Used    exec.Usage `json:"used"`
}

// promise is what a task of the job was promised.
func (j *Job) promise() Grant {
	r := j.Spec.Resources
	return Grant{CPU: r.CPU, Memory: r.Memory, Disk: r.Disk, Storage: r.Storage, Bandwidth: r.Bandwidth}
}

// With is the grant after a change.
func (g Grant) With(change Grant) Grant {
	set(&g.CPU, change.CPU)
	set(&g.Memory, change.Memory)
	set(&g.Disk, change.Disk)
	set(&g.Storage, change.Storage)
	set(&g.Bandwidth, change.Bandwidth)
	return g
}

func set[T comparable](v *T, to T) {
	var zero T
	if to != zero {
		*v = to
	}
}

func (g Grant) limits() exec.Limits {
	return exec.Limits{CPU: g.CPU, Memory: g.Memory, Disk: g.Disk, Storage: g.Storage, Bandwidth: g.Bandwidth}
}

// AdjustGrant changes what a running task may use. Attempt is the one that runs: of another it is a Conflict.
type AdjustGrant struct {
	ID             ID
	Index, Attempt int
	Change         Grant
	Actor          string
}

func (AdjustGrant) input() {}

func (c *Core) adjustGrant(in AdjustGrant) error {
	const op = "job.AdjustGrant"
	j, err := c.active(op, in.ID)
	if err != nil {
		return err
	}
	if in.Index < 0 || in.Index >= len(j.Tasks) {
		return errs.Errorf(op, errs.NotFound, "job %d has no task %d: it has %d, from 0", in.ID, in.Index, len(j.Tasks))
	}
	t := &j.Tasks[in.Index]
	if t.Attempt != in.Attempt || t.State != Running {
		return errs.Errorf(op, errs.Conflict, "attempt %d of task %d of job %d does not run", in.Attempt, in.Index, in.ID)
	}
	p := j.promise()
	for _, b := range [][2]units.Bytes{{in.Change.Memory, p.Memory}, {in.Change.Disk, p.Disk}, {in.Change.Storage, p.Storage}} {
		if b[0] < 0 || b[0] > b[1] {
			return errs.Errorf(op, errs.Invalid, "a task that was promised %v cannot be granted %v: what it holds could not be taken back", b[1], b[0])
		}
	}
	if in.Change.CPU < 0 || in.Change.Bandwidth < 0 {
		return errs.Errorf(op, errs.Invalid, "a grant is not negative")
	}
	now := p
	if t.Grant != nil {
		now = *t.Grant
	}
	next := now.With(in.Change)
	if next == now {
		return nil
	}
	if t.Grant = &next; next == p {
		t.Grant = nil
	}
	c.noteBy(j, "job.grant_adjusted", in.Actor)
	return nil
}

// AdjustGrant writes down what a running task may use from now on, and makes it hold. Asked again for the same it does the
// same, so a caller that does not know whether it was heard may repeat itself.
func (r *Runner) AdjustGrant(ctx context.Context, actor string, id ID, index, attempt int, change Grant) error {
	const op = "job.AdjustGrant"
	if r.o.Meters == nil {
		return errs.Errorf(op, errs.Unsupported, "this executor does not change limits of tasks that run")
	}
	r.adjusting.Lock() // so that the newest grant is the one that holds
	defer r.adjusting.Unlock()
	var grant Grant
	err := r.call(ctx, func(l *loop) error {
		if err := l.decide(AdjustGrant{ID: id, Index: index, Attempt: attempt, Change: change, Actor: actor}); err != nil {
			return err
		}
		j, ok := l.core.Job(id)
		if !ok {
			return errs.Errorf(op, errs.Conflict, "job %d has ended", id)
		}
		if grant = j.promise(); j.Tasks[index].Grant != nil {
			grant = *j.Tasks[index].Grant
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.o.Meters.Adjust(ctx, exec.TaskRef{Job: id.String(), Index: index, Attempt: attempt}, grant.limits())
}

// Uses tells of the running tasks of a job, or of all with 0, what they were promised, are granted and use. One that was
// not measured yet is left out.
func (r *Runner) Uses(ctx context.Context, id ID) ([]Use, error) {
	if r.o.Meters == nil {
		return nil, nil
	}
	var out []Use
	err := r.call(ctx, func(l *loop) error {
		for _, j := range l.core.jobs {
			if id != 0 && j.ID != id {
				continue
			}
			for _, t := range j.Tasks {
				if t.State == Running {
					out = append(out, Use{Job: j.ID, Task: t.Index, Attempt: t.Attempt, Node: t.Node, Promise: j.promise()})
				}
			}
		}
		return nil
	})
	if err != nil || len(out) == 0 {
		return nil, err
	}
	nodes := r.o.Nodes()
	measured := out[:0]
	for _, u := range out {
		used, err := r.o.Meters.Usage(ctx, exec.TaskRef{Job: u.Job.String(), Index: u.Task, Attempt: u.Attempt})
		if err != nil {
			continue // it has just started, or just ended
		}
		u.Used = used
		u.Grant, u.Fixed = u.Promise, []string{}
		u.hold("cpu", u.Promise.CPU > 0, used.Limits.CPU > 0, Grant{CPU: used.Limits.CPU})
		u.hold("memory", u.Promise.Memory > 0, used.Limits.Memory > 0, Grant{Memory: used.Limits.Memory})
		u.hold("disk", u.Promise.Disk > 0, used.Limits.Disk > 0, Grant{Disk: used.Limits.Disk})
		u.hold("storage", u.Promise.Storage > 0, used.Limits.Storage > 0, Grant{Storage: used.Limits.Storage})
		u.hold("bandwidth", u.Promise.Bandwidth > 0, used.Limits.Bandwidth > 0, Grant{Bandwidth: used.Limits.Bandwidth})
		for _, n := range nodes {
			if n.Name == u.Node {
				u.Room = Grant{CPU: n.CPU, Bandwidth: n.Bandwidth}
			}
		}
		measured = append(measured, u)
	}
	slices.SortFunc(measured, func(a, b Use) int {
		if a.Job != b.Job {
			return int(a.Job - b.Job)
		}
		return a.Task - b.Task
	})
	return measured, nil
}

// hold takes the limit that holds for the grant of a resource, or tells that the machine cannot change it.
func (u *Use) hold(what string, promised, held bool, now Grant) {
	switch {
	case promised && held:
		u.Grant = u.Grant.With(now)
	case promised:
		u.Fixed = append(u.Fixed, what)
	}
}
