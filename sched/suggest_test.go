package sched_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/sched"
	"github.com/lineshaft/lineshaft/sched/queue"
)

// crowded is a hall in which more waits than runs.
func crowded(r *rand.Rand) sched.Snapshot {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := sched.Snapshot{
		Now: now, Queues: []queue.Queue{{Name: "a"}, {Name: "b", Limit: queue.Amount{CPU: 12}}},
		Policy: sched.Policy{Backfill: sched.Conservative, Preempt: sched.Preemption{Priority: true}},
	}
	for i := range 3 {
		n := fleet.Node{Name: fmt.Sprintf("n%d", i), CPU: 16, Memory: 64 * units.GiB, Disk: 100 * units.GiB}
		for d := range 4 {
			n.Accelerators = append(n.Accelerators, fleet.Accelerator{ID: strconv.Itoa(d), Model: []string{"A100", "T4"}[i%2]})
		}
		s.Nodes = append(s.Nodes, n)
	}
	for i := range 14 {
		g := sched.Gang{
			ID: strconv.Itoa(i + 1), Queue: []string{"a", "b"}[r.IntN(2)], Priority: r.IntN(3), Since: now.Add(time.Duration(i) * time.Second),
			Preemptible: r.IntN(2) == 0,
			Each:        sched.Ask{CPU: float64(1 + r.IntN(10)), Memory: units.Bytes(1+r.IntN(40)) * units.GiB, Accelerators: r.IntN(4)},
		}
		for t := range 1 + r.IntN(3) {
			g.Tasks = append(g.Tasks, t)
		}
		if g.Each.Accelerators > 0 && r.IntN(3) == 0 {
			g.Each.Models = []string{"T4"}
		}
		s.Queue = append(s.Queue, g)
	}
	// What the empty hall starts of the first half runs.
	first := s
	first.Queue = s.Queue[:7]
	started := map[string][]sched.Placement{}
	for _, d := range sched.Plan(first).Decisions {
		started[d.Gang] = d.Placements
	}
	waiting := s.Queue[7:]
	for _, g := range s.Queue[:7] {
		if p := started[g.ID]; len(p) > 0 {
			s.Running = append(s.Running, sched.Running{Gang: g, Placements: p, Started: now.Add(-time.Minute)})
		} else {
			waiting = append(waiting, g)
		}
	}
	s.Queue = waiting
	return s
}

// with is the snapshot with one gang changed as a suggestion says.
func with(t *testing.T, s sched.Snapshot, at int, c sched.Change) sched.Snapshot {
	t.Helper()
	s.Queue = append([]sched.Gang(nil), s.Queue...)
	g := &s.Queue[at]
	n, _ := strconv.Atoi(c.To)
	switch c.Field {
	case "tasks":
		g.Tasks = g.Tasks[:n]
	case "resources.accelerators":
		g.Each.Accelerators = n
	case "resources.cpu":
		v, err := strconv.ParseFloat(c.To, 64)
		if err != nil {
			t.Fatal(err)
		}
		g.Each.CPU = v
	case "resources.memory":
		v, err := units.ParseBytes(c.To)
		if err != nil {
			t.Fatal(err)
		}
		g.Each.Memory = v
	case "resources.model":
		g.Each.Models = nil
	case "priority":
		g.Priority = n
	case "queue":
		g.Queue = c.To
	default:
		t.Fatalf("a change of %q", c.Field)
	}
	return s
}

