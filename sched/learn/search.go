package learn

import (
	"cmp"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/sched"
)

// Looking for the best of many arms with few pulls is best-arm identification with a fixed budget; successive halving
// (Karnin, Koren and Somekh, ICML 2013; Jamieson and Talwalkar, AISTATS 2016) is near the best that can be done there
// and has nothing to tune. UCB and Thompson sampling, the better known bandits, keep regret low while they learn: a hall
// would feel that, a replay does not. Rounds zoom in, since the arms are points of a continuous space in which near ones
// do alike: each spreads its arms (a Latin hypercube) over half the range of the one before, around the best so far.

// Problem is what is looked for: the best numbers for the mean over the training episodes.
type Problem struct {
	Knobs    []Knob
	Default  sched.Policy // takes part in every step
	Measure  Measure
	Episodes int // of training
	// Pull is the measure of one episode under the policy, which is the default with some knobs turned. It is asked once
	// for each pair.
	Pull func(p sched.Policy, episode int) (float64, error)
}

// Options are how it is looked for.
type Options struct {
	Seed   uint64
	Rounds int                  // 3 when 0
	Arms   int                  // of each round, 32 when 0
	Told   func(done, most int) // after each pull: of at most so many
}

// Found is the best arm of the training episodes.
type Found struct {
	Numbers Numbers
	Rounds  int
	Arms    int // of a round
	Tried   int // in all
	Pulls   int
	Default []float64 // figures of the default, by episode
	Learned []float64 // of the numbers found
}

// search is one run.
type search struct {
	p     Problem
	o     Options
	rng   *rand.Rand
	arms  map[string]*arm
	pulls int
	most  int
}

// arm is one setting, and what of it is known.
type arm struct {
	numbers Numbers
	scores  map[int]float64
}

// The most that is tried.
const (
	MostRounds   = 20
	MostArms     = 4096
	MostEpisodes = 1000
)

// Search looks for the best numbers. It is the default where nothing that was tried is better.
func Search(p Problem, o Options) (Found, error) {
	const op = "learn.Search"
	o.Rounds, o.Arms = cmp.Or(o.Rounds, 3), cmp.Or(o.Arms, 32)
	switch {
	case len(p.Knobs) == 0:
		return Found{}, errs.Errorf(op, errs.Invalid, "there is no knob to turn")
	case p.Episodes < 1 || p.Episodes > MostEpisodes:
		return Found{}, errs.Errorf(op, errs.Invalid, "there are %d episodes to train on: give 1 to %d", p.Episodes, MostEpisodes)
	case o.Rounds < 1 || o.Rounds > MostRounds || o.Arms < 4 || o.Arms > MostArms:
		return Found{}, errs.Errorf(op, errs.Invalid, "%d rounds of %d arms: give 1 to %d of 4 to %d", o.Rounds, o.Arms, MostRounds, MostArms)
	}
	if err := p.Default.Validate(); err != nil {
		return Found{}, err
	}
	s := &search{p: p, o: o, rng: rand.New(rand.NewPCG(o.Seed, 0x1ea2)), arms: map[string]*arm{}}
	for _, step := range s.rungs() {
		s.most += o.Rounds * step.arms * step.more
	}
	s.most += len(p.Knobs) * p.Episodes
	base := s.arm(Of(p.Default, p.Knobs))
	best := base
	for round := range o.Rounds {
		width := math.Pow(0.5, float64(round))
		arms := []*arm{base}
		if best != base {
			arms = append(arms, best)
		}
		for _, n := range s.sample(best.numbers, width, o.Arms-len(arms)) {
			if a := s.arm(n); !slices.Contains(arms, a) {
				arms = append(arms, a)
			}
		}
		var err error
		if best, err = s.halve(arms); err != nil {
			return Found{}, err
		}
	}
	best, err := s.simplify(base, best)
	if err != nil {
		return Found{}, err
	}
	found := Found{Numbers: best.numbers, Rounds: o.Rounds, Arms: o.Arms, Tried: len(s.arms), Pulls: s.pulls}
	for e := range p.Episodes {
		found.Default = append(found.Default, base.scores[e])
		found.Learned = append(found.Learned, best.scores[e])
	}
	return found, nil
}

