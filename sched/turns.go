package sched

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/sched/queue"
)

// planner makes one plan: it goes along the line, places what fits, keeps room for those that are blocked, and stops
// others for them where the policy allows.
type planner struct {
	s       Snapshot
	order   Order
	hall    *Hall
	line    *queue.Line
	running []*runner
	started []Running // in this plan
	holds   []hold
	arrays  map[string]int
	blocked string // the first that is blocked
	horizon int    // reservations that may still be made
	depth   int    // gangs for which victims may still be looked for

	moved    map[string][]Placement // gangs of this plan that made way, and their new places
	attempts int                    // at making them
	stops    bool                   // something is told to stop

	failed   map[turnKey][]Reason
	fitted   map[turnKey]bool // had they been allowed to start, since the last that did
	hopeless map[turnKey]bool
}

// runner is a running gang with its index, and what the plan has done to it.
type runner struct {
	Running
	index   float64
	evicted bool
	shrunk  int  // placements that it has given up
	stopped bool // whole, in a trial
}

// turn is a waiting gang whose turn it is.
type turn struct {
	queue.Turn
	gang    *Gang
	index   float64
	overdue bool
}

// turnKey is what two gangs have in common of which one cannot start for the same reasons as the other.
type turnKey struct {
	shape      *shape
	tasks, min int
	topology   Topology
	queue      string
	priority   int
	overdue    bool
}

func (p *planner) key(t *turn) turnKey {
	return turnKey{p.hall.shapeOf(t.gang.Each), len(t.gang.Tasks), t.gang.Min, t.gang.Topology, t.Queue, t.gang.Priority, t.overdue}
}

// plan is Plan for a snapshot whose policy and queues are in order.
func plan(s Snapshot, tree *queue.Tree) Schedule {
	p := &planner{
		s: s, order: s.Policy.order(), hall: newHall(s.Nodes, s.Caps, s.Racks, s.mix(), s.Policy.Weights), arrays: map[string]int{},
		moved: map[string][]Placement{}, failed: map[turnKey][]Reason{}, fitted: map[turnKey]bool{}, hopeless: map[turnKey]bool{}, depth: s.Policy.Depth,
	}
	if p.depth == 0 {
		p.depth = 40
	}
	switch s.Policy.Backfill {
	case EASY:
		p.horizon = 1
	case Conservative:
		if p.horizon = s.Policy.Horizon; p.horizon == 0 {
			p.horizon = 16
		}
	}
	state := queue.State{Now: s.Now, Capacity: Capacity(s.Nodes), Past: s.Past}
	for i := range s.Running {
		r := &runner{Running: s.Running[i]}
		r.index = p.order(r.Gang, r.ran(s.Now))
		p.running = append(p.running, r)
		p.hall.Start(r.Running)
		state.Held = append(state.Held, r.Use())
		if r.Gang.Array != "" {
			p.arrays[r.Gang.Array]++
		}
	}
	p.calendar()
	out := Schedule{Decisions: make([]Decision, 0, len(s.Queue))}
	p.claims(&out, &state)
	s = p.s
	items := make([]queue.Item, len(s.Queue))
	late := p.overdue(state.Capacity)
	for i := range s.Queue {
		g := &s.Queue[i]
		items[i] = queue.Item{
			ID: g.ID, Queue: g.Queue, User: g.User, Priority: g.Priority, Since: g.Since, Deadline: g.Deadline, Duration: g.Duration,
			Need: g.need(len(g.Tasks)), Index: p.order(*g, g.Ran), Overdue: late[i],
		}
	}
	p.line = tree.Line(state, items, s.Policy.Rules)
	had := make([]bool, len(items))
	for at, ok := p.line.Next(); ok; at, ok = p.line.Next() {
		had[at.Item] = true
		t := &turn{Turn: at, gang: &s.Queue[at.Item], index: items[at.Item].Index, overdue: late[at.Item]}
		d := Decision{Gang: t.gang.ID, Turn: &t.Turn, Overdue: t.overdue}
		p.decide(t, &d)
		out.Decisions = append(out.Decisions, d)
	}
	for i := range out.Decisions {
		if places, ok := p.moved[out.Decisions[i].Gang]; ok {
			out.Decisions[i].Placements = places
		}
	}
	for i, ok := range had {
		if !ok {
			out.Decisions = append(out.Decisions, Decision{Gang: s.Queue[i].ID, Reasons: []Reason{fault("queue", tree.Check(s.Queue[i].Queue))}})
		}
	}
	return out
}

// fault is a reason of what is configured wrong.
func fault(what string, err error) Reason {
	r := Reason{Constraint: what, Needed: "a " + what + " that is in order"}
	if err != nil {
		r.Detail = err.Error()
	}
	return r
}

