package sched_test

import (
	"testing"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/sched"
	"github.com/lineshaft/lineshaft/sched/queue"
)

// A claim is kept while what has the place stops, one after the other. Others may start meanwhile by what those give up.
func TestAClaimExceedsNoLimit(t *testing.T) {
	each := sched.Ask{CPU: 4}
	promised := func(id string) sched.Gang {
		g := gang(id, 0, 0, 1, each)
		g.Queue = "vision"
		g.Claim = []sched.Placement{{Gang: id, Node: "n1", Ask: each}}
		return g
	}
	running := settled("quick", each, false, "n2")
	running.Gang.Queue = "vision"
	for name, change := range map[string]func(s *sched.Snapshot){
		"of its queue": func(s *sched.Snapshot) { s.Queues[0].Limit.CPU = 6 },
		"of its array": func(s *sched.Snapshot) {
			for _, g := range []*sched.Gang{&s.Running[0].Gang, &s.Queue[0]} {
				g.Array, g.ArrayLimit = "1", 1
			}
		},
		"of its queue, with another's claim": func(s *sched.Snapshot) {
			s.Queues[0].Limit.CPU = 6
			s.Running, s.Queue = nil, []sched.Gang{promised("first"), promised("moved")}
		},
	} {
		s := sched.Snapshot{
			Now: epoch, Nodes: []fleet.Node{node("n1", 8), node("n2", 8)}, Queues: []queue.Queue{{Name: "vision"}},
			Running: []sched.Running{running}, Queue: []sched.Gang{promised("moved")},
		}
		if d := sched.Plan(s).Decisions; len(d[0].Placements) != 1 || d[0].Placements[0].Node != "n1" {
			t.Fatalf("%s: not what was promised: %+v", name, d)
		}
		change(&s)
		d := sched.Plan(s).Decisions
		if last := d[len(d)-1]; last.Gang != "moved" || len(last.Placements) > 0 || len(last.Reasons) == 0 {
			t.Errorf("%s: %+v", name, d)
		}
	}
}
