package sched

import (
	"cmp"
	"slices"

	"github.com/lineshaft/lineshaft/sched/queue"
)

// Growth is more places for an elastic gang that runs with fewer tasks than it could use. They are beside those that it
// has; whether it takes them is its owner's decision, for it has to start anew at the new size.
type Growth struct {
	Gang       string
	Placements []Placement // of Running.More, from the first on
}

// grow gives what is left when all that waits has had its turn to the running gangs that could use more, those that are
// furthest from their size first. What is kept for others stays kept, and no limit is exceeded.
func (p *planner) grow() (out []Growth) {
	if p.stops {
		return nil // what stops does so for somebody
	}
	var list []*runner
	for i := range p.running {
		r := &p.running[i]
		if len(r.More) > 0 && len(r.Placements) > 0 && r.Stopping.IsZero() && !r.evicted && r.shrunk == 0 {
			list = append(list, r)
		}
	}
	part := func(r *runner) float64 { return float64(len(r.Placements)) / float64(len(r.Placements)+len(r.More)) }
	slices.SortStableFunc(list, func(a, b *runner) int { return cmp.Compare(part(a), part(b)) })
	for _, r := range list {
		places := p.hall.extend(*r.Running)
		for n := len(places); n > 0; n-- {
			claim := p.tree.Claim(queue.Use{Queue: r.Gang.Queue, User: r.Gang.User, Amount: r.Gang.need(n)})
			if p.line.Room(claim) && p.conflict(&r.Gang, places[:n]) == nil {
				p.line.Return(claim)
				p.occupy(&r.Gang, places[:n])
				out = append(out, Growth{Gang: r.Gang.ID, Placements: places[:n]})
				break
			}
			p.hall.Release(places[n-1])
		}
	}
	return out
}

// extend takes places for as many of the gang's further tasks as fit, where its topology wants them.
func (h *Hall) extend(r Running) []Placement {
	g := r.Gang
	g.Tasks = r.More
	t := &trial{h: h, s: h.shapeOf(g.Each), want: len(r.More), least: 1}
	at, known := h.byName[r.Placements[0].Node]
	if !known {
		return nil
	}
	near, bound := t.around(at, &r)
	if h.uplinks() && t.s.need[bandwidth] > 0 { // behind its rack's uplink it needs nothing of it
		if h.spans(r.Placements) {
			return nil
		}
		if rack := h.sites[at].rack; rack >= 0 && !bound {
			near, bound = area{rooms: h.racks[rack].rooms}, true
		}
	}
	if len(near.rooms) > 0 {
		t.fill(near)
	}
	for !bound && len(t.spots) < t.want && t.next() {
	}
	if len(t.spots) == 0 {
		return nil
	}
	places := t.settle(g).Placements
	if h.uplinks() && t.s.need[bandwidth] > 0 {
		for n := len(places); h.spans(slices.Concat(r.Placements, places)); n-- {
			h.Release(places[n-1])
			places = places[:n-1]
		}
	}
	return places
}

// around is the area of the gang's topology that it lies in, and whether it may not leave it.
func (t *trial) around(at int32, r *Running) (a area, bound bool) {
	h, top := t.h, r.Gang.Topology
	switch top.Level {
	case LevelNode:
		return area{rooms: []int32{at}}, top.Hard
	case LevelRack:
		if rack := h.sites[at].rack; rack >= 0 {
			return area{rooms: h.racks[rack].rooms}, top.Hard
		}
		return area{}, top.Hard
	case LevelDomain:
		for d, id := range h.sites[at].ids {
			if v := h.rooms[at].devices[d].domain; v != 0 && slices.Contains(r.Placements[0].Accelerators, id) {
				return h.domain(v), top.Hard
			}
		}
		return area{}, top.Hard
	}
	return area{}, false
}

// domain is the nodes that have devices of an accelerator domain.
func (h *Hall) domain(v uint16) area {
	a := area{domain: v}
	for _, i := range h.byOrder {
		if slices.ContainsFunc(h.rooms[i].devices, func(d device) bool { return d.domain == v }) {
			a.rooms = append(a.rooms, i)
		}
	}
	return a
}
