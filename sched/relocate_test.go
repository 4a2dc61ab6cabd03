package sched_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/sched"
)

// epoch is when the plans of these tests are made.
var epoch = time.Unix(20_000, 0).UTC() //nolint:gochecknoglobals // a constant

// settled is what has run for an hour on the first device given.
func settled(id string, each sched.Ask, preemptible bool, at string, devices ...string) sched.Running {
	g := gang(id, 0, 0, 1, each)
	g.Preemptible = preemptible
	return sched.Running{
		Gang: g, Started: epoch.Add(-time.Hour),
		Placements: []sched.Placement{{Gang: id, Node: at, Ask: each, Accelerators: devices}},
	}
}

func TestAGangThatMayStopMovesForOneThatWaits(t *testing.T) {
	one, two := sched.Ask{CPU: 1, Accelerators: 1}, sched.Ask{CPU: 1, Accelerators: 2}
	s := sched.Snapshot{
		Now: epoch, Nodes: []fleet.Node{node("n1", 8, "a", "a"), node("n2", 8, "a", "a")},
		Running: []sched.Running{settled("left", one, true, "n1", "0"), settled("right", one, true, "n2", "1")},
		Queue:   []sched.Gang{gang("wide", 0, 0, 1, two)},
	}
	find := func() []sched.Relocation {
		return sched.Relocate(s, sched.Plan(s).Decisions, sched.RelocateOptions{})
	}
	found := find()
	if len(found) != 1 || found[0].Starts != "wide" || len(found[0].Gangs) != 1 {
		t.Fatalf("found %+v", found)
	}
	moved := found[0].Gangs[0]
	if moved.To[0].Node == moved.From[0].Node {
		t.Fatalf("%s goes from %+v to %+v", moved.Gang, moved.From, moved.To)
	}
	for name, change := range map[string]func(){
		"what may not be stopped stays": func() { s.Running[0].Gang.Preemptible, s.Running[1].Gang.Preemptible = false, false },
		"what has just started stays":   func() { s.Running[0].Started, s.Running[1].Started = epoch, epoch },
		"what has topology stays": func() {
			s.Running[0].Gang.Topology.Level, s.Running[1].Gang.Topology.Level = sched.LevelNode, sched.LevelNode
		},
		"nothing moves while something stops": func() { s.Running[0].Stopping = epoch.Add(time.Minute) },
		"nothing goes to a cordoned node":     func() { s.Nodes[0].Cordoned, s.Nodes[1].Cordoned = true, true },
		"nothing goes where the calendar keeps room": func() {
			for _, n := range s.Nodes {
				s.Reservations = append(s.Reservations, sched.Reservation{
					Name: "r", User: "none", Span: sched.Span{From: epoch.Add(time.Hour), To: epoch.Add(2 * time.Hour)},
					Room: []sched.Placement{{Node: n.Name, Ask: one, Accelerators: []string{"0"}}},
				})
			}
		},
	} {
		was := s
		s.Running, s.Nodes = append([]sched.Running(nil), s.Running...), append([]fleet.Node(nil), s.Nodes...)
		change()
		if found := find(); len(found) != 0 {
			t.Errorf("%s: found %+v", name, found)
		}
		s = was
	}
}

func TestPartsOfAcceleratorsComeTogether(t *testing.T) {
	part := func(milli int) sched.Ask { return sched.Ask{CPU: 1, Accelerators: 1, Share: milli} }
	s := sched.Snapshot{
		Now: epoch, Nodes: []fleet.Node{node("n1", 8, "a", "a"), node("n2", 8, "a", "a")},
		Running: []sched.Running{
			settled("quarter", part(250), true, "n1", "0"), settled("half", part(500), true, "n1", "1"),
			settled("other", part(500), true, "n2", "0"), settled("fixed", part(250), false, "n2", "1"),
		},
	}
	found := sched.Relocate(s, nil, sched.RelocateOptions{})
	// The quarter joins a half; the other half joins what may not move.
	if len(found) != 2 || found[0].Gangs[0].Gang != "quarter" || !reflect.DeepEqual(found[0].Frees, []sched.Placement{{Node: "n1", Accelerators: []string{"0"}}}) {
		t.Fatalf("found %+v", found)
	}
	seen := map[string]int{}
	for i, r := range s.Running {
		to := r.Placements[0]
		for _, f := range found {
			if f.Gangs[0].Gang == r.Gang.ID {
				to = f.Gangs[0].To[0]
			}
		}
		seen[to.Node+"/"+to.Accelerators[0]] += s.Running[i].Gang.Each.Share
	}
	if len(seen) != 2 {
		t.Errorf("the parts lie on %v", seen)
	}
	for at, milli := range seen {
		if milli > 1000 {
			t.Errorf("%s holds %d thousandths", at, milli)
		}
	}
}

