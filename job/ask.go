package job

import (
	"context"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
)

// Submit accepts a job, or all jobs of an array, of which it returns the first: when it returns without an error, they are
// written down and will not be lost. A dry run accepts nothing and says in Reason and Reasons what would happen.
func (r *Runner) Submit(ctx context.Context, actor, owner string, s Spec, dryRun bool) (Job, error) {
	const op = "job.Submit"
	s = s.Defaults()
	if err := s.Validate(); err != nil {
		return Job{}, err
	}
	var out Job
	var plan outlook
	err := r.call(ctx, func(l *loop) error {
		nodes := l.o.Nodes()
		s.Resources.Disk = roomFor(s.Resources.Disk, nodes)
		jobs := expand(New(s, owner, l.o.Clock.Now()))
		j := jobs[0]
		if err := l.o.Site.admit(j); err != nil {
			return err
		}
		if err := l.o.Limits.Admit(j, l.o.Site.Snapshot(j.Created, nodes), l.core.Jobs()); err != nil {
			return err
		}
		if dryRun {
			out, plan = l.core.preview(jobs, l.planTick())
			return nil
		}
		if l.broken {
			return l.step() // says so
		}
		created, err := l.create(context.WithoutCancel(ctx), jobs, actor)
		if err != nil {
			l.broken = true // should it have been written all the same, the reload finds it
			return errs.E(op, errs.Other, err)
		}
		out = created[0]
		inputs := make([]Input, len(created))
		for i, j := range created {
			inputs[i] = Submitted{Job: j}
		}
		_ = l.step(inputs...) // it is accepted, whatever becomes of the plan
		return nil
	})
	if dryRun && err == nil {
		out.Outlook = plan.of(previewed.String()) // it plans many times: not while others wait for the loop
	}
	return out, err
}

// previewed is the ID of a job that is not submitted: behind all others of its age.
const previewed ID = 1 << 62

// preview says what would become of the jobs of one submission now, and from which plan.
func (c *Core) preview(jobs []Job, tick PlanTick) (Job, outlook) {
	Number(jobs, previewed)
	trial := &Core{
		jobs: map[ID]*Job{}, finishing: map[ID]bool{}, site: c.site, ready: true,
		predictor: c.predictor, forecasts: maps.Clone(c.forecasts), past: c.past, held: c.held,
	}
	for i := range jobs {
		trial.jobs[jobs[i].ID] = &jobs[i]
	}
	for _, other := range c.Jobs() {
		trial.jobs[other.ID] = &other
	}
	trial.Step(jobs[0].Created, tick)
	out, _ := trial.Job(previewed)
	out.ID = 0
	if out.Array != nil {
		out.Array.ID = 0
		out.Reason = sum(jobs)
		if out.State == Starting {
			return out, outlook{}
		}
		return out, trial.outlook
	}
	if out.State == Starting {
		var on []string
		for _, t := range out.Tasks[:out.World()] {
			on = append(on, t.Node)
		}
		out.Reason = "would start now on " + strings.Join(on, ", ")
		if n := out.World(); n < out.Spec.Tasks {
			out.Reason = fmt.Sprintf("would start now with %d of its %d tasks, on %s", n, out.Spec.Tasks, strings.Join(on, ", "))
		}
		return out, outlook{}
	}
	out.Reason = "would be queued: it " + out.Reason
	return out, trial.outlook
}

// Cancel ends a job. Canceling one that is canceled already is no error.
func (r *Runner) Cancel(ctx context.Context, actor string, id ID) (Job, error) {
	j, err := r.Get(ctx, id)
	if err != nil {
		return Job{}, err
	}
	if err = r.command(ctx, &j, CancelRequested{ID: id, Actor: actor}); j.State == Canceled {
		err = nil
	} else if err != nil && j.State.Terminal() {
		err = errs.Errorf("job.Cancel", errs.Conflict, "job %d has already %s: there is nothing to cancel", id, j.State)
	}
	return j, err
}

// Retry runs a job that failed or was canceled again, from its last checkpoint.
func (r *Runner) Retry(ctx context.Context, actor string, id ID) (Job, error) {
	j, err := r.Get(ctx, id)
	if err != nil {
		return Job{}, err
	}
	err = r.call(ctx, func(l *loop) error {
		if j, err = l.o.Store.GetJob(context.WithoutCancel(ctx), id); err != nil {
			return err
		}
		if j.State == Failed || j.State == Canceled {
			if err := l.o.Limits.more(j.Owner, 1, l.core.Jobs()); err != nil {
				return err
			}
		}
		return l.step(RetryRequested{Job: j, Actor: actor})
	})
	return r.after(ctx, j, err)
}

// SetReplicas changes how many replicas a service has.
func (r *Runner) SetReplicas(ctx context.Context, actor string, id ID, n int) (Job, error) {
	j, err := r.Get(ctx, id)
	if err != nil {
		return Job{}, err
	}
	err = r.command(ctx, &j, SetReplicas{ID: id, N: n, Actor: actor})
	return j, err
}

// RestartReplica starts a service's replica again whose given attempt has ended. Asked again for the same attempt it
// does nothing, so a caller that does not know whether it was heard may repeat itself.
func (r *Runner) RestartReplica(ctx context.Context, actor string, id ID, index, attempt int) (Job, error) {
	j, err := r.Get(ctx, id)
	if err != nil {
		return Job{}, err
	}
	err = r.command(ctx, &j, RestartReplica{ID: id, Index: index, Attempt: attempt, Actor: actor})
	return j, err
}

