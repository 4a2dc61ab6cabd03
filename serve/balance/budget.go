package balance

import (
	"math"
	"time"
)

// budget pays for retries and hedges: each request earns a part of one, and some are free each second. What is earned is
// forgotten within ten seconds.
type budget struct {
	ratio, least float64
	saved        float64
	at           time.Time
}

const budgetSpan = 10 // seconds

func (b *budget) pass(now time.Time) {
	if b.at.IsZero() {
		b.at, b.saved = now, b.least*budgetSpan
	}
	if d := now.Sub(b.at).Seconds(); d > 0 {
		b.saved = b.saved*math.Exp(-d/budgetSpan) + b.least*d
		b.at = now
	}
}

func (b *budget) earn(now time.Time) {
	b.pass(now)
	b.saved += b.ratio
}

// Retry says whether a request may be sent once more, and pays for it.
func (b *Balancer) Retry(now time.Time) bool {
	b.budget.pass(now)
	if b.budget.saved < 1 {
		return false
	}
	b.budget.saved--
	return true
}

// times is how long requests took, by powers of 2^¼ from 0.1 ms, old ones fading.
type times struct {
	counts [96]float64
	total  float64
	at     time.Time
}

const timesFade = 60 // seconds

func (t *times) add(now time.Time, d time.Duration) {
	if !t.at.IsZero() {
		if s := now.Sub(t.at).Seconds(); s > 1 {
			f := math.Exp(-s / timesFade)
			for i := range t.counts {
				t.counts[i] *= f
			}
			t.total *= f
			t.at = now
		}
	} else {
		t.at = now
	}
	i := 0
	if d > 100*time.Microsecond {
		i = min(len(t.counts)-1, int(math.Ceil(4*math.Log2(float64(d)/1e5))))
	}
	t.counts[i]++
	t.total++
}

// enough is how many requests must have been seen before a hedge.
const enough = 20

// HedgeAfter is how long to wait for an answer before a second backend is asked as well; false where too little
// known, or nobody else could be asked. The second request must still be paid for by Retry.
func (b *Balancer) HedgeAfter() (time.Duration, bool) {
	if b.times.total < enough || len(b.all) < 2 {
		return 0, false
	}
	sum := 0.0
	for i, n := range b.times.counts {
		if sum += n; sum >= b.o.HedgeAt*b.times.total {
			return time.Duration(1e5 * math.Exp2(float64(i)/4)), true
		}
	}
	return 0, false
}
