package sched

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// Pack places those of the gangs that are worth most together, takes what they take, and says of each where it is; of
// those that are left out, why. Gangs that are worth nothing come last.
//
// It is greedy by worth for what is taken, then searches: a gang that found no place pushes out one or two others, which
// look for another place (so gangs are moved, swapped and ejected); then a few gangs at a time are taken out and all
// that wait are tried again. What makes the plan worth less is undone. Effort bounds how often a gang is tried
// (DefaultEffort when 0), so the outcome depends on the arguments alone. Of turns and queues it knows nothing.
func (h *Hall) Pack(gangs []Gang, worth Worth, effort int) []Decision {
	if effort <= 0 {
		effort = DefaultEffort
	}
	p := newPacking(h, gangs, worth)
	p.effort = effort
	p.start()
	for p.effort > 0 && p.improve() {
	}
	p.recreate()
	p.last()
	return p.decisions()
}

// DefaultEffort of Pack is some ten milliseconds for some hundred gangs.
const DefaultEffort = 16_000

// packing is a contest on its way to its best plan.
type packing struct {
	h      *Hall
	gangs  []Gang
	shapes []*shape
	worth  []float64
	placed [][]Placement // nil for those that wait
	order  []int         // the gangs that are worth something, the best first
	effort int
	had    [resources + 1]float64 // what was free before
	failed map[failure]bool       // what did not fit since the hall last got emptier
}

// failure is what two gangs have in common of which the second does not fit where the first did not.
type failure struct {
	shape      *shape
	tasks, min int
	topology   Topology
}

func newPacking(h *Hall, gangs []Gang, worth Worth) *packing {
	p := &packing{h: h, gangs: gangs, placed: make([][]Placement, len(gangs)), failed: map[failure]bool{}}
	var all []int
	for i, g := range gangs {
		w := 0.0
		p.shapes = append(p.shapes, nil)
		if wrong(g) == "" {
			w = worth(g)
			p.shapes[i] = h.shapeOf(g.Each)
		}
		if !(w > 0) || math.IsInf(w, 1) {
			w = 0
		}
		p.worth = append(p.worth, w)
		if w > 0 {
			all = append(all, i)
		}
	}
	p.order, p.had = all, p.free()
	return p
}

// taken is what a task takes of each resource; the last are thousandths of devices.
func taken(a Ask) (d [resources + 1]float64) {
	for k, v := range needs(a) {
		d[k] = float64(v)
	}
	d[resources] = float64(a.Accelerators) * float64(a.milli())
	return d
}

// free is what the hall has left of each resource.
func (p *packing) free() (free [resources + 1]float64) {
	for i := range p.h.rooms {
		if p.h.sites[i].cordoned {
			continue
		}
		for k, v := range p.h.rooms[i].free {
			free[k] += float64(max(v, 0))
		}
		for _, d := range p.h.rooms[i].devices {
			free[resources] += float64(max(d.milli, 0))
		}
	}
	return free
}

// left is the part of each resource that is free.
func (p *packing) left() (left [resources + 1]float64) {
	for k, v := range p.free() {
		if left[k] = 1; p.had[k] > 0 {
			left[k] = v / p.had[k]
		}
	}
	return left
}

// scarcity weighs a unit of each resource: what all gangs ask for against what is free, for what is free. The scarcest is
// the one of which most is asked for what is free.
func (p *packing) scarcity() (weights [resources + 1]float64, scarcest int) {
	free, asked := p.had, [resources + 1]float64{}
	for i, g := range p.gangs {
		for k, need := range taken(g.Each) {
			if p.worth[i] > 0 {
				asked[k] += need * float64(len(g.Tasks))
			}
		}
	}
	top := 0.0
	for k := range weights {
		if free[k] > 0 {
			share := asked[k] / free[k]
			weights[k] = share / free[k]
			if share > top {
				top, scarcest = share, k
			}
		}
	}
	return weights, scarcest
}

