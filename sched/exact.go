package sched

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/lp"
)

// MostExact is how many variables the programme of Best may have; about 32 nodes × 100 gangs.
const MostExact = 4000

// Best is Pack for small contests: the plan that Pack finds is where a solver's branch and bound begins, and the better
// of the two is taken. The second result is how much the best of all plans is worth at most.
//
// The options should stop the solver by nodes, so that the same contest gives the same plan. A contest that is too large
// (MostExact), has elastic gangs or hard topologies, which the programme does not know, or a solver that finds no plan
// that the devices bear, leaves Pack's plan and the relaxation's bound.
func (h *Hall) Best(ctx context.Context, gangs []Gang, worth Worth, s Solver, o lp.Options) ([]Decision, Bound, error) {
	const op = "sched.Best"
	bound, err := Relax(ctx, h, gangs, worth, s, lp.Options{Iterations: o.Iterations, Time: o.Time, Elapsed: o.Elapsed})
	if err != nil {
		return nil, bound, errs.E(op, errs.Other, err)
	}
	before := h.Clone()
	packed := h.Pack(gangs, worth, 0)
	total := Total(gangs, packed, worth)
	if bound.Gap(total) < 1e-9 || slices.ContainsFunc(gangs, func(g Gang) bool { return g.Topology.Hard || g.Min > 0 }) {
		return packed, bound, nil
	}
	r := newExact(before, gangs, worth)
	if r == nil {
		return packed, bound, nil
	}
	o.Start = r.begin(packed)
	answer, err := s.Solve(ctx, &r.problem, o)
	if err != nil {
		return packed, bound, errs.E(op, errs.Other, err)
	}
	if b := answer.Bound * r.scale; (answer.Status == lp.Optimal || answer.Status == lp.Limit) && b < bound.Worth {
		bound.Worth = max(b, total)
	}
	if answer.X == nil || answer.Objective*r.scale <= total*(1+1e-9) {
		return packed, bound, nil
	}
	if better, ok := r.realise(gangs, answer.X); ok && Total(gangs, better, worth) > total {
		*h = *before
		return better, bound, nil
	}
	return packed, bound, nil
}

// newExact makes the programme in which gangs are whole: x(gang, node) tasks of a gang on a node, y(gang) whether it is
// placed. It is nil when that has too many variables.
func newExact(h *Hall, gangs []Gang, worth Worth) *relaxation {
	r := &relaxation{h: h, whole: true}
	for i, g := range gangs {
		w := worth(g)
		if wrong(g) != "" || !(w > 0) || math.IsInf(w, 1) {
			continue
		}
		r.total += w
		r.scale = max(r.scale, w)
		r.kinds = append(r.kinds, work{shape: h.shapeOf(g.Each), tasks: len(g.Tasks), gang: i, worth: w})
	}
	for _, i := range h.byOrder {
		if h.sites[i].cordoned {
			continue
		}
		g := alike{rooms: []int32{i}, name: h.sites[i].name}
		for k, v := range h.rooms[i].free {
			g.free[k] = max(v, 0)
		}
		for _, d := range h.rooms[i].devices {
			if at, found := slices.BinarySearch(g.types, d.kind); !found {
				g.types = slices.Insert(g.types, at, d.kind)
			}
		}
		r.groups = append(r.groups, g)
	}
	columns := 0
	for k := range r.kinds {
		for g := range r.groups {
			if r.most(k, g) > 0 {
				columns++
			}
		}
		if columns > MostExact {
			return nil
		}
	}
	if columns == 0 {
		return nil
	}
	r.build()
	return r
}

// choice says that a gang's tasks are all placed or none, and what that is worth.
func (r *relaxation) choice(k int, tasks lp.Row) {
	of := &r.kinds[k]
	for _, t := range tasks.Terms {
		c := &r.problem.Columns[t.Column]
		c.Kind, c.Cost = lp.Integer, 0
	}
	of.chosen = r.column(of.worth/r.scale, 1)
	r.problem.Columns[of.chosen].Kind = lp.Binary
	tasks.Lower, tasks.Upper = 0, 0
	tasks.Terms = append(tasks.Terms, lp.Term{Column: of.chosen, Value: -float64(of.tasks)})
	r.row(tasks, Price{})
}

// begin is the plan as a solution of the programme; nil where the programme has variables that no plan tells, the flows
// of shares.
func (r *relaxation) begin(plan []Decision) []float64 {
	groups := map[string]int{}
	for g := range r.groups {
		groups[r.groups[g].name] = g
	}
	known := 0
	x := make([]float64, len(r.problem.Columns))
	for k := range r.kinds {
		of := &r.kinds[k]
		for _, c := range r.at[k] {
			if c >= 0 {
				known++
			}
		}
		known++
		if len(plan[of.gang].Placements) == 0 {
			continue
		}
		x[of.chosen] = 1
		for _, p := range plan[of.gang].Placements {
			x[r.at[k][groups[p.Node]]]++
		}
	}
	if known < len(x) {
		return nil
	}
	return x
}

// realise places the gangs where the solution has them, those with the largest tasks first.
func (r *relaxation) realise(gangs []Gang, x []float64) ([]Decision, bool) {
	out := make([]Decision, len(gangs))
	order := make([]int, len(r.kinds))
	for k := range order {
		order[k] = k
	}
	slices.SortStableFunc(order, func(a, b int) int {
		s, t := r.kinds[a].shape, r.kinds[b].shape
		return cmp.Compare(int64(t.count)*int64(t.milli), int64(s.count)*int64(s.milli))
	})
	for _, k := range order {
		of := &r.kinds[k]
		if x[of.chosen] < 0.5 {
			continue
		}
		var rooms []int32
		for g, c := range r.at[k] {
			for range tasksAt(x, c) {
				rooms = append(rooms, r.groups[g].rooms[0])
			}
		}
		d, ok := r.h.lay(gangs[of.gang], rooms)
		if !ok {
			return nil, false
		}
		out[of.gang] = d
	}
	for i, g := range gangs {
		if out[i].Placements == nil {
			out[i] = r.h.Place(g) // there may be room for more than the solver saw
		}
	}
	return out, true
}

func tasksAt(x []float64, column int) int {
	if column < 0 {
		return 0
	}
	return int(math.Round(x[column]))
}

// lay places a gang's tasks on the rooms given, one each, or leaves the hall as it was.
func (h *Hall) lay(g Gang, rooms []int32) (Decision, bool) {
	t := &trial{h: h, s: h.shapeOf(g.Each), want: len(g.Tasks), least: len(g.Tasks)}
	if t.want > 1 && h.uplinks() {
		t.bandwidth = t.s.need[bandwidth]
	}
	for _, i := range rooms {
		if h.lacks(t.s, i) != 0 || !t.allowed(i) {
			t.undo()
			return Decision{}, false
		}
		t.put(i, 0)
	}
	if len(t.spots) != t.want {
		t.undo()
		return Decision{}, false
	}
	return t.settle(g), true
}
