package twin

import (
	"slices"
	"time"

	"github.com/lineshaft/lineshaft/sched"
)

// Watch lets a test see what runs and waits after each plan.
func Watch(o *Options, see func(now time.Time, running []sched.Running, waiting []sched.Gang)) {
	o.watch = func(r *replay) {
		s := r.snapshot()
		see(s.Now, s.Running, s.Queue)
	}
}

// InChinese is what the page says of rows.
func InChinese(s string) string { return inChinese(s) }

// Plans lets a test see every plan's snapshot, as it is kept and as it is made afresh.
func Plans(o *Options, see func(kept, afresh sched.Snapshot)) {
	o.watch = func(r *replay) {
		kept := r.snapshot()
		afresh := kept
		afresh.Queue, afresh.Running = nil, nil
		for _, j := range r.waiting[:len(kept.Queue)] {
			g := j.gang
			r.tell(j, &g, j.ran)
			afresh.Queue = append(afresh.Queue, g)
		}
		for _, id := range r.names() {
			if j := r.byID[id]; j.running {
				g := j.gang
				r.tell(j, &g, j.ran+max(r.now.Sub(j.begins), 0))
				afresh.Running = append(afresh.Running, sched.Running{Gang: g, Placements: j.places, Started: j.begins, Stopping: j.stopping, Kept: j.kept})
			}
		}
		see(kept, afresh)
	}
}

func (r *replay) names() (out []string) {
	for id := range r.byID {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}
