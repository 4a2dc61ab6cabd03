package sched_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/sched"
	"github.com/lineshaft/lineshaft/sched/queue"
)

var noon = time.Unix(1_000_000, 0)

// gpus is a gang of one task, and what runs of it is on the node's devices from..from+n-1.
func gpus(id string, n int, left time.Duration) sched.Gang {
	return sched.Gang{ID: id, Since: noon.Add(-time.Hour), Tasks: []int{0}, Each: sched.Ask{Accelerators: n}, Duration: left, Index: left.Seconds(), Preemptible: true}
}

func runs(g sched.Gang, devices ...string) sched.Running {
	return sched.Running{Gang: g, Started: noon, Placements: []sched.Placement{{Gang: g.ID, Node: "n", Ask: g.Each, Accelerators: devices}}}
}

func four() []fleet.Node { return []fleet.Node{node("n", 64, "h", "h", "h", "h")} }

// evicted is who stops, "a(order) b(priority)".
func evicted(d sched.Decision) string {
	var out []string
	for _, e := range d.Evictions {
		out = append(out, e.Gang+"("+e.Why+")")
	}
	return strings.Join(out, " ")
}

func TestNoMoreIsStoppedThanTheGangNeeds(t *testing.T) {
	s := sched.Snapshot{
		Now: noon, Nodes: four(), Queue: []sched.Gang{gpus("short", 2, time.Minute)},
		Running: []sched.Running{runs(gpus("long", 1, 90*time.Hour), "0"), runs(gpus("longer", 2, 80*time.Hour), "1", "2"), runs(gpus("near", 1, 2*time.Minute), "3")},
		Policy:  sched.Policy{Order: sched.SRTF, Preempt: sched.Preemption{Order: true}},
	}
	d := sched.Plan(s).Decisions[0]
	if got := evicted(d); got != "longer(order)" || len(d.Placements) != 1 {
		t.Fatalf("stops %q and places %v", got, d.Placements)
	}
	s.Policy.Preempt.Cost = 100 * time.Hour
	if d := sched.Plan(s).Decisions[0]; len(d.Evictions)+len(d.Placements) > 0 || len(d.Reasons) == 0 {
		t.Fatalf("stopping costs more than it gains: %+v", d)
	}
	s.Policy.Preempt.Cost = 0
	for i := range s.Running {
		s.Running[i].Gang.Preemptible = false
	}
	if d := sched.Plan(s).Decisions[0]; len(d.Evictions) > 0 {
		t.Fatalf("what must not be stopped is stopped: %+v", d)
	}
}

func TestOneVictimAtMostWhereThePolicySaysSo(t *testing.T) {
	s := sched.Snapshot{
		Now: noon, Nodes: four(), Queue: []sched.Gang{gpus("short", 2, time.Minute)},
		Running: []sched.Running{runs(gpus("a", 1, 90*time.Hour), "0"), runs(gpus("b", 1, 80*time.Hour), "1"), runs(gpus("c", 2, 2*time.Second), "2", "3")},
		Policy:  sched.Policy{Order: sched.SRTF, Preempt: sched.Preemption{Order: true, Margin: 1, One: true}},
	}
	if d := sched.Plan(s).Decisions[0]; len(d.Evictions) > 0 {
		t.Fatalf("two are stopped, or one too small: %+v", d)
	}
	s.Policy.Preempt.One = false
	if got := evicted(sched.Plan(s).Decisions[0]); got != "a(order) b(order)" {
		t.Fatalf("without it: %q", got)
	}
}

func TestAGangIsStoppedWholeAndAnElasticOneShrinksFirst(t *testing.T) {
	g := sched.Gang{ID: "gang", Tasks: []int{0, 1, 2, 3}, Each: sched.Ask{Accelerators: 1}, Preemptible: true}
	run := sched.Running{Gang: g, Started: noon}
	for i, id := range []string{"0", "1", "2", "3"} {
		run.Placements = append(run.Placements, sched.Placement{Gang: "gang", Task: i, Node: "n", Ask: g.Each, Accelerators: []string{id}})
	}
	high := gpus("high", 1, time.Hour)
	high.Priority = 1
	s := sched.Snapshot{Now: noon, Nodes: four(), Queue: []sched.Gang{high}, Running: []sched.Running{run}, Policy: sched.Policy{Preempt: sched.Preemption{Priority: true}}}
	d := sched.Plan(s).Decisions[0]
	if len(d.Evictions) != 1 || d.Evictions[0].Tasks != nil || d.Evictions[0].Why != "priority" {
		t.Fatalf("a part of a gang is stopped: %+v", d.Evictions)
	}
	s.Running[0].Gang.Min = 2
	d = sched.Plan(s).Decisions[0]
	if len(d.Evictions) != 1 || len(d.Evictions[0].Tasks) != 2 || d.Evictions[0].Why != "shrink" {
		t.Fatalf("the elastic gang does not shrink to its least: %+v", d.Evictions)
	}
}

