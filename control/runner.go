package control

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/lasting"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/release"
)

// Jobs is what the loop needs of the owner of jobs; job.Runner is one.
type Jobs interface {
	// Active lists the jobs that have not ended, by ID.
	Active(ctx context.Context) ([]job.Job, error)
	// RestartReplica does nothing when the given attempt is not the newest.
	RestartReplica(ctx context.Context, actor string, id job.ID, index, attempt int) (job.Job, error)
	// Relocations are moves of running jobs that would do good now.
	Relocations(ctx context.Context) ([]job.Relocation, error)
	// Relocate does nothing for jobs of which the given attempt is not the newest.
	Relocate(ctx context.Context, actor, reason string, moves []job.Move) error
	// SetReplicas does nothing where the service has as many.
	SetReplicas(ctx context.Context, actor string, id job.ID, n int) (job.Job, error)
	// Changed is closed when a job is next written.
	Changed() <-chan struct{}
}

// Tasks is what the loop needs to let grants follow need; job.Runner is one.
type Tasks interface {
	// Uses tells what the running tasks of all jobs use, with 0.
	Uses(ctx context.Context, id job.ID) ([]job.Use, error)
	// AdjustGrant does the same when it is asked again for the same.
	AdjustGrant(ctx context.Context, actor string, id job.ID, index, attempt int, change job.Grant) error
}

// Services is what the loop needs to lead models in service from one version to another; serve.Manager is one.
type Services interface {
	List() []serve.Service
	// Restored is closed when everything that was in service before the start is listed.
	Restored() <-chan struct{}
	// AdvanceRelease does nothing where the share is what it is to be.
	AdvanceRelease(ctx context.Context, actor, model string, candidate int64, from, to float64, reasons []string) error
	// EndRelease does nothing where the release of the candidate has ended so.
	EndRelease(ctx context.Context, actor, model string, candidate int64, o release.Outcome, reasons []string) (serve.Service, error)
}

// Options are what a Runner works with. Tick may be zero, Tasks and Services nil.
type Options struct {
	Store    Store
	Jobs     Jobs
	Tasks    Tasks
	Services Services
	Scaled   Scaled // may be nil
	Policies []Policy
	Clock    clock.Clock
	Log      *slog.Logger
	Tick     time.Duration // between looks; 500 ms
	Search   time.Duration // between searches for relocations, which plan; 30 s
}

// Runner is the shell around a Core: it lets it see, writes down what it decides, applies it, and feeds back how that
// went. A write that fails stops what depends on it: the core is built anew from the store.
type Runner struct {
	o        Options
	commands chan command
}

type command struct {
	do   func(*loop) error
	done chan error
}

// NewRunner makes a runner; nothing happens before Run.
func NewRunner(o Options) *Runner {
	if o.Tick == 0 {
		o.Tick = 500 * time.Millisecond
	}
	if o.Search == 0 {
		o.Search = 30 * time.Second
	}
	return &Runner{o: o, commands: make(chan command)}
}

// PolicyInfo is a policy with its mode.
type PolicyInfo struct {
	Name  string `json:"name"`
	About string `json:"about"`
	Mode  Mode   `json:"mode"`
}

// Policies lists the policies.
func (r *Runner) Policies(ctx context.Context) (out []PolicyInfo, err error) {
	err = r.call(ctx, func(l *loop) error {
		for _, p := range r.o.Policies {
			m, _ := l.core.Mode(p.Name)
			out = append(out, PolicyInfo{p.Name, p.About, m})
		}
		return nil
	})
	return out, err
}

// Actions lists the newest actions.
func (r *Runner) Actions(ctx context.Context, f Filter) ([]Action, error) {
	return r.o.Store.ListActions(ctx, f)
}

// Approve lets a proposed action go ahead.
func (r *Runner) Approve(ctx context.Context, actor, id string) (out Action, err error) {
	err = r.call(ctx, func(l *loop) error {
		if err := l.step(Approved{ID: id, Actor: actor}); err != nil {
			return err
		}
		out = *l.core.actions[id]
		return nil
	})
	return out, err
}

// SetMode changes how far a policy may go.
//
// Where grants no longer follow need by themselves, tasks get back what they were promised.
func (r *Runner) SetMode(ctx context.Context, actor, policy string, m Mode) error {
	err := r.call(ctx, func(l *loop) error { return l.step(ModeSet{Policy: policy, Mode: m, Actor: actor}) })
	if err != nil || policy != grantsName || m == Act || r.o.Tasks == nil {
		return err
	}
	uses, err := r.o.Tasks.Uses(ctx, 0)
	for _, u := range uses {
		if u.Grant != u.Promise {
			err = errors.Join(err, r.o.Tasks.AdjustGrant(ctx, actor, u.Job, u.Task, u.Attempt, u.Promise))
		}
	}
	return errs.E("control.SetMode", errs.Other, err)
}

