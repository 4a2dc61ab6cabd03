package twin

import (
	"context"
	"math"
	"math/rand"
	"slices"
	"strings"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/sched"
)

// Fill is how much of the hall gets used, by the protocol of FGD (Weng et al., USENIX ATC 2023): the trace's jobs come in
// the seed's order, then uniform resamples of them; each is placed once or dropped, and none leaves. The figure is what is
// allocated, in % of the accelerators (of cores, in a hall without any), in the mean over all arrivals at which what was
// asked for rounds to 100 % of the hall. The scheduler is told which shapes come and how often, and not their order.
func Fill(ctx context.Context, t Trace, nodes []fleet.Node, w sched.Weights, seed int64) (float64, error) {
	const op = "twin.Fill"
	f := filling{jobs: slices.Clone(t.Jobs), rng: rand.New(rand.NewSource(seed))} //nolint:gosec // a seeded replay
	for _, n := range nodes {
		f.capacity += float64(len(n.Accelerators))
	}
	if f.cores = f.capacity == 0; f.cores {
		for _, n := range nodes {
			f.capacity += n.CPU
		}
	}
	slices.SortStableFunc(f.jobs, func(a, b Job) int { return strings.Compare(a.ID, b.ID) })
	if !slices.ContainsFunc(f.jobs, func(j Job) bool { return f.size(&j) > 0 }) || f.capacity == 0 {
		return 0, errs.Errorf(op, errs.Invalid, "no job of the trace asks for any of what the hall has")
	}
	mix := make(sched.Mix, len(f.jobs))
	for i := range f.jobs {
		mix[i] = sched.Weighted{Ask: f.jobs[i].Each, Weight: float64(max(f.jobs[i].Tasks, 1))}
	}
	hall := sched.NewHall(nodes, nil, nil, mix)
	hall.Use(w)
	f.all = slices.Clone(f.jobs)
	f.rng.Shuffle(len(f.jobs), func(i, j int) { f.jobs[i], f.jobs[j] = f.jobs[j], f.jobs[i] })
	var arrived, used, sum float64
	marks := 0
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return 0, errs.E(op, errs.Canceled, ctx.Err())
		}
		j := f.next(n)
		size := f.size(j)
		arrived += size
		if len(hall.Place(j.gang()).Placements) > 0 {
			used += size
		}
		switch part := math.Round(arrived / f.capacity * 100); {
		case part > 100 && marks > 0:
			return 100 * sum / float64(marks), nil
		case part >= 100: // one job may be more than a hundredth of a small hall
			sum += used / f.capacity
			marks++
		}
	}
}

// filling is the arrivals of one seed.
type filling struct {
	jobs, all []Job // in the seed's order; by name
	rng       *rand.Rand
	capacity  float64
	cores     bool
}

func (f *filling) next(n int) *Job {
	if n < len(f.jobs) {
		return &f.jobs[n]
	}
	return &f.all[f.rng.Intn(len(f.all))]
}

// size is how much of the hall the job takes.
func (f *filling) size(j *Job) float64 {
	n := float64(max(j.Tasks, 1))
	if f.cores {
		return n * j.Each.CPU
	}
	if j.Each.Accelerators == 1 && j.Each.Share > 0 {
		return n * float64(j.Each.Share) / 1000
	}
	return n * float64(j.Each.Accelerators)
}
