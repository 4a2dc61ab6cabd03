package job

import (
	"context"
	"sync"

	"github.com/lineshaft/lineshaft/internal/lp"
	"github.com/lineshaft/lineshaft/sched"
)

// Appraisal is a plan beside the best there could be, by the linear programme of what could start now. Work is worth its
// dominant share of the hall, twice as much with each step of priority.
type Appraisal struct {
	Planned float64 `json:"planned"` // worth of what the plan started
	Bound   float64 `json:"bound"`   // no plan could have started more
	Gap     float64 `json:"gap"`     // between them, as a part of the bound
	Prices  []Price `json:"prices"`  // of what is scarce, the costliest first
}

// Price is the shadow price of a resource: what one more unit of it would add to the bound.
type Price struct {
	Resource string  `json:"resource"`        // cpu (cores), memory, disk, storage (GiB), bandwidth (Gbit/s), power (W), accelerators (devices)
	Worth    float64 `json:"worth"`           // of one more unit
	Has      float64 `json:"has"`             // units that there are
	Where    string  `json:"where"`           // the first node of those alike, or the power cap
	Nodes    int     `json:"nodes"`           // how many these are; 0 for a power cap
	Model    string  `json:"model,omitempty"` // of the accelerators
}

// iterations end the programme of a bound; what it has proved by then is told.
const iterations = 200_000

// appraisal is made once for a plan, when somebody asks.
type appraisal struct {
	mu   sync.Mutex
	done *Appraisal
}

// appraise is the plan's appraisal; nil without a solver, or when it fails: then a later question tries again.
func (o outlook) appraise(ctx context.Context, s sched.Solver) *Appraisal {
	if s == nil || o.appraised == nil {
		return nil
	}
	o.appraised.mu.Lock()
	defer o.appraised.mu.Unlock()
	if o.appraised.done != nil {
		return o.appraised.done
	}
	a, err := sched.Appraise(ctx, o.snap, sched.Schedule{Decisions: o.decisions}, s, lp.Options{Iterations: iterations})
	if err != nil {
		return nil
	}
	out := &Appraisal{Planned: a.Planned, Bound: a.Worth, Gap: a.Gap(a.Planned), Prices: []Price{}}
	for _, p := range a.Prices {
		out.Prices = append(out.Prices, Price{p.Resource, p.Unit, p.Free, p.Where, p.Nodes, p.Model})
	}
	o.appraised.done = out
	return out
}
