package nn

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Flatten makes one dimension of all; the values stay where they are.
type Flatten struct {
	plain
	n int
}

// NewFlatten makes the layer.
func NewFlatten(name string) *Flatten { return &Flatten{plain: plain{named{name}}} }

// Kind is "Flatten".
func (*Flatten) Kind() string { return "Flatten" }

// Build multiplies the dimensions.
func (f *Flatten) Build(in []int, _ *rand.Rand) ([]int, error) {
	f.n = size(in)
	return []int{f.n}, nil
}

// Forward copies.
func (f *Flatten) Forward(_ *Context, y, x []float32, rows int) { copy(y, x[:rows*f.n]) }

// Backward copies.
func (f *Flatten) Backward(_ *Context, dx, dy, _, _ []float32, rows int) { copy(dx, dy[:rows*f.n]) }

// Dropout sets a share Rate of its inputs to zero in training and scales the rest up so that the sum is expected to
// stay (Srivastava et al., 2014); when answering it does nothing.
type Dropout struct {
	plain
	Rate float64
	n    int
}

// NewDropout makes the layer; rate is from 0 to below 1.
func NewDropout(name string, rate float64) *Dropout {
	return &Dropout{plain: plain{named{name}}, Rate: rate}
}

// Kind is "Dropout".
func (*Dropout) Kind() string { return "Dropout" }

// Build checks the rate.
func (d *Dropout) Build(in []int, _ *rand.Rand) ([]int, error) {
	if !(d.Rate >= 0 && d.Rate < 1) {
		return nil, errs.Errorf("nn.Dropout", errs.Invalid, "layer %q: dropout rate %v is not from 0 to below 1", d.name, d.Rate)
	}
	d.n = size(in)
	return in, nil
}

// Forward drops in training and copies otherwise.
func (d *Dropout) Forward(c *Context, y, x []float32, rows int) {
	n := rows * d.n
	if !c.Training || d.Rate == 0 {
		copy(y, x[:n])
		return
	}
	if words := (n + 63) / 64; len(c.mask) < words {
		c.mask = make([]uint64, words)
	}
	c.Kernels.Dropout(y[:n], x[:n], c.mask, &c.random, d.threshold(), d.scale())
}

func (d *Dropout) threshold() uint32 { return uint32(math.Round(d.Rate * (1 << 32))) }
func (d *Dropout) scale() float32    { return float32(1 / (1 - d.Rate)) }

// Backward lets through what Forward kept.
func (d *Dropout) Backward(c *Context, dx, dy, _, _ []float32, rows int) {
	if dx == nil {
		return
	}
	n := rows * d.n
	if d.Rate == 0 {
		copy(dx, dy[:n])
		return
	}
	c.Kernels.Masked(dx[:n], dy[:n], c.mask, d.scale())
}

// Rescaling computes x·Scale + Offset.
type Rescaling struct {
	plain
	Scale, Offset float64
	n             int
}

// NewRescaling makes the layer.
func NewRescaling(name string, scale, offset float64) *Rescaling {
	return &Rescaling{plain: plain{named{name}}, Scale: scale, Offset: offset}
}

// Kind is "Rescaling".
func (*Rescaling) Kind() string { return "Rescaling" }

// Build keeps the shape.
func (r *Rescaling) Build(in []int, _ *rand.Rand) ([]int, error) {
	r.n = size(in)
	return in, nil
}

// Forward computes y.
func (r *Rescaling) Forward(_ *Context, y, x []float32, rows int) {
	s, o := float32(r.Scale), float32(r.Offset)
	for i, v := range x[:rows*r.n] {
		y[i] = v*s + o
	}
}

// Backward scales.
func (r *Rescaling) Backward(_ *Context, dx, dy, _, _ []float32, rows int) {
	if dx == nil {
		return
	}
	for i, v := range dy[:rows*r.n] {
		dx[i] = v * float32(r.Scale)
	}
}