// try places a gang, or leaves the hall as it was.
func (p *packing) try(i int) bool {
	g := &p.gangs[i]
	key := failure{p.shapes[i], len(g.Tasks), g.Min, g.Topology}
	if p.failed[key] {
		return false
	}
	p.effort--
	d, t := p.h.find(*g)
	if t != nil {
		t.undo()
		p.failed[key] = true
		return false
	}
	p.placed[i] = d.Placements
	return true
}

// drop takes a gang out.
func (p *packing) drop(i int) []Placement {
	list := p.placed[i]
	for _, v := range list {
		p.h.Release(v)
	}
	p.placed[i] = nil
	clear(p.failed)
	return list
}

// back puts a gang where it was.
func (p *packing) back(i int, list []Placement) {
	for _, v := range list {
		p.h.Take(v)
	}
	p.placed[i] = list
}

// start fills the hall in several orders and keeps the best. What a gang takes is weighed by how scarce each resource is:
// first by the scarcest alone, then by all, then, a few times, less by those of which the last plan left much over.
func (p *packing) start() {
	weights, scarcest := p.scarcity()
	var most [resources + 1]float64
	most[scarcest] = weights[scarcest]
	best, total := p.sorted(most), -1.0
	by := most
	for round := range startRounds {
		order := p.sorted(by)
		p.order = order
		if worth := p.fill(); worth > total {
			best, total = order, worth
		}
		if round > 0 {
			for k, left := range p.left() {
				used := 1 - left
				weights[k] *= used * used * used
			}
		}
		by = weights
		for _, i := range order {
			p.drop(i)
		}
	}
	p.order = best
	p.fill()
}

const startRounds = 8

// sorted are the gangs by worth for what they take.
func (p *packing) sorted(weights [resources + 1]float64) []int {
	dense := make([]float64, len(p.gangs))
	for _, i := range p.order {
		size := 0.0
		for k, need := range taken(p.gangs[i].Each) {
			size += weights[k] * need
		}
		dense[i] = p.worth[i] / max(size*float64(len(p.gangs[i].Tasks)), 1e-300)
	}
	order := slices.Clone(p.order)
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(dense[b], dense[a]), cmp.Compare(p.worth[b], p.worth[a]), cmp.Compare(p.gangs[a].ID, p.gangs[b].ID))
	})
	return order
}

// fill tries every gang that waits, in order, and gives the worth of all that are placed.
func (p *packing) fill() float64 {
	for _, i := range p.order {
		if p.placed[i] == nil {
			p.try(i)
		}
	}
	return p.total()
}

func (p *packing) total() (sum float64) {
	for _, i := range p.order {
		if p.placed[i] != nil {
			sum += p.worth[i]
		}
	}
	return sum
}

// improve looks once for a place of every gang that has none, and tells whether the plan is worth more now.
func (p *packing) improve() (better bool) {
	for _, i := range p.order {
		if p.placed[i] == nil && p.effort > 0 && (p.try(i) || p.push(i)) {
			better = true
		}
	}
	return better
}

// push makes room for a gang by taking out one that is there, or two, and placing these anew.
func (p *packing) push(i int) bool {
	const (
		single = 24 // victims that are tried alone
		pairs  = 5  // of these, in twos
	)
	var list []int
	for at := len(p.order) - 1; at >= 0 && len(list) < single; at-- {
		v := p.order[at]
		if p.placed[v] != nil && (p.gangs[i].Each.Accelerators == 0 || p.gangs[v].Each.Accelerators > 0) {
			list = append(list, v)
		}
	}
	for _, v := range list {
		if p.effort > 0 && p.exchange(i, v) {
			return true
		}
	}
	for a := range list[:min(pairs, len(list))] {
		for b := range a {
			if p.effort > 0 && p.exchange(i, list[b], list[a]) {
				return true
			}
		}
	}
	return false
}

