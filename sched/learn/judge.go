package learn

import (
	"fmt"
	"math"
	"slices"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Measure is what an episode is judged by.
type Measure struct {
	Name string `json:"name"`
	Unit string `json:"unit"`
	Less bool   `json:"less,omitempty"` // less is better: gains are percent of the default's. Else they are differences, in the unit
}

// Gain is how much better the other is than the default.
func (m Measure) Gain(base, other float64) float64 {
	if !m.Less {
		return other - base
	}
	if base == other {
		return 0
	}
	return 100 * (base - other) / math.Max(math.Abs(base), 1e-9)
}

// GainUnit is the unit of gains.
func (m Measure) GainUnit() string {
	if m.Less {
		return "%"
	}
	if m.Unit == "%" {
		return "points"
	}
	return m.Unit
}

// Comparison is the default and other numbers on the same episodes.
type Comparison struct {
	Default []float64 `json:"default"`
	Learned []float64 `json:"learned"`
	Gain    float64   `json:"gain"` // mean over the episodes
	Low     float64   `json:"low"`  // of the mean's 95 % confidence interval, by Student's t of the paired gains
	High    float64   `json:"high"`
	Worst   float64   `json:"worst"` // least gain of one episode
}

// fewest is how many pairs an interval needs at least.
const fewest = 3

// mostBound stands for an interval that is not bounded, since JSON knows no infinity.
const mostBound = 1e9

// Compare pairs the two. Both lists are of the same episodes.
func Compare(m Measure, base, learned []float64) Comparison {
	c := Comparison{Default: base, Learned: learned}
	n := min(len(base), len(learned))
	if n == 0 {
		return c
	}
	gains := make([]float64, n)
	for i := range gains {
		gains[i] = m.Gain(base[i], learned[i])
		c.Gain += gains[i] / float64(n)
	}
	c.Worst = slices.Min(gains)
	var square float64
	for _, g := range gains {
		square += (g - c.Gain) * (g - c.Gain)
	}
	half := mostBound
	if n > 1 {
		half = student(n-1) * math.Sqrt(square/float64(n-1)/float64(n))
	}
	c.Gain, c.Worst = round(c.Gain), round(c.Worst)
	c.Low, c.High = round(max(c.Gain-half, -mostBound)), round(min(c.Gain+half, mostBound))
	return c
}

// round keeps figures readable: six digits after the point are beyond what any of them means.
func round(v float64) float64 { return math.Round(v*1e6) / 1e6 }

// student is the 97.5 % point of Student's t distribution.
func student(freedom int) float64 {
	table := [...]float64{
		12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
		2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
	}
	if freedom <= len(table) {
		return table[max(freedom, 1)-1]
	}
	n := float64(freedom) // Cornish and Fisher's expansion, right to three digits here
	const z = 1.959964
	return z + (z*z*z+z)/(4*n) + (5*math.Pow(z, 5)+16*z*z*z+3*z)/(96*n*n)
}

// The verdicts.
const (
	Learned = "learned" // the numbers are used
	Default = "default" // they are not
)

// Judge says whether the learned numbers may be used: never worse than the default in the mean, as far as the episodes can
// tell, and in none of them by more than is tolerated. Why is in words.
func Judge(m Measure, c Comparison, tolerance float64) (verdict, why string) {
	unit := m.GainUnit()
	interval := fmt.Sprintf("mean gain %+.3g %s, 95 %% sure between %+.3g and %+.3g, worst episode %+.3g, of %d", c.Gain, unit, c.Low, c.High, c.Worst, len(c.Default))
	switch {
	case slices.Equal(c.Default, c.Learned):
		return Default, "the numbers found change nothing on the validation episodes"
	case len(c.Default) < fewest:
		return Default, fmt.Sprintf("%d validation episodes say too little: %d are needed at least", len(c.Default), fewest)
	case c.Low < 0:
		return Default, "it may be worse than the default on validation: " + interval
	case c.Worst < -tolerance:
		return Default, fmt.Sprintf("one validation episode is worse than the tolerated %.3g %s: %s", tolerance, unit, interval)
	case c.Gain <= 0:
		return Default, "there is no gain on validation: " + interval
	}
	return Learned, "better than the default on validation: " + interval
}

// check refuses a comparison that its own figures do not give.
func (c Comparison) check(m Measure, episodes int) error {
	const op = "learn.Comparison"
	if len(c.Default) != episodes || len(c.Learned) != episodes || episodes == 0 {
		return errs.Errorf(op, errs.Invalid, "%d figures of the default and %d of the learned for %d episodes", len(c.Default), len(c.Learned), episodes)
	}
	for _, v := range slices.Concat(c.Default, c.Learned) {
		if math.IsNaN(v) || math.IsInf(v, 0) || math.Abs(v) > mostBound {
			return errs.Errorf(op, errs.Invalid, "%v is no figure", v)
		}
	}
	got := Compare(m, c.Default, c.Learned)
	for _, pair := range [][2]float64{{got.Gain, c.Gain}, {got.Low, c.Low}, {got.High, c.High}, {got.Worst, c.Worst}} {
		if !(math.Abs(pair[0]-pair[1]) <= 1e-5*max(1, math.Abs(pair[0]))) {
			return errs.Errorf(op, errs.Invalid, "the figures give a gain of %v (%v to %v, worst %v), not of %v (%v to %v, worst %v)", got.Gain, got.Low, got.High, got.Worst, c.Gain, c.Low, c.High, c.Worst)
		}
	}
	return nil
}
