// Package twin is the hall in virtual time. Its first part replays traces of jobs: arrivals and durations come from the
// trace, who runs where and when from sched.Plan, the code that plans the real hall.
//
//	trace, err := twin.ReadPhilly(file, twin.Philly{Cluster: "ee9e8c"})
//	report, err := twin.Replay(ctx, trace, twin.Options{Nodes: twin.Nodes(18, 8), Policy: sched.WithForesight(), Predict: true})
//
// Time jumps from event to event: an arrival, an end, the end of a grace, a tick where the order changes with time. At
// each the snapshot goes into Plan, and what Plan decides is done at once. A gang that is stopped for others loses nothing
// it has done, and pays the policy's cost before it goes on. The same trace and options give the same report, to the
// byte, save for what a stopwatch says of decisions per second.
package twin

import (
	"cmp"
	"container/heap"
	"context"
	"slices"
	"time"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/sched"
	"github.com/lineshaft/lineshaft/sched/queue"
)

// Options is the hall in which a trace is replayed.
type Options struct {
	Name     string // of the run, in the report
	Nodes    []fleet.Node
	Racks    []fleet.Rack
	Caps     []fleet.PowerCap
	Queues   []queue.Queue
	Policy   sched.Policy
	Half     time.Duration // half-life of past use; 0 forgets
	Predict  bool          // durations are predicted online from what has ended
	Oracle   bool          // the scheduler is told the true durations: for comparison only
	Tick     time.Duration // between plans while something waits and the order changes with time; 10 min when 0
	Mix      sched.Mix     // the expected work; when empty, work like what runs and waits
	Elapsed  func() time.Duration
	Progress func(done, all int) // told now and then
	watch    func(*replay)       // by tests, after each plan
}

// state is a job on its way through the replay.
type state struct {
	*Job
	gang     sched.Gang
	ran      time.Duration // work done when it last stopped
	running  bool
	begins   time.Time // of the present run's work, after the cost
	stopping time.Time
	kept     bool
	places   []sched.Placement
	stopped  int // times that it was stopped for others
	waits    time.Time
	longest  time.Duration // longest wait at one time
	first    time.Time     // start
	ended    time.Time
	at       int // in the heap of ends
}

// ends is when the present run ends or stops.
func (j *state) ends() time.Time {
	end := j.begins.Add(j.Duration - j.ran)
	if j.gang.MaxRun > 0 {
		if last := j.begins.Add(j.gang.MaxRun - j.ran); last.Before(end) {
			end = last
		}
	}
	if !j.stopping.IsZero() && j.stopping.Before(end) {
		return j.stopping
	}
	return end
}

// ends is running jobs by the time at which they end.
type ends []*state

func (e ends) Len() int { return len(e) }
func (e ends) Less(a, b int) bool {
	if c := e[a].ends().Compare(e[b].ends()); c != 0 {
		return c < 0
	}
	return e[a].ID < e[b].ID
}
func (e ends) Swap(a, b int) { e[a], e[b] = e[b], e[a]; e[a].at, e[b].at = a, b }
func (e *ends) Push(x any)   { j := x.(*state); j.at = len(*e); *e = append(*e, j) }
func (e *ends) Pop() any {
	o := *e
	j := o[len(o)-1]
	*e = o[:len(o)-1]
	return j
}

// replay is one run.
type replay struct {
	o       Options
	jobs    []*state // by arrival
	next    int      // the next to arrive
	waiting []*state
	queue   []sched.Gang // of waiting, as the scheduler is told of them
	running ends
	later   bool            // some job may not start before a time
	present []*state        // running, by name
	told    []sched.Running // of present
	byID    map[string]*state
	planner *sched.Planner
	predict *sched.Predictor
	past    queue.Past
	now     time.Time
	meter   *meter
	plans   int
	decided int
	spent   time.Duration
	done    int
	counts  map[string]*sched.Weighted // of what waits, by ask; where the queue is cut short
}

// Replay runs the trace to its end.
func Replay(ctx context.Context, t Trace, o Options) (Report, error) {
	const op = "twin.Replay"
	if err := check(t, &o); err != nil {
		return Report{}, err
	}
	r := &replay{o: o, byID: make(map[string]*state, len(t.Jobs)), planner: sched.NewPlanner(o.Nodes, o.Racks, o.Caps), predict: sched.NewPredictor()}
	for i := range t.Jobs {
		j := &state{Job: &t.Jobs[i], gang: t.Jobs[i].gang(), at: -1}
		r.jobs = append(r.jobs, j)
		r.later = r.later || !j.gang.NotBefore.IsZero()
		if r.byID[j.ID] != nil {
			return Report{}, errs.Errorf(op, errs.Invalid, "the trace has two jobs %q: give each its own name", j.ID)
		}
		r.byID[j.ID] = j
	}
	slices.SortStableFunc(r.jobs, func(a, b *state) int { return a.Submit.Compare(b.Submit) })
	r.now = r.jobs[0].Submit
	r.past = queue.Past{At: r.now, Half: o.Half}
	if r.strictly() {
		r.counts = map[string]*sched.Weighted{}
	}
	r.meter = newMeter(r.jobs, o.Nodes)
	for r.next < len(r.jobs) || len(r.waiting) > 0 || len(r.running) > 0 {
		if err := ctx.Err(); err != nil {
			return Report{}, errs.E(op, errs.Canceled, err)
		}
		if !r.advance() {
			j := r.waiting[0]
			return Report{}, errs.Errorf(op, errs.Conflict, "%d jobs wait and nothing will end any more; %s waits for %s", len(r.waiting), j.ID, r.reasons(j))
		}
		r.plan()
		if o.watch != nil {
			o.watch(r)
		}
		if o.Progress != nil && r.plans%64 == 0 {
			o.Progress(r.done, len(r.jobs))
		}
	}
	return r.report(t), nil
}

