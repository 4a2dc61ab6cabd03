package sched_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/sched"
	"github.com/lineshaft/lineshaft/sched/queue"
)

// history is a hall over time under the whole plan: gangs come, run, end and are stopped, and every plan on the way is
// checked against paper and pencil.
type history struct {
	r     *rand.Rand
	w     *world
	s     sched.Snapshot
	ends  map[string]time.Time
	seen  map[string]int // what has happened, by name
	empty *sched.Hall
	id    int

	planner *sched.Planner // kept from plan to plan
}

func newHistory(seed uint64) *history {
	r := rand.New(rand.NewPCG(seed, 11))
	h := &history{r: r, w: randomWorld(r), ends: map[string]time.Time{}, seen: map[string]int{}}
	h.empty = sched.NewHall(h.w.nodes, h.w.caps, h.w.racks, nil)
	h.planner = sched.NewPlanner(h.w.nodes, h.w.racks, h.w.caps)
	some := func(n int) queue.Amount {
		return queue.Amount{CPU: float64(r.IntN(3) / 2 * (1 + r.IntN(n))), Accelerators: float64(r.IntN(3) / 2 * (1 + r.IntN(n)))}
	}
	all := some(90)
	low := all // what a child is limited to at most, where its parent is limited
	h.s = sched.Snapshot{
		Now: time.Unix(1_000_000, 0), Nodes: h.w.nodes, Racks: h.w.racks, Caps: h.w.caps,
		Queues: []queue.Queue{
			{Name: "all", Limit: all},
			{Name: "a", Parent: "all", Limit: queue.Amount{CPU: low.CPU / 2}, Weight: 2},
			{Name: "b", Parent: "all", Users: true},
			{Name: "c", Limit: some(40)},
		},
		Policy: sched.Policy{
			Order: sched.Orders()[r.IntN(len(sched.Orders()))], Backfill: sched.Backfills()[max(r.IntN(6)-2, 0)],
			Rules:   queue.Rules{Ageing: time.Duration(r.IntN(2)) * time.Hour},
			Preempt: sched.Preemption{Priority: r.IntN(2) == 0, Reclaim: r.IntN(3) > 0, Order: r.IntN(3) > 0, Grace: time.Duration(r.IntN(2)*r.IntN(9)) * time.Minute},
			Overdue: time.Duration(r.IntN(2)*(1+r.IntN(90))) * time.Minute, Quantum: time.Duration(r.IntN(30)) * time.Minute, Share: float64(r.IntN(3)) / 2,
			Horizon: r.IntN(4), Depth: r.IntN(8),
		},
	}
	for range r.IntN(4) {
		h.s.Mix = append(h.s.Mix, sched.Weighted{Ask: randomAsk(r), Weight: 1})
	}
	for _, n := range h.w.nodes {
		if r.IntN(3) == 0 {
			h.s.Queues[3].Guaranteed = queue.Amount{CPU: n.CPU, Accelerators: 2}
			h.s.Queues[3].Limit = queue.Amount{}
		}
		if r.IntN(20) == 0 {
			room := sched.Placement{Node: n.Name, Ask: sched.Ask{CPU: n.CPU / 2}}
			from := h.s.Now.Add(time.Duration(r.IntN(120)) * time.Minute)
			h.s.Reservations = append(h.s.Reservations, sched.Reservation{Name: "kept", Queue: []string{"", "b", "c"}[r.IntN(3)], Span: sched.Span{From: from, To: from.Add(time.Hour)}, Room: []sched.Placement{room}})
		}
	}
	return h
}

func (h *history) comes() {
	r := h.r
	h.id++
	g := randomGang(r, h.id)
	for tries := 0; tries < 4 && !h.possible(g); tries++ {
		g = randomGang(r, h.id)
	}
	g.Queue, g.User, g.Priority, g.Since = []string{"a", "b", "c"}[r.IntN(3)], []string{"ann", "ben"}[r.IntN(2)], r.IntN(5)/4+r.IntN(2), h.s.Now
	g.Preemptible = r.IntN(3) > 0
	if r.IntN(2) == 0 {
		g.Duration = time.Duration(1+r.IntN(200)) * time.Minute
		g.Index = g.Duration.Seconds()
	}
	switch r.IntN(12) {
	case 0:
		g.MaxRun = time.Duration(1+r.IntN(100)) * time.Minute
	case 1:
		g.NotBefore = h.s.Now.Add(time.Duration(r.IntN(60)) * time.Minute)
	case 2:
		g.Array, g.ArrayLimit = "array", 1
	case 3:
		g.Deadline = h.s.Now.Add(time.Duration(r.IntN(300)) * time.Minute)
	}
	h.s.Queue = append(h.s.Queue, g)
}

