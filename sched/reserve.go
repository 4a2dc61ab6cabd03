package sched

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/sched/queue"
)

// hold is room that is kept for somebody from some time on: a gang that is blocked and has a start, or a reservation of
// the calendar.
type hold struct {
	name     string
	from, to time.Time // to is zero when nobody knows
	unknown  bool      // from is a guess: something that nobody knows the end of has to end first
	room     []Placement
	at       *Hall           // what is free when it begins, its own room taken
	mayUse   func(Gang) bool // who is not kept out; of reservations of the calendar only
}

// keeps says that the gang, should it start now, has to leave the room alone. A forecast is enough to start beside what is
// held for one that waits; of what the calendar promises it must be sure to be gone, by its longest time, or because it may
// be stopped when the reservation begins (Trespass).
func (h *hold) keeps(p *planner, g *Gang) bool {
	if h.mayUse == nil {
		end := p.over(g)
		return end.IsZero() || h.from.Before(end)
	}
	if h.mayUse(*g) {
		return false
	}
	if !h.from.After(p.s.Now.Add(p.s.Policy.Preempt.Grace)) {
		return true
	}
	return !g.Preemptible && (g.MaxRun <= 0 || h.from.Before(p.s.Now.Add(g.MaxRun+p.s.Policy.Preempt.Grace)))
}

// mayUse says whose room it is.
func (r *Reservation) mayUse(g Gang) bool {
	return (r.Queue == "" || r.Queue == cmp.Or(g.Queue, queue.Default)) && (r.User == "" || r.User == g.User)
}

// left is the room without what gangs hold that may use it: no more than that is kept free.
func (r *Reservation) left(running []*Running) []Placement {
	type own struct {
		ids  []string
		held amounts
	}
	mine := map[string]*own{}
	for _, run := range running {
		if !r.mayUse(run.Gang) {
			continue
		}
		for _, pl := range run.Placements {
			o := mine[pl.Node]
			if o == nil {
				o = &own{}
				mine[pl.Node] = o
			}
			o.ids = append(o.ids, pl.Accelerators...)
			for k, v := range needs(pl.Ask) {
				o.held[k] += v
			}
		}
	}
	var out []Placement
	for _, pl := range r.Room {
		if o := mine[pl.Node]; o != nil {
			pl.Accelerators = slices.DeleteFunc(slices.Clone(pl.Accelerators), func(id string) bool { return slices.Contains(o.ids, id) })
			a := &pl.Ask
			a.Accelerators = min(a.Accelerators, len(pl.Accelerators))
			rest := needs(*a)
			for k := range rest {
				used := min(rest[k], o.held[k])
				rest[k] -= used
				o.held[k] -= used
			}
			a.CPU, a.Memory, a.Disk = float64(rest[cpu])/1e6, units.Bytes(rest[memory]), units.Bytes(rest[disk])
			a.Storage, a.Bandwidth, a.Watts = units.Bytes(rest[storage]), units.BitsPerSecond(rest[bandwidth]), units.Watts(rest[power])/1e3
		}
		out = append(out, pl)
	}
	return out
}

// Trespass are the running gangs that have to stop because room that they hold is reserved for others from now on, or from
// when they will have stopped.
func Trespass(s Snapshot) (out []Eviction) {
	by := s.Now.Add(s.Policy.Preempt.Grace)
	gone := map[string]bool{}
	for i := range s.Reservations {
		r := &s.Reservations[i]
		if r.Span.From.After(by) || !r.Span.To.After(s.Now) {
			continue
		}
		h := NewHall(s.Nodes, s.Caps, s.Racks, nil)
		all := make([]*Running, len(s.Running))
		for k := range s.Running {
			all[k] = &s.Running[k]
			if r.mayUse(all[k].Gang) {
				h.Start(*all[k])
			}
		}
		for _, pl := range r.left(all) {
			h.Take(pl)
		}
		for _, stays := range []bool{true, false} { // what cannot be stopped keeps its place
			for _, run := range all {
				if r.mayUse(run.Gang) || stays == (run.Gang.Preemptible && run.Stopping.IsZero()) || gone[run.Gang.ID] {
					continue
				}
				if !stays && !h.admits(run.Placements) {
					gone[run.Gang.ID] = true
					out = append(out, Eviction{Gang: run.Gang.ID, Why: "reservation " + r.Name, By: by})
					continue
				}
				h.Start(*run)
			}
		}
	}
	return out
}

