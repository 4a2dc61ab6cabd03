package scale

import (
	"math"
	"time"
)

// serviceMemory is how many requests ago a request's time counts by 1/e in the mean.
const serviceMemory = 200

// traffic is what came, by the second for as long as the stable window, and how long one request takes.
type traffic struct {
	cells   []cell
	service float64 // seconds
	cached  map[time.Duration]loads
	at      time.Time
}

type cell struct {
	second                       int64
	span, arrivals, work, waited float64
}

func newTraffic(o Options) *traffic {
	return &traffic{cells: make([]cell, int(o.Stable/time.Second)+1), cached: map[time.Duration]loads{}}
}

func (t *traffic) cell(second int64) *cell {
	n := int64(len(t.cells))
	return &t.cells[(second%n+n)%n]
}

func (t *traffic) add(o Observation, span float64) {
	if o.Done > 0 && span > 0 {
		// Little's law: the work done in the time is what was worked on, on average, times the time.
		w := 1 - math.Exp(-float64(o.Done)/serviceMemory)
		if t.service == 0 {
			w = 1
		}
		t.service += w * (o.Busy*span/float64(o.Done) - t.service)
	}
	c := t.cell(o.Now.Unix())
	if c.second != o.Now.Unix() {
		*c = cell{second: o.Now.Unix()}
	}
	c.span += span
	c.arrivals += float64(o.Arrivals)
	c.work += o.Busy * span
	c.waited += o.Waiting * span
	clear(t.cached)
}

// loads is a part of the window: requests a second, the work that arrived as requests worked on at once, and the requests
// that were there at once, those that waited included.
type loads struct{ rate, load, concurrency float64 }

// load looks at the last part of the window.
func (t *traffic) load(now time.Time, over time.Duration) loads {
	if l, ok := t.cached[over]; ok && t.at.Equal(now) {
		return l
	}
	var span, arrivals, work, waited float64
	for s, n := now.Unix(), int64(over/time.Second); n > 0; s, n = s-1, n-1 {
		if c := t.cell(s); c.second == s {
			span, arrivals, work, waited = span+c.span, arrivals+c.arrivals, work+c.work, waited+c.waited
		}
	}
	l := loads{}
	if span > 0 {
		l.rate, l.concurrency = arrivals/span, (work+waited)/span
		if l.load = l.rate * t.service; t.service == 0 {
			l.load = work / span // nothing has ended yet: what is worked on is all that is known
		}
	}
	t.cached[over], t.at = l, now
	return l
}
