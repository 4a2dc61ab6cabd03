package batch

import "math"

// latency learns how long a batch of so many rows takes, in nanoseconds, from those that were computed: a line through
// their times by least squares, in which old ones fade. Where batches come in a few sizes only, each size has an average
// of its own besides, because such models have steps that no line has. The zero value knows nothing and predicts 0.
type latency struct {
	w, x, xx, y, xy float64 // faded sums: of weights, rows, rows², times, rows × times
	off             float64 // by how much predictions were off lately, on average
	sizes           []int   // few sizes, or none
	each            []average
}

type average struct{ n, mean float64 }

const (
	fade     = 0.98 // of a time's weight with each later one: about 50 count
	outlier  = 4    // a time counts at most as so many times what was predicted: a process that was put to sleep is not slow
	certain  = 4    // times of a size after which its own average is taken
	offFades = 0.95
)

// observe takes the time of one batch.
func (l *latency) observe(rows int, took int64) {
	x, y := float64(rows), float64(max(took, 1))
	if l.w > 0 {
		if p := l.predict(rows); p > 0 {
			y = min(y, outlier*p)
			l.off = offFades*l.off + (1-offFades)*math.Abs(y-p)
		}
	}
	l.w, l.x, l.xx = fade*l.w+1, fade*l.x+x, fade*l.xx+x*x
	l.y, l.xy = fade*l.y+y, fade*l.xy+x*y
	for i, size := range l.sizes {
		if size == rows {
			a := &l.each[i]
			a.n = min(a.n+1, 1/(1-fade))
			a.mean += (y - a.mean) / a.n
		}
	}
}

// predict is what a batch will take, or 0 when nothing is known.
func (l *latency) predict(rows int) float64 {
	if l.w == 0 {
		return 0
	}
	for i, size := range l.sizes {
		if size == rows && l.each[i].n >= certain {
			return l.each[i].mean
		}
	}
	x := float64(rows)
	spread := l.w*l.xx - l.x*l.x
	if spread < 1e-3*l.w*l.xx { // all of about one size: half of its time is taken to grow with the rows
		return l.y / l.w * (1 + x*l.w/l.x) / 2
	}
	slope := (l.w*l.xy - l.x*l.y) / spread
	first := (l.y - slope*l.x) / l.w
	switch {
	case slope <= 0:
		return l.y / l.w
	case first <= 0:
		return l.xy / l.xx * x
	}
	return first + slope*x
}

// few sets the sizes that batches come in.
func (l *latency) few(sizes []int) {
	l.sizes, l.each = sizes, make([]average, len(sizes))
}

// late is predict with what predictions are usually off, for whoever must not be late.
func (l *latency) late(rows int) float64 {
	if l.w == 0 {
		return 0
	}
	return l.predict(rows) + l.off
}

// pace learns how long a row takes while others wait, over all workers: what the whole server achieves. The zero value
// knows nothing.
type pace struct {
	nanos, rows float64 // faded sums
	last        int64   // when the last batch ended
	behind      bool    // calls waited then
}

const paceFades = 0.95

// observe takes the end of a batch, after which calls wait or do not.
func (p *pace) observe(now int64, rows int, wait bool) {
	if p.behind {
		p.nanos = paceFades*p.nanos + float64(now-p.last)
		p.rows = paceFades*p.rows + float64(rows)
	}
	p.last, p.behind = now, wait
}

// row is that time, or 0 when nothing is known.
func (p *pace) row() float64 {
	if p.rows == 0 {
		return 0
	}
	return p.nanos / p.rows
}