// calendar turns the reservations into holds. Room of one that has begun and that one of its own holds already is not
// taken twice.
func (p *planner) calendar() {
	for i := range p.s.Reservations {
		r := &p.s.Reservations[i]
		if !r.Span.To.After(p.s.Now) || !r.Span.From.Before(r.Span.To) {
			continue
		}
		h := hold{name: "reservation " + r.Name, from: r.Span.From, to: r.Span.To, mayUse: r.mayUse, at: p.hall.Clone()}
		var there []*Running // when it begins
		for k := range p.running {
			run := p.running[k].Running
			end, sure := run.Ends(p.s.Now)
			if !end.IsZero() && !end.After(h.from) || !sure && run.Gang.Preemptible && h.from.After(p.s.Now) && !r.mayUse(run.Gang) {
				h.at.Stop(*run)
			} else {
				there = append(there, run)
			}
		}
		h.room = r.left(there)
		for _, pl := range h.room {
			h.at.Take(pl)
		}
		p.holds = append(p.holds, h)
	}
}

// over is when a gang that starts now is expected to be done; zero when nobody knows.
func (p *planner) over(g *Gang) time.Time {
	end, _ := Running{Gang: *g, Started: p.s.Now}.Ends(p.s.Now)
	return end
}

// conflict is the hold that the places would take room from; nil when none.
func (p *planner) conflict(g *Gang, places []Placement) *hold {
	for i := range p.holds {
		h := &p.holds[i]
		if !h.keeps(p, g) {
			continue
		}
		if !h.at.admits(places) {
			return h
		}
	}
	return nil
}

// occupy tells the holds what a gang that starts now will still have when they begin.
func (p *planner) occupy(g *Gang, places []Placement) {
	end := p.over(g)
	for i := range p.holds {
		h := &p.holds[i]
		if h.mayUse != nil && !h.mayUse(*g) && !h.keeps(p, g) {
			continue
		}
		if end.IsZero() || h.from.Before(end) {
			for _, pl := range places {
				h.at.Take(pl)
			}
		}
	}
}

// moment is a change of what is free in times to come.
type moment struct {
	at      time.Time
	unknown bool // nobody knows when: after all that is known
	started time.Time
	run     *Running // ends
	take    []Placement
	give    []Placement
	sigma   bool // the time is a prediction
	left    time.Duration
}

// moments are what will change, in order.
func (p *planner) moments(g *Gang) []moment {
	var out []moment
	add := func(r *Running) {
		end, sure := r.Ends(p.s.Now)
		out = append(out, moment{at: end, unknown: end.IsZero(), started: r.Started, run: r, sigma: !sure, left: end.Sub(p.s.Now)})
	}
	for i := range p.running {
		if r := &p.running[i]; !r.evicted {
			add(r.Running)
		}
	}
	for i := range p.started {
		add(&p.started[i])
	}
	for i := range p.holds {
		h := &p.holds[i]
		if h.mayUse != nil && h.mayUse(*g) {
			continue // its own room is free for it
		}
		if h.from.After(p.s.Now) {
			out = append(out, moment{at: h.from, unknown: h.unknown, take: h.room})
		}
		if !h.to.IsZero() {
			out = append(out, moment{at: h.to, give: h.room})
		}
	}
	slices.SortStableFunc(out, func(a, b moment) int {
		if a.unknown != b.unknown {
			if a.unknown {
				return 1
			}
			return -1
		}
		return cmp.Or(a.at.Compare(b.at), a.started.Compare(b.started))
	})
	return out
}