func (s *search) arm(n Numbers) *arm {
	key := n.String()
	a := s.arms[key]
	if a == nil {
		a = &arm{n, map[int]float64{}}
		s.arms[key] = a
	}
	return a
}

// sample spreads n settings evenly along every knob, over the width of its range around the centre.
func (s *search) sample(centre Numbers, width float64, n int) []Numbers {
	out := make([]Numbers, n)
	for i := range out {
		out[i] = Numbers{}
	}
	for _, k := range s.p.Knobs {
		low := min(max(k.where(centre[k.Name])-width/2, 0), 1-width)
		for i, at := range s.rng.Perm(n) {
			out[i][k.Name] = k.at(low + width*(float64(at)+s.rng.Float64())/float64(n))
		}
	}
	return out
}

// rung is one step of halving: so many arms go on to so many episodes, of which some are new.
type rung struct{ arms, episodes, more int }

// rungs begin with all arms and one episode and end with all episodes: twice the episodes, half the arms.
func (s *search) rungs() []rung {
	var out []rung
	arms, had := s.o.Arms, 0
	for n := 1; ; n *= 2 {
		n = min(n, s.p.Episodes)
		out = append(out, rung{arms, n, n - had})
		if n == s.p.Episodes {
			return out
		}
		arms, had = max(arms/2, 2), n
	}
}

// halve is the best of the arms. The first is the default: it always goes on. Which episodes come first is drawn, so that
// not the same one sifts in every round.
func (s *search) halve(arms []*arm) (*arm, error) {
	base := arms[0]
	order := s.rng.Perm(s.p.Episodes)
	gain := map[*arm]float64{}
	for _, step := range s.rungs() {
		arms = arms[:min(step.arms, len(arms))]
		if !slices.Contains(arms, base) {
			arms[len(arms)-1] = base
		}
		for _, a := range arms {
			for _, e := range order[:step.episodes] {
				if err := s.pull(a, e); err != nil {
					return nil, err
				}
			}
		}
		for _, a := range arms {
			sum := 0.0
			for _, e := range order[:step.episodes] {
				sum += s.p.Measure.Gain(base.scores[e], a.scores[e])
			}
			gain[a] = sum / float64(step.episodes)
		}
		slices.SortStableFunc(arms, func(a, b *arm) int { return cmp.Compare(gain[b], gain[a]) })
	}
	if gain[arms[0]] <= 0 {
		return base, nil
	}
	return arms[0], nil
}

// simplify turns back every knob that is of no use: what the training episodes do not feel is not to be changed where
// others may.
func (s *search) simplify(base, best *arm) (*arm, error) {
	for _, k := range s.p.Knobs {
		if best.numbers[k.Name] == base.numbers[k.Name] {
			continue
		}
		n := maps.Clone(best.numbers)
		n[k.Name] = base.numbers[k.Name]
		a := s.arm(n)
		for e := range s.p.Episodes {
			if err := s.pull(a, e); err != nil {
				return nil, err
			}
		}
		if s.mean(base, a) >= s.mean(base, best) {
			best = a
		}
	}
	return best, nil
}

// mean is the gain of an arm over all episodes.
func (s *search) mean(base, a *arm) (sum float64) {
	for e := range s.p.Episodes {
		sum += s.p.Measure.Gain(base.scores[e], a.scores[e]) / float64(s.p.Episodes)
	}
	return sum
}

func (s *search) pull(a *arm, episode int) error {
	if _, ok := a.scores[episode]; ok {
		return nil
	}
	v, err := s.p.Pull(a.numbers.In(s.p.Default), episode)
	if err != nil {
		return err
	}
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return errs.Errorf("learn.Search", errs.Invalid, "episode %d gave no number (%v) under %v", episode, v, a.numbers)
	}
	a.scores[episode] = v
	s.pulls++
	if s.o.Told != nil {
		s.o.Told(s.pulls, max(s.most, s.pulls))
	}
	return nil
}
