package sched

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/sched/queue"
)

// Change is something that would start a waiting gang now.
type Change struct {
	Field string // of the job's spec: tasks, priority, queue, resources.accelerators, …
	From  string
	To    string
	Means string   // in words
	Stops []string // the gangs that it would stop, by ID
}

// maxTrials bounds how many plans a search for changes makes.
const maxTrials = 64

// Suggest says what would start the waiting gang now: fewer tasks or accelerators, cores, memory, disk, another model,
// queue or priority, each the least change of its kind. Every change was planned with everything else as it is and
// started the gang. It is empty when no single change does, and for a gang that the plan starts anyway.
func Suggest(s Snapshot, gang string) []Change {
	at := slices.IndexFunc(s.Queue, func(g Gang) bool { return g.ID == gang })
	if at < 0 {
		return nil
	}
	t := &trials{s: s, at: at, left: maxTrials, planner: NewPlanner(s.Nodes, s.Racks, s.Caps)}
	d := t.plan(s.Queue[at])
	if d == nil || starts(*d) {
		return nil
	}
	t.fewer(d.Reasons)
	t.models()
	t.apart()
	t.sooner()
	t.leaves(d.Reasons)
	t.priority()
	t.queues()
	return t.found
}

// starts says that the gang starts now or as soon as others have stopped.
func starts(d Decision) bool { return len(d.Placements) > 0 || len(d.Evictions) > 0 }

type trials struct {
	s     Snapshot
	at    int
	left  int
	found []Change

	planner *Planner
}

// plan is what becomes of the gang were it as given; nil when the trials are used up.
func (t *trials) plan(g Gang) *Decision {
	if t.left--; t.left < 0 {
		return nil
	}
	s := t.s
	s.Queue = slices.Clone(s.Queue)
	s.Queue[t.at] = g
	ds := t.planner.Plan(s).Decisions
	if i := slices.IndexFunc(ds, func(d Decision) bool { return d.Gang == g.ID }); i >= 0 {
		return &ds[i]
	}
	return nil
}

// most is the largest of n steps, from 1, with which the gang starts, by bisection; 0 when none does.
func (t *trials) most(n int, with func(step int) Gang) (best int, d *Decision) {
	for low, high := 1, n; low <= high; {
		mid := (low + high) / 2
		if got := t.plan(with(mid)); got != nil && starts(*got) {
			best, d, low = mid, got, mid+1
		} else {
			high = mid - 1
		}
	}
	return best, d
}

func (t *trials) add(field, from, to, means string, d *Decision) {
	c := Change{Field: field, From: from, To: to, Means: means}
	for _, e := range d.Evictions {
		c.Stops = append(c.Stops, e.Gang)
	}
	t.found = append(t.found, c)
}

// fewer tries less of what is missing.
func (t *trials) fewer(reasons []Reason) {
	g := t.s.Queue[t.at]
	missing := map[string]bool{}
	for _, r := range reasons {
		missing[r.Constraint] = true
	}
	if n := len(g.Tasks); n > 1 && g.Min > 0 {
		if k, d := t.most(g.Min-1, func(k int) Gang { h := g; h.Min = k; return h }); k > 0 {
			t.add("min_tasks", fmt.Sprint(g.Min), fmt.Sprint(k), fmt.Sprintf("start with %d fewer tasks", g.Min-k), d)
		}
	} else if n > 1 {
		if k, d := t.most(n-1, func(k int) Gang { h := g; h.Tasks = g.Tasks[:k]; return h }); k > 0 {
			t.add("tasks", fmt.Sprint(n), fmt.Sprint(k), fmt.Sprintf("%d fewer tasks", n-k), d)
		}
	}
	if n := g.Each.Accelerators; n > 1 {
		if k, d := t.most(n-1, func(k int) Gang { h := g; h.Each.Accelerators = k; return h }); k > 0 {
			t.add("resources.accelerators", fmt.Sprint(n), fmt.Sprint(k), fmt.Sprintf("%d fewer accelerators a task", n-k), d)
		}
	}
	quota := missing["quota"]
	if missing["cpu"] || quota {
		const steps = 16
		part := func(k int) float64 { return math.Floor(g.Each.CPU*float64(k)/steps*10) / 10 }
		if k, d := t.most(steps-1, func(k int) Gang { h := g; h.Each.CPU = part(k); return h }); part(k) > 0 {
			t.add("resources.cpu", number(g.Each.CPU), number(part(k)), fmt.Sprintf("%s fewer cores a task", number(g.Each.CPU-part(k))), d)
		}
	}
	t.fewerBytes("resources.memory", missing["memory"] || quota, g.Each.Memory, func(h *Gang, v units.Bytes) { h.Each.Memory = v })
	t.fewerBytes("resources.disk", missing["disk"], g.Each.Disk, func(h *Gang, v units.Bytes) { h.Each.Disk = v })
	t.fewerBytes("resources.storage", missing["storage"] || quota, g.Each.Storage, func(h *Gang, v units.Bytes) { h.Each.Storage = v })
	t.part("resources.bandwidth", missing["bandwidth"] || missing["uplink"] || quota, int64(g.Each.Bandwidth), 1000,
		func(v int64) string { return units.BitsPerSecond(v).String() }, func(h *Gang, v int64) { h.Each.Bandwidth = units.BitsPerSecond(v) })
	t.part("resources.watts", missing["power"] || missing["power cap"] || quota, int64(g.Each.Watts), 1,
		func(v int64) string { return fmt.Sprintf("%d W", v) }, func(h *Gang, v int64) { h.Each.Watts = units.Watts(v) })
	if n := g.Each.Share; n > 0 && n < whole {
		t.part("resources.share", missing["accelerators"] || quota, int64(n), 1, func(v int64) string { return number(float64(v) / whole) }, func(h *Gang, v int64) { h.Each.Share = int(v) })
	}
}

