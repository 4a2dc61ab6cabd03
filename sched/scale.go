package sched

import (
	"math"
	"time"
)

// Durations are counted in buckets on a logarithmic scale.
const (
	buckets   = 80
	bucketMin = 10.0 // seconds: the first bucket's end
	growth    = 1.25 // of one bucket over the one before
)

type histogram [buckets]float64

// scale is the buckets in seconds.
type scale struct {
	edge   [buckets + 1]float64 // where a bucket begins
	middle histogram
	blur   [reach + 1]float64 // what of a bucket's weight lies so many buckets away when it is blurred
}

// reach is how far a bucket's weight goes when it is blurred.
const reach = 5

func newScale() (s scale) {
	for i := range s.edge {
		s.edge[i] = edge(i)
	}
	for i := range s.middle {
		s.middle[i] = middle(i)
	}
	for i := range s.blur {
		s.blur[i] = math.Exp(-float64(i*i)/2) / math.Sqrt(2*math.Pi)
	}
	return s
}

func bucketOf(d time.Duration) int {
	s := d.Seconds()
	if s < bucketMin {
		return 0
	}
	return min(1+int(math.Log(s/bucketMin)/math.Log(growth)), buckets-1)
}

// edge is where bucket i begins, in seconds.
func edge(i int) float64 {
	if i <= 0 {
		return 0
	}
	return bucketMin * math.Pow(growth, float64(i-1))
}

// middle is the duration of a bucket: the geometric mean of its ends.
func middle(i int) float64 {
	if i == 0 {
		return bucketMin / 2
	}
	return math.Sqrt(edge(i) * edge(i+1))
}

// rest are the buckets that a gang of the given age may still end in: from the first on, with what is left of its weight
// and how far its middle is away, as it is cut at the age.
func (s *scale) rest(h *histogram, age float64) (first int, weight, left float64) {
	first = bucketOf(seconds(age))
	end := s.edge[first+1]
	weight = h[first] * max((end-age)/(end-s.edge[first]), 0.02)
	return first, weight, max((age+max(end, age+1))/2-age, 1)
}

// gittins is the least, over how long to go on, of the expected work for one expected end: the index by which running
// the lowest first gives the least mean completion time when durations are known only by their distribution (Gittins
// 1979; Aalto, Ayesta and Righter 2009). It is the remaining time itself where that is known. Also the mean of what is
// left.
func (s *scale) gittins(h *histogram, age float64) (index float64, mean time.Duration) {
	first, weight, left := s.rest(h, age)
	total := weight
	for _, w := range h[first+1:] {
		total += w
	}
	if total <= 0 {
		return age + 1, seconds(age + 1) // older than anything seen: as long again
	}
	index = math.Inf(1)
	ended, work := weight, weight*left
	for i := first; ; i++ {
		if ended > 0 {
			index = min(index, (work+(total-ended)*max(s.edge[i+1]-age, 1))/ended)
		}
		if i+1 == buckets {
			return index, seconds(work / total)
		}
		ended += h[i+1]
		work += h[i+1] * max(s.middle[i+1]-age, 1)
	}
}

// quantiles are what is left with one in ten, half, and nine in ten ended.
func (s *scale) quantiles(h *histogram, age float64) (low, median, high time.Duration) {
	first, weight, left := s.rest(h, age)
	total := weight
	for _, w := range h[first+1:] {
		total += w
	}
	if total <= 0 {
		return seconds(age + 1), seconds(age + 1), seconds(age + 1)
	}
	var out [3]time.Duration
	sum, at := weight, left
	for i, k := first, 0; k < 3; {
		if sum >= []float64{0.1, 0.5, 0.9}[k]*total-1e-12 || i+1 == buckets {
			out[k] = seconds(at)
			k++
			continue
		}
		i++
		sum += h[i]
		at = max(s.middle[i]-age, 1)
	}
	return out[0], out[1], out[2]
}

// seconds is a duration that fits, whatever was computed.
func seconds(s float64) time.Duration {
	const most = float64(100 * 365 * 24 * time.Hour)
	return time.Duration(min(max(s*float64(time.Second), 0), most))
}