// possible says that the empty hall has room for it. Some that it has none for come as well.
func (h *history) possible(g sched.Gang) bool {
	got := h.empty.Place(g)
	for _, p := range got.Placements {
		h.empty.Release(p)
	}
	return len(got.Placements) > 0
}

// passes lets time go by, and what is due end or stop.
func (h *history) passes() {
	h.s.Now = h.s.Now.Add(time.Duration(1+h.r.IntN(30)) * time.Minute)
	h.s.Running = slices.DeleteFunc(slices.Clone(h.s.Running), func(r sched.Running) bool {
		if !r.Stopping.IsZero() && !r.Stopping.After(h.s.Now) {
			h.stopped(r, r.Stopping)
			return true
		}
		return !h.ends[r.Gang.ID].After(h.s.Now)
	})
}

// stopped is back in the queue.
func (h *history) stopped(r sched.Running, at time.Time) {
	g := r.Gang
	g.Left, g.Ran = at, g.Ran+max(at.Sub(r.Started), 0)
	h.s.Queue = append(slices.Clone(h.s.Queue), g)
	h.seen["stopped"]++
}

// held is what the running gangs hold, in the world's list.
func held(running []sched.Running) (out []sched.Placement) {
	for _, r := range running {
		out = append(out, r.Placements...)
	}
	return out
}

// without is what runs on once the evictions have been: whole gangs and tasks.
func without(running []sched.Running, list []sched.Eviction) (out []sched.Running, err error) {
	out = slices.Clone(running)
	for _, e := range list {
		i := slices.IndexFunc(out, func(r sched.Running) bool { return r.Gang.ID == e.Gang })
		if i < 0 || !out[i].Gang.Preemptible || !out[i].Stopping.IsZero() {
			return nil, fmt.Errorf("%+v stops what does not run, may not be stopped or stops already", e)
		}
		if len(e.Tasks) == 0 {
			out = slices.Delete(out, i, i+1)
			continue
		}
		left := slices.DeleteFunc(slices.Clone(out[i].Placements), func(p sched.Placement) bool { return slices.Contains(e.Tasks, p.Task) })
		if least := out[i].Gang.Min; least == 0 || len(left) < least || len(left)+len(e.Tasks) != len(out[i].Placements) {
			return nil, fmt.Errorf("%+v leaves %d tasks of %d", e, len(left), len(out[i].Placements))
		}
		out[i].Placements = left
	}
	return out, nil
}

// quotas adds up what each queue holds, and says which limit is exceeded.
func (h *history) quotas(running []sched.Running) error {
	parent, used := map[string]string{}, map[string]queue.Amount{}
	for _, q := range h.s.Queues {
		parent[q.Name] = q.Parent
	}
	for _, r := range running {
		for range r.Placements {
			a := queue.Amount{CPU: r.Gang.Each.CPU, Accelerators: float64(r.Gang.Each.Accelerators*share(r.Gang.Each)) / 1000}
			for q := r.Gang.Queue; q != ""; q = parent[q] {
				used[q] = used[q].Add(a)
			}
		}
	}
	for _, q := range h.s.Queues {
		u := used[q.Name]
		if q.Limit.CPU > 0 && u.CPU > q.Limit.CPU+1e-6 || q.Limit.Accelerators > 0 && u.Accelerators > q.Limit.Accelerators+1e-6 {
			return fmt.Errorf("queue %s holds %+v of %+v", q.Name, u, q.Limit)
		}
	}
	return nil
}

// fit says whether the gangs fit beside each other, whole, within the quotas.
func (h *history) fit(running []sched.Running, started []sched.Running) error {
	h.w.held = held(running)
	for _, r := range started {
		if err := h.w.accept(r.Gang, r.Placements); err != nil {
			return fmt.Errorf("gang %s: %w", r.Gang.ID, err)
		}
	}
	return h.quotas(slices.Concat(running, started))
}