func (t *trials) fewerBytes(field string, missing bool, all units.Bytes, set func(*Gang, units.Bytes)) {
	t.part(field, missing, int64(all), int64(units.MiB), func(v int64) string { return units.Bytes(v).String() }, func(h *Gang, v int64) { set(h, units.Bytes(v)) })
}

// part tries sixteenths of what is asked for, in whole units.
func (t *trials) part(field string, missing bool, all, unit int64, text func(int64) string, set func(*Gang, int64)) {
	const steps = 16
	if !missing || all < steps*unit {
		return
	}
	part := func(k int) int64 { return all / unit * int64(k) / steps * unit }
	if k, d := t.most(steps-1, func(k int) Gang { h := t.s.Queue[t.at]; set(&h, part(k)); return h }); k > 0 {
		t.add(field, text(all), text(part(k)), text(all-part(k))+" less a task", d)
	}
}

// apart lets the tasks be further from each other.
func (t *trials) apart() {
	g := t.s.Queue[t.at]
	if level := g.Topology.Level; level != "" && g.Topology.Hard {
		g.Topology.Hard = false
		if d := t.plan(g); d != nil && starts(*d) {
			t.add("topology.hard", "true", "false", "tasks that need not share a "+level, d)
		}
	}
}

// sooner lifts what the gang itself has put in its way.
func (t *trials) sooner() {
	g := t.s.Queue[t.at]
	try := func(field, from, to, means string, h Gang) {
		if d := t.plan(h); d != nil && starts(*d) {
			t.add(field, from, to, means, d)
		}
	}
	if g.NotBefore.After(t.s.Now) {
		h := g
		h.NotBefore = time.Time{}
		try("not_before", g.NotBefore.UTC().Format(time.RFC3339), "", "no earliest start", h)
	}
	if g.Deferrable {
		h := g
		h.Deferrable = false
		try("deferrable", "true", "false", "not to wait for a window", h)
	}
	if g.Array != "" && g.ArrayLimit > 0 {
		h := g
		h.ArrayLimit++
		try("array.limit", fmt.Sprint(g.ArrayLimit), fmt.Sprint(h.ArrayLimit), "one more of the array at once", h)
	}
}

func (t *trials) models() {
	g := t.s.Queue[t.at]
	if len(g.Each.Models) == 0 {
		return
	}
	from := strings.Join(g.Each.Models, "|")
	g.Each.Models = nil
	d := t.plan(g)
	if d == nil || !starts(*d) {
		return
	}
	to := "any"
	if len(d.Placements) > 0 {
		if i := slices.IndexFunc(t.s.Nodes, func(n fleet.Node) bool { return n.Name == d.Placements[0].Node }); i >= 0 {
			for _, a := range t.s.Nodes[i].Accelerators {
				if slices.Contains(d.Placements[0].Accelerators, a.ID) && a.Model != "" {
					to = a.Model
				}
			}
		}
	}
	t.add("resources.model", from, to, "accelerators of another model", d)
}

// leaves tries a timeout, the longest of a few, or to be stopped for what is reserved.
func (t *trials) leaves(reasons []Reason) {
	if !slices.ContainsFunc(reasons, func(r Reason) bool { return r.Constraint == "reservation" }) {
		return
	}
	g := t.s.Queue[t.at]
	from := "none"
	if g.MaxRun > 0 {
		from = g.MaxRun.String()
	}
	for _, hours := range []float64{72, 48, 24, 12, 8, 4, 2, 1, 0.5, 0.25} {
		h := g
		h.MaxRun = time.Duration(hours * float64(time.Hour))
		if g.MaxRun > 0 && g.MaxRun <= h.MaxRun {
			continue
		}
		if d := t.plan(h); d != nil && starts(*d) {
			to := strings.Replace(strings.TrimSuffix(h.MaxRun.String(), "0s"), "h0m", "h", 1)
			t.add("timeout", from, to, "a timeout of "+to, d)
			break
		}
	}
	if h := g; !g.Preemptible {
		h.Preemptible = true
		if d := t.plan(h); d != nil && starts(*d) {
			t.add("preemptible", "false", "true", "to be stopped when others need the room", d)
		}
	}
}

// priority tries the least that is above those before it.
func (t *trials) priority() {
	g := t.s.Queue[t.at]
	const highest = 100
	up := highest - g.Priority
	if up <= 0 {
		return
	}
	with := func(p int) Gang { h := g; h.Priority = p; return h }
	if d := t.plan(with(highest)); d == nil || !starts(*d) {
		return
	}
	// The higher, the sooner: the most steps down from the highest that still start it.
	down, d := t.most(up, func(k int) Gang { return with(highest + 1 - k) })
	if d != nil {
		to := highest + 1 - down
		t.add("priority", fmt.Sprint(g.Priority), fmt.Sprint(to), fmt.Sprintf("priority %d", to), d)
	}
}

func (t *trials) queues() {
	g := t.s.Queue[t.at]
	from := g.Queue
	for _, q := range t.s.Queues {
		if q.Name == from || slices.ContainsFunc(t.s.Queues, func(o queue.Queue) bool { return o.Parent == q.Name }) {
			continue
		}
		g.Queue = q.Name
		if d := t.plan(g); d != nil && starts(*d) {
			t.add("queue", from, q.Name, "queue "+q.Name, d)
		}
	}
}
