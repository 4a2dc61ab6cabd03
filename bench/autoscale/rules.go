package main

import (
	"math"
	"time"

	"github.com/lineshaft/lineshaft/serve/scale"
)

// epoch is where virtual time begins.
var epoch = time.Unix(1_700_000_000, 0)

// hpa is Kubernetes' HorizontalPodAutoscaler (pkg/controller/podautoscaler) on the metric "requests in the service", an
// AverageValue: the total divided by the target, unless it is within the tolerance of what there is; the default
// behaviour (autoscaling/v2): up by 4 pods or to the double in 15 s, whichever is more, down by the largest
// recommendation of the last 5 minutes.
type hpa struct {
	target    float64
	tolerance float64       // 0.1
	sync      time.Duration // 15 s
	hold      time.Duration // 5 min
	past      []wish
	changes   []wish // replicas added, within the period
}

type wish struct {
	at time.Duration
	n  int
}

func newHPA(target float64) *hpa {
	return &hpa{target: target, tolerance: 0.1, sync: 15 * time.Second, hold: 5 * time.Minute}
}

func (h *hpa) every() time.Duration { return h.sync }

func (h *hpa) look(s seen) int {
	total := s.busy + s.queued
	want := s.replicas
	ratio := total / (h.target * float64(max(1, s.replicas)))
	if math.Abs(1-ratio) > h.tolerance {
		want = int(math.Ceil(total/h.target - 1e-9))
	}
	// Stabilisation of the way down.
	h.past = append(h.past, wish{s.now, want})
	for len(h.past) > 0 && h.past[0].at <= s.now-h.hold {
		h.past = h.past[1:]
	}
	if want < s.replicas {
		for _, w := range h.past {
			want = max(want, w.n)
		}
		want = min(want, s.replicas)
	}
	// The policies of the way up: of what there was at the period's begin.
	for len(h.changes) > 0 && h.changes[0].at <= s.now-15*time.Second {
		h.changes = h.changes[1:]
	}
	begin := s.replicas
	for _, c := range h.changes {
		begin -= c.n
	}
	want = min(want, max(begin+4, 2*begin))
	if want > s.replicas {
		h.changes = append(h.changes, wish{s.now, want - s.replicas})
	}
	return want
}

// policy is a rule of serve/scale: Knative's where a target is given, else the one that learns. It looks every 2 s, as
// Knative does.
type policy struct{ *scale.Policy }

func (policy) every() time.Duration { return 2 * time.Second }

func (p policy) look(s seen) int {
	waiting := float64(s.waiting)
	if p.Options().Target > 0 {
		waiting = s.queued // Knative's metric is a mean over the time
	}
	return p.Step(scale.Observation{
		Now: epoch.Add(s.now), Arrivals: s.arrivals, Done: s.done, Busy: s.busy, Waiting: waiting, Ready: s.ready, Replicas: s.replicas,
	}, nil).Replicas
}

var _, _ rule = (*hpa)(nil), policy{}
