package sched

// Rearranging is the local search within a plan: a gang that would not fit gets its place by moving gangs that the same
// plan has just placed, none of which runs yet. Nobody loses a place by it, so turns, shares and limits stay as they
// are.

// What bounds the search.
const (
	rearrangeOne = 24  // gangs that are moved alone for one that has no place, the last placed first
	rearrangeTwo = 6   // of these, in twos
	rearrangeAll = 200 // attempts in one plan
)

// rearrange gives the gang places, and others of this plan other ones. It does so only while nothing is held for others
// and nothing is to stop, because then places are all that a move changes.
func (p *planner) rearrange(g *Gang) []Placement {
	if len(p.holds) > 0 || p.stops {
		return nil
	}
	var list []int
	for i := len(p.started) - 1; i >= 0 && len(list) < rearrangeOne; i-- {
		if v := &p.started[i]; len(v.Gang.Claim) == 0 && (g.Each.Accelerators == 0 || v.Gang.Each.Accelerators > 0) {
			list = append(list, i)
		}
	}
	for _, i := range list {
		if places := p.displace(g, i); places != nil {
			return places
		}
	}
	for a := range list[:min(rearrangeTwo, len(list))] {
		for b := range a {
			if places := p.displace(g, list[b], list[a]); places != nil {
				return places
			}
		}
	}
	return nil
}

// displace takes the victims out, places the gang, and then the victims anew; all of them, or nothing is changed.
func (p *planner) displace(g *Gang, victims ...int) []Placement {
	if p.attempts++; p.attempts > rearrangeAll {
		return nil
	}
	for _, v := range victims {
		p.release(p.started[v].Placements)
	}
	places := p.hall.attempt(*g)
	moved, all := make([][]Placement, len(victims)), places != nil
	for k := 0; k < len(victims) && all; k++ {
		moved[k] = p.hall.attempt(p.started[victims[k]].placed())
		all = moved[k] != nil
	}
	if all {
		for k, v := range victims {
			p.started[v].Placements = moved[k]
			p.moved[p.started[v].Gang.ID] = moved[k]
		}
		p.opened++
		return places
	}
	p.release(places)
	for _, m := range moved {
		p.release(m)
	}
	for _, v := range victims {
		for _, pl := range p.started[v].Placements {
			p.hall.Take(pl)
		}
	}
	return nil
}

// placed is the gang with just the tasks that it has places for.
func (r *Running) placed() Gang {
	g := r.Gang
	g.Min, g.Tasks = 0, make([]int, len(r.Placements))
	for i, pl := range r.Placements {
		g.Tasks[i] = pl.Task
	}
	return g
}
