package sched

import (
	"math"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Weights are how much each thing counts that decides between nodes on which a task fits. Points are those of FGD's
// score, which has a hundred. All of them 0 is the default; a learned rule (package learn) brings others.
type Weights struct {
	Fragmentation float64 `json:"fragmentation"` // of what a placement changes of the expected fragmentation, before it is graded: 1 is FGD's, more tells smaller changes apart
	Congestion    float64 `json:"congestion"`    // points of the price for devices and cores, at their mean price
	Scarcity      float64 `json:"scarcity"`      // points of the price when all that is free is claimed
	Power         float64 `json:"power"`         // points of the watts that the task draws beyond the thriftiest class, at half as much again
	Tightness     float64 `json:"tightness"`     // points between a node that is left full and one that is left with 8 devices: up to 1 decides between equals only
}

// DefaultWeights were chosen on the openb traces with seeds 1 to 10 (docs/benchmarks.md).
func DefaultWeights() Weights {
	return Weights{Fragmentation: 1, Congestion: 20, Scarcity: 15, Power: 5, Tightness: 1}
}

// MostWeight is the largest that a weight may be: beyond it the others could as well be 0.
const MostWeight = 1000

// Validate refuses what weighs nothing that is meant. No weights at all are in order: they are the default.
func (w Weights) Validate() error {
	const op = "sched.Weights"
	if w == (Weights{}) {
		return nil
	}
	for _, v := range []struct {
		name  string
		value float64
	}{{"fragmentation", w.Fragmentation}, {"congestion", w.Congestion}, {"scarcity", w.Scarcity}, {"power", w.Power}, {"tightness", w.Tightness}} {
		if !(v.value >= 0) || v.value > MostWeight {
			return errs.Errorf(op, errs.Invalid, "the weight of %s is %v: give 0 to %d", v.name, v.value, MostWeight)
		}
	}
	if w.Fragmentation < 1e-3 {
		return errs.Errorf(op, errs.Invalid, "the weight of fragmentation is %v: give at least 0.001, nothing else tells a good node from a bad one", w.Fragmentation)
	}
	return nil
}

// or is the default where there are none.
func (w Weights) or() Weights {
	if w == (Weights{}) {
		return DefaultWeights()
	}
	return w
}

// setSteps finds from which change of fragmentation on the score is which.
func (h *Hall) setSteps() {
	// FGD's score of a change d is floor(100·sigmoid(d/1000)): at least q when d >= 1000·ln(q/(100-q)).
	unit := 1000 / h.weights.Fragmentation
	for q := range h.steps {
		h.steps[q] = int64(math.Ceil(unit * math.Log(float64(q+1)/float64(99-q)) * float64(h.total)))
	}
	h.steps[49] = 0 // exactly
	h.tight = int32(math.Round(h.weights.Tightness * fine))
}

// Use replaces the weights.
func (h *Hall) Use(w Weights) {
	h.weights, h.prices = w.or(), false
	h.setSteps()
	h.forget()
}
