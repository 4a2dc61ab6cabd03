package sched_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/sched"
)

func TestNoWeightsAreTheDefault(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := randomWorld(r)
		one, two := sched.NewHall(w.nodes, w.caps, w.racks, nil), sched.NewHall(w.nodes, w.caps, w.racks, nil)
		mix := sched.Mix{{Ask: sched.Ask{CPU: 2, Accelerators: 1}, Weight: 3}, {Ask: sched.Ask{CPU: 1, Accelerators: 2}, Weight: 1}}
		one.Expect(mix)
		two.Expect(mix)
		two.Use(sched.Weights{})
		for range 10 {
			g := sched.Gang{ID: "g", Tasks: []int{0}, Each: sched.Ask{CPU: 1, Accelerators: r.IntN(3)}}
			one.Place(g)
			two.Use(sched.DefaultWeights())
			two.Place(g)
		}
		if one.State() != two.State() {
			t.Fatalf("seed %d: the hall with no weights differs from the one with the default", seed)
		}
		if err := two.Check(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTightnessWeighsHowFullANodeIsLeft(t *testing.T) {
	devices := []fleet.Accelerator{{ID: "0"}, {ID: "1"}, {ID: "2"}, {ID: "3"}}
	nodes := []fleet.Node{{Name: "empty", CPU: 64, Accelerators: devices}, {Name: "used", CPU: 64, Accelerators: devices}}
	holds := sched.Running{
		Gang:       sched.Gang{ID: "other", Tasks: []int{0}, Each: sched.Ask{CPU: 1, Accelerators: 2}},
		Placements: []sched.Placement{{Gang: "other", Node: "used", Ask: sched.Ask{CPU: 1, Accelerators: 2}, Accelerators: []string{"0", "1"}}},
	}
	for _, c := range []struct {
		tightness float64
		want      string
	}{{1, "used"}, {0, "empty"}, {30, "used"}} {
		w := sched.DefaultWeights()
		w.Tightness = c.tightness
		s := sched.Plan(sched.Snapshot{
			Nodes: nodes, Running: []sched.Running{holds}, Mix: sched.Mix{{Ask: sched.Ask{Accelerators: 1}, Weight: 1}},
			Queue: []sched.Gang{{ID: "g", Tasks: []int{0}, Each: sched.Ask{CPU: 1, Accelerators: 1}}}, Policy: sched.Policy{Weights: w},
		})
		if got := s.Decisions[0].Placements[0].Node; got != c.want {
			t.Errorf("with a tightness of %v the task goes to %s, want %s", c.tightness, got, c.want)
		}
	}
}

func TestWeightsThatWeighNothingAreRefused(t *testing.T) {
	for _, change := range []func(*sched.Weights){
		func(w *sched.Weights) { w.Fragmentation = 0 },
		func(w *sched.Weights) { w.Congestion = -1 },
		func(w *sched.Weights) { w.Scarcity = math.NaN() },
		func(w *sched.Weights) { w.Power = math.Inf(1) },
		func(w *sched.Weights) { w.Tightness = 1e6 },
	} {
		w := sched.DefaultWeights()
		change(&w)
		if err := (sched.Policy{Weights: w}).Validate(); err == nil {
			t.Errorf("%+v is accepted", w)
		}
	}
	if err := (sched.Policy{}).Validate(); err != nil {
		t.Error(err)
	}
}
