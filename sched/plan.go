package sched

import (
	"cmp"
	"slices"

	"github.com/lineshaft/lineshaft/fleet"
)

// Plan places the queue, best first. It does not change the snapshot.
func Plan(s Snapshot) Schedule {
	h := NewHall(s.Nodes, s.Caps, s.Racks, s.mix())
	for _, r := range s.Running {
		h.Start(r)
	}
	queue := slices.Clone(s.Queue)
	slices.SortStableFunc(queue, before)
	out := Schedule{Decisions: make([]Decision, 0, len(queue))}
	for _, g := range queue {
		out.Decisions = append(out.Decisions, h.Place(g))
	}
	return out
}

// mix is what the snapshot says of the work that comes: what it is told, else what runs and waits.
func (s Snapshot) mix() Mix {
	if len(s.Mix) > 0 {
		return s.Mix
	}
	m := make(Mix, 0, len(s.Running)+len(s.Queue))
	for _, r := range s.Running {
		m = append(m, Weighted{r.Gang.Each, float64(len(r.Placements))})
	}
	for _, g := range s.Queue {
		m = append(m, Weighted{g.Each, float64(len(g.Tasks))})
	}
	return m
}

// Fits says why the gang can never run on these nodes, even if all were empty and uncordoned; nil when it can.
func Fits(nodes []fleet.Node, g Gang) []Reason {
	empty := slices.Clone(nodes)
	for i := range empty {
		empty[i].Cordoned = false
	}
	return NewHall(empty, nil, nil, nil).Place(g).Reasons
}

// before is the order of the queue.
func before(a, b Gang) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), a.Since.Compare(b.Since), cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID))
}
