package openb

import (
	"context"
	"math/rand"
	"strconv"

	"github.com/lineshaft/lineshaft/internal/lp"
	"github.com/lineshaft/lineshaft/sched"
)

// Bound is how much of the GPUs, in %, any plan could have allocated when the arrivals of the seed reach 100 % of
// capacity: the linear relaxation of placing what has arrived by then on the empty cluster at once, with foresight and
// with tasks split over nodes. What it says is lost is lost to how shares fill GPUs, to models and to CPU and memory.
func (t *Trace) Bound(ctx context.Context, pods []Pod, seed int64, s sched.Solver) (float64, error) {
	var gangs []sched.Gang
	arrived := int64(0)
	for i, p := range t.Arrivals(pods, rand.New(rand.NewSource(seed))) {
		if arrived >= t.Capacity {
			break
		}
		arrived += p.Total()
		gangs = append(gangs, sched.Gang{ID: strconv.Itoa(i), Tasks: []int{0}, Each: t.Ask(p)})
	}
	worth := func(g sched.Gang) float64 {
		if g.Each.Share > 0 {
			return float64(g.Each.Share)
		}
		return 1000 * float64(g.Each.Accelerators)
	}
	b, err := sched.Relax(ctx, sched.NewHall(t.Nodes(), nil, nil, nil), gangs, worth, s, lp.Options{})
	return 100 * b.Worth / float64(t.Capacity), err
}
