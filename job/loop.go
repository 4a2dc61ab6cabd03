package job

import (
	"context"
	"sync"
	"time"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/internal/lasting"
)

// maxInFlight is how many effects are carried out at once; those of one job go one after the other.
const maxInFlight = 16

// loop is what the runner's goroutine owns.
type loop struct {
	*Runner
	ctx    context.Context //nolint:containedctx // the life of Run, which owns the loop
	core   *Core
	broken bool // a write failed: the core is ahead of the store and must be loaded again
	writes *lasting.Trouble

	// Effects: what waits for each job, and when (in the runner's own count) something was last done for it.
	hands   map[ID]*hand
	touched map[ID]uint64
	count   uint64
	done    chan handResult
	slots   chan struct{}

	// Watching: one order is under way at a time.
	orders   chan order
	reports  chan report
	watching bool
	observe  bool // ask the executor for everything it knows
	soon     bool // ask it at the next tick: with many attempts the answer takes time
	again    bool // a journal was not read to its end
	observed time.Time
	offsets  map[exec.TaskRef]int64
}

func (l *loop) run(owned *sync.WaitGroup) {
	tick := time.NewTicker(l.o.Tick)
	defer tick.Stop()
	for {
		l.watch()
		select {
		case <-l.ctx.Done():
			return
		case c := <-l.commands:
			c.done <- c.do(l)
		case <-tick.C:
			l.tick()
		case <-l.wake:
			l.watch()
		case res := <-l.done:
			l.finished(res)
		case rep := <-l.reports:
			l.take(rep)
		}
		l.start(owned)
	}
}

func (l *loop) tick() {
	if l.broken {
		if err := l.load(); err != nil {
			l.writes.Met(err)
			return
		}
	}
	if l.soon || l.o.Clock.Now().Sub(l.observed) >= l.o.Resync {
		l.observe, l.soon = true, false
	}
	l.again = true
	_ = l.step() // it logs; there is nobody to tell
}

// step has the core take the inputs, then plan, writing down what each decided. The error is that of the first refused
// input, or of the store. Room that the inputs freed is written as free before the plan gives it away, so that no crash
// leaves it given twice.
func (l *loop) step(inputs ...Input) error {
	if err := l.decide(inputs...); err != nil {
		return err
	}
	return l.decide(l.planTick())
}

func (l *loop) planTick() PlanTick {
	p := PlanTick{Nodes: l.o.Nodes()}
	if l.o.Reserved != nil {
		p.Reserved = l.o.Reserved()
	}
	return p
}

// decide takes one step of the core, writes what it decided and hands the rest over.
func (l *loop) decide(inputs ...Input) error {
	const op = "job.step"
	if l.broken {
		return l.writes.Err(op)
	}
	effects := l.core.Step(l.o.Clock.Now(), inputs...)
	var jobs []Job
	var events []event.Event
	for _, e := range effects {
		if save, ok := e.(SaveJob); ok {
			jobs, events = append(jobs, save.Job), append(events, save.Events...)
		}
	}
	if len(jobs) > 0 {
		if err := l.o.Store.UpdateJobs(context.WithoutCancel(l.ctx), jobs, events...); err != nil {
			l.writes.Met(err, "job", jobs[0].ID)
			l.broken = true
			return errs.E(op, errs.Other, err)
		}
		l.writes.Over()
		l.tell()
	}
	var refused error
	for _, e := range effects {
		switch e := e.(type) {
		case SaveJob: // written
		case SavePast:
			if err := l.o.Store.PutPast(context.WithoutCancel(l.ctx), e.Past); err != nil {
				l.writes.Met(err) // the next one holds this one's too
			}
		case Refused:
			if refused == nil {
				refused = e.Err
			}
		default:
			l.enqueue(e)
		}
	}
	return refused
}

// hand is the effects of one job that wait, the first of them under way when busy.
type hand struct {
	queue []Effect
	busy  bool
}

type handResult struct {
	id     ID
	inputs []Input
}

func (l *loop) enqueue(e Effect) {
	id := owner(e)
	if l.hands[id] == nil {
		l.hands[id] = &hand{}
	}
	l.hands[id].queue = append(l.hands[id].queue, e)
	l.touch(id)
}

