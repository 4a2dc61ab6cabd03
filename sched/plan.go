package sched

import (
	"slices"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/sched/queue"
)

// Plan decides the queue: whose turn it is, where it goes, what it waits for, and what stops for it. It does not change
// the snapshot. Where the queues or the policy are not in order nothing starts, and that is every gang's reason.
func Plan(s Snapshot) Schedule { return decide(s, Snapshot.hall) }

// Planner makes one plan after the other for nodes that stay as they are, and keeps what of the hall depends on them alone.
// Its plans are Plan's, to the byte. It is not for several goroutines.
type Planner struct {
	nodes []fleet.Node
	racks []fleet.Rack
	caps  []fleet.PowerCap
	empty *Hall
}

// NewPlanner is for these nodes, whatever a snapshot says of its own.
func NewPlanner(nodes []fleet.Node, racks []fleet.Rack, caps []fleet.PowerCap) *Planner {
	return &Planner{nodes, racks, caps, NewHall(nodes, caps, racks, nil)}
}

// Plan is the plan for the snapshot with the planner's nodes, racks and caps.
func (p *Planner) Plan(s Snapshot) Schedule {
	s.Nodes, s.Racks, s.Caps = p.nodes, p.racks, p.caps
	return decide(s, func(s Snapshot) *Hall {
		h := p.empty.Clone()
		h.Use(s.Policy.Weights)
		h.Expect(s.mix())
		return h
	})
}

func decide(s Snapshot, hall func(Snapshot) *Hall) Schedule {
	tree, err := queue.New(s.Queues)
	what := "queues"
	if err == nil {
		what, err = "policy", s.Policy.Validate()
	}
	if err == nil {
		return plan(s, tree, hall(s))
	}
	var out Schedule
	for _, g := range s.Queue {
		out.Decisions = append(out.Decisions, Decision{Gang: g.ID, Reasons: []Reason{fault(what, err)}})
	}
	return out
}

// mix is what the snapshot says of the work that comes: what it is told, else what runs and waits.
func (s *Snapshot) mix() Mix {
	if len(s.Mix) > 0 {
		return s.Mix
	}
	var m Mix
	for i := range s.Running {
		m = m.more(&s.Running[i].Gang.Each, float64(len(s.Running[i].Placements)))
	}
	for i := range s.Queue {
		m = m.more(&s.Queue[i].Each, float64(len(s.Queue[i].Tasks)))
	}
	return m
}

// more adds to the mix. Of a few kinds of ask, which is what most halls see, each is listed once.
func (m Mix) more(a *Ask, weight float64) Mix {
	const few = 8
	for i := range m[:min(len(m), few)] {
		if m[i].Ask.same(a) {
			m[i].Weight += weight
			return m
		}
	}
	return append(m, Weighted{*a, weight})
}

// same tells whether two tasks ask for the same.
func (a *Ask) same(b *Ask) bool {
	return a.CPU == b.CPU && a.Memory == b.Memory && a.Disk == b.Disk && a.Storage == b.Storage && a.Accelerators == b.Accelerators && a.Kind == b.Kind &&
		a.Share == b.Share && a.AcceleratorMemory == b.AcceleratorMemory && a.Bandwidth == b.Bandwidth && a.Watts == b.Watts && slices.Equal(a.Models, b.Models)
}

// hall is the snapshot's hall when empty, under its policy's weights.
func (s Snapshot) hall() *Hall { return newHall(s.Nodes, s.Caps, s.Racks, s.mix(), s.Policy.Weights) }

// Fits says why the gang can never run on the snapshot's nodes, below its caps and behind its uplinks, even if all were
// empty and uncordoned; nil when it can.
func Fits(s Snapshot, g Gang) []Reason {
	empty := slices.Clone(s.Nodes)
	for i := range empty {
		empty[i].Cordoned = false
	}
	return NewHall(empty, s.Caps, s.Racks, nil).Place(g).Reasons
}
