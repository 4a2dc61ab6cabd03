package serve

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Latencies are counted in buckets of a quarter of an octave, from a microsecond to about two minutes: one atomic
// addition a request, and percentiles within a tenth.
const (
	perOctave = 4
	octaves   = 27
	buckets   = octaves * perOctave
)

// stats is what one version did. The zero value is ready.
type stats struct {
	requests, errors atomic.Int64
	nanos            atomic.Int64 // sum of all latencies
	failedNanos      atomic.Int64 // of requests that failed
	latency          [buckets]atomic.Int64

	// Of requests that were computed: rows, time before and in the servable, and the moment of the last answer.
	rows, input, run, last atomic.Int64
}

func (s *stats) computed(input, run time.Duration, rows int) {
	s.rows.Add(int64(rows))
	s.input.Add(int64(input))
	s.run.Add(int64(run))
}

func (s *stats) observe(d time.Duration, failed bool) {
	s.requests.Add(1)
	if failed {
		s.errors.Add(1)
		s.failedNanos.Add(int64(d))
	}
	s.nanos.Add(int64(d))
	s.latency[bucketOf(d)].Add(1)
}

// bucketOf finds the bucket of a latency: the position of its highest bit gives the octave, the two bits below it the
// quarter.
func bucketOf(d time.Duration) int {
	us := uint64(max(d, 0) / time.Microsecond)
	if us < perOctave {
		return int(us)
	}
	top := bits.Len64(us) - 1
	return min((top-1)*perOctave+int(us>>(top-2)&3), buckets-1)
}

// bucketEnd is where the bucket ends: the first latency that is not in it.
func bucketEnd(b int) time.Duration {
	if b < perOctave {
		return time.Duration(b+1) * time.Microsecond
	}
	top := b/perOctave + 1
	return time.Duration(uint64(perOctave+b%perOctave+1)<<(top-2)) * time.Microsecond
}

// totals is the sum over versions at one moment.
type totals struct {
	at               time.Time
	requests, errors int64
	nanos            int64
	latency          [buckets]int64
}

func (t *totals) add(s *stats) {
	t.requests += s.requests.Load()
	t.errors += s.errors.Load()
	t.nanos += s.nanos.Load()
	for b := range t.latency {
		t.latency[b] += s.latency[b].Load()
	}
}

// since gives the rate and two percentiles of what happened after an earlier moment.
func (t *totals) since(before *totals) (rps, p50, p99 float64) {
	n := t.requests - before.requests
	if n <= 0 {
		return 0, 0, 0
	}
	rps = float64(n) / max(1, t.at.Sub(before.at).Seconds()) // a rate over less than a second would mislead
	return rps, t.percentile(before, 0.50), t.percentile(before, 0.99)
}

// percentile is in milliseconds: the middle of the bucket that holds it.
func (t *totals) percentile(before *totals, p float64) float64 {
	var n int64
	for b := range t.latency {
		n += t.latency[b] - before.latency[b]
	}
	left := int64(p * float64(n))
	for b := range t.latency {
		if left -= t.latency[b] - before.latency[b]; left < 0 {
			from := time.Duration(0)
			if b > 0 {
				from = bucketEnd(b - 1)
			}
			return float64(from+bucketEnd(b)) / 2 / float64(time.Millisecond)
		}
	}
	return 0
}

// Histogram counts times in buckets of a quarter of an octave, from a microsecond to about two minutes. Its owner guards
// it. The zero value is ready.
type Histogram struct {
	N      int64
	Nanos  int64 // sum of all times
	Counts [buckets]int64
}

// Observe counts a time.
func (h *Histogram) Observe(d time.Duration) {
	h.N++
	h.Nanos += int64(d)
	h.Counts[bucketOf(d)]++
}

// Add counts what another counted.
func (h *Histogram) Add(o *Histogram) {
	h.N += o.N
	h.Nanos += o.Nanos
	for b := range o.Counts {
		h.Counts[b] += o.Counts[b]
	}
}

// PercentileMs is in milliseconds, within a tenth.
func (h *Histogram) PercentileMs(p float64) float64 {
	t := totals{latency: h.Counts}
	return t.percentile(&totals{}, p)
}