func TestRoomOfWhatStillStopsIsKeptForWhoeverItStopsFor(t *testing.T) {
	high := gpus("high", 4, time.Hour)
	high.Priority = 1
	low := gpus("low", 4, time.Hour)
	s := sched.Snapshot{
		Now: noon, Nodes: four(), Queue: []sched.Gang{high, gpus("late", 1, time.Hour)}, Running: []sched.Running{runs(low, "0", "1", "2", "3")},
		Policy: sched.Policy{Preempt: sched.Preemption{Priority: true, Grace: time.Minute}},
	}
	d := sched.Plan(s).Decisions
	if evicted(d[0]) != "low(priority)" || !d[0].Evictions[0].By.Equal(noon.Add(time.Minute)) || len(d[1].Placements) > 0 {
		t.Fatalf("first plan: %+v", d)
	}
	s.Running[0].Stopping = noon.Add(time.Minute)
	d = sched.Plan(s).Decisions
	if len(d[0].Evictions)+len(d[0].Placements) > 0 || d[0].Reasons[0].Constraint != "stopping" || len(d[1].Placements) > 0 {
		t.Fatalf("while it stops: %+v", d)
	}
}

func TestWhoIsOverdueGoesFirstAndKeepsItsQuantum(t *testing.T) {
	long := gpus("long", 4, 500*time.Hour)
	long.Since = noon.Add(-200 * time.Hour)
	short := gpus("short", 4, time.Minute)
	s := sched.Snapshot{
		Now: noon, Nodes: four(), Queue: []sched.Gang{long, gpus("new", 4, time.Second)}, Running: []sched.Running{runs(short, "0", "1", "2", "3")},
		Policy: sched.WithForesight(),
	}
	d := sched.Plan(s).Decisions
	if d[0].Gang != "long" || !d[0].Overdue || evicted(d[0]) != "short(overdue)" {
		t.Fatalf("who waits for 200 hours: %+v", d[0])
	}
	s.Running, s.Queue = []sched.Running{runs(long, "0", "1", "2", "3")}, s.Queue[1:]
	s.Running[0].Kept = true
	if d := sched.Plan(s).Decisions[0]; len(d.Evictions) > 0 {
		t.Fatalf("it is stopped within its quantum: %+v", d)
	}
	s.Now = noon.Add(s.Policy.Quantum)
	if d := sched.Plan(s).Decisions[0]; evicted(d) != "long(order)" {
		t.Fatalf("after its quantum: %+v", d)
	}
}

func TestAnOwnerReclaimsWhatAGuestBorrowed(t *testing.T) {
	guest, mine := gpus("guest", 2, time.Hour), gpus("mine", 2, time.Hour)
	guest.Queue, mine.Queue = "guest", "owner"
	other := guest
	other.ID = "other"
	s := sched.Snapshot{
		Now: noon, Nodes: four(), Queue: []sched.Gang{mine}, Running: []sched.Running{runs(guest, "0", "1"), runs(other, "2", "3")},
		Queues: []queue.Queue{{Name: "owner", Guaranteed: queue.Amount{Accelerators: 2}}, {Name: "guest"}},
		Policy: sched.Policy{Preempt: sched.Preemption{Reclaim: true}},
	}
	if d := sched.Plan(s).Decisions[0]; len(d.Evictions) != 1 || d.Evictions[0].Why != "reclaim" {
		t.Fatalf("%+v", d)
	}
	s.Queues[0].Guaranteed = queue.Amount{}
	if d := sched.Plan(s).Decisions[0]; len(d.Evictions) != 0 {
		t.Fatalf("nothing is guaranteed: %+v", d)
	}
}

