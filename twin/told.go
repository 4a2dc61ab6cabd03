package twin

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/lineshaft/lineshaft/sched"
)

// What the scheduler is told of each job is kept from one plan to the next, and only what changes with time is written
// anew.

// wait puts the job at the end of what waits.
func (r *replay) wait(j *state) {
	r.waiting = append(r.waiting, j)
	r.queue = append(r.queue, j.gang)
}

// count keeps the mix of what waits where only the head of the queue is planned.
func (r *replay) count(j *state, by float64) {
	if r.counts == nil {
		return
	}
	key := j.shape()
	w := r.counts[key]
	if w == nil {
		w = &sched.Weighted{Ask: j.Each}
		r.counts[key] = w
	}
	w.Weight += by * float64(len(j.gang.Tasks))
}

// head is how much is planned of the queue. Jobs that came at the same moment stay together.
func (r *replay) head(s *sched.Snapshot) int {
	if r.counts == nil || len(r.waiting) <= headMost {
		return len(r.waiting)
	}
	n := headMost
	for n < len(r.waiting) && r.waiting[n].Submit.Equal(r.waiting[n-1].Submit) {
		n++
	}
	if len(s.Mix) == 0 { // the plan does not see the rest, which is work that is expected
		for _, j := range r.running {
			s.Mix = append(s.Mix, sched.Weighted{Ask: j.Each, Weight: float64(len(j.places))})
		}
		for _, key := range slices.Sorted(maps.Keys(r.counts)) {
			s.Mix = append(s.Mix, *r.counts[key])
		}
	}
	return n
}

// snapshot is good until the next one.
func (r *replay) snapshot() sched.Snapshot {
	s := sched.Snapshot{
		Now: r.now, Nodes: r.o.Nodes, Racks: r.o.Racks, Caps: r.o.Caps, Queues: r.o.Queues, Past: r.past, Policy: r.o.Policy, Mix: r.o.Mix,
	}
	if r.o.Predict {
		s.Policy.Spread = r.predict.Errors().Factor
		for _, j := range r.running {
			r.predict.Ran(j.ID, j.ran+max(r.now.Sub(j.begins), 0))
		}
	}
	r.told = slices.Grow(r.told[:0], len(r.present))
	for _, j := range r.present {
		r.told = append(r.told, sched.Running{Gang: j.gang, Placements: j.places, Started: j.begins, Stopping: j.stopping, Kept: j.kept})
		r.tell(j, &r.told[len(r.told)-1].Gang, j.ran+max(r.now.Sub(j.begins), 0))
	}
	n := r.head(&s)
	for i, j := range r.waiting[:n] {
		r.tell(j, &r.queue[i], j.ran)
	}
	s.Running, s.Queue = r.told, r.queue[:n:n]
	return s
}

// tell says what the scheduler may know of the duration.
func (r *replay) tell(j *state, g *sched.Gang, ran time.Duration) {
	switch {
	case r.o.Oracle:
		g.Duration, g.Index = j.Duration, math.Max((j.Duration-ran).Seconds(), 1e-3)
	case r.o.Predict:
		f := r.predict.Forecast(*g, ran)
		g.Duration, g.Index = ran+f.Median, f.Index
	}
}

// leave takes what has started out of what waits.
func (r *replay) leave(started map[string]bool) {
	n := 0
	for i, j := range r.waiting {
		if started[j.ID] {
			continue
		}
		if n < i {
			r.waiting[n], r.queue[n] = j, r.queue[i]
		}
		n++
	}
	clear(r.waiting[n:])
	clear(r.queue[n:])
	r.waiting, r.queue = r.waiting[:n], r.queue[:n]
}

// find is the job's place in what runs.
func (r *replay) find(j *state) (int, bool) {
	return slices.BinarySearchFunc(r.present, j, func(a, b *state) int { return cmp.Compare(a.ID, b.ID) })
}