// call runs do on the runner's goroutine. Once it has begun it is waited for, so that the answer is the truth.
func (r *Runner) call(ctx context.Context, do func(*loop) error) error {
	c := command{do, make(chan error, 1)}
	select {
	case r.commands <- c:
		return <-c.done
	case <-ctx.Done():
		return errs.E("control.call", errs.Other, ctx.Err())
	}
}

// loop is what the runner's goroutine owns.
type loop struct {
	*Runner
	ctx      context.Context //nolint:containedctx // the life of Run, which owns the loop
	core     *Core
	broken   bool // a write failed: the core is ahead of the store
	writes   *lasting.Trouble
	changed  <-chan struct{}
	searched time.Time
	returned time.Time // when grants were last given back
	results  chan Done
	applies  sync.WaitGroup
}

// Run works until ctx ends, and returns when everything it started has ended. An error says that the store could not
// be read.
func (r *Runner) Run(ctx context.Context) error {
	l := &loop{Runner: r, ctx: ctx, results: make(chan Done)}
	l.writes = lasting.New(r.o.Log, r.o.Clock, "control: jobs could not be looked at, or actions not written")
	defer l.applies.Wait()
	if err := l.load(); err != nil {
		return errs.E("control.Run", errs.Other, err)
	}
	tick := time.NewTicker(r.o.Tick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-r.commands:
			c.done <- c.do(l)
		case d := <-l.results:
			_ = l.step(d) // a failed write is logged, and the action applied again
		case <-tick.C:
			l.tick()
		}
	}
}

// load builds the core from the store.
func (l *loop) load() error {
	ctx := context.WithoutCancel(l.ctx)
	modes, err := l.o.Store.Modes(ctx)
	if err != nil {
		return err
	}
	open, err := l.o.Store.ListActions(ctx, Filter{Open: true})
	if err != nil {
		return err
	}
	var memory time.Duration
	for _, p := range l.o.Policies {
		memory = max(memory, p.Memory)
	}
	recent, err := l.o.Store.ListActions(ctx, Filter{Since: l.o.Clock.Now().Add(-memory)})
	if err != nil {
		return err
	}
	l.core, l.broken, l.changed = NewCore(l.o.Policies, modes, append(open, recent...)), false, nil
	l.searched = time.Time{}
	return nil
}

// tick looks at the jobs when a job has changed since the last look.
func (l *loop) tick() {
	if l.broken {
		if err := l.load(); err != nil {
			l.writes.Met(err)
			return
		}
	}
	inputs := []Input{Tick{}}
	if l.stale() {
		next := l.o.Jobs.Changed()
		jobs, err := l.o.Jobs.Active(l.ctx)
		if err != nil {
			l.writes.Met(err)
			return
		}
		l.changed = next
		inputs = append(inputs, Seen{jobs})
	}
	if l.o.Tasks != nil {
		uses, err := l.o.Tasks.Uses(l.ctx, 0)
		if err != nil {
			l.writes.Met(err)
			return
		}
		inputs = append(inputs, Measured{uses})
		l.giveBack(uses)
	}
	if l.o.Scaled != nil {
		inputs = append(inputs, Wished{l.o.Scaled.Wishes()})
	}
	if services, ok := l.served(); ok {
		inputs = append(inputs, Served{services})
	}
	if mode, ok := l.core.Mode(defragmentName); ok && mode != Off && l.o.Clock.Now().Sub(l.searched) >= l.o.Search {
		found, err := l.o.Jobs.Relocations(l.ctx)
		if err != nil {
			l.writes.Met(err)
			return
		}
		l.searched = l.o.Clock.Now()
		inputs = append(inputs, Found{found})
	}
	_ = l.step(inputs...) // it logs; there is nobody to tell
}

// served lists the models in service, once all that were before the start are back.
func (l *loop) served() ([]serve.Service, bool) {
	if l.o.Services == nil {
		return nil, false
	}
	select {
	case <-l.o.Services.Restored():
		return l.o.Services.List(), true
	default:
		return nil, false
	}
}

// giveBackEvery is the pause before what could not be given back is tried again.
const giveBackEvery = 10 * time.Second

