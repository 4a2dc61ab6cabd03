package job

import (
	"context"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/sched"
	"github.com/lineshaft/lineshaft/sched/queue"
)

// PlanView is the hall's work as last planned: who holds what and until when, who waits for what, and how the queues
// share.
type PlanView struct {
	Now     time.Time        `json:"now"`
	Queues  []queue.Standing `json:"queues"`
	Running []PlannedRun     `json:"running"`
	Waiting []PlannedWait    `json:"waiting"` // in the order of their turns
	Caps    []sched.CapUse   `json:"caps"`    // what is drawn below each power cap

	Reserved []PlannedRoom `json:"reserved,omitempty"` // what the calendar keeps, now and later

	Rule      string     `json:"rule,omitempty"`      // the learned rule that plans; the default when absent
	Appraisal *Appraisal `json:"appraisal,omitempty"` // when something waits and the server has the solver
}

// PlannedRoom is a reservation of the calendar.
type PlannedRoom struct {
	Name   string         `json:"name"`
	User   string         `json:"user,omitempty"`
	Queue  string         `json:"queue,omitempty"`
	From   time.Time      `json:"from"`
	To     time.Time      `json:"to"`
	Places []PlannedPlace `json:"places"`
}

// PlannedRun is a job that holds resources.
type PlannedRun struct {
	Job         ID             `json:"job"`
	Name        string         `json:"name"`
	Owner       string         `json:"owner"`
	Queue       string         `json:"queue"`
	State       State          `json:"state"`
	Priority    int            `json:"priority"`
	Preemptible bool           `json:"preemptible"`
	Placements  []PlannedPlace `json:"placements"`
	Since       *time.Time     `json:"since,omitempty"`
	Until       *time.Time     `json:"until,omitempty"` // expected end, where it can be told
	Ends        *time.Time     `json:"ends,omitempty"`  // when its timeout ends it at the latest
}

// PlannedPlace is where one task runs.
type PlannedPlace struct {
	Task         int      `json:"task"`
	Node         string   `json:"node"`
	Accelerators []string `json:"accelerators,omitempty"`

	Uplink units.BitsPerSecond `json:"uplink,omitempty"` // what it takes of its rack's
}

// placed are the places of a decision.
func placed(list []sched.Placement) (out []PlannedPlace) {
	for _, p := range list {
		out = append(out, PlannedPlace{p.Task, p.Node, p.Accelerators, p.Uplink})
	}
	return out
}

// PlannedWait is a job, or a service's replica, that waits.
type PlannedWait struct {
	Job        ID         `json:"job"`
	Name       string     `json:"name"`
	Owner      string     `json:"owner"`
	Queue      string     `json:"queue"`
	Priority   int        `json:"priority"`
	Position   int        `json:"position"` // 1 is first
	Since      time.Time  `json:"since"`
	Reason     string     `json:"reason"`
	Reasons    []Reason   `json:"reasons,omitempty"` // the same, apart
	Earliest   *time.Time `json:"earliest,omitempty"`
	Confidence float64    `json:"confidence,omitempty"`
	Seconds    float64    `json:"duration_seconds,omitempty"` // expected, once it has started
}

// Plan is the last plan.
func (r *Runner) Plan(ctx context.Context) (v PlanView, err error) {
	var o outlook
	err = r.call(ctx, func(l *loop) error {
		o = l.core.outlook
		v, err = l.core.view(l.o.Clock.Now(), l.o.Nodes())
		return err
	})
	if err == nil && len(v.Waiting) > 0 {
		v.Appraisal = o.appraise(ctx, r.o.Solver)
	}
	return v, err
}

func (c *Core) view(now time.Time, nodes []fleet.Node) (PlanView, error) {
	v := PlanView{Now: now, Running: []PlannedRun{}, Waiting: []PlannedWait{}, Caps: []sched.CapUse{}, Rule: c.site.Policy.Learned}
	tree, err := queue.New(c.site.Queues)
	if err != nil {
		return v, err
	}
	state := queue.State{Now: now, Capacity: sched.Capacity(nodes), Past: c.used(now)}
	hall := c.site.Snapshot(now, nodes)
	for _, id := range c.ids() {
		j := c.jobs[id]
		live := j.running(now)
		if len(live.Placements) == 0 {
			continue
		}
		c.foresee(j, &live.Gang)
		state.Held = append(state.Held, live.Use())
		hall.Running = append(hall.Running, live)
		run := PlannedRun{
			Job: j.ID, Name: j.Name, Owner: j.Owner, Queue: tree.Path(j.Spec.Queue), State: j.State, Priority: j.Priority,
			Preemptible: j.Spec.Preemptible, Since: j.Started,
		}
		run.Placements = placed(live.Placements)
		if j.Started != nil && j.Spec.Timeout > 0 {
			end := j.Started.Add(time.Duration(j.Spec.Timeout) + time.Duration(j.Spec.Grace))
			run.Ends = &end
		}
		if end, _ := live.Ends(now); !end.IsZero() {
			run.Until = &end
		}
		v.Running = append(v.Running, run)
	}
	gangs := make(map[string]sched.Gang, len(c.outlook.snap.Queue))
	for _, g := range c.outlook.snap.Queue {
		gangs[g.ID] = g
	}
	var items []queue.Item
	for _, d := range c.outlook.decisions {
		g := gangs[d.Gang]
		number, _, _ := strings.Cut(d.Gang, ".")
		j := c.jobs[parseID(number)]
		if len(d.Placements) > 0 && len(d.Evictions) == 0 || j == nil {
			continue
		}
		items = append(items, queue.Item{ID: g.ID, Queue: g.Queue})
		w := PlannedWait{
			Job: j.ID, Name: j.Name, Owner: j.Owner, Queue: tree.Path(g.Queue), Priority: g.Priority, Position: len(items), Since: g.Since,
			Reason: j.Reason, Reasons: j.Reasons, Confidence: d.Confidence, Seconds: g.Duration.Seconds(),
		}
		if !d.Earliest.IsZero() {
			w.Earliest = &d.Earliest
		}
		v.Waiting = append(v.Waiting, w)
	}
	v.Queues = tree.Standings(state, items)
	for _, r := range c.reserved {
		room := PlannedRoom{Name: r.Name, User: r.User, Queue: r.Queue, From: r.Span.From, To: r.Span.To, Places: []PlannedPlace{}}
		for _, p := range r.Room {
			room.Places = append(room.Places, PlannedPlace{Node: p.Node, Accelerators: p.Accelerators})
		}
		v.Reserved = append(v.Reserved, room)
	}
	if len(hall.Caps) > 0 {
		v.Caps = sched.Power(hall)
	}
	return v, nil
}
