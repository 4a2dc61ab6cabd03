package sched

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/lp"
)

// Solver solves linear and whole-number programmes; *solve.Engine does.
type Solver interface {
	Solve(ctx context.Context, p *lp.Problem, o lp.Options) (*lp.Solution, error)
}

// Worth is what it is worth that the whole gang is placed: more than 0, or it does not count.
type Worth func(Gang) float64

// Bound is what the relaxation of a contest, gangs that compete for what a hall has free, proves of every plan.
type Bound struct {
	Worth  float64 // no plan is worth more
	Prices []Price // of what is scarce, the costliest first
}

// Price is the shadow price of a resource: what a little more of it would add to the bound, by unit.
type Price struct {
	Resource string  // cpu (cores), memory, disk, storage (GiB), bandwidth (Gbit/s), power (W), accelerators (devices)
	Unit     float64 // worth of one more unit
	Free     float64 // how many units there are
	Where    string  // the first node, by name, of those alike that the price is of; or the power cap
	Nodes    int     // how many nodes these are; 0 for a power cap
	Model    string  // of the accelerators
}

// Gap is how far a plan of that worth is from the bound, at most: 0.01 is 1 %.
func (b Bound) Gap(worth float64) float64 {
	if b.Worth <= 0 {
		return 0
	}
	return max(0, (b.Worth-worth)/b.Worth)
}

// Relax bounds what the gangs' best plan in the hall is worth, by a linear programme in which tasks may be split. It
// keeps what is counted (every resource of the nodes, power caps, models of accelerators, how shares fill whole
// devices) and lets go of what would only make plans worse: topologies, uplinks, that gangs are whole.
//
// It stays small because it does not tell apart what is alike: tasks of one shape that are worth the same are one kind
// of task, and nodes with the same free state are one group. The hall is not changed. The limit of iterations is the
// options' (0 for none); when it is hit, the bound is the worth of all gangs, which is always true.
func Relax(ctx context.Context, h *Hall, gangs []Gang, worth Worth, s Solver, o lp.Options) (Bound, error) {
	return relax(ctx, newRelaxation(h, gangs, worth), s, o)
}

func relax(ctx context.Context, r *relaxation, s Solver, o lp.Options) (Bound, error) {
	b := Bound{Worth: r.total}
	if len(r.kinds) == 0 {
		return b, nil
	}
	r.build()
	o.Primal = true
	answer, err := s.Solve(ctx, &r.problem, o)
	switch {
	case err != nil:
		return b, errs.E("sched.Relax", errs.Other, err)
	case answer.Status == lp.Limit:
		return b, nil
	case answer.Status != lp.Optimal:
		return b, errs.Errorf("sched.Relax", errs.Other, "the relaxation of a plan is %s, which cannot be", answer.Status)
	}
	const rounding = 1e-9 // of the solver, relative
	b.Worth = min(b.Worth, answer.Objective*r.scale*(1+rounding))
	for i, row := range r.rows {
		if unit := answer.Duals[i] * r.scale; unit > 1e-9*r.scale && row.Resource != "" {
			row.Unit = unit
			b.Prices = append(b.Prices, row)
		}
	}
	slices.SortStableFunc(b.Prices, func(a, c Price) int { return cmp.Compare(c.Unit*c.Free, a.Unit*a.Free) })
	return b, nil
}

// Total is the worth of the gangs that the decisions place.
func Total(gangs []Gang, decisions []Decision, worth Worth) float64 {
	placed := map[string]bool{}
	for _, d := range decisions {
		placed[d.Gang] = len(d.Placements) > 0 && len(d.Evictions) == 0
	}
	total := 0.0
	for _, g := range gangs {
		if placed[g.ID] {
			total += max(worth(g), 0)
		}
	}
	return total
}

// Share is the worth that a hall's plans are compared by when nothing else is said: the gang's dominant share of the
// nodes' capacity, twice as much with each step of priority.
func (h *Hall) Share(g Gang) float64 {
	var all amounts
	devices := 0.0
	for i := range h.sites {
		for k := range all {
			if c := h.sites[i].capacity[k]; c < unlimited && all[k] < unlimited {
				all[k] += c
			}
		}
		devices += float64(len(h.sites[i].ids))
	}
	need, share := needs(g.Each), 0.0
	for k := range all {
		if all[k] > 0 {
			share = max(share, float64(need[k])/float64(all[k]))
		}
	}
	if devices > 0 {
		share = max(share, float64(g.Each.Accelerators)*float64(g.Each.milli())/whole/devices)
	}
	return share * float64(len(g.Tasks)) * math.Exp2(float64(min(max(g.Priority, -20), 20)))
}

// Appraisal is a plan beside the best there could be. Work is worth its Share of the hall. The bound is of what could
// start now; the prices are of the hall whole, for which what runs and what waits compete: where nothing is free, nothing
// could start, and what is missing has its price all the same.
type Appraisal struct {
	Bound
	Planned float64 // the worth of the gangs that the plan starts now
}

// Appraise bounds what could start now of a snapshot's queue and says what the plan starts of it. A plan has reasons to
// stay below the bound beside its own failings: turns, quotas and reservations, which the bound does not know. What may
// not start yet, by its own time, its array's limit or for want of a window, is left out.
func Appraise(ctx context.Context, s Snapshot, plan Schedule, with Solver, o lp.Options) (Appraisal, error) {
	h := s.hall()
	for _, r := range s.Running {
		h.Start(r)
	}
	queue := s.due(plan)
	b, err := Relax(ctx, h, queue, h.Share, with, o)
	if err != nil {
		return Appraisal{}, errs.E("sched.Appraise", errs.Other, err)
	}
	all := slices.Clone(queue)
	for _, r := range s.Running {
		all = append(all, r.Gang)
	}
	contest := newRelaxation(s.hall(), all, h.Share)
	contest.loose = 1e-3
	whole, err := relax(ctx, contest, with, o)
	b.Prices = whole.Prices
	return Appraisal{Bound: b, Planned: Total(s.Queue, plan.Decisions, h.Share)}, errs.E("sched.Appraise", errs.Other, err)
}

// due is what of the queue the plan might have started, had there been room.
func (s Snapshot) due(plan Schedule) []Gang {
	early := map[string]bool{}
	for _, d := range plan.Decisions {
		for _, r := range d.Reasons {
			if r.Constraint == "time" || r.Constraint == "window" || r.Constraint == "array" {
				early[d.Gang] = true
			}
		}
	}
	if len(early) == 0 {
		return s.Queue
	}
	return slices.DeleteFunc(slices.Clone(s.Queue), func(g Gang) bool { return early[g.ID] })
}