// giveBack has no task below or beyond its promise where grants do not follow need at all: SetMode gives back what it
// sees, and misses what was not measured yet, what was being applied just then, and all when the server ends before.
func (l *loop) giveBack(uses []job.Use) {
	mode, ok := l.core.Mode(grantsName)
	now := l.o.Clock.Now()
	if !ok || mode != Off || now.Sub(l.returned) < giveBackEvery {
		return
	}
	var less []job.Use
	for _, u := range uses {
		if u.Grant != u.Promise {
			less = append(less, u)
		}
	}
	if len(less) == 0 {
		return
	}
	l.returned = now
	l.applies.Go(func() {
		for _, u := range less {
			err := l.o.Tasks.AdjustGrant(l.ctx, "policy/"+grantsName, u.Job, u.Task, u.Attempt, u.Promise)
			if err != nil && l.ctx.Err() == nil && !errs.Is(err, errs.Conflict) {
				l.o.Log.Warn("control: a task could not be given back what it was promised", "job", u.Job, "task", u.Task, "err", errs.Trace(err))
			}
		}
	})
}

func (l *loop) stale() bool {
	if l.changed == nil {
		return true
	}
	select {
	case <-l.changed:
		return true
	default:
		return false
	}
}

// step writes what the core decides and hands the rest over. The error is that of the first refused input, or of the
// store.
func (l *loop) step(inputs ...Input) error {
	const op = "control.step"
	if l.broken {
		return l.writes.Err(op)
	}
	var refused error
	ctx := context.WithoutCancel(l.ctx)
	for _, e := range l.core.Step(l.o.Clock.Now(), inputs...) {
		var err error
		switch e := e.(type) {
		case SaveAction:
			if err = l.o.Store.PutAction(ctx, e.Action, e.Events...); err == nil {
				l.writes.Over()
			}
		case SaveMode:
			err = l.o.Store.PutMode(ctx, e.Policy, e.Mode, e.Events...)
		case Refused:
			refused = e.Err
		case Apply:
			l.applies.Go(func() { l.apply(e.Action) })
		}
		if err != nil {
			l.broken = true
			l.writes.Met(err)
			return errs.E(op, errs.Other, err)
		}
	}
	return refused
}

// apply carries one action out and feeds back how it went, unless the run ends: then it is applied again by the next.
func (l *loop) apply(a Action) {
	err := errs.Errorf("control.apply", errs.Unsupported, "the verb %q is not known to this server", a.Verb)
	switch a.Verb {
	case relocateJobs:
		err = l.o.Jobs.Relocate(l.ctx, "policy/"+a.Policy, a.Reasons[0], a.Moves)
	case restartTask:
		_, err = l.o.Jobs.RestartReplica(l.ctx, "policy/"+a.Policy, a.Target.Job, a.Target.Task, a.Target.Attempt)
	case advanceRelease, promoteRelease, rollBackRelease:
		err = l.release(a)
	case setReplicas:
		if a.Replicas != nil {
			_, err = l.o.Jobs.SetReplicas(l.ctx, "policy/"+a.Policy, a.Target.Job, a.Replicas.To)
		}
	case adjustGrant:
		if a.Grant != nil && l.o.Tasks != nil {
			err = l.o.Tasks.AdjustGrant(l.ctx, "policy/"+a.Policy, a.Target.Job, a.Target.Task, a.Target.Attempt, a.Grant.Change)
		}
	}
	d := Done{ID: a.ID}
	if err != nil {
		d.Reason = err.Error()
		switch errs.KindOf(err) {
		case errs.Unavailable, errs.Exhausted, errs.Full, errs.Timeout, errs.Canceled, errs.Other:
			d.Transient = true
		}
	}
	select {
	case l.results <- d:
	case <-l.ctx.Done():
	}
}

func (l *loop) release(a Action) (err error) {
	r := a.Release
	if r == nil || l.o.Services == nil {
		return errs.Errorf("control.release", errs.Unsupported, "this server has no releases")
	}
	by := "policy/" + a.Policy
	switch a.Verb {
	case advanceRelease:
		return l.o.Services.AdvanceRelease(l.ctx, by, r.Model, r.Candidate, r.From, r.To, a.Reasons)
	case promoteRelease:
		_, err = l.o.Services.EndRelease(l.ctx, by, r.Model, r.Candidate, release.Promoted, a.Reasons)
	case rollBackRelease:
		_, err = l.o.Services.EndRelease(l.ctx, by, r.Model, r.Candidate, release.RolledBack, a.Reasons)
	}
	return err
}

var (
	_ Jobs     = (*job.Runner)(nil)
	_ Tasks    = (*job.Runner)(nil)
	_ Services = (*serve.Manager)(nil)
)
