package job

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/sched"
)

// keepAttempts is how many attempts of a task stay on disk while the job lives: the newest may have died before its
// first checkpoint, and then an older one has the last.
const keepAttempts = 8

// plan asks the scheduler and does what it decides. A queued job is one gang; of a service that is up, each replica
// that waits is a gang of its own.
func (c *Core) plan(nodes []fleet.Node) {
	if !c.ready {
		return
	}
	c.clear(nodes)
	snap, waiting := c.snapshot(nodes)
	c.outlook = outlook{}
	if len(snap.Queue) == 0 && !slices.ContainsFunc(snap.Running, func(r sched.Running) bool { return len(r.More) > 0 }) {
		return
	}
	plan := sched.Plan(snap)
	if len(snap.Queue) > 0 {
		c.outlook = outlook{snap, plan.Decisions, &appraisal{}}
	}
	for _, d := range c.outlook.decisions {
		j := waiting[d.Gang]
		switch {
		case len(d.Evictions) > 0: // it starts in a later plan, when they have stopped
			c.evict(j, d)
		case len(d.Placements) == 0:
			c.wait(j, d.Reasons)
		default:
			c.place(j, d.Placements)
		}
	}
	for _, g := range plan.Growths {
		c.grow(g)
	}
}

// snapshot is the hall as the scheduler sees it, and whose gangs wait.
func (c *Core) snapshot(nodes []fleet.Node) (snap sched.Snapshot, waiting map[string]*Job) {
	snap = c.site.Snapshot(c.now, nodes)
	snap.Policy, snap.Past, snap.Reservations = c.policy(), c.used(c.now), c.reserved
	waiting = map[string]*Job{}
	for _, id := range c.ids() {
		j := c.jobs[id]
		if live := j.running(c.now); len(live.Placements) > 0 {
			c.foresee(j, &live.Gang)
			live.More = j.more(c.now, c.site.ResizePause)
			snap.Running = append(snap.Running, live)
		}
		for _, g := range j.gangs(c.now) {
			c.foresee(j, &g)
			snap.Queue = append(snap.Queue, g)
			waiting[g.ID] = j
		}
	}
	return snap, waiting
}

// clear stops what may be stopped in room that is reserved for others from now on.
func (c *Core) clear(nodes []fleet.Node) {
	if len(c.reserved) == 0 {
		return
	}
	snap, _ := c.snapshot(nodes)
	for _, e := range sched.Trespass(snap) {
		if j := c.jobs[parseID(e.Gang)]; j != nil && j.State != Stopping {
			at := c.now
			j.Preempted = &at
			c.end(j, Queued, fmt.Sprintf("stopped for %s; it goes on from its last checkpoint when there is room", e.Why))
		}
	}
}

// evict stops running jobs for one that waits.
func (c *Core) evict(j *Job, d sched.Decision) {
	var names []string
	for _, e := range d.Evictions {
		names = append(names, "job/"+e.Gang)
		victim := c.jobs[parseID(e.Gang)]
		if victim == nil || victim.State == Stopping {
			continue
		}
		if c.shrink(victim, e, j) {
			continue
		}
		at := c.now
		victim.Preempted = &at
		c.end(victim, Queued, fmt.Sprintf("stopped for job/%d (%s); it goes on from its last checkpoint when there is room", j.ID, e.Why))
	}
	c.wait(j, []sched.Reason{{
		Constraint: "room", Needed: "what " + strings.Join(names, ", ") + " has", Offered: "nothing before it has stopped",
		Detail: "it was told to stop, and has until " + d.Evictions[0].By.UTC().Format(time.RFC3339),
	}})
	if j.State == Queued {
		j.Claim = placed(d.Placements) // what was stopped for it is its own, whoever else would be before it then
	}
}

// running is what of the job holds resources.
func (j *Job) running(now time.Time) sched.Running {
	r := sched.Running{Gang: j.gang()}
	if j.Started != nil {
		r.Started = *j.Started
	}
	if j.State == Stopping {
		r.Stopping = now.Add(time.Duration(j.Spec.Grace))
	}
	for _, t := range j.Tasks {
		if t.State.Live() {
			r.Gang.Tasks = append(r.Gang.Tasks, t.Index)
			r.Placements = append(r.Placements, sched.Placement{
				Gang: r.Gang.ID, Task: t.Index, Node: t.Node, Ask: r.Gang.Each, Accelerators: t.Accelerators, Uplink: t.Uplink,
			})
		}
	}
	if r.Gang.Min > 0 && !j.complete() {
		r.Gang.Min = 0 // it does not shrink now
	}
	return r
}

