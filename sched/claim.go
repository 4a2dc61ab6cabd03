package sched

import (
	"slices"

	"github.com/lineshaft/lineshaft/sched/queue"
)

// claims keeps what gangs on the move were promised: those that have stopped go on there, before all others; for those
// that still stop it is taken, so that nobody else gets it. A claim that the hall can no longer hold, or with which
// a limit would be exceeded because others of its queue or its array started meanwhile, is void, and its gang waits like
// any other.
func (p *planner) claims(out *Schedule, state *queue.State) {
	for _, r := range p.stopping {
		var more []Placement
		for _, pl := range r.Gang.Claim {
			if !slices.ContainsFunc(r.Placements, func(have Placement) bool { return have.same(pl) }) {
				more = append(more, pl)
			}
		}
		if p.grant(&r.Gang, more) {
			p.occupy(&r.Gang, more)
			state.Held = append(state.Held, queue.Use{Queue: r.Gang.Queue, User: r.Gang.User, Amount: r.Gang.need(len(more))})
		}
	}
	if !p.claimed() {
		return
	}
	line := p.tree.Line(*state, nil, p.s.Policy.Rules)
	rest := make([]Gang, 0, len(p.s.Queue))
	for i := range p.s.Queue {
		g := &p.s.Queue[i]
		r := Running{Gang: *g, Placements: g.Claim, Started: p.s.Now}
		if len(g.Claim) == 0 || !g.covers(g.Claim) || p.full(g) || !line.Room(p.claim(r)) || !p.grant(g, g.Claim) {
			rest = append(rest, *g)
			continue
		}
		line.Return(p.claim(r))
		p.occupy(g, g.Claim)
		p.started = append(p.started, r)
		state.Held = append(state.Held, r.Use())
		if g.Array != "" {
			p.arrays[g.Array]++
		}
		out.Decisions = append(out.Decisions, Decision{Gang: g.ID, Placements: g.Claim})
	}
	p.s.Queue = rest
}

// grant takes the places if all of them are free and kept for nobody.
func (p *planner) grant(g *Gang, places []Placement) bool {
	for _, pl := range places {
		if i, ok := p.hall.byName[pl.Node]; !ok || p.hall.sites[i].cordoned {
			return false
		}
	}
	if !p.hall.admits(places) || p.conflict(g, places) != nil {
		return false
	}
	for _, pl := range places {
		p.hall.Take(pl)
	}
	return true
}

// covers tells whether the places are one for each task of the gang, or of an elastic one for enough.
func (g *Gang) covers(places []Placement) bool {
	if len(places) < g.least() || len(places) > len(g.Tasks) {
		return false
	}
	for _, pl := range places {
		if !slices.Contains(g.Tasks, pl.Task) {
			return false
		}
	}
	return true
}

// same tells whether two placements are of one task in one place.
func (p Placement) same(q Placement) bool {
	return p.Task == q.Task && p.Node == q.Node && slices.Equal(p.Accelerators, q.Accelerators)
}

// claimed tells whether any that waits was promised places.
func (p *planner) claimed() bool {
	for i := range p.s.Queue {
		if len(p.s.Queue[i].Claim) > 0 {
			return true
		}
	}
	return false
}