func (l *loop) touch(id ID) {
	l.count++
	l.touched[id] = l.count
}

// owner is the job of an effect; those of no job of ours go together under 0.
func owner(e Effect) ID {
	var ref exec.TaskRef
	switch e := e.(type) {
	case StartTask:
		return e.Job.ID
	case Finish:
		return e.Job.ID
	case StopTask:
		ref = e.Ref
	case RemoveTask:
		ref = e.Ref
	case ForgetJob:
		return e.ID
	}
	id, _ := parseRef(ref)
	return id
}

// start sets every idle hand that has something to do to work.
func (l *loop) start(owned *sync.WaitGroup) {
	for id, h := range l.hands {
		if h.busy || len(h.queue) == 0 {
			continue
		}
		e := h.queue[0]
		h.queue, h.busy = h.queue[1:], true
		owned.Go(func() {
			select {
			case l.slots <- struct{}{}:
				defer func() { <-l.slots }()
			case <-l.ctx.Done():
				return
			}
			inputs := l.perform(l.ctx, e)
			select {
			case l.done <- handResult{id, inputs}:
			case <-l.ctx.Done():
			}
		})
	}
}

func (l *loop) finished(res handResult) {
	h := l.hands[res.id]
	h.busy = false
	l.touch(res.id)
	if len(h.queue) == 0 {
		delete(l.hands, res.id)
		l.soon = true // to see what came of it, should the executor not tell
	}
	if len(res.inputs) > 0 {
		_ = l.step(res.inputs...) // a failed write is repeated after the reload
	}
	if _, ok := l.core.Job(res.id); !ok && l.hands[res.id] == nil {
		delete(l.touched, res.id)
	}
}

// perform carries one effect out. What it returns is fed back; a context that ended feeds nothing back, for the next
// run does the effect again.
func (r *Runner) perform(ctx context.Context, e Effect) []Input {
	switch e := e.(type) {
	case StartTask:
		task, err := r.o.Launch(ctx, e.Job, e.Task)
		if err == nil {
			err = r.o.Tasks.Start(ctx, task)
		}
		if err != nil && ctx.Err() == nil {
			r.o.Log.Warn("jobs: a task could not be started", "task", TaskRef(e.Job, e.Task).String(), "err", errs.Trace(err))
			return []Input{StartFailed{Ref: TaskRef(e.Job, e.Task), Reason: err.Error(), Transient: transient(err)}}
		}
	case StopTask:
		r.mind(ctx, "stopped", e.Ref, r.o.Tasks.Stop(ctx, e.Ref, e.Grace))
	case RemoveTask:
		r.mind(ctx, "removed", e.Ref, r.o.Tasks.Remove(ctx, e.Ref))
	case ForgetJob:
		if err := r.o.Tasks.Forget(ctx, e.ID.String()); err != nil && ctx.Err() == nil {
			r.o.Log.Warn("jobs: what an old job left could not be removed", "job", e.ID, "err", errs.Trace(err))
		}
	case Finish:
		model, err := r.o.OnFinish(ctx, e.Job)
		switch {
		case err != nil && ctx.Err() != nil:
		case err != nil:
			r.o.Log.Warn("jobs: a result could not be registered", "job", e.Job.ID, "err", errs.Trace(err))
			return []Input{FinishDone{ID: e.Job.ID, Reason: err.Error(), Transient: transient(err)}}
		default:
			return []Input{FinishDone{ID: e.Job.ID, Model: model}}
		}
	}
	return nil
}

// mind logs what went wrong; the next comparison with the executor repeats what is still needed.
func (r *Runner) mind(ctx context.Context, what string, ref exec.TaskRef, err error) {
	if err != nil && ctx.Err() == nil && !errs.Is(err, errs.NotFound) {
		r.o.Log.Warn("jobs: a task could not be "+what, "task", ref.String(), "err", errs.Trace(err))
	}
}

// transient reports whether the same may work later.
func transient(err error) bool {
	switch errs.KindOf(err) {
	case errs.Unavailable, errs.Exhausted, errs.Full, errs.Timeout, errs.Other, errs.Canceled:
		return true
	}
	return false
}