func check(t Trace, o *Options) error {
	const op = "twin.Replay"
	switch {
	case len(t.Jobs) == 0:
		return errs.Errorf(op, errs.Invalid, "the trace has no job")
	case len(o.Nodes) == 0:
		return errs.Errorf(op, errs.Invalid, "the hall has no node: give --nodes, for example 18x8")
	}
	for _, n := range o.Nodes {
		if err := n.Validate(); err != nil {
			return err
		}
	}
	if err := o.Policy.Validate(); err != nil {
		return err
	}
	if len(o.Queues) == 0 {
		o.Queues = t.queues()
	}
	tree, err := queue.New(o.Queues)
	if err != nil {
		return err
	}
	fits := map[string]bool{}
	for i := range t.Jobs {
		j := &t.Jobs[i]
		if err := j.validate(); err != nil {
			return err
		}
		if err := tree.Check(j.Queue); err != nil {
			return errs.Errorf(op, errs.Invalid, "job %s: %s", j.ID, err)
		}
		if key := j.shape(); !fits[key] {
			if reasons := sched.Fits(sched.Snapshot{Nodes: o.Nodes}, j.gang()); len(reasons) > 0 {
				return errs.Errorf(op, errs.Invalid, "job %s (%d × %d accelerators, %v cores) can never run here: %s needs %s, offered is %s; give more or larger nodes",
					j.ID, max(j.Tasks, 1), j.Each.Accelerators, j.Each.CPU, reasons[len(reasons)-1].Constraint, reasons[len(reasons)-1].Needed, reasons[len(reasons)-1].Offered)
			}
			fits[key] = true
		}
	}
	if o.Tick <= 0 {
		o.Tick = 10 * time.Minute
	}
	return nil
}