// reserve finds the earliest time at which the gang fits beside all that is held, and holds its room from then on. The
// gang's own duration counts, so that it does not run into what is held for later. False when it never fits.
func (p *planner) reserve(t *turn, d *Decision) bool {
	h := p.hall.Clone()
	for i := range p.holds {
		if x := &p.holds[i]; !x.from.After(p.s.Now) && (x.mayUse == nil || !x.mayUse(*t.gang)) {
			for _, pl := range x.room {
				h.Take(pl)
			}
		}
	}
	list := p.moments(t.gang)
	confidence := 1.0
	for i, m := range list {
		m.apply(h)
		if m.sigma && !m.unknown {
			confidence *= p.certainty(m.left)
		}
		if i+1 < len(list) && !m.unknown && list[i+1].at.Equal(m.at) {
			continue
		}
		if len(m.take) > 0 && m.run == nil {
			continue
		}
		places := h.attempt(*t.gang)
		if places == nil {
			continue
		}
		x := hold{name: t.gang.ID, from: m.at, room: places, at: h, unknown: m.unknown}
		if m.unknown {
			x.from = p.s.Now.Add(time.Nanosecond) // whoever starts now may not be in its way
		} else if end, _ := (Running{Gang: *t.gang, Started: m.at}).Ends(m.at); !end.IsZero() {
			x.to = end
		}
		if p.collides(&x, t.gang) {
			for _, pl := range places {
				h.Release(pl)
			}
			continue
		}
		for j := range p.holds {
			if o := &p.holds[j]; o.from.After(x.from) && (x.to.IsZero() || o.from.Before(x.to)) {
				for _, pl := range places {
					o.at.Take(pl)
				}
			}
		}
		p.holds = append(p.holds, x)
		if !m.unknown {
			d.Earliest, d.Confidence = m.at, confidence
		}
		return true
	}
	return false
}

func (m moment) apply(h *Hall) {
	switch {
	case m.run != nil:
		h.Stop(*m.run)
	case m.take != nil:
		for _, pl := range m.take {
			h.Take(pl)
		}
	default:
		for _, pl := range m.give {
			h.Release(pl)
		}
	}
}

// collides is whether the room is not free when something begins that is held for a time after x begins and before it
// ends.
func (p *planner) collides(x *hold, g *Gang) bool {
	for i := range p.holds {
		o := &p.holds[i]
		if o.from.After(x.from) && (x.to.IsZero() || o.from.Before(x.to)) && (o.mayUse == nil || !o.mayUse(*g)) && !o.at.admits(x.room) {
			return true
		}
	}
	return false
}

// certainty is the probability that something predicted to end in `left`, the median, has ended by then with the margin
// that the earliest start leaves: half, for one prediction. Where the typical error is known it is the log-normal's.
func (p *planner) certainty(left time.Duration) float64 {
	if left <= 0 {
		return 1
	}
	sigma := math.Log(max(p.s.Policy.Spread, 1.01)) * 1.25 // mean absolute deviation to standard deviation
	if p.s.Policy.Spread == 0 {
		sigma = math.Ln2 * 1.25
	}
	// A minute later is early enough.
	z := math.Log((left.Seconds()+60)/max(left.Seconds(), 1)) / sigma
	return 0.5 * math.Erfc(-z/math.Sqrt2)
}

// admits is whether the hall has room for exactly these placements.
func (h *Hall) admits(places []Placement) bool {
	ok, n := true, 0
	for _, pl := range places {
		if !h.admit(pl) {
			ok = false
			break
		}
		h.Take(pl)
		n++
	}
	for _, pl := range places[:n] {
		h.Release(pl)
	}
	return ok
}

func (h *Hall) admit(pl Placement) bool {
	i, ok := h.byName[pl.Node]
	if !ok || absurd(pl.Ask) != "" {
		return false
	}
	site, r, s := &h.sites[i], &h.rooms[i], h.shapeOf(pl.Ask)
	for k := range power {
		if s.need[k] > 0 && s.need[k] > r.free[k] {
			return false
		}
	}
	draw := s.power[site.class]
	if draw > 0 && draw > r.free[power] {
		return false
	}
	if draw > 0 && site.feed >= 0 {
		if room, by := h.headroom(site.feed); by >= 0 && room < draw {
			return false
		}
	}
	if site.rack >= 0 && pl.Uplink > 0 && h.racks[site.rack].uplink < int64(pl.Uplink) {
		return false
	}
	for _, id := range pl.Accelerators {
		d := slices.Index(site.ids, id)
		if d < 0 || !h.fitsDevice(s, &r.devices[d]) {
			return false
		}
	}
	return true
}