// exchange takes the victims out, places the gang, and places of the victims what still fits; it stays when all are
// worth more than before.
func (p *packing) exchange(i int, victims ...int) bool {
	var held [2][]Placement
	gain := p.worth[i]
	for k, v := range victims {
		held[k] = p.drop(v)
		gain -= p.worth[v]
	}
	if p.try(i) {
		for _, v := range victims {
			if p.try(v) {
				gain += p.worth[v]
			}
		}
		if gain > 1e-9*p.worth[i] {
			return true
		}
		for _, v := range victims {
			p.drop(v)
		}
		p.drop(i)
	}
	for k, v := range victims {
		p.back(v, held[k])
	}
	clear(p.failed)
	return false
}

// recreate takes some gangs out and fills the hall anew, again and again, while effort is left. Which ones are taken out,
// and in which order the gangs are tried again, follows a sequence that is the same every time.
func (p *packing) recreate() {
	rng := rand.New(rand.NewPCG(1, uint64(len(p.gangs))))
	total := p.total()
	for p.effort > 0 {
		var placed []int
		waits := false
		for _, i := range p.order {
			if p.placed[i] != nil {
				placed = append(placed, i)
			} else {
				waits = true
			}
		}
		if !waits || len(placed) == 0 {
			return
		}
		p.effort-- // also when nothing can be tried
		out := p.choose(rng, placed)
		before := make(map[int][]Placement, len(out))
		for _, v := range out {
			before[v] = p.drop(v)
		}
		var entered []int
		for _, i := range p.again(rng, before) {
			if _, was := before[i]; p.try(i) && !was {
				entered = append(entered, i)
			}
		}
		if now := p.total(); now >= total {
			total = now // an equal plan is another to go on from
			continue
		}
		for _, i := range entered {
			p.drop(i)
		}
		for _, v := range out {
			p.drop(v)
		}
		for _, v := range out {
			p.back(v, before[v])
		}
	}
}

// again are the gangs that wait in the order in which they are tried: by density, those first that waited before, or by
// chance.
func (p *packing) again(rng *rand.Rand, out map[int][]Placement) (list []int) {
	for _, i := range p.order {
		if p.placed[i] == nil {
			list = append(list, i)
		}
	}
	switch rng.IntN(3) {
	case 1:
		slices.SortStableFunc(list, func(a, b int) int {
			_, x := out[a]
			_, y := out[b]
			switch {
			case x == y:
				return 0
			case y:
				return -1
			}
			return 1
		})
	case 2:
		rng.Shuffle(len(list), func(a, b int) { list[a], list[b] = list[b], list[a] })
	}
	return list
}

// choose picks gangs to take out: some anywhere, or such that share a node.
func (p *packing) choose(rng *rand.Rand, placed []int) (out []int) {
	n := min(2+rng.IntN(6), len(placed))
	if rng.IntN(2) == 0 {
		for _, at := range rng.Perm(len(placed))[:n] {
			out = append(out, placed[at])
		}
		return out
	}
	seed := p.placed[placed[rng.IntN(len(placed))]]
	nodes := []string{seed[rng.IntN(len(seed))].Node}
	if other := p.placed[placed[rng.IntN(len(placed))]]; rng.IntN(2) == 0 {
		nodes = append(nodes, other[rng.IntN(len(other))].Node)
	}
	for _, i := range placed {
		if slices.ContainsFunc(p.placed[i], func(v Placement) bool { return slices.Contains(nodes, v.Node) }) {
			out = append(out, i)
		}
	}
	return out
}

// last tries the gangs that are worth nothing.
func (p *packing) last() {
	clear(p.failed)
	for i := range p.gangs {
		if p.worth[i] == 0 && p.shapes[i] != nil {
			p.try(i)
		}
	}
}

// decisions tells the outcome, with the reasons of those that are left out.
func (p *packing) decisions() []Decision {
	out := make([]Decision, len(p.gangs))
	for i, g := range p.gangs {
		if p.placed[i] != nil {
			out[i] = Decision{Gang: g.ID, Placements: p.placed[i]}
			continue
		}
		out[i] = p.h.Place(g)
	}
	return out
}