func TestEverySuggestedChangeStartsTheGang(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for seed := range uint64(24) {
		s := crowded(rand.New(rand.NewPCG(seed, 1)))
		for at, g := range s.Queue {
			now := decision(t, s, g.ID)
			changes := sched.Suggest(s, g.ID)
			if len(now.Placements) > 0 && len(changes) > 0 {
				t.Fatalf("seed %d: gang %s starts anyway, and yet %+v", seed, g.ID, changes)
			}
			for _, c := range changes {
				d := decision(t, with(t, s, at, c), g.ID)
				if len(d.Placements) == 0 && len(d.Evictions) == 0 {
					t.Errorf("seed %d: %+v does not start gang %s, which waits for %+v", seed, c, g.ID, d.Reasons)
				}
				if len(d.Evictions) != len(c.Stops) {
					t.Errorf("seed %d: %+v stops %+v", seed, c, d.Evictions)
				}
				seen[c.Field]++
			}
		}
	}
	for _, field := range []string{"tasks", "resources.accelerators", "resources.cpu", "resources.memory", "resources.model", "priority", "queue"} {
		if seen[field] == 0 {
			t.Errorf("no change of %s was ever suggested: %v", field, seen)
		}
	}
}

func TestASuggestionIsTheLeastOfItsKind(t *testing.T) {
	s := sched.Snapshot{Nodes: []fleet.Node{{Name: "n", CPU: 8, Memory: units.GiB, Accelerators: []fleet.Accelerator{{ID: "0"}, {ID: "1"}, {ID: "2"}, {ID: "3"}}}}}
	s.Running = []sched.Running{{
		Gang:       sched.Gang{ID: "1", Tasks: []int{0}, Each: sched.Ask{CPU: 1, Accelerators: 1}},
		Placements: []sched.Placement{{Gang: "1", Node: "n", Ask: sched.Ask{CPU: 1, Accelerators: 1}, Accelerators: []string{"2"}}},
	}}
	s.Queue = []sched.Gang{{ID: "2", Tasks: []int{0}, Each: sched.Ask{CPU: 1, Accelerators: 4}}}
	got := sched.Suggest(s, "2")
	if len(got) != 1 || got[0].Field != "resources.accelerators" || got[0].From != "4" || got[0].To != "3" || got[0].Means != "1 fewer accelerators a task" {
		t.Errorf("suggested %+v", got)
	}
	if got := sched.Suggest(s, "nobody"); got != nil {
		t.Errorf("for a gang that is not there: %+v", got)
	}
}

func decision(t *testing.T, s sched.Snapshot, id string) sched.Decision {
	t.Helper()
	for _, d := range sched.Plan(s).Decisions {
		if d.Gang == id {
			return d
		}
	}
	t.Fatalf("no decision on %s", id)
	return sched.Decision{}
}

func TestWhatAGangPutsInItsOwnWayIsAmongTheChanges(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tasks := []int{0, 1, 2, 3}
	for want, change := range map[string]func(*sched.Snapshot, *sched.Gang){
		"not_before 2026-01-01T02:00:00Z>": func(_ *sched.Snapshot, g *sched.Gang) { g.NotBefore = now.Add(2 * time.Hour) },
		"deferrable true>false": func(s *sched.Snapshot, g *sched.Gang) {
			g.Deferrable, s.Windows = true, []sched.Span{{From: now.Add(time.Hour), To: now.Add(2 * time.Hour)}}
		},
		"array.limit 1>2": func(s *sched.Snapshot, g *sched.Gang) {
			g.Array, g.ArrayLimit = "1", 1
			s.Running = []sched.Running{{Gang: sched.Gang{ID: "0", Array: "1"}, Placements: []sched.Placement{{Gang: "0", Node: "n", Ask: sched.Ask{CPU: 1}}}}}
		},
		"min_tasks 3>2": func(_ *sched.Snapshot, g *sched.Gang) { g.Tasks, g.Min, g.Each.CPU = tasks, 3, 4 },
	} {
		s := sched.Snapshot{Now: now, Nodes: []fleet.Node{{Name: "n", CPU: 8, Memory: units.GiB, Disk: units.GiB}}}
		g := sched.Gang{ID: "w", Tasks: []int{0}, Each: sched.Ask{CPU: 1}}
		change(&s, &g)
		s.Queue = []sched.Gang{g}
		var got []string
		for _, c := range sched.Suggest(s, "w") {
			got = append(got, c.Field+" "+c.From+">"+c.To)
		}
		if !slices.Contains(got, want) {
			t.Errorf("%q, want %s", got, want)
		}
	}
}
