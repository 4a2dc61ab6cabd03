package release

import (
	"math"
	"sort"
)

// logRatio is the logarithm of how much likelier it is that x of the bad requests were the candidate's when its odds of
// being bad are o times those of the stable version than when they are the same: Fisher's noncentral hypergeometric
// distribution over the central one, which is o^x / E[o^Y].
func logRatio(stable, candidate, bad, x int64, o float64) float64 {
	return float64(x)*math.Log(o) - (logMass(stable, candidate, bad, o) - logMass(stable, candidate, bad, 1))
}

// logMass is the logarithm of Σ_y C(candidate, y) C(stable, bad−y) o^y. Terms are summed outwards from the largest until
// they no longer count.
func logMass(stable, candidate, bad int64, o float64) float64 {
	low, high := max(0, bad-stable), min(bad, candidate)
	// ratio of the next term to this one; it falls with y.
	ratio := func(y int64) float64 {
		return o * float64(candidate-y) * float64(bad-y) / (float64(y+1) * float64(stable-bad+y+1))
	}
	mode := low + int64(sort.Search(int(high-low), func(i int) bool { return ratio(low+int64(i)) < 1 }))
	const tiny = 1e-17
	sum, term := 1.0, 1.0
	for y := mode; y < high && term > tiny; y++ {
		term *= ratio(y)
		sum += term
	}
	term = 1
	for y := mode - 1; y >= low && term > tiny; y-- {
		term /= ratio(y)
		sum += term
	}
	return logChoose(candidate, mode) + logChoose(stable, bad-mode) + float64(mode)*math.Log(o) + math.Log(sum)
}

func logChoose(n, k int64) float64 {
	return lgamma(n+1) - lgamma(k+1) - lgamma(n-k+1)
}

func lgamma(n int64) float64 {
	l, _ := math.Lgamma(float64(n))
	return l
}

// upper bounds how much larger the rate of c is than that of s, one-sided: Newcombe's hybrid of Wilson's intervals.
func upper(c, s Tally, level float64) float64 {
	if c.Requests == 0 || s.Requests == 0 {
		return 1
	}
	z := math.Sqrt2 * math.Erfinv(1-2*level)
	_, cu := wilson(c, z)
	sl, _ := wilson(s, z)
	return c.Rate() - s.Rate() + math.Hypot(cu-c.Rate(), s.Rate()-sl)
}

// wilson is Wilson's score interval.
func wilson(t Tally, z float64) (low, high float64) {
	n, p := float64(t.Requests), t.Rate()
	mid := p + z*z/(2*n)
	half := z * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	d := 1 + z*z/n
	return max(0, (mid-half)/d), min(1, (mid+half)/d)
}