// plans makes the plan twice, checks it, and does what it says.
func (h *history) plans(counterfactual bool) error {
	h.wish()
	p := sched.Plan(h.s)
	if counterfactual {
		was := fmt.Sprintf("%+v", h.s)
		if again := sched.Plan(h.s); !reflect.DeepEqual(p, again) {
			return fmt.Errorf("the same snapshot was planned in two ways:\n%+v\n%+v", p, again)
		}
		if kept := h.planner.Plan(h.s); !reflect.DeepEqual(p, kept) {
			return fmt.Errorf("a planner that is kept plans in another way:\n%+v\n%+v", p, kept)
		}
		if fmt.Sprintf("%+v", h.s) != was {
			return fmt.Errorf("the plan changed its snapshot")
		}
	}
	if len(p.Decisions) != len(h.s.Queue) {
		return fmt.Errorf("%d decisions on %d gangs", len(p.Decisions), len(h.s.Queue))
	}
	gangs := map[string]sched.Gang{}
	for _, g := range h.s.Queue {
		gangs[g.ID] = g
	}
	var evicted []sched.Eviction
	var later, now []sched.Running // with places that hold once others have stopped; at once
	for _, d := range p.Decisions {
		g, ok := gangs[d.Gang]
		if !ok {
			return fmt.Errorf("gang %s is decided and does not wait, or twice", d.Gang)
		}
		delete(gangs, d.Gang)
		evicted = append(evicted, d.Evictions...)
		run := sched.Running{Gang: g, Placements: d.Placements, Started: h.s.Now, Kept: d.Overdue}
		later = append(later, run)
		switch {
		case len(d.Placements) == 0:
			later = later[:len(later)-1]
			if err := h.reasons(p, d, counterfactual); err != nil {
				return err
			}
			h.seen["waits for "+d.Reasons[0].Constraint]++
		case len(d.Evictions) > 0 && h.s.Policy.Preempt.Grace > 0:
			h.seen["told to stop"]++
		default:
			now = append(now, run)
			h.seen["started"]++
		}
	}
	grown, err := h.grown(p.Growths)
	if err != nil {
		return err
	}
	rest, err := without(h.s.Running, evicted)
	if err != nil {
		return err
	}
	if err := h.fit(less(rest, grown), slices.Concat(grown, later)); err != nil {
		return fmt.Errorf("when all have stopped: %w", err)
	}
	if h.s.Policy.Preempt.Grace > 0 {
		if err := h.fit(less(h.s.Running, grown), slices.Concat(grown, now)); err != nil {
			return fmt.Errorf("at once: %w", err)
		}
	}
	if len(grown) > 0 { // nothing is stopped by the same plan
		h.s.Running = slices.Concat(less(h.s.Running, grown), grown)
		rest = h.s.Running
	}
	h.apply(rest, now, evicted)
	return nil
}

// wish has elastic gangs that run with fewer tasks want the others, now and then.
func (h *history) wish() {
	h.s.Running = slices.Clone(h.s.Running)
	for i := range h.s.Running {
		r := &h.s.Running[i]
		r.More = nil
		if n := len(r.Placements); r.Gang.Min > 0 && n < len(r.Gang.Tasks) && h.r.IntN(2) == 0 {
			r.More = r.Gang.Tasks[n:]
		}
	}
}

// grown is the gangs that grow, at their new sizes.
func (h *history) grown(list []sched.Growth) (out []sched.Running, err error) {
	for _, g := range list {
		i := slices.IndexFunc(h.s.Running, func(r sched.Running) bool { return r.Gang.ID == g.Gang })
		if i < 0 || len(g.Placements) == 0 || len(g.Placements) > len(h.s.Running[i].More) || !h.s.Running[i].Stopping.IsZero() {
			return nil, fmt.Errorf("%+v grows what does not run, wants no more or stops", g)
		}
		r := h.s.Running[i]
		r.Placements = slices.Concat(r.Placements, g.Placements)
		out = append(out, r)
		h.seen["grown"]++
	}
	return out, nil
}

// less is the running gangs without some.
func less(running, some []sched.Running) []sched.Running {
	return slices.DeleteFunc(slices.Clone(running), func(r sched.Running) bool {
		return slices.ContainsFunc(some, func(o sched.Running) bool { return o.Gang.ID == r.Gang.ID })
	})
}

