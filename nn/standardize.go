package nn

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Standardization computes (x - mean) / √variance on the last dimension of its input, with numbers that were measured
// on data once and do not learn. Keras calls it Normalization. A trainer puts it before the first layer, so that a
// network which was taught with standardised or normalised inputs takes them as they are.
type Standardization struct {
	named
	Axis           int       // only the last (-1) is offered
	Mean, Variance []float32 // nil before Build: they come from a file, as parameters

	n      int
	params []*Param
}

// NewStandardization makes the layer; mean and variance have one value for each input, one for all, or are nil.
func NewStandardization(name string, axis int, mean, variance []float32) *Standardization {
	return &Standardization{named: named{name}, Axis: axis, Mean: mean, Variance: variance}
}

// Kind is "Normalization".
func (*Standardization) Kind() string { return "Normalization" }

// Params are mean, variance and count (of the rows that were measured) where the layer was made without numbers.
func (s *Standardization) Params() []*Param { return s.params }

// Build checks the sizes.
func (s *Standardization) Build(in []int, _ *rand.Rand) ([]int, error) {
	const op = "nn.Standardization"
	if len(in) == 0 || (s.Axis != -1 && s.Axis != len(in)) {
		return nil, errs.Errorf(op, errs.Unsupported, "layer %q: normalisation over axis %d of input %v is not known; only over the last", s.name, s.Axis, in)
	}
	s.n = in[len(in)-1]
	s.Mean, s.Variance = repeat(s.Mean, s.n), repeat(s.Variance, s.n)
	if s.params == nil && s.Mean == nil && s.Variance == nil {
		if err := checkSize(s.name, []int{s.n}); err != nil {
			return nil, err
		}
		mean, variance := newParam("mean", false, s.n), newParam("variance", false, s.n)
		for i := range variance.Value {
			variance.Value[i] = 1
		}
		s.params = []*Param{mean, variance, newParam("count", false)}
		s.Mean, s.Variance = mean.Value, variance.Value
	}
	if len(s.Mean) != s.n || len(s.Variance) != s.n {
		return nil, errs.Errorf(op, errs.Invalid, "layer %q has %d means and %d variances for %d inputs", s.name, len(s.Mean), len(s.Variance), s.n)
	}
	return slices.Clone(in), nil
}

// repeat makes n of one.
func repeat(v []float32, n int) []float32 {
	if len(v) == 1 {
		return slices.Repeat(v, n)
	}
	return v
}

// deviation is √variance, kept from zero as Keras keeps it.
func (s *Standardization) deviation(i int) float32 {
	return max(float32(math.Sqrt(float64(s.Variance[i]))), keep)
}

// Forward computes y.
func (s *Standardization) Forward(_ *Context, y, x []float32, rows int) {
	if rows == 0 {
		return
	}
	for i, mean := range s.Mean {
		deviation := s.deviation(i)
		for at := i; at < len(x); at += s.n {
			y[at] = (x[at] - mean) / deviation
		}
	}
}

// Backward scales.
func (s *Standardization) Backward(_ *Context, dx, dy, _, _ []float32, _ int) {
	if dx == nil {
		return
	}
	for i := range s.Mean {
		deviation := s.deviation(i)
		for at := i; at < len(dx); at += s.n {
			dx[at] = dy[at] / deviation
		}
	}
}

// Gradient has nothing to do: the numbers do not learn.
func (*Standardization) Gradient(*Context, int, int, []float32, []float32, int, func(*Param, int, []float32)) {
}

var _ Trainable = (*Standardization)(nil)
