package job

import (
	"cmp"
	"context"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/lasting"
	"github.com/lineshaft/lineshaft/sched"
)

// Options are what a Runner works with. Limits, Tick and Resync may be zero.
type Options struct {
	Store   Store
	Tasks   exec.Tasks
	Outputs exec.Outputs
	Meters  exec.Meters // may be nil: then nothing is measured, and grants are the promises
	Clock   clock.Clock
	Log     *slog.Logger
	// Nodes is the machines as they are now.
	Nodes func() []fleet.Node
	// Reserved is the calendar as it is now; nil reserves nothing.
	Reserved func() []sched.Reservation
	// Launch turns a job's task into what the executor starts: arguments, keys, files. It must set Ref as given by
	// TaskRef, and may be called again for the same attempt after a crash. An error of kind Unavailable, Exhausted,
	// Timeout or Other is tried again, any other fails the job.
	Launch func(ctx context.Context, j Job, t Task) (exec.Task, error)
	// OnFinish registers what a job that succeeded has made, nil when it made nothing. It may be called again for the
	// same job after a crash and must then give the same answer. Errors as for Launch.
	OnFinish func(ctx context.Context, j Job) (*ModelRef, error)

	// Keep is how many jobs that have ended keep their files: logs, outputs, checkpoints. Those of jobs that ended before
	// are removed, their records stay. 1000
	Keep   int
	Limits Limits
	Site   Site          // how the hall is shared
	Solver sched.Solver  // says how far a plan is from the best; may be nil
	Tick   time.Duration // between looks at journals and at what is due; 500 ms
	Resync time.Duration // between comparisons with all that the executor knows; 10 s
}

// Runner is the shell around a Core: its one goroutine takes commands and reports, writes down what the core decides,
// has it carried out, and feeds back what came of it. A write that fails stops everything that depends on it: the core
// is built anew from the store, which is what a crash at that point would have led to.
type Runner struct {
	o        Options
	commands chan command

	adjusting sync.Mutex // one change of a grant at a time

	mu      sync.Mutex
	heard   []exec.Status // told by the executor, not yet looked at
	changed chan struct{} // closed and replaced whenever a job was written
	wake    chan struct{}
}

// NewRunner makes a runner; nothing happens before Run.
func NewRunner(o Options) *Runner {
	if o.Tick == 0 {
		o.Tick = 500 * time.Millisecond
	}
	if o.Resync == 0 {
		o.Resync = 10 * time.Second
	}
	if o.Keep == 0 {
		o.Keep = 1000
	}
	return &Runner{o: o, commands: make(chan command), changed: make(chan struct{}), wake: make(chan struct{}, 1)}
}

// TaskRef names the task's newest attempt for the executor.
func TaskRef(j Job, t Task) exec.TaskRef { return j.ref(t.Index, t.Attempt) }

// Observed tells of a change of an attempt. It never blocks: the executor may call it from anywhere.
func (r *Runner) Observed(st exec.Status) {
	r.mu.Lock()
	r.heard = append(r.heard, st)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *Runner) takeHeard() []exec.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	heard := r.heard
	r.heard = nil
	return heard
}

// Changed is closed when a job is next written.
func (r *Runner) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

func (r *Runner) tell() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.changed)
	r.changed = make(chan struct{})
}

// command is something to be done on the runner's goroutine.
type command struct {
	do   func(*loop) error
	done chan error
}

// call runs do on the runner's goroutine. Once it has begun it is waited for, so that the answer is the truth.
func (r *Runner) call(ctx context.Context, do func(*loop) error) error {
	c := command{do: do, done: make(chan error, 1)}
	select {
	case r.commands <- c:
		return <-c.done
	case <-ctx.Done():
		return errs.E("job.call", errs.Other, ctx.Err())
	}
}

// Run works until ctx ends, and returns when everything it started has ended. The tasks run on; the next Run finds
// them. An error says that the store could not be read.
func (r *Runner) Run(ctx context.Context) error {
	const op = "job.Run"
	l := &loop{
		Runner: r, ctx: ctx,
		hands: map[ID]*hand{}, touched: map[ID]uint64{}, offsets: map[exec.TaskRef]int64{},
		done: make(chan handResult), orders: make(chan order, 1), reports: make(chan report),
		slots: make(chan struct{}, maxInFlight), observe: true,
		writes: lasting.New(r.o.Log, r.o.Clock, "jobs: what was decided could not be written"),
	}
	if err := l.load(); err != nil {
		return errs.E(op, errs.Other, err)
	}
	var owned sync.WaitGroup
	owned.Go(func() { (&watcher{Runner: r}).run(ctx, l.orders, l.reports) })
	l.run(&owned)
	owned.Wait()
	return nil
}

// remembered is how many jobs that have ended tell how long such jobs take.
const remembered = 2000

// load builds the core from the store.
func (l *loop) load() error {
	var jobs []Job
	read := func(state State, most int) error {
		for f := (Filter{State: state, Limit: min(most, 1000)}); most > 0; {
			page, err := l.o.Store.ListJobs(context.WithoutCancel(l.ctx), f)
			if err != nil {
				return err
			}
			jobs = append(jobs, page...)
			if len(page) < f.Limit {
				return nil
			}
			f.After, most = page[len(page)-1].ID, most-len(page)
		}
		return nil
	}
	for _, state := range []State{Queued, Starting, Running, Stopping} {
		if err := read(state, math.MaxInt); err != nil {
			return err
		}
	}
	if err := read(Succeeded, remembered); err != nil {
		return err
	}
	slices.SortFunc(jobs, func(a, b Job) int { return cmp.Compare(a.ID, b.ID) })
	past, err := l.o.Store.Past(context.WithoutCancel(l.ctx))
	if err != nil {
		return err
	}
	l.core, l.broken, l.observe = NewCore(jobs, l.o.Site), false, true
	l.core.Recall(past)
	clear(l.offsets)
	return nil
}
