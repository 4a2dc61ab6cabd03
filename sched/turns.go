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
	s        Snapshot
	order    Order
	hall     *Hall
	tree     *queue.Tree
	line     *queue.Line
	running  []runner
	stopping []*runner // those that were told to before
	started  []Running // in this plan
	holds    []hold
	arrays   map[string]int
	blocked  string // the first that is blocked
	horizon  int    // reservations that may still be made
	depth    int    // gangs for which victims may still be looked for

	moved    map[string][]Placement // gangs of this plan that made way, and their new places
	attempts int                    // at making them
	stops    bool                   // something is told to stop

	kins   map[turnKey]*kin
	last   *kin // of the gang before
	shape  *shape
	epoch  int // of the hall's shapes, when shape was one
	opened int // how often room was made, from which on what failed may fit
	begun  int // gangs that began
}

// runner is a running gang with its index, and what the plan has done to it.
type runner struct {
	*Running
	index   float64
	claim   queue.Claim
	evicted bool
	shrunk  int  // placements that it has given up
	stopped bool // whole, in a trial
}

// turn is a waiting gang whose turn it is.
type turn struct {
	*queue.Turn
	gang    *Gang
	index   float64
	overdue bool
	kin     *kin // nil until it is asked for
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

// kin is what is known of all gangs with one key.
type kin struct {
	turnKey
	failed   []Reason // why it does not fit, nil when that is not known
	failedAt int      // opened, then
	fittedAt int      // begun, when it fitted had it been allowed to start; -1 is never
	hopeless int      // opened, when no victims made room; -1 is never
}

// kinOf finds the gang's kin.
func (p *planner) kinOf(t *turn) *kin {
	if t.kin == nil {
		if p.shape == nil || p.epoch != p.hall.epoch || !p.shape.ask.same(&t.gang.Each) {
			p.shape, p.epoch = p.hall.shapeOf(t.gang.Each), p.hall.epoch
		}
		k := turnKey{p.shape, len(t.gang.Tasks), t.gang.Min, t.gang.Topology, t.Queue, t.gang.Priority, t.overdue}
		if p.last == nil || p.last.turnKey != k {
			if p.last = p.kins[k]; p.last == nil {
				p.last = &kin{turnKey: k, fittedAt: -1, hopeless: -1}
				p.kins[k] = p.last
			}
		}
		t.kin = p.last
	}
	return t.kin
}

// known is why such a gang does not fit, nil when that is not known.
func (p *planner) known(k *kin) []Reason {
	if k.failedAt == p.opened {
		return k.failed
	}
	return nil
}

func (p *planner) fails(k *kin, reasons []Reason) { k.failed, k.failedAt = reasons, p.opened }

func newPlanner(s Snapshot, tree *queue.Tree, hall *Hall) *planner {
	p := &planner{
		s: s, order: s.Policy.order(), hall: hall, tree: tree, arrays: map[string]int{},
		moved: map[string][]Placement{}, kins: map[turnKey]*kin{}, depth: s.Policy.Depth,
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
	return p
}

// plan is Plan for a snapshot whose policy and queues are in order.
func plan(s Snapshot, tree *queue.Tree, hall *Hall) Schedule {
	p := newPlanner(s, tree, hall)
	state := queue.State{Now: s.Now, Capacity: Capacity(s.Nodes), Past: s.Past, Held: make([]queue.Use, len(s.Running))}
	p.running = make([]runner, len(s.Running))
	for i := range s.Running {
		r := &p.running[i]
		r.Running = &s.Running[i]
		r.index = p.order(&r.Gang, r.ran(s.Now))
		p.hall.Start(*r.Running)
		state.Held[i] = r.Use()
		r.claim = tree.Claim(state.Held[i])
		if !r.Stopping.IsZero() {
			p.stopping = append(p.stopping, r)
		}
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
			Need: g.need(len(g.Tasks)), Index: p.order(g, g.Ran), Overdue: late[i],
		}
	}
	p.line = tree.Line(state, items, s.Policy.Rules)
	turns := make([]queue.Turn, len(s.Queue))
	had, n := make([]bool, len(items)), 0
	first := len(out.Decisions)
	out.Decisions = out.Decisions[:first+len(items)]
	list := out.Decisions[first:]
	for n < len(turns) && p.line.NextInto(&turns[n]) {
		at := turns[n].Item
		had[at] = true
		t := turn{Turn: &turns[n], gang: &s.Queue[at], index: items[at].Index, overdue: late[at]}
		d := &list[n]
		n++
		d.Gang, d.Turn, d.Overdue = t.gang.ID, t.Turn, t.overdue
		p.decide(&t, d)
	}
	for i := range list[:n] {
		if places, ok := p.moved[list[i].Gang]; ok {
			list[i].Placements = places
		}
	}
	for i, ok := range had {
		if !ok {
			list[n] = Decision{Gang: s.Queue[i].ID, Reasons: []Reason{fault("queue", tree.Check(s.Queue[i].Queue))}}
			n++
		}
	}
	out.Growths = p.grow()
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
	for i := range p.running {
		if r := &p.running[i]; r.kept(p.s.Now, &p.s.Policy) {
			taken += size(&r.Gang)
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
		d.Earliest = p.opens(t.gang, why)
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
	p.line.TakeOnly(*t.Turn, g.need(len(d.Placements)))
	p.occupy(g, d.Placements)
	p.begun++
	p.started = append(p.started, Running{Gang: *g, Placements: d.Placements, Started: p.s.Now})
	if g.Array != "" {
		p.arrays[g.Array]++
	}
	d.Backfilled = len(p.holds) > 0 || p.blocked != ""
}

// full tells whether so many of the gang's array run as it allows.
func (p *planner) full(g *Gang) bool {
	return g.Array != "" && g.ArrayLimit > 0 && p.arrays[g.Array] >= g.ArrayLimit
}

// early is why it is not the gang's time yet, whatever is free.
func (p *planner) early(g *Gang) (out []Reason) {
	now := p.s.Now
	if g.NotBefore.After(now) {
		out = append(out, Reason{Constraint: "time", Needed: g.NotBefore.UTC().Format(time.RFC3339), Offered: "an earlier time", Detail: "it asks not to start sooner"})
	}
	if p.full(g) {
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
	for _, w := range p.s.Windows {
		if !now.Before(w.From) && now.Before(w.To) {
			return out
		}
	}
	next := p.window()
	r := Reason{Constraint: "window", Needed: "a window for deferrable work", Offered: "none is open", Detail: "no window is known of"}
	if !next.IsZero() {
		r.Detail = "the next window opens at " + next.UTC().Format(time.RFC3339)
	}
	return append(out, r)
}

// opens is when the gang that waits for nothing but its time may start, not when it will: zero when it waits for more.
func (p *planner) opens(g *Gang, why []Reason) (at time.Time) {
	for _, r := range why {
		switch r.Constraint {
		case "time":
			at = later(at, g.NotBefore)
		case "window":
			at = later(at, p.window())
		default:
			return time.Time{}
		}
	}
	return at
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// window is when the next window opens; zero when none does or one is open.
func (p *planner) window() (next time.Time) {
	for _, w := range p.s.Windows {
		if w.From.After(p.s.Now) && (next.IsZero() || w.From.Before(next)) {
			next = w.From
		}
	}
	return next
}

// quotas are the limits that the gang would exceed, an elastic one with the least that it starts with.
func (p *planner) quotas(t *turn) (out []Reason) {
	for _, o := range p.line.Overs(*t.Turn, t.gang.need(t.gang.least())) {
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
	k := p.kinOf(t)
	if reasons := p.known(k); reasons != nil {
		return reasons
	}
	if k.fittedAt == p.begun {
		return nil
	}
	got := p.hall.Place(*t.gang)
	if len(got.Placements) == 0 {
		p.fails(k, got.Reasons)
		return got.Reasons
	}
	h := p.conflict(t.gang, got.Placements)
	p.release(got.Placements)
	if h == nil {
		if k.fittedAt = -1; len(p.holds) == 0 {
			k.fittedAt = p.begun
		}
		return nil
	}
	if places := p.beside(t.gang); places != nil {
		p.release(places)
		return nil
	}
	return []Reason{h.reason(p.s.Now, p.over(t.gang))}
}

// place gives the gang its places if they are free, within its queue's limit and not held for others.
func (p *planner) place(t *turn, d *Decision) bool {
	n := p.within(t, d)
	if n == 0 {
		return false
	}
	k, all := p.kinOf(t), n == len(t.gang.Tasks)
	if reasons := p.known(k); reasons != nil && all {
		d.Reasons = reasons
		return false
	}
	g := *t.gang
	g.Tasks = g.Tasks[:n]
	got := p.hall.Place(g)
	if len(got.Placements) == 0 {
		if d.Placements = p.rearrange(&g); d.Placements != nil {
			return true
		}
		d.Reasons = got.Reasons
		if all {
			p.fails(k, got.Reasons)
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
	d.Reasons = []Reason{h.reason(p.s.Now, p.over(&g))}
	return false
}

// within is how many tasks of the gang its queue's limit lets start: an elastic one may start smaller. 0 is none.
func (p *planner) within(t *turn, d *Decision) int {
	for n, least := len(t.gang.Tasks), t.gang.least(); n >= least && n > 0; n-- {
		if p.line.OverOnly(*t.Turn, t.gang.need(n)) == nil {
			return n
		}
	}
	d.Reasons = slices.Concat(p.quotas(t), p.lacks(t))
	return 0
}

// beside looks for places that avoid all that is held for others.
func (p *planner) beside(g *Gang) []Placement {
	var taken []Placement
	for i := range p.holds {
		h := &p.holds[i]
		if !h.keeps(p, g) {
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
func (h *hold) reason(now, end time.Time) Reason {
	r := Reason{Constraint: "reservation", Needed: "to end before " + h.name + " begins", Offered: minute(h.from)}
	switch {
	case h.mayUse != nil:
		r.Needed = "an end before " + h.name + " begins"
		r.Detail = fmt.Sprintf("the room is reserved by %s until %s; who has a timeout that ends before, or is preemptible, starts here", strings.TrimPrefix(h.name, "reservation "), h.to.UTC().Format(time.RFC3339))
		if !h.from.After(now) {
			r.Needed, r.Offered = "room that is not reserved", h.name
			r.Detail = fmt.Sprintf("the room is reserved by %s until %s", strings.TrimPrefix(h.name, "reservation "), h.to.UTC().Format(time.RFC3339))
		}
	case h.unknown:
		r.Offered = "nobody knows when that is"
		r.Detail = "the room is kept for " + h.name + ", which has waited too long"
	case end.IsZero():
		r.Detail = "the room is kept for " + h.name + " from then on, and how long this runs is not known"
	default:
		r.Detail = fmt.Sprintf("the room is kept for %s from then on, and this is expected to run until %s", h.name, minute(end))
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
