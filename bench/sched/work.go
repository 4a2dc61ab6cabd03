package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/lineshaft/lineshaft/bench/internal/figure"
	"github.com/lineshaft/lineshaft/bench/internal/openb"
	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/sched"
)

// work is a hall of so many nodes and what arrives.
type work struct {
	nodes []fleet.Node
	asks  []sched.Ask // of the list, to draw from
	mix   sched.Mix
	gpus  float64
	seed  uint64
}

// perRack is how many nodes stand in a rack.
const perRack = 16

func newWork(t *openb.Trace, pods []openb.Pod, n int, seed uint64) work {
	w := work{mix: t.Mix(pods), seed: seed}
	all := t.Nodes()
	for i := range n {
		node := all[(i*len(all)/n+i/len(all))%len(all)]
		if n > len(all) {
			node = all[i%len(all)]
		}
		node.Name = fmt.Sprintf("node-%06d", i)
		node.Rack = fmt.Sprintf("rack-%04d", i/perRack)
		w.gpus += float64(len(node.Accelerators))
		w.nodes = append(w.nodes, node)
	}
	for _, p := range pods {
		w.asks = append(w.asks, t.Ask(p))
	}
	return w
}

// tally is what a case counts.
type tally struct {
	decisions, placed, reasons int
	took                       time.Duration
}

func measure(w work, rounds int) (rows []row) {
	for _, c := range []struct {
		name string
		run  func() tally
	}{{"fill", w.fill}, {"churn", w.churn}, {"gangs", w.gangs}, {"plan", w.plan}} {
		var all []tally
		for range rounds {
			all = append(all, c.run())
		}
		slices.SortFunc(all, func(a, b tally) int { return int(a.took - b.took) })
		m := all[len(all)/2]
		s, name := m.took.Seconds(), c.name+"-"+strconv.Itoa(len(w.nodes))
		rows = append(rows,
			figure.Of(name, "lineshaft", "placements_per_second", float64(m.placed)/s, "1/s"),
			figure.Of(name, "lineshaft", "decisions_per_second", float64(m.decisions)/s, "1/s"),
			figure.Of(name, "lineshaft", "us_per_decision", 1e6*s/float64(m.decisions), "us"),
			figure.Of(name, "lineshaft", "reasons_per_refusal", float64(m.reasons)/float64(max(m.decisions-m.placed, 1)), ""))
	}
	return rows
}

func (w work) rng() *rand.Rand { return rand.New(rand.NewPCG(w.seed, 0)) }

func (w work) hall() *sched.Hall { return sched.NewHall(w.nodes, nil, nil, w.mix) }

func gpusOf(a sched.Ask) float64 {
	if a.Share > 0 {
		return float64(a.Share) / 1000
	}
	return float64(a.Accelerators)
}

// one is a pod as a gang.
func one(id int, a sched.Ask) sched.Gang {
	return sched.Gang{ID: strconv.Itoa(id), Tasks: []int{0}, Each: a}
}

// count adds a decision.
func (t *tally) count(d sched.Decision) bool {
	t.decisions++
	t.reasons += len(d.Reasons)
	if len(d.Placements) == 0 {
		return false
	}
	t.placed += len(d.Placements)
	return true
}

// filled places until the arrivals ask for all GPUs, and returns what was placed.
func (w work) filled(h *sched.Hall, rng *rand.Rand, t *tally, part float64) (placed []sched.Placement) {
	for asked := 0.0; asked < part*w.gpus; {
		a := w.asks[rng.IntN(len(w.asks))]
		asked += gpusOf(a)
		if d := h.Place(one(t.decisions, a)); t.count(d) {
			placed = append(placed, d.Placements...)
		}
	}
	return placed
}

func (w work) fill() (t tally) {
	h, rng := w.hall(), w.rng()
	start := time.Now()
	w.filled(h, rng, &t, 1)
	t.took = time.Since(start)
	return t
}

func (w work) churn() (t tally) {
	h, rng := w.hall(), w.rng()
	var before tally
	held := w.filled(h, rng, &before, 1)
	start := time.Now()
	for range 5000 {
		i := rng.IntN(len(held))
		h.Release(held[i])
		for try := 0; ; try++ {
			d := h.Place(one(t.decisions, w.asks[rng.IntN(len(w.asks))]))
			if t.count(d) {
				held[i] = d.Placements[0]
				break
			}
			if try == 20 {
				h.Take(held[i])
				break
			}
		}
	}
	t.took = time.Since(start)
	return t
}

func (w work) gangs() (t tally) {
	h, rng := w.hall(), w.rng()
	start := time.Now()
	for asked := 0.0; asked < w.gpus; {
		g := one(t.decisions, w.asks[rng.IntN(len(w.asks))])
		for n := rng.IntN(16); n > 0; n-- {
			g.Tasks = append(g.Tasks, len(g.Tasks))
		}
		if rng.IntN(2) == 0 {
			g.Topology = sched.Topology{Level: sched.LevelRack, Hard: true}
		}
		asked += gpusOf(g.Each) * float64(len(g.Tasks))
		t.count(h.Place(g))
	}
	t.took = time.Since(start)
	return t
}

func (w work) plan() (t tally) {
	h, rng := w.hall(), w.rng()
	var before tally
	s := sched.Snapshot{Nodes: w.nodes, Mix: w.mix}
	for _, p := range w.filled(h, rng, &before, 0.5) {
		s.Running = append(s.Running, sched.Running{Gang: sched.Gang{ID: p.Gang, Tasks: []int{0}, Each: p.Ask}, Placements: []sched.Placement{p}})
	}
	for i := range 500 {
		s.Queue = append(s.Queue, one(1_000_000+i, w.asks[rng.IntN(len(w.asks))]))
	}
	start := time.Now()
	for _, d := range sched.Plan(s).Decisions {
		t.count(d)
	}
	t.took = time.Since(start)
	return t
}