func TestBackfillDoesNotDelayTheFirstThatIsBlocked(t *testing.T) {
	head, fits, late := gpus("head", 4, time.Hour), gpus("fits", 1, 50*time.Minute), gpus("late", 1, 2*time.Hour)
	head.Priority = 1
	s := sched.Snapshot{
		Now: noon, Nodes: four(), Queue: []sched.Gang{head, late, fits}, Running: []sched.Running{runs(gpus("runs", 2, time.Hour), "0", "1")},
		Policy: sched.Policy{Backfill: sched.EASY},
	}
	by := map[string]sched.Decision{}
	for _, d := range sched.Plan(s).Decisions {
		by[d.Gang] = d
	}
	if d := by["head"]; !d.Earliest.Equal(noon.Add(time.Hour)) || d.Confidence <= 0 || d.Confidence > 1 {
		t.Fatalf("head: %+v", d)
	}
	if len(by["fits"].Placements) != 1 || !by["fits"].Backfilled {
		t.Fatalf("fits: %+v", by["fits"])
	}
	if d := by["late"]; len(d.Placements) > 0 || d.Reasons[0].Constraint != "reservation" {
		t.Fatalf("late: %+v", d)
	}
	s.Policy.Backfill = sched.Pass
	if got := told(sched.Plan(s)); !strings.Contains(got, "late:n") {
		t.Fatalf("passing: %s", got)
	}
}

func TestAReservationKeepsOthersOutInItsTime(t *testing.T) {
	g, mine := gpus("g", 4, 2*time.Hour), gpus("mine", 4, 2*time.Hour)
	mine.User, g.Preemptible = "alice", false
	s := sched.Snapshot{Now: noon, Nodes: four(), Queue: []sched.Gang{g}, Reservations: []sched.Reservation{{
		Name: "course", User: "alice", Span: sched.Span{From: noon.Add(time.Hour), To: noon.Add(3 * time.Hour)},
		Room: []sched.Placement{{Node: "n", Ask: sched.Ask{Accelerators: 1}, Accelerators: []string{"3"}}},
	}}}
	if d := sched.Plan(s).Decisions[0]; len(d.Placements) > 0 || d.Reasons[0].Constraint != "reservation" {
		t.Fatalf("who runs into it: %+v", d)
	}
	short := g
	short.Duration = 30 * time.Minute
	s.Queue = []sched.Gang{short}
	if d := sched.Plan(s).Decisions[0]; len(d.Placements) > 0 || !strings.Contains(d.Reasons[0].Detail, "who has a timeout that ends before") {
		t.Fatalf("a forecast is no promise: %+v", d)
	}
	if c := sched.Suggest(s, "g"); len(c) != 3 || c[1].Field != "timeout" || c[1].To != "1h" || c[2].Field != "preemptible" {
		t.Fatalf("%+v", c)
	}
	short.MaxRun = 30 * time.Minute
	s.Queue = []sched.Gang{short}
	if d := sched.Plan(s).Decisions[0]; len(d.Placements) != 1 {
		t.Fatalf("who is gone before: %+v", d)
	}
	s.Queue = []sched.Gang{mine}
	if d := sched.Plan(s).Decisions[0]; len(d.Placements) != 1 {
		t.Fatalf("whose it is: %+v", d)
	}
	g.Each.Accelerators = 3
	s.Queue = []sched.Gang{g}
	if d := sched.Plan(s).Decisions[0]; len(d.Placements) != 1 {
		t.Fatalf("who goes beside it: %+v", d)
	}
}

func TestWhatMayBeStoppedMakesRoomWhenAReservationBegins(t *testing.T) {
	yields, stays, mine := gpus("yields", 2, time.Hour), gpus("stays", 1, time.Hour), gpus("mine", 1, time.Hour)
	stays.Preemptible, mine.User = false, "alice"
	s := sched.Snapshot{Now: noon, Nodes: four(), Policy: sched.Policy{Preempt: sched.Preemption{Grace: time.Minute}}, Running: []sched.Running{
		runs(yields, "0", "1"), runs(stays, "2"), runs(mine, "3"),
	}, Reservations: []sched.Reservation{{Name: "course", User: "alice", Span: sched.Span{From: noon.Add(2 * time.Minute), To: noon.Add(time.Hour)}}}}
	for _, id := range []string{"1", "2", "3"} {
		s.Reservations[0].Room = append(s.Reservations[0].Room, sched.Placement{Node: "n", Ask: sched.Ask{Accelerators: 1}, Accelerators: []string{id}})
	}
	if got := sched.Trespass(s); len(got) != 0 {
		t.Fatalf("too soon: %+v", got)
	}
	s.Now = noon.Add(time.Minute)
	if got := sched.Trespass(s); len(got) != 1 || got[0].Gang != "yields" || got[0].Why != "reservation course" {
		t.Fatalf("%+v", got)
	}
}