// Capacity is what all nodes have together.
func Capacity(nodes []fleet.Node) (a queue.Amount) {
	for i := range nodes {
		n := &nodes[i]
		a.CPU += n.CPU
		a.Memory += n.Memory
		a.Storage += n.Storage
		a.Accelerators += float64(len(n.Accelerators))
		a.Bandwidth += n.Bandwidth
		a.Watts += n.MaxWatts
	}
	return a
}

// overdue are those that have waited too long, oldest first and no more than the policy's share of the hall holds.
func (p *planner) overdue(whole queue.Amount) []bool {
	late := make([]bool, len(p.s.Queue))
	if p.s.Policy.Overdue <= 0 {
		return late
	}
	size := func(g *Gang) float64 {
		if whole.Accelerators > 0 {
			return g.devices()
		}
		return float64(len(g.Tasks)) * g.Each.CPU
	}
	all := whole.Accelerators
	if all == 0 {
		all = whole.CPU
	}
	if s := p.s.Policy.Share; s > 0 {
		all *= s
	}
	var taken float64
	for _, r := range p.running {
		if r.kept(p.s.Now, p.s.Policy) {
			taken += size(&r.Running.Gang)
		}
	}
	var list []int
	for i := range p.s.Queue {
		if g := &p.s.Queue[i]; p.s.Now.Sub(g.waits()) > p.s.Policy.Overdue {
			list = append(list, i)
		}
	}
	slices.SortStableFunc(list, func(a, b int) int { return p.s.Queue[a].waits().Compare(p.s.Queue[b].waits()) })
	for _, i := range list {
		if n := size(&p.s.Queue[i]); taken == 0 || taken+n <= all {
			taken += n
			late[i] = true
		}
	}
	return late
}

// waits is since when the gang waits: since it came, or since it was stopped for others.
func (g *Gang) waits() time.Time {
	if g.Left.After(g.Since) {
		return g.Left
	}
	return g.Since
}

// decide is one gang's turn.
func (p *planner) decide(t *turn, d *Decision) {
	why := p.early(t.gang)
	if p.blocked != "" && p.s.Policy.Backfill == Strict {
		why = append(why, Reason{
			Constraint: "order", Needed: "that all before it have started", Offered: p.blocked + " waits",
			Detail: "nobody passes a gang that waits",
		})
	}
	if len(why) > 0 {
		d.Reasons = slices.Concat(why, p.quotas(t), p.lacks(t))
		return
	}
	if p.place(t, d) || p.evict(t, d) {
		if len(d.Placements) > 0 {
			p.began(t, d)
		}
		return
	}
	if p.blocked == "" {
		p.blocked = t.gang.ID
	}
	if p.horizon > 0 || t.overdue {
		if p.reserve(t, d) {
			p.horizon--
		}
	}
}

// began counts what has been given.
func (p *planner) began(t *turn, d *Decision) {
	g := t.gang
	p.line.TakeOnly(t.Turn, g.need(len(d.Placements)))
	p.occupy(g, d.Placements)
	clear(p.fitted)
	p.started = append(p.started, Running{Gang: *g, Placements: d.Placements, Started: p.s.Now})
	if g.Array != "" {
		p.arrays[g.Array]++
	}
	d.Backfilled = len(p.holds) > 0 || p.blocked != ""
}

// early is why it is not the gang's time yet, whatever is free.
func (p *planner) early(g *Gang) (out []Reason) {
	now := p.s.Now
	if g.NotBefore.After(now) {
		out = append(out, Reason{Constraint: "time", Needed: g.NotBefore.UTC().Format(time.RFC3339), Offered: now.UTC().Format(time.RFC3339), Detail: "it asks not to start sooner"})
	}
	if g.Array != "" && g.ArrayLimit > 0 && p.arrays[g.Array] >= g.ArrayLimit {
		out = append(out, Reason{
			Constraint: "array", Needed: "1 of " + strconv.Itoa(g.ArrayLimit), Offered: "0",
			Detail: fmt.Sprintf("%d of array %s run, as many as it allows at once", p.arrays[g.Array], g.Array),
		})
	}
	if !g.Deferrable || len(p.s.Windows) == 0 {
		return out
	}
	if !g.Deadline.IsZero() && !now.Before(g.Deadline.Add(-g.Duration-max(g.Duration/4, time.Hour))) {
		return out // there is no other time left
	}
	var next time.Time
	for _, w := range p.s.Windows {
		if !now.Before(w.From) && now.Before(w.To) {
			return out
		}
		if w.From.After(now) && (next.IsZero() || w.From.Before(next)) {
			next = w.From
		}
	}
	r := Reason{Constraint: "window", Needed: "a window for deferrable work", Offered: "none is open", Detail: "no window is known of"}
	if !next.IsZero() {
		r.Detail = "the next window opens at " + next.UTC().Format(time.RFC3339)
	}
	return append(out, r)
}