// queues are those that the trace names; they share evenly.
func (t Trace) queues() []queue.Queue {
	seen := map[string]bool{}
	var out []queue.Queue
	for i := range t.Jobs {
		if q := cmp.Or(t.Jobs[i].Queue, queue.Default); !seen[q] {
			seen[q] = true
			out = append(out, queue.Queue{Name: q})
		}
	}
	slices.SortFunc(out, func(a, b queue.Queue) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// advance goes to the next event and lets it happen. False when there is none.
func (r *replay) advance() bool {
	var t time.Time
	sooner := func(u time.Time) {
		if t.IsZero() || u.Before(t) {
			t = u
		}
	}
	if r.next < len(r.jobs) {
		sooner(r.jobs[r.next].Submit)
	}
	if len(r.running) > 0 {
		sooner(r.running[0].ends())
	}
	if len(r.waiting) > 0 && len(r.running) > 0 && r.timely() {
		sooner(r.now.Truncate(r.o.Tick).Add(r.o.Tick))
	}
	if r.later {
		for _, j := range r.waiting {
			if j.gang.NotBefore.After(r.now) {
				sooner(j.gang.NotBefore)
			}
		}
	}
	if t.IsZero() {
		return false
	}
	r.meter.until(t)
	if r.o.Half > 0 {
		r.past = r.past.Until(t, r.held())
	}
	r.now = t
	for len(r.running) > 0 && !r.running[0].ends().After(t) {
		j := heap.Pop(&r.running).(*state)
		r.halt(j)
	}
	for r.next < len(r.jobs) && !r.jobs[r.next].Submit.After(t) {
		j := r.jobs[r.next]
		r.next++
		j.waits = j.Submit
		r.wait(j)
		r.count(j, 1)
		r.meter.waits(j, 1)
		if r.o.Predict {
			r.predict.Submitted(j.gang)
		}
	}
	return true
}

// timely says that the order changes with time alone.
func (r *replay) timely() bool {
	p := r.o.Policy
	return p.Preempt.Order && (p.Order == sched.LAS || p.Order == sched.Foresight) || p.Overdue > 0 || p.Rules.Ageing > 0
}

// halt is the end of a run: of the job, or for others.
func (r *replay) halt(j *state) {
	j.running = false
	at, _ := r.find(j)
	r.present = slices.Delete(r.present, at, at+1)
	worked := max(r.now.Sub(j.begins), 0)
	j.ran += worked
	r.meter.runs(j, -1)
	full := j.gang.MaxRun > 0 && j.ran >= j.gang.MaxRun
	if j.ran >= j.Duration || full {
		r.done++
		j.ended = r.now
		r.meter.last = r.now
		if r.o.Predict {
			if full {
				r.predict.Gone(j.ID)
			} else {
				r.predict.Ended(j.gang, j.Duration)
			}
		}
		return
	}
	j.stopped++
	j.stopping = time.Time{}
	j.waits = r.now
	j.gang.Left, j.gang.Ran = r.now, j.ran
	r.wait(j)
	r.meter.waits(j, 1)
}

// tenant is the queue that the job counts for.
func (j *state) tenant() string { return cmp.Or(j.Queue, queue.Default) }

// devices is how many accelerators the placements hold.
func (j *state) devices(places []sched.Placement) float64 {
	part := 1.0
	if s := j.Each.Share; s > 0 {
		part = float64(s) / 1000
	}
	return float64(len(places)*j.Each.Accelerators) * part
}

func (r *replay) held() []queue.Use {
	var out []queue.Use
	for _, j := range r.running {
		out = append(out, sched.Running{Gang: j.gang, Placements: j.places}.Use())
	}
	return out
}

// plan plans until nothing more is stopped; what was stopped has a place in the next plan at once.
func (r *replay) plan() {
	for range 8 {
		if len(r.waiting) == 0 {
			return
		}
		if !r.once() {
			return
		}
	}
}

// once plans and does what was decided; true when something was stopped at once. Where nobody passes, what is behind the
// first that is blocked is not planned at all: a backlog of thousands would be looked at whenever a job comes or ends.
func (r *replay) once() (again bool) {
	for {
		before := time.Duration(0)
		if r.o.Elapsed != nil {
			before = r.o.Elapsed()
		}
		s := r.snapshot()
		p := r.planner.Plan(s)
		if r.o.Elapsed != nil {
			r.spent += r.o.Elapsed() - before
		}
		r.plans++
		r.decided += len(p.Decisions)
		was := len(r.waiting)
		again = r.apply(p) || again
		if was-len(r.waiting) < len(s.Queue) || len(r.waiting) == 0 {
			return again
		}
	}
}

// headMost is how many are planned at a time where nobody passes.
const headMost = 16

// strictly says that jobs start in the order in which they came, whatever the plan: the head of the queue is enough.
func (r *replay) strictly() bool {
	p := r.o.Policy
	if p.Backfill != sched.Strict || p.Order != "" && p.Order != sched.FIFO || p.Preempt != (sched.Preemption{}) || p.Overdue > 0 || p.Rules.Ageing > 0 || len(r.o.Queues) > 1 {
		return false
	}
	for _, j := range r.jobs {
		if j.Priority != r.jobs[0].Priority || !j.gang.NotBefore.IsZero() || !j.gang.Deadline.IsZero() {
			return false
		}
	}
	return true
}

// apply does what was decided; true when something was stopped at once.
func (r *replay) apply(p sched.Schedule) (again bool) {
	var started map[string]bool
	for i := range p.Decisions {
		d := &p.Decisions[i]
		grace := false
		for _, e := range d.Evictions {
			j := r.byID[e.Gang]
			if e.By.After(r.now) {
				grace = true
				if len(e.Tasks) == 0 {
					j.stopping = e.By
					heap.Fix(&r.running, j.at)
				}
				continue
			}
			again = true
			if len(e.Tasks) > 0 {
				r.shrink(j, e.Tasks)
				continue
			}
			heap.Remove(&r.running, j.at)
			r.halt(j)
		}
		if len(d.Placements) == 0 || grace {
			continue
		}
		if started == nil {
			started = map[string]bool{}
		}
		started[d.Gang] = true
		r.start(r.byID[d.Gang], d)
	}
	if started != nil {
		r.leave(started)
	}
	return again
}

// shrink takes tasks from an elastic job, which goes on with the others. Its work is not slowed down: the trace does not
// say how it would be.
func (r *replay) shrink(j *state, tasks []int) {
	r.meter.runs(j, -1)
	j.places = slices.DeleteFunc(slices.Clone(j.places), func(p sched.Placement) bool { return slices.Contains(tasks, p.Task) })
	r.meter.runs(j, 1)
}

func (r *replay) start(j *state, d *sched.Decision) {
	j.running, j.places, j.kept = true, d.Placements, d.Overdue
	j.begins = r.now
	if j.ran > 0 || j.stopped > 0 {
		j.begins = r.now.Add(r.o.Policy.Preempt.Cost)
	}
	if j.first.IsZero() {
		j.first = r.now
	}
	j.longest = max(j.longest, r.now.Sub(j.waits))
	r.count(j, -1)
	r.meter.waits(j, -1)
	r.meter.runs(j, 1)
	heap.Push(&r.running, j)
	at, _ := r.find(j)
	r.present = slices.Insert(r.present, at, j)
}

// reasons plans once more to say what a job waits for.
func (r *replay) reasons(j *state) string {
	for _, d := range sched.Plan(r.snapshot()).Decisions {
		if d.Gang == j.ID && len(d.Reasons) > 0 {
			x := d.Reasons[0]
			return x.Constraint + ": needs " + x.Needed + ", offered is " + x.Offered
		}
	}
	return "nothing that is known"
}