// NormConfig is what the normalisation layers can be told.
type NormConfig struct {
	Axis    int     // of BatchNormalization and LayerNormalization; only the last (-1) is offered
	Epsilon float64 // 0.001
	Center  bool    // add beta
	Scale   bool    // multiply by gamma
}

// Normalization is batch or layer normalisation over the last axis, for answering: a network that holds one is not
// trained here.
type Normalization struct {
	named
	Batch  bool
	Config NormConfig

	n, lead        int
	params         []*Param
	gamma, beta    *Param
	mean, variance *Param
}

// NewBatchNormalization makes the layer; it uses the moving mean and variance.
func NewBatchNormalization(name string, cfg NormConfig) *Normalization {
	return &Normalization{named: named{name}, Batch: true, Config: cfg}
}

// NewLayerNormalization makes the layer.
func NewLayerNormalization(name string, cfg NormConfig) *Normalization {
	return &Normalization{named: named{name}, Config: cfg}
}

// Kind is "BatchNormalization" or "LayerNormalization".
func (n *Normalization) Kind() string {
	if n.Batch {
		return "BatchNormalization"
	}
	return "LayerNormalization"
}

// Params are gamma, beta, and the moving mean and variance.
func (n *Normalization) Params() []*Param { return n.params }

func (n *Normalization) weights(in []int) int { return 4 * in[max(0, len(in)-1)] }

// Build makes the parameters.
func (n *Normalization) Build(in []int, _ *rand.Rand) ([]int, error) {
	if len(in) == 0 || (n.Config.Axis != -1 && n.Config.Axis != len(in)) {
		return nil, errs.Errorf("nn.Normalization", errs.Unsupported, "layer %q: normalisation over axis %d of input %v is not known; only over the last", n.name, n.Config.Axis, in)
	}
	n.n, n.lead = in[len(in)-1], size(in[:len(in)-1])
	if err := checkSize(n.name, []int{n.n}); err != nil {
		return nil, err
	}
	one := func(name string, fill float32, trainable bool) *Param {
		p := newParam(name, trainable, n.n)
		for i := range p.Value {
			p.Value[i] = fill
		}
		n.params = append(n.params, p)
		return p
	}
	n.params = nil
	if n.Config.Scale {
		n.gamma = one("gamma", 1, true)
	}
	if n.Config.Center {
		n.beta = one("beta", 0, true)
	}
	if n.Batch {
		n.mean, n.variance = one("moving_mean", 0, false), one("moving_variance", 1, false)
	}
	return slices.Clone(in), nil
}

// Forward normalises.
func (n *Normalization) Forward(c *Context, y, x []float32, rows int) {
	if n.Batch && c.factors == nil {
		c.factors = make([]float64, n.n)
		for i, v := range n.variance.Value {
			c.factors[i] = 1 / math.Sqrt(float64(v)+n.Config.Epsilon)
		}
	}
	for r := range rows * n.lead {
		xr, yr := x[r*n.n:(r+1)*n.n], y[r*n.n:(r+1)*n.n]
		mean, inv := n.moments(xr)
		for i, v := range xr {
			m, s := mean, inv
			if n.Batch {
				m = float64(n.mean.Value[i])
				s = c.factors[i]
			}
			out := (float64(v) - m) * s
			if n.gamma != nil {
				out *= float64(n.gamma.Value[i])
			}
			if n.beta != nil {
				out += float64(n.beta.Value[i])
			}
			yr[i] = float32(out)
		}
	}
}

func (n *Normalization) moments(x []float32) (mean, inv float64) {
	if n.Batch {
		return 0, 0
	}
	for _, v := range x {
		mean += float64(v)
	}
	mean /= float64(len(x))
	variance := 0.0
	for _, v := range x {
		d := float64(v) - mean
		variance += d * d
	}
	return mean, 1 / math.Sqrt(variance/float64(len(x))+n.Config.Epsilon)
}

var (
	_ Trainable = (*Flatten)(nil)
	_ Trainable = (*Dropout)(nil)
	_ Trainable = (*Rescaling)(nil)
	_ Layer     = (*Normalization)(nil)
)
