package scale

import (
	"math"
)

// sharpness is by which part of the least cost another way may cost more for its word to count 1/e as much.
const sharpness = 0.125

// reluctance is how far below a number of replicas the mean must be for one to go, less a half.
const reluctance = 0.25

// learned is the rule that runs many ways beside each other.
type learned struct {
	o    Options
	ways []*way
	best *way
}

func newLearned(o Options) *learned {
	l := &learned{o: o, ways: candidates(o)}
	l.best = l.ways[0]
	return l
}

func (l *learned) staff(load float64) int { return l.best.staff(l.o, load) }

func (l *learned) wish(t *traffic, o Observation, span float64) Decision {
	for _, w := range l.ways {
		if span == 0 {
			w.begin(o)
			continue
		}
		w.live(l.o, t, o, span)
	}
	l.choose()
	stable, burst := t.load(o.Now, l.o.Stable), t.load(o.Now, l.best.burst)
	d := Decision{Load: stable.load, Rate: stable.rate}
	d.say("%.3g requests/s of %.3gs each in the last %v are %.3g worked on at once, in the last %v %.3g",
		stable.rate, t.service, l.o.Stable, stable.load, l.best.burst, burst.load)
	mean, low, high := l.mean()
	d.Replicas = int(math.Round(mean))
	if d.Replicas < o.Replicas {
		d.Replicas = min(o.Replicas, ceil(mean-reluctance)) // what swings about a half starts nothing
	}
	d.say("ways to scale that would have cost least of late want %d to %d (the cheapest %d: room of %g√load, kept for %v): %s",
		low, high, l.best.replicas, l.best.beta, l.best.hold, replicas(d.Replicas))
	if n := l.best.drain(l.o, t, o, burst.load); n > d.Replicas {
		d.say("%.0f requests wait; to work them off within %v of a replica's start (%v): %s", o.Waiting, l.o.Drain, l.o.Start, replicas(n))
		d.Replicas = n
	}
	return d
}

func (l *learned) choose() {
	for _, w := range l.ways {
		if w.cost < l.best.cost {
			l.best = w
		}
	}
}

// mean is what the ways want, weighted by their costs; low and high are of those whose word counts at least 1/e.
func (l *learned) mean() (mean float64, low, high int) {
	var sum, all float64
	low, high = l.best.replicas, l.best.replicas
	for _, w := range l.ways {
		k := math.Exp((l.best.cost - w.cost) / (sharpness*l.best.cost + 1))
		sum += k * float64(w.replicas)
		all += k
		if k >= 1/math.E {
			low, high = min(low, w.replicas), max(high, w.replicas)
		}
	}
	return sum / all, low, high
}
