package release

import (
	"math"
	"testing"
)

// choose is C(n, k) by multiplication.
func choose(n, k int64) float64 {
	out := 1.0
	for i := range k {
		out = out * float64(n-i) / float64(i+1)
	}
	return out
}

func TestTheLikelihoodRatioIsThatOfFishersDistribution(t *testing.T) {
	for _, c := range []struct{ stable, candidate, bad int64 }{{5, 3, 4}, {20, 1, 1}, {7, 9, 12}, {40, 10, 30}} {
		for _, o := range []float64{1.25, 3, 100} {
			low, high := max(0, c.bad-c.stable), min(c.bad, c.candidate)
			all, tilted := 0.0, 0.0
			for y := low; y <= high; y++ {
				p := choose(c.candidate, y) * choose(c.stable, c.bad-y)
				all, tilted = all+p, tilted+p*math.Pow(o, float64(y))
			}
			mean := 0.0
			for x := low; x <= high; x++ {
				want := float64(x)*math.Log(o) - math.Log(tilted/all)
				got := logRatio(c.stable, c.candidate, c.bad, x, o)
				if math.Abs(got-want) > 1e-9 {
					t.Errorf("%+v, %d bad ones, odds %v: %v, not %v", c, x, o, got, want)
				}
				mean += choose(c.candidate, x) * choose(c.stable, c.bad-x) / all * math.Exp(got)
			}
			if math.Abs(mean-1) > 1e-9 {
				t.Errorf("%+v, odds %v: the mean under likeness is %v", c, o, mean)
			}
		}
	}
}

func TestTheBoundIsNewcombes(t *testing.T) {
	// Newcombe 1998, table II, case (a) by method 10: 56/70 against 48/80 is 0.0524 to 0.3339.
	z := math.Erfc(1.959964/math.Sqrt2) / 2
	if got := upper(Tally{70, 56}, Tally{80, 48}, z); math.Abs(got-0.3339) > 5e-5 {
		t.Errorf("%.4f", got)
	}
	if got := upper(Tally{80, 48}, Tally{70, 56}, z); math.Abs(got+0.0524) > 5e-5 {
		t.Errorf("%.4f", got)
	}
}
