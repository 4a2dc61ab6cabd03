package sched_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/sched"
)

func node(name string, cpu float64, accelerators ...string) fleet.Node {
	n := fleet.Node{Name: name, CPU: cpu, Memory: 8 * units.GiB, Disk: 100 * units.GiB}
	for i, model := range accelerators {
		n.Accelerators = append(n.Accelerators, fleet.Accelerator{ID: fmt.Sprint(i), Model: model})
	}
	return n
}

func gang(id string, priority, age, tasks int, each sched.Ask) sched.Gang {
	g := sched.Gang{ID: id, Priority: priority, Since: time.Unix(10_000-int64(age), 0), Each: each}
	for i := range tasks {
		g.Tasks = append(g.Tasks, i)
	}
	return g
}

// told is the schedule in one line: "a:n1,n2 b:-".
func told(s sched.Schedule) string {
	var out []string
	for _, d := range s.Decisions {
		where := "-"
		if len(d.Placements) > 0 {
			var on []string
			for _, p := range d.Placements {
				on = append(on, p.Node)
			}
			where = strings.Join(on, ",")
		}
		out = append(out, d.Gang+":"+where)
	}
	return strings.Join(out, " ")
}

func TestTheQueueGoesByPriorityThenAge(t *testing.T) {
	one := sched.Ask{CPU: 1}
	got := told(sched.Plan(sched.Snapshot{
		Nodes: []fleet.Node{node("n1", 3)},
		Queue: []sched.Gang{gang("young", 0, 1, 1, one), gang("old", 0, 9, 1, one), gang("urgent", 5, 0, 1, one), gang("last", -1, 99, 1, one)},
	}))
	if want := "urgent:n1 old:n1 young:n1 last:-"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestAGangIsPlacedWholeOrNotAtAll(t *testing.T) {
	s := sched.Plan(sched.Snapshot{
		Nodes: []fleet.Node{node("n1", 2), node("n2", 1)},
		Queue: []sched.Gang{gang("four", 0, 9, 4, sched.Ask{CPU: 1}), gang("three", 0, 1, 3, sched.Ask{CPU: 1})},
	})
	if got, want := told(s), "four:- three:n1,n1,n2"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	r := s.Decisions[0].Reasons
	if len(r) != 2 || r[0].Constraint != "gang" || r[0].Needed != "4" || r[0].Offered != "3" || r[1].Constraint != "cpu" || r[1].Offered != "0" {
		t.Fatalf("reasons: %+v", r)
	}
}

func TestDevicesAreGivenOnceAndByModel(t *testing.T) {
	s := sched.Plan(sched.Snapshot{
		Nodes:   []fleet.Node{node("n1", 64, "h100", "l4", "h100", "h100")},
		Running: []sched.Running{{Placements: []sched.Placement{{Gang: "r", Node: "n1", Accelerators: []string{"2"}}}}},
		Queue: []sched.Gang{
			gang("a", 0, 3, 1, sched.Ask{Accelerators: 2, Models: []string{"h100"}}),
			gang("b", 0, 2, 1, sched.Ask{Accelerators: 1, Models: []string{"h100"}}),
			gang("c", 0, 1, 1, sched.Ask{Accelerators: 1}),
		},
	})
	if got := s.Decisions[0].Placements[0].Accelerators; !slices.Equal(got, []string{"0", "3"}) {
		t.Fatalf("a has %v", got)
	}
	if r := s.Decisions[1].Reasons; len(r) != 1 || r[0].Needed != "1 h100" || r[0].Offered != "0" {
		t.Fatalf("b waits for %+v", r)
	}
	if got := s.Decisions[2].Placements[0].Accelerators; !slices.Equal(got, []string{"1"}) {
		t.Fatalf("c has %v", got)
	}
}

func TestReasonsSayWhatRuledEachNodeOut(t *testing.T) {
	full, small, away := node("full", 8), node("small", 1), node("away", 64)
	away.Cordoned = true
	s := sched.Plan(sched.Snapshot{
		Nodes:   []fleet.Node{full, small, away},
		Running: []sched.Running{{Placements: []sched.Placement{{Node: "full", Ask: sched.Ask{Memory: 7 * units.GiB}}}}},
		Queue:   []sched.Gang{gang("a", 0, 0, 1, sched.Ask{CPU: 2, Memory: 2 * units.GiB})},
	})
	var got []string
	for _, r := range s.Decisions[0].Reasons {
		got = append(got, fmt.Sprintf("%s %s/%s: %s", r.Constraint, r.Needed, r.Offered, r.Detail))
	}
	want := []string{
		"cpu 2/1: 1 node is ruled out by cpu; of these small offers the most",
		"memory 2 GiB/1 GiB: 1 node is ruled out by memory; of these full offers the most",
		"nodes a node that takes work/2 of 3: 1 node is cordoned; `lineshaft uncordon NODE` lets a node take work again",
	}
	if !slices.Equal(got, want) {
		t.Fatalf("reasons:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestFitsLooksAtEmptyMachines(t *testing.T) {
	big := node("big", 2)
	big.Cordoned = true
	if r := sched.Fits(sched.Snapshot{Nodes: []fleet.Node{big}}, gang("a", 0, 0, 1, sched.Ask{CPU: 2})); r != nil {
		t.Fatalf("2 of 2 cores never fit: %+v", r)
	}
	r := sched.Fits(sched.Snapshot{Nodes: []fleet.Node{big}}, gang("a", 0, 0, 1, sched.Ask{CPU: 16}))
	if len(r) != 1 || r[0].Needed != "16" || r[0].Offered != "2" {
		t.Fatalf("16 of 2 cores: %+v", r)
	}
	if r := sched.Fits(sched.Snapshot{}, gang("a", 0, 0, 1, sched.Ask{})); len(r) != 1 || r[0].Constraint != "nodes" {
		t.Fatalf("no node at all: %+v", r)
	}
}

func random(r *rand.Rand) sched.Snapshot {
	var s sched.Snapshot
	for i := range 1 + r.IntN(5) {
		n := node(fmt.Sprintf("n%d", i), float64(1+r.IntN(8)))
		for d := range r.IntN(4) {
			n.Accelerators = append(n.Accelerators, fleet.Accelerator{ID: fmt.Sprint(d), Model: []string{"a", "b"}[r.IntN(2)]})
		}
		n.Cordoned = r.IntN(6) == 0
		s.Nodes = append(s.Nodes, n)
	}
	for i := range r.IntN(12) {
		s.Queue = append(s.Queue, gang(fmt.Sprintf("g%d", i), r.IntN(3), r.IntN(9), 1+r.IntN(4), sched.Ask{
			CPU: r.Float64() * 4, Memory: units.Bytes(r.Int64N(int64(6 * units.GiB))), Accelerators: r.IntN(3), Models: [][]string{nil, {"a"}}[r.IntN(2)],
		}))
	}
	return s
}

func TestNoPlanGivesMoreThanANodeHas(t *testing.T) {
	for seed := range uint64(300) {
		s := random(rand.New(rand.NewPCG(seed, 1)))
		plan := sched.Plan(s)
		if again := sched.Plan(s); !reflect.DeepEqual(plan, again) {
			t.Fatalf("seed %d: the same snapshot gave two plans", seed)
		}
		if len(plan.Decisions) != len(s.Queue) {
			t.Fatalf("seed %d: %d decisions for %d gangs", seed, len(plan.Decisions), len(s.Queue))
		}
		cpu, given := map[string]float64{}, map[string]bool{}
		for _, d := range plan.Decisions {
			g := s.Queue[slices.IndexFunc(s.Queue, func(g sched.Gang) bool { return g.ID == d.Gang })]
			if (len(d.Placements) == len(g.Tasks)) == (len(d.Reasons) > 0) || (len(d.Placements) > 0 && len(d.Reasons) > 0) {
				t.Fatalf("seed %d: gang %s is neither placed whole nor explained: %+v", seed, g.ID, d)
			}
			for _, p := range d.Placements {
				cpu[p.Node] += p.Ask.CPU
				for _, id := range p.Accelerators {
					if given[p.Node+"/"+id] {
						t.Fatalf("seed %d: device %s of %s is given twice", seed, id, p.Node)
					}
					given[p.Node+"/"+id] = true
				}
			}
		}
		for _, n := range s.Nodes {
			if cpu[n.Name] > n.CPU+1e-6 || (n.Cordoned && cpu[n.Name] > 0) {
				t.Fatalf("seed %d: node %s has %v cores (cordoned %v) and gave %v", seed, n.Name, n.CPU, n.Cordoned, cpu[n.Name])
			}
		}
	}
}

func TestAGangMakesWayForOneThatWouldNotFit(t *testing.T) {
	nodes := []fleet.Node{node("n1", 2, "a", "a"), node("n2", 5, "a", "a")}
	first, second, third := gang("first", 3, 0, 1, sched.Ask{CPU: 2, Accelerators: 1}), gang("second", 2, 0, 1, sched.Ask{CPU: 1, Accelerators: 2}), gang("third", 1, 0, 1, sched.Ask{CPU: 3})
	if got := told(sched.Plan(sched.Snapshot{Nodes: nodes, Queue: []sched.Gang{first, second}})); got != "first:n2 second:n2" && got != "first:n2 second:n1" {
		t.Fatalf("without the third, %s", got)
	}
	s := sched.Snapshot{Nodes: nodes, Queue: []sched.Gang{first, second, third}}
	if got := told(sched.Plan(s)); got != "first:n2 second:n1 third:n2" {
		t.Fatal(got)
	}
}