func (h *history) apply(rest, now []sched.Running, evicted []sched.Eviction) {
	next := rest
	if h.s.Policy.Preempt.Grace > 0 {
		next = slices.Clone(h.s.Running)
	}
	for _, e := range evicted {
		i := slices.IndexFunc(h.s.Running, func(r sched.Running) bool { return r.Gang.ID == e.Gang })
		h.seen[e.Why]++
		switch {
		case h.s.Policy.Preempt.Grace > 0 && len(e.Tasks) == 0:
			next[i].Stopping = e.By
		case h.s.Policy.Preempt.Grace > 0: // it shrinks at once
			part, _ := without(next, []sched.Eviction{e})
			next = part
		case len(e.Tasks) == 0:
			h.stopped(h.s.Running[i], h.s.Now)
		}
	}
	h.s.Queue = slices.DeleteFunc(slices.Clone(h.s.Queue), func(g sched.Gang) bool {
		return slices.ContainsFunc(now, func(r sched.Running) bool { return r.Gang.ID == g.ID })
	})
	for _, r := range now {
		h.ends[r.Gang.ID] = h.s.Now.Add(time.Duration(1+h.r.IntN(180)) * time.Minute)
	}
	h.s.Running = append(next, now...)
}

// reasons checks that the gang waits for something, and that without it it would start.
func (h *history) reasons(p sched.Schedule, d sched.Decision, counterfactual bool) error {
	if len(d.Reasons) == 0 {
		return fmt.Errorf("gang %s waits for nothing", d.Gang)
	}
	for _, r := range d.Reasons {
		if r.Constraint == "" || r.Needed == "" || r.Offered == "" || r.Detail == "" {
			return fmt.Errorf("gang %s waits for an empty reason %+v", d.Gang, r)
		}
	}
	if !counterfactual {
		return nil
	}
	s, ok := h.before(p, d.Gang)
	if !ok {
		return nil
	}
	g := &s.Queue[0]
	reasons := d.Reasons
	for rounds := 1; ; rounds++ {
		for _, r := range reasons {
			if r.Constraint == "request" {
				return nil
			}
			if err := remove(&s, g, r); err != nil {
				return fmt.Errorf("gang %s: %w", d.Gang, err)
			}
		}
		now := sched.Plan(s).Decisions[0]
		if len(now.Placements) > 0 {
			h.seen["started without its reasons"]++
			return nil
		}
		// A gang finds its next constraint only when the task before has its place; a reservation bars only
		// room that there is, and a power cap is asked only where the node would do.
		reasons = now.Reasons
		if hidden := reasons[0].Constraint == "reservation" || reasons[0].Constraint == "power cap"; len(g.Tasks) == 1 && !hidden || rounds == 12 {
			return fmt.Errorf("gang %s waits for %+v and without that for %+v\n%+v", d.Gang, d.Reasons, reasons, *g)
		}
	}
}

// before is the hall as it was at the gang's turn, and the gang alone in the queue. False where it cannot be told from
// the plan: something moved or stopped later on.
func (h *history) before(p sched.Schedule, id string) (sched.Snapshot, bool) {
	s := h.s
	s.Queue = nil
	at := slices.IndexFunc(p.Decisions, func(d sched.Decision) bool { return d.Gang == id })
	for i, d := range p.Decisions {
		g := h.s.Queue[slices.IndexFunc(h.s.Queue, func(g sched.Gang) bool { return g.ID == d.Gang })]
		switch {
		case len(d.Evictions) > 0:
			return s, false
		case i < at && len(d.Placements) > 0:
			s.Running = append(slices.Clone(s.Running), sched.Running{Gang: g, Placements: d.Placements, Started: s.Now})
		case i == at:
			s.Queue = []sched.Gang{g}
		}
	}
	prefix := h.s
	prefix.Queue = slices.DeleteFunc(slices.Clone(h.s.Queue), func(g sched.Gang) bool {
		return slices.IndexFunc(p.Decisions, func(d sched.Decision) bool { return d.Gang == g.ID }) > at
	})
	for _, d := range sched.Plan(prefix).Decisions {
		i := slices.IndexFunc(p.Decisions, func(o sched.Decision) bool { return o.Gang == d.Gang })
		if len(d.Evictions) > 0 || fmt.Sprint(d.Placements) != fmt.Sprint(p.Decisions[i].Placements) {
			return s, false
		}
	}
	// Nobody is kept from moving aside by a clock: what it waits for is removed, not outwaited.
	s.Policy.Preempt = sched.Preemption{}
	return s, true
}

