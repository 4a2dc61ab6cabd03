package sched

import (
	"slices"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/sched/queue"
)

// Plan decides the queue: whose turn it is, where it goes, what it waits for, and what stops for it. It does not change
// the snapshot. Where the queues or the policy are not in order nothing starts, and that is every gang's reason.
func Plan(s Snapshot) Schedule {
	tree, err := queue.New(s.Queues)
	what := "queues"
	if err == nil {
		what, err = "policy", s.Policy.Validate()
	}
	if err == nil {
		return plan(s, tree)
	}
	var out Schedule
	for _, g := range s.Queue {
		out.Decisions = append(out.Decisions, Decision{Gang: g.ID, Reasons: []Reason{fault(what, err)}})
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
