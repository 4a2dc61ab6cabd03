package main

import (
	"math"
	"math/rand"
	"time"

	"github.com/lineshaft/lineshaft/bench/internal/openb"
)

// placer is a policy at work on its own cluster.
type placer interface {
	place(p openb.Pod) bool
}

func simulate(t *openb.Trace, o options, policy string, pods []openb.Pod, seed int64) result {
	rng := rand.New(rand.NewSource(seed))
	queue := t.Arrivals(pods, rng)
	var p placer
	switch policy {
	case ours, migrating:
		p = newOurs(t, o, pods, policy == migrating)
	default:
		p = newBaseline(t, policy, pods, rng)
	}
	r := result{decisions: len(queue)}
	var arrived, used int64
	var sum float64
	marks := 0
	start := time.Now()
	for i, pod := range queue {
		arrived += pod.Total()
		if p.place(pod) {
			used += pod.Total()
			r.placed++
		}
		// As FGD's analysis does: the mean over all arrivals that round to 100 %.
		part := math.Round(float64(arrived) / float64(t.Capacity) * 100)
		if part > 100 { // what comes now changes nothing of the figure
			r.decisions = i
			break
		}
		if part == 100 {
			sum += float64(used) / float64(t.Capacity) * 100
			marks++
		}
	}
	r.took = time.Since(start)
	r.at100 = sum / float64(max(marks, 1))
	if m, ok := p.(*lineshaft); ok {
		r.migrations = m.migrations
	}
	return r
}