// remove takes away what a reason names: it gives as much of it as nobody could miss.
func remove(s *sched.Snapshot, g *sched.Gang, r sched.Reason) error {
	nodes := slices.Clone(s.Nodes)
	for i := range nodes {
		n := &nodes[i]
		switch r.Constraint {
		case "cpu":
			n.CPU += 1e6
		case "memory":
			n.Memory += 1024 * units.TiB
		case "disk":
			n.Disk += 1024 * units.TiB
		case "storage":
			n.Storage = 0
		case "bandwidth":
			n.Bandwidth = 0
		case "power":
			n.MaxWatts = 0
		case "nodes":
			n.Cordoned = false
		case "accelerators", "model":
			n.Accelerators = slices.Clone(n.Accelerators)
			for k, d := range n.Accelerators {
				if r.Constraint == "accelerators" && suits(g.Each, d) {
					for c := range len(g.Tasks) * g.Each.Accelerators {
						d.ID = fmt.Sprintf("more-%d-%d-%d", len(n.Accelerators), k, c)
						n.Accelerators = append(n.Accelerators, d)
					}
					break
				}
			}
			for c := 0; r.Constraint == "model" && c < len(g.Tasks)*g.Each.Accelerators; c++ {
				d := fleet.Accelerator{ID: fmt.Sprintf("new-%d-%d", len(n.Accelerators), c), Kind: g.Each.Kind, Memory: units.TiB, Domain: n.Name}
				if len(g.Each.Models) > 0 {
					d.Model = g.Each.Models[0]
				}
				n.Accelerators = append(n.Accelerators, d)
			}
		}
	}
	s.Nodes = nodes
	switch r.Constraint {
	case "cpu", "memory", "disk", "storage", "bandwidth", "power", "nodes", "accelerators", "model", "gang":
	case "order", "stopping":
		s.Policy.Backfill = sched.Pass
		s.Running = slices.DeleteFunc(slices.Clone(s.Running), func(r sched.Running) bool { return !r.Stopping.IsZero() })
	case "power cap":
		s.Caps = nil
	case "uplink":
		s.Racks = nil
	case "topology":
		g.Topology = sched.Topology{}
	case "reservation":
		s.Reservations = nil
	case "time":
		g.NotBefore = time.Time{}
	case "array":
		g.ArrayLimit = 0
	case "quota":
		name, fields := strings.Fields(r.Detail)[1], strings.Fields(r.Needed)
		s.Queues = slices.Clone(s.Queues)
		q := &s.Queues[slices.IndexFunc(s.Queues, func(q queue.Queue) bool { return q.Name == name })]
		switch fields[len(fields)-1] {
		case "cpu":
			q.Limit.CPU = 0
		case "accelerators":
			q.Limit.Accelerators = 0
		}
	default:
		return fmt.Errorf("nobody knows how to remove %+v", r)
	}
	return nil
}

func runHistory(t *testing.T, seed uint64, steps int, seen map[string]int) {
	t.Helper()
	h := newHistory(seed)
	h.seen = seen
	for step := range steps {
		for range h.r.IntN(6) {
			h.comes()
		}
		if err := h.plans(step%4 == 1); err != nil {
			t.Fatalf("seed %d, step %d, %+v: %v", seed, step, h.s.Policy, err)
		}
		h.passes()
	}
}

func TestNoHistoryOfPlansExceedsAnythingOrSplitsAGangOrSaysAWrongReason(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for seed := range uint64(500) {
		runHistory(t, seed, 7, seen)
	}
	for _, what := range []string{"started", "stopped", "told to stop", "order", "overdue", "priority", "reclaim", "shrink", "grown", "started without its reasons", "waits for quota", "waits for reservation", "waits for order", "waits for time"} {
		if seen[what] == 0 {
			t.Errorf("%s: it never happened: %v", what, seen)
		}
	}
}