// quotas are the limits that the gang would exceed, an elastic one with the least that it starts with.
func (p *planner) quotas(t *turn) (out []Reason) {
	for _, o := range p.line.Overs(t.Turn, t.gang.need(t.gang.least())) {
		out = append(out, Reason{Constraint: "quota", Needed: strings.TrimSpace(o.Needed + " " + o.Resource), Offered: o.Offered, Detail: o.String()})
	}
	return out
}

// least is how many tasks the gang starts with at least.
func (g *Gang) least() int {
	if g.Min > 0 {
		return min(g.Min, len(g.Tasks))
	}
	return len(g.Tasks)
}

// lacks is what of the hall a gang would wait for that may not start for another reason, so that nobody removes one and
// then meets the next.
func (p *planner) lacks(t *turn) []Reason {
	key := p.key(t)
	if reasons, known := p.failed[key]; known {
		return reasons
	}
	if p.fitted[key] {
		return nil
	}
	got := p.hall.Place(*t.gang)
	if len(got.Placements) == 0 {
		p.failed[key] = got.Reasons
		return got.Reasons
	}
	h := p.conflict(t.gang, got.Placements)
	p.release(got.Placements)
	if h == nil {
		p.fitted[key] = len(p.holds) == 0
		return nil
	}
	if places := p.beside(t.gang); places != nil {
		p.release(places)
		return nil
	}
	return []Reason{h.reason(p.over(t.gang))}
}

// place gives the gang its places if they are free, within its queue's limit and not held for others.
func (p *planner) place(t *turn, d *Decision) bool {
	g, ok := p.within(t, d)
	if !ok {
		return false
	}
	key := p.key(t)
	if reasons, known := p.failed[key]; known && len(g.Tasks) == len(t.gang.Tasks) {
		d.Reasons = reasons
		return false
	}
	got := p.hall.Place(g)
	if len(got.Placements) == 0 {
		if d.Placements = p.rearrange(&g); d.Placements != nil {
			return true
		}
		d.Reasons = got.Reasons
		if len(g.Tasks) == len(t.gang.Tasks) {
			p.failed[key] = got.Reasons
		}
		return false
	}
	d.Fits = got.Fits
	h := p.conflict(&g, got.Placements)
	if h == nil {
		d.Placements = got.Placements
		return true
	}
	p.release(got.Placements)
	if places := p.beside(&g); places != nil {
		d.Placements = places
		return true
	}
	d.Reasons = []Reason{h.reason(p.over(&g))}
	return false
}

// within is the gang as far as its queue's limit lets it: an elastic one may start smaller.
func (p *planner) within(t *turn, d *Decision) (Gang, bool) {
	g := *t.gang
	for n, least := len(g.Tasks), g.least(); n >= least; n-- {
		if p.line.OverOnly(t.Turn, g.need(n)) == nil {
			g.Tasks = g.Tasks[:n]
			return g, true
		}
	}
	d.Reasons = slices.Concat(p.quotas(t), p.lacks(t))
	return g, false
}

// beside looks for places that avoid all that is held for others.
func (p *planner) beside(g *Gang) []Placement {
	end := p.over(g)
	var taken []Placement
	for i := range p.holds {
		h := &p.holds[i]
		if (h.mayUse != nil && h.mayUse(*g)) || (!end.IsZero() && !h.from.Before(end)) {
			continue
		}
		for _, pl := range h.room {
			p.hall.Take(pl)
			taken = append(taken, pl)
		}
	}
	places := p.hall.attempt(*g)
	p.release(taken)
	if places != nil && p.conflict(g, places) != nil {
		p.release(places)
		return nil
	}
	return places
}

// reason says whose room it is.
func (h *hold) reason(end time.Time) Reason {
	r := Reason{Constraint: "reservation", Needed: "to end before " + h.name + " begins", Offered: h.from.UTC().Format(time.RFC3339)}
	switch {
	case h.unknown:
		r.Offered = "nobody knows when that is"
		r.Detail = "the room is kept for " + h.name + ", which has waited too long"
	case end.IsZero():
		r.Detail = "the room is kept for " + h.name + " from then on, and how long this runs is not known"
	default:
		r.Detail = fmt.Sprintf("the room is kept for %s from then on, and this is expected to run until %s", h.name, end.UTC().Format(time.RFC3339))
	}
	return r
}

// attempt is Place without a word: the places, or nil.
func (h *Hall) attempt(g Gang) []Placement {
	if wrong(g) != "" {
		return nil
	}
	d, t := h.find(g)
	if t != nil {
		t.undo()
		return nil
	}
	return d.Placements
}
