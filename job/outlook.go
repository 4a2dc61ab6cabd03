package job

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/sched"
	"github.com/lineshaft/lineshaft/sched/queue"
)

// Site is how the hall is shared, and what bounds it beside its nodes.
type Site struct {
	Queues  []queue.Queue // the tree; one queue, "default", when empty
	Policy  sched.Policy
	Racks   []fleet.Rack
	Caps    []fleet.PowerCap
	Windows []Window // when deferrable work may start; at any time when empty
	// HalfLife is how fast past use fades; with 0 only what is held now counts.
	HalfLife time.Duration
	// ResizePause is how long an elastic job runs before it is started anew to grow.
	ResizePause time.Duration
}

// HalfLife is a week, as that of SLURM's priorities is (PriorityDecayHalfLife) where nobody sets it.
const HalfLife = 7 * 24 * time.Hour

// DefaultSite keeps room for those that wait longest, by predicted durations, and lets higher priority and guaranteed
// quota stop what may be stopped.
func DefaultSite(queues []queue.Queue) Site {
	return Site{Queues: queues, HalfLife: HalfLife, ResizePause: ResizePause, Policy: sched.Policy{
		Backfill: sched.Conservative, Preempt: sched.Preemption{Priority: true, Reclaim: true, Grace: time.Duration(DefaultGrace)},
	}}
}

// Validate refuses queues and policies that are not in order.
func (s Site) Validate() error {
	if _, err := queue.New(s.Queues); err != nil {
		return err
	}
	return s.Policy.Validate()
}

// Queue refuses a queue that jobs may not name.
func (s Site) Queue(name string) error {
	tree, err := queue.New(s.Queues)
	if err != nil {
		return err
	}
	return tree.Check(name)
}

// Snapshot is the hall as the scheduler sees it, without any work.
func (s Site) Snapshot(now time.Time, nodes []fleet.Node) sched.Snapshot {
	return sched.Snapshot{Now: now, Nodes: nodes, Racks: s.Racks, Caps: s.Caps, Queues: s.Queues, Windows: Spans(s.Windows, now), Policy: s.Policy}
}

// admit refuses a job whose queue is not there, or whose limit it could never keep.
func (s Site) admit(j Job) error {
	tree, err := queue.New(s.Queues)
	if err != nil {
		return err
	}
	if err := tree.Check(j.Spec.Queue); err != nil {
		return err
	}
	var out []string
	for _, o := range tree.Never(j.Spec.Queue, j.whole().Least()) {
		out = append(out, fmt.Sprintf("it asks for %s of %s at once, and queue %s is limited to %s", o.Needed, o.Resource, o.Queue, o.Limit))
	}
	if len(out) > 0 {
		return errs.Errorf("job.Admit", errs.Invalid, "the job would never start: %s; ask for less, or name another queue (`lineshaft queue` shows their limits)", strings.Join(out, "; "))
	}
	return nil
}

// outlook is the last plan with what it was made from. Neither is changed once made.
type outlook struct {
	snap      sched.Snapshot
	decisions []sched.Decision
	appraised *appraisal
}

// Outlook is what a waiting job can expect, from the last plan's own record.
type Outlook struct {
	Queue      string     `json:"queue"`
	Position   int        `json:"position"` // of all that wait, 1 is first
	Of         int        `json:"of"`
	Share      float64    `json:"share"`                // of the hall that its queue holds, of the resource of which it holds most
	Resource   string     `json:"resource,omitempty"`   // which that is
	Priority   int        `json:"priority"`             // with ageing and deadline
	Earliest   *time.Time `json:"earliest,omitempty"`   // expected start, where it can be told
	Confidence float64    `json:"confidence,omitempty"` // that it starts by then; absent where it only does not start sooner
	Rule       string     `json:"rule,omitempty"`       // the learned rule that the plan is by; the default when absent
	Changes    []Change   `json:"changes,omitempty"`    // each planned, and each starts it now
	Plan       *Appraisal `json:"plan,omitempty"`       // the last plan beside the best there could be
}

// Change would start a waiting job now.
type Change struct {
	Field string `json:"field"` // of the spec
	From  string `json:"from"`
	To    string `json:"to"`
	Means string `json:"means"`
	// Stops are the jobs that would be stopped for it; they go back to the queue with their last checkpoints.
	Stops []string `json:"stops,omitempty"`
}

// of is the outlook of a waiting gang, nil when it does not wait. It plans, and so may take a while.
func (o outlook) of(gang string) *Outlook {
	i := slices.IndexFunc(o.decisions, func(d sched.Decision) bool { return d.Gang == gang })
	if i < 0 || len(o.decisions[i].Placements) > 0 {
		return nil
	}
	d := o.decisions[i]
	out := &Outlook{Of: len(o.decisions), Confidence: d.Confidence, Rule: o.snap.Policy.Learned}
	if t := d.Turn; t != nil {
		out.Queue, out.Position, out.Share, out.Resource, out.Priority = t.Queue, t.Position, t.Share, t.Resource, t.Priority
	}
	if !d.Earliest.IsZero() {
		out.Earliest = &d.Earliest
	}
	for _, c := range sched.Suggest(o.snap, gang) {
		for i, id := range c.Stops {
			c.Stops[i] = "job/" + id
		}
		out.Changes = append(out.Changes, Change(c))
	}
	return out
}

// policy is the site's, sure of starts as far as forecasts were right so far.
func (c *Core) policy() sched.Policy {
	p := c.site.Policy
	if e := c.predictor.Errors(); p.Spread == 0 && e.Runs >= 10 {
		p.Spread = max(e.Factor, 1.2)
	}
	return p
}

// vague is how many times the median a forecast's high end is at most for it to be told: a start promised by one short run
// of the past is no promise. About five runs alike are enough.
const vague = 200

// foresee gives the gang the time that its job is expected to run: what the program itself says is left, else what jobs
// like it took.
func (c *Core) foresee(j *Job, g *sched.Gang) {
	if j.Kind == Service {
		return // it does not end
	}
	var ran time.Duration
	if j.State != Queued && j.Started != nil {
		ran = c.now.Sub(*j.Started)
		c.predictor.Ran(g.ID, ran)
		if p := j.Progress; p != nil && p.ETASeconds > 0 {
			g.Duration = ran + time.Duration(p.ETASeconds*float64(time.Second))
			return
		}
	}
	f, known := c.forecasts[j.ID]
	if !known || ran > 0 {
		f = c.predictor.Forecast(j.whole(), ran)
	}
	if ran == 0 {
		c.forecasts[j.ID] = f
	}
	if f.From != "" && f.High <= vague*f.Median {
		g.Duration, g.Index = ran+f.Median, f.Index
	}
}

// whole is the gang of all the job's tasks, wherever they are: as it is admitted, and known again.
func (j *Job) whole() sched.Gang {
	g := j.gang()
	for i := range j.Spec.Tasks {
		g.Tasks = append(g.Tasks, i)
	}
	return g
}

// expect tells the predictor of a job that will end.
func (c *Core) expect(j *Job) {
	if j.Kind != Service {
		c.predictor.Submitted(j.whole())
	}
}

// learn takes in how long a job ran that has come to its own end.
func (c *Core) learn(j *Job) {
	if j.Kind == Service {
		return
	}
	clear(c.forecasts) // what waits is foreseen anew
	if j.Started == nil || j.State != Succeeded && j.State != Failed {
		c.predictor.Gone(j.ID.String()) // it says nothing of such jobs
		return
	}
	end := c.now
	if j.Finished != nil {
		end = *j.Finished
	}
	c.predictor.Ended(j.whole(), end.Sub(*j.Started))
}