// command steps on the runner's goroutine and reads what became of the job.
func (r *Runner) command(ctx context.Context, j *Job, in Input) (err error) {
	err = r.call(ctx, func(l *loop) error { return l.step(in) })
	*j, err = r.after(ctx, *j, err)
	return err
}

func (r *Runner) after(ctx context.Context, j Job, err error) (Job, error) {
	now, gone := r.Get(context.WithoutCancel(ctx), j.ID)
	if gone != nil {
		now = j
	}
	return now, err
}

// Get finds a job.
func (r *Runner) Get(ctx context.Context, id ID) (Job, error) { return r.o.Store.GetJob(ctx, id) }

// List lists jobs, newest first.
func (r *Runner) List(ctx context.Context, f Filter) ([]Job, error) {
	return r.o.Store.ListJobs(ctx, f)
}

// Active lists the jobs that have not ended, by ID.
func (r *Runner) Active(ctx context.Context) (out []Job, err error) {
	err = r.call(ctx, func(l *loop) error {
		if l.broken {
			return l.step() // says so: the core is ahead of what is written
		}
		out = l.core.Jobs()
		return nil
	})
	return out, err
}

// Metrics lists a job's points after a sequence number.
func (r *Runner) Metrics(ctx context.Context, id ID, after int64, limit int) ([]Metric, error) {
	if _, err := r.Get(ctx, id); err != nil {
		return nil, err
	}
	return r.o.Store.ListMetrics(ctx, id, after, limit)
}

// Attempt names the newest attempt of a task, for its logs, its outputs or a shell in it.
func (r *Runner) Attempt(ctx context.Context, id ID, task int) (exec.TaskRef, error) {
	const op = "job.Attempt"
	j, err := r.Get(ctx, id)
	switch {
	case err != nil:
		return exec.TaskRef{}, err
	case task < 0 || task >= len(j.Tasks):
		return exec.TaskRef{}, errs.Errorf(op, errs.NotFound, "job %d has no task %d: it has %d, from 0", id, task, len(j.Tasks))
	case j.Tasks[task].Attempt == 0:
		return exec.TaskRef{}, errs.Errorf(op, errs.Conflict, "job %d has not started; `lineshaft why job/%d` says what it waits for", id, id)
	}
	return TaskRef(j, j.Tasks[task]), nil
}

// Logs reads the log of a task's newest attempt from an offset. Following one that has not started waits for it.
func (r *Runner) Logs(ctx context.Context, id ID, task int, offset int64, follow bool) (io.ReadCloser, error) {
	for {
		changed := r.Changed()
		ref, err := r.Attempt(ctx, id, task)
		if err == nil {
			log, err := r.o.Outputs.Logs(ctx, ref, offset, follow)
			if err == nil || !follow || !errs.Is(err, errs.NotFound) {
				return log, err
			}
		} else if !follow || !errs.Is(err, errs.Conflict) {
			return nil, err
		}
		if j, err := r.Get(ctx, id); err != nil || j.State.Terminal() {
			return io.NopCloser(strings.NewReader("")), err
		}
		select {
		case <-ctx.Done():
			return nil, errs.E("job.Logs", errs.Other, ctx.Err())
		case <-changed:
		}
	}
}

// Explanation is why a job is as it is, from the record of the decisions that made it so.
type Explanation struct {
	Summary   string    `json:"summary"`
	Reasons   []Reason  `json:"reasons"`
	Outlook   *Outlook  `json:"outlook,omitempty"` // of a job that waits
	Isolation []Feature `json:"isolation"`         // as enforced for the newest attempt of its first task that has run
}

// Why explains a job.
func (r *Runner) Why(ctx context.Context, id ID) (Explanation, error) {
	j, err := r.Get(ctx, id)
	if err != nil {
		return Explanation{}, err
	}
	e := j.explain(r.o.Clock.Now())
	gangs := j.gangs(r.o.Clock.Now())
	if len(gangs) == 0 {
		return e, nil
	}
	var o outlook
	if err := r.call(ctx, func(l *loop) error { o = l.core.outlook; return nil }); err != nil {
		return e, err
	}
	if e.Outlook = o.of(gangs[0].ID); e.Outlook != nil {
		e.Outlook.Plan = o.appraise(ctx, r.o.Solver)
	}
	return e, nil
}

// sentence is the state as one says it of a job.
func (s State) sentence() string {
	switch s {
	case Succeeded, Failed:
		return "has " + string(s)
	case Canceled:
		return "was canceled"
	}
	return "is " + string(s)
}

func (j Job) explain(now time.Time) Explanation {
	e := Explanation{Reasons: append([]Reason{}, j.Reasons...), Isolation: []Feature{}}
	for _, t := range j.Tasks {
		if len(t.Isolation) > 0 {
			e.Isolation = t.Isolation
			break
		}
	}
	s := fmt.Sprintf("job %d (%s) %s", j.ID, j.Name, j.State.sentence())
	switch {
	case j.State == Queued && j.NotBefore != nil && now.Before(*j.NotBefore):
		s += fmt.Sprintf(" and is tried again in %v", j.NotBefore.Sub(now).Round(100*time.Millisecond))
	case j.State == Running && j.Started != nil:
		s += fmt.Sprintf(", for %v now", now.Sub(*j.Started).Round(time.Second))
	}
	s += j.size()
	if j.Reason != "" {
		s += ": " + j.Reason
	}
	if j.Attempt > 1 {
		s += fmt.Sprintf(" (attempt %d, %d retries left)", j.Attempt, j.RetriesLeft)
	}
	e.Summary = s
	return e
}