// gang is what the job is to the scheduler, without tasks.
func (j *Job) gang() sched.Gang {
	g := sched.Gang{
		ID: j.ID.String(), Queue: j.Spec.Queue, User: j.Owner, Name: j.Name, Priority: j.Priority, Since: j.Created,
		Each: j.Spec.Resources.ask(), MaxRun: time.Duration(j.Spec.Timeout), Preemptible: j.Spec.Preemptible,
		Topology: sched.Topology(j.Spec.Topology), Deferrable: j.Spec.Deferrable,
	}
	if j.Array != nil && j.Spec.Array != nil {
		g.Array, g.ArrayLimit = j.Array.ID.String(), j.Spec.Array.Limit
	}
	if j.Spec.elastic() {
		g.Min = j.Spec.MinTasks
	}
	if j.Spec.NotBefore != nil {
		g.NotBefore = *j.Spec.NotBefore
	}
	if j.Spec.Deadline != nil {
		g.Deadline = *j.Spec.Deadline
	}
	if j.Preempted != nil {
		g.Left = *j.Preempted
	}
	for _, p := range j.Claim {
		g.Claim = append(g.Claim, sched.Placement{Gang: g.ID, Task: p.Task, Node: p.Node, Ask: g.Each, Accelerators: p.Accelerators, Uplink: p.Uplink})
	}
	return g
}

// gangs are what of the job waits for a place.
func (j *Job) gangs(now time.Time) []sched.Gang {
	if j.NotBefore != nil && now.Before(*j.NotBefore) {
		return nil
	}
	g := j.gang()
	var tasks []int
	for _, t := range j.Tasks {
		if t.State == Queued {
			tasks = append(tasks, t.Index)
		}
	}
	switch {
	case len(tasks) == 0:
		return nil
	case j.State == Queued:
		g.Tasks = tasks
		return []sched.Gang{g}
	case j.Kind != Service || (j.State != Starting && j.State != Running):
		return nil
	}
	var out []sched.Gang
	for _, i := range tasks {
		one := g
		one.ID, one.Tasks = g.ID+"."+strconv.Itoa(i), []int{i}
		out = append(out, one)
	}
	return out
}

// place starts new attempts where the scheduler put them.
func (c *Core) place(j *Job, placements []sched.Placement) {
	j.Reasons, j.Reason, j.NotBefore, j.Claim = nil, "", nil, nil
	c.move(j, Place)
	for _, p := range placements {
		t := &j.Tasks[p.Task]
		*t = Task{
			Index: t.Index, Attempt: t.Attempt + 1, Restarts: t.Restarts,
			State: Starting, Node: p.Node, Accelerators: p.Accelerators, Uplink: p.Uplink,
		}
		t.Port = c.port(j, t, p.Node)
		if old := t.Attempt - keepAttempts; old > 0 {
			c.do(RemoveTask{Ref: j.ref(t.Index, old)})
		}
	}
	if j.Spec.elastic() {
		j.Size = len(placements)
		if r := j.Resized; r != nil && r.To != j.Size {
			j.Resized = nil // it was stopped whole since
		}
		for i := range j.Tasks {
			if j.Tasks[i].State == Queued {
				j.Tasks[i].State, j.Tasks[i].Reason = Canceled, "the attempt started without it"
			}
		}
	}
	for _, p := range placements {
		c.do(StartTask{Job: j.clone(), Task: j.Tasks[p.Task]})
	}
	c.note(j, "job.placed")
}

// wait records why the gang was not placed, when that has changed.
func (c *Core) wait(j *Job, reasons []sched.Reason) {
	out := make([]Reason, len(reasons))
	for i, r := range reasons {
		out[i] = Reason(r)
	}
	if slices.EqualFunc(out, j.Reasons, func(a, b Reason) bool { return reflect.DeepEqual(a, b) }) {
		return
	}
	j.Reasons = out
	if j.State == Queued {
		if !c.stopping() {
			j.Claim = nil // what it was to have is not free any more
		}
		j.Reason = "waits for " + words(out)
	}
	c.quiet(j, "job.waiting", nil)
}

// stopping tells whether some job stops: what it has may be what another is to have.
func (c *Core) stopping() bool {
	for _, j := range c.jobs {
		if j.State == Stopping {
			return true
		}
	}
	return false
}

// words names the constraints: "cpu (needs 2, offered 1) and memory (…)".
func words(reasons []Reason) string {
	var out []string
	for _, r := range reasons {
		out = append(out, fmt.Sprintf("%s (needs %s, offered %s)", r.Constraint, r.Needed, r.Offered))
	}
	return cmp.Or(strings.Join(out, " and "), "its turn")
}

func (r Resources) ask() sched.Ask {
	return sched.Ask{
		CPU: r.CPU, Memory: r.Memory, Disk: r.Disk, Storage: r.Storage, Bandwidth: r.Bandwidth, Watts: r.Watts,
		Accelerators: r.Accelerators, Kind: r.Kind, Models: r.Model, Share: int(math.Round(1000 * r.Share)), AcceleratorMemory: r.AcceleratorMemory,
	}
}
