// Command release measures how often a canary is judged wrongly: releases are played with a seed, in virtual time, on
// versions of which it is known whether the candidate is worse, and the judge's verdicts are counted.
//
//	go run ./bench/release -runs 2000
//
// False roll-backs are those of a candidate that is no worse, false promotions those of one that is worse by a margin or
// more. Both are to stay below 5 %, whatever the errors of both versions do meanwhile.
package main

import (
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/lineshaft/lineshaft/serve/release"
)

// scenario is what the two versions are like.
type scenario struct {
	name   string
	truth  string              // same, worse, between
	errors [2]float64          // part of the requests of the stable version and the candidate that fail
	burst  float64             // part of the windows in which a fifth of all requests fails, whoever answers
	wave   float64             // spread of a load that slows both down, from window to window
	slower float64             // times
	tail   float64             // part of the candidate's requests that take ten times as long
	rps    float64             // of both
	rule   func(*release.Rule) // nil: the defaults
}

var scenarios = []scenario{
	{name: "the same, no errors", truth: "same"},
	{name: "the same, 0.1 % errors", truth: "same", errors: [2]float64{0.001, 0.001}},
	{name: "the same, 1 % errors", truth: "same", errors: [2]float64{0.01, 0.01}},
	{name: "the same, 10 % errors", truth: "same", errors: [2]float64{0.1, 0.1}},
	{name: "the same, errors in bursts", truth: "same", errors: [2]float64{0.001, 0.001}, burst: 0.05},
	{name: "the same, load in waves", truth: "same", errors: [2]float64{0.001, 0.001}, wave: 0.5},
	{name: "1.15 times slower (1.25 allowed)", truth: "same", errors: [2]float64{0.001, 0.001}, slower: 1.15, wave: 0.3},
	{name: "1 point more errors (the margin)", truth: "worse", errors: [2]float64{0.001, 0.011}},
	{name: "0.5 points more errors", truth: "between", errors: [2]float64{0.001, 0.006}},
	{name: "2 points more errors", truth: "worse", errors: [2]float64{0.001, 0.021}},
	{name: "5 points more errors", truth: "worse", errors: [2]float64{0.01, 0.06}},
	{name: "half of the requests fail", truth: "worse", errors: [2]float64{0.001, 0.5}},
	{name: "5 points more in bursts", truth: "worse", errors: [2]float64{0.001, 0.051}, burst: 0.05},
	{name: "1.6 times slower", truth: "worse", errors: [2]float64{0.001, 0.001}, slower: 1.6, wave: 0.3},
	{name: "a tail of 12 % ten times slower", truth: "worse", errors: [2]float64{0.001, 0.001}, tail: 0.12},
	{name: "twice as slow", truth: "worse", errors: [2]float64{0.001, 0.001}, slower: 2, wave: 0.3},
}

// perOctave buckets of latencies, as serve counts them.
const perOctave, buckets = 4, 108

func ends() []time.Duration {
	out := make([]time.Duration, buckets)
	for b := range out {
		if b < perOctave {
			out[b] = time.Duration(b+1) * time.Microsecond
			continue
		}
		out[b] = time.Duration(uint64(perOctave+b%perOctave+1)<<(b/perOctave-1)) * time.Microsecond
	}
	return out
}

const window = 5 * time.Second

// outcome is how one release went.
type outcome struct {
	call release.Call
	took time.Duration
	hurt float64 // bad answers that the candidate gave beyond what the stable version would have, in expectation
}