func TestAClaimIsKeptWhileItsGangStopsAndGivenToItBeforeAllOthers(t *testing.T) {
	one := sched.Ask{CPU: 1, Accelerators: 1}
	claim := []sched.Placement{{Gang: "moved", Node: "n2", Ask: one, Accelerators: []string{"0"}}}
	moved := settled("moved", one, true, "n1", "0")
	moved.Gang.Claim = claim
	moved.Stopping = epoch.Add(time.Minute)
	first := gang("first", 100, 0, 1, one)
	s := sched.Snapshot{Now: epoch, Nodes: []fleet.Node{node("n1", 8, "a"), node("n2", 8, "a")}, Running: []sched.Running{moved}, Queue: []sched.Gang{first}}
	if d := sched.Plan(s).Decisions[0]; len(d.Placements) != 0 || len(d.Reasons) == 0 {
		t.Fatalf("first has the place that is kept: %+v", d)
	}
	s.Running, s.Queue = nil, append(s.Queue, moved.Gang)
	at := func() map[string]string {
		out := map[string]string{}
		for _, d := range sched.Plan(s).Decisions {
			for _, p := range d.Placements {
				out[d.Gang] = p.Node
			}
		}
		return out
	}
	if got := at(); !reflect.DeepEqual(got, map[string]string{"moved": "n2", "first": "n1"}) {
		t.Fatalf("they lie on %v", got)
	}
	s.Nodes[1].Cordoned = true // the claim is void, and the order counts again
	if got := at(); !reflect.DeepEqual(got, map[string]string{"first": "n1"}) {
		t.Fatalf("they lie on %v", got)
	}
}

func TestAPlaceThatIsPromisedOrReservedIsNotFree(t *testing.T) {
	each := sched.Ask{CPU: 4}
	place := []sched.Placement{{Gang: "mover", Node: "n2", Ask: each}}
	claims := []sched.Placement{{Gang: "grows", Node: "n1", Ask: each}, {Gang: "grows", Task: 1, Node: "n2", Ask: each}}
	for name, c := range map[string]struct {
		change func(s *sched.Snapshot)
		free   bool
	}{
		"nothing is promised":       {func(*sched.Snapshot) {}, true},
		"what stops goes on there":  {func(s *sched.Snapshot) { s.Running[0].Stopping, s.Running[0].Gang.Claim = epoch, claims }, false},
		"what stops stays there":    {func(s *sched.Snapshot) { s.Running[0].Stopping, s.Running[0].Gang.Claim = epoch, claims[:1] }, true},
		"it is kept for what waits": {func(s *sched.Snapshot) { s.Queue = []sched.Gang{{ID: "waits", Each: each, Claim: claims[1:]}} }, false},
		"the calendar keeps it": {func(s *sched.Snapshot) {
			s.Reservations = []sched.Reservation{{Name: "r", User: "ann", Span: sched.Span{From: epoch.Add(time.Hour), To: epoch.Add(2 * time.Hour)}, Room: place}}
		}, false},
	} {
		s := sched.Snapshot{Now: epoch, Nodes: []fleet.Node{node("n1", 8), node("n2", 4)}, Running: []sched.Running{settled("grows", each, true, "n1")}}
		c.change(&s)
		if got := sched.Free(s, place); got != c.free {
			t.Errorf("%s: %v", name, got)
		}
	}
}