// play plays one release to its end.
func play(s scenario, seed uint64) outcome {
	rng := rand.New(rand.NewPCG(seed, 77))
	now := time.Unix(0, 0)
	rule := &release.Rule{MaxSeconds: 1800}
	if s.rule != nil {
		s.rule(rule)
	}
	r, err := release.Plan{Mode: release.Canary, Rule: rule}.Begin(1, 2, "bench", now)
	if err != nil {
		panic(err)
	}
	all := ends()
	judge := release.NewJudge(*r.Rule, all, now)
	load, begin := 0.0, now
	var out outcome
	for {
		now = now.Add(window)
		load = 0.8*load + 0.6*s.wave*rng.NormFloat64()
		n := s.rps * window.Seconds() * (0.7 + 0.6*rng.Float64())
		bad := s.errors
		if rng.Float64() < s.burst {
			bad[0], bad[1] = bad[0]+0.2, bad[1]+0.2
		}
		share := r.Percent / 100
		c := draw(rng, all, int(math.Round(n*share)), bad[1], load+math.Log(max(1, s.slower)), s.tail)
		judge.Observe(draw(rng, all, int(math.Round(n*(1-share))), bad[0], load, 0), c)
		out.hurt += float64(c.Requests) * max(0, s.errors[1]-s.errors[0])
		next, more := r.Next()
		switch v := judge.Look(now, next, more); v.Call {
		case release.Wait:
		case release.Advance:
			r.Percent, r.Changed = next, now
			judge.Step(now)
		default:
			out.call, out.took = v.Call, now.Sub(begin)
			return out
		}
	}
}

// draw is what a version does with n requests.
func draw(rng *rand.Rand, ends []time.Duration, n int, bad, load, tail float64) release.Counts {
	c := release.Counts{Requests: int64(n), Latency: make([]int64, buckets)}
	for range n {
		if rng.Float64() < bad {
			c.Errors++
		}
		ms := math.Exp(math.Log(2) + load + 0.4*rng.NormFloat64())
		if rng.Float64() < tail {
			ms *= 10
		}
		b, _ := slices.BinarySearch(ends, time.Duration(ms*float64(time.Millisecond)))
		c.Latency[min(b, buckets-1)]++
	}
	return c
}

// tally is what became of the runs of a scenario.
type tally struct {
	scenario
	promoted, rolledBack, held float64
	took                       time.Duration // median
	hurt                       float64       // mean
}

func run(s scenario, runs int, seed uint64) tally {
	if s.rps == 0 {
		s.rps = 40
	}
	t := tally{scenario: s}
	var took []time.Duration
	for i := range runs {
		o := play(s, seed+uint64(i))
		switch o.call {
		case release.Promote:
			t.promoted++
		case release.RollBack:
			t.rolledBack++
		default:
			t.held++
		}
		took = append(took, o.took)
		t.hurt += o.hurt / float64(runs)
	}
	slices.Sort(took)
	n := float64(runs)
	t.promoted, t.rolledBack, t.held, t.took = t.promoted/n, t.rolledBack/n, t.held/n, took[runs/2]
	return t
}

func write(w io.Writer, all []tally) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "candidate\tpromoted\trolled back\theld\tmedian time\tanswers spoiled\t")
	for _, s := range all {
		fmt.Fprintf(t, "%s\t%.1f %%\t%.1f %%\t%.1f %%\t%v\t%.0f\t\n", s.name, 100*s.promoted, 100*s.rolledBack, 100*s.held, s.took, s.hurt)
	}
	t.Flush()
}

func main() {
	runs := flag.Int("runs", 1000, "releases of each kind")
	seed := flag.Uint64("seed", 1, "of the first")
	flag.Parse()
	fmt.Printf("%d releases of each kind, seeds from %d, 40 requests/s, steps %s, defaults but for at most 30 min a step\n", *runs, *seed, release.Percents(release.DefaultSteps[:]))
	var all []tally
	wrong := false
	for _, s := range scenarios {
		t := run(s, *runs, *seed)
		all = append(all, t)
		wrong = wrong || t.truth == "same" && t.rolledBack > 0.05 || t.truth == "worse" && t.promoted > 0.05
	}
	write(os.Stdout, all)
	if wrong {
		fmt.Println("a rate is beyond the 5 % that it is to stay below")
		os.Exit(1)
	}
}
