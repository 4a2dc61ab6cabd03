package nn

import (
	"math/rand/v2"
	"slices"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn/kernel"
)

// DenseConfig is what a Dense layer can be told. Zero fields have Keras's defaults.
type DenseConfig struct {
	Activation string // linear
	NoBias     bool
	KernelInit Initializer // glorot_uniform
	BiasInit   Initializer // zeros
}

// Dense computes activation(x·kernel + bias) on the last dimension of its input.
type Dense struct {
	named
	Units  int
	Config DenseConfig

	in, lead     int // size of the last dimension, product of the others
	kernel, bias *Param
	act          activation
	set          *kernel.Set
	fwd, bwd     *kernel.Panels // kernel and its transpose, packed
	dy           *kernel.Panels // of the whole batch, in a step

	form    Form             // of the kernel when answering
	whole   kernel.Quantised // the kernel in Int8
	answers *kernel.Weights  // shared by all predictors, while nothing learns
	by      string           // the kernels that they were prepared for
}

// NewDense makes a layer of units outputs.
func NewDense(name string, units int, cfg DenseConfig) *Dense {
	if cfg.Activation == "" {
		cfg.Activation = "linear"
	}
	return &Dense{named: named{name}, Units: units, Config: cfg}
}

// Kind is "Dense".
func (*Dense) Kind() string { return "Dense" }

// Params are kernel (in×units) and bias (units).
func (d *Dense) Params() []*Param {
	if d.bias == nil {
		return []*Param{d.kernel}
	}
	return []*Param{d.kernel, d.bias}
}

// weights are those that Build will make, or -1 where it will refuse to.
func (d *Dense) weights(in []int) int {
	if len(in) == 0 || d.Units < 1 || d.Units > maxSize || in[len(in)-1] > maxSize {
		return -1
	}
	return (in[len(in)-1] + 1) * d.Units
}

// Build makes the parameters.
func (d *Dense) Build(in []int, rng *rand.Rand) ([]int, error) {
	const op = "nn.Dense"
	if len(in) == 0 || d.Units < 1 || d.Units > maxSize {
		return nil, errs.Errorf(op, errs.Invalid, "layer %q: dense needs an input of at least one dimension and 1 to %d units, has input %v and %d units", d.name, maxSize, in, d.Units)
	}
	act, err := activationFor(d.Config.Activation)
	if err != nil {
		return nil, errs.Errorf(op, errs.Invalid, "layer %q: %v", d.name, err)
	}
	if act.shape != nil {
		return nil, errs.Errorf(op, errs.Invalid, "layer %q: activation %q changes the shape; put it in a layer of its own", d.name, d.Config.Activation)
	}
	d.act = act
	d.in, d.lead = in[len(in)-1], size(in[:len(in)-1])
	if err := checkSize(d.name, []int{d.in, d.Units}); err != nil {
		return nil, err
	}
	d.kernel = newParam("kernel", true, d.in, d.Units)
	if err := d.Config.KernelInit.or("glorot_uniform").fill(d.kernel.Value, d.kernel.Shape, rng); err != nil {
		return nil, errs.Errorf(op, errs.Invalid, "layer %q: %v", d.name, err)
	}
	if !d.Config.NoBias {
		d.bias = newParam("bias", true, d.Units)
		if err := d.Config.BiasInit.or("zeros").fill(d.bias.Value, d.bias.Shape, rng); err != nil {
			return nil, errs.Errorf(op, errs.Invalid, "layer %q: %v", d.name, err)
		}
	}
	return append(slices.Clone(in[:len(in)-1]), d.Units), nil
}

// pack makes the panels: the transpose only where a layer before learns.
func (d *Dense) pack(set *kernel.Set, transpose bool) {
	if d.set != set {
		d.set, d.fwd, d.bwd, d.dy = set, nil, nil, nil
	}
	if d.fwd == nil {
		d.fwd = set.NewPanels(d.in, d.Units)
	}
	d.fwd.Pack(d.kernel.Value, d.Units, 0, set.PanelCount(d.Units))
	d.bwd = nil
	if transpose {
		d.bwd = set.NewPanels(d.Units, d.in)
		set.Transpose(d.bwd, d.fwd)
	}
}

// learn prepares for training: from here on the panels are the kernel, in which it learns.
func (d *Dense) learn(set *kernel.Set, transpose bool) {
	d.form, d.whole, d.answers = Float32, kernel.Quantised{}, nil
	d.pack(set, transpose)
	d.kernel.panels = d.fwd
	set.Split(d.fwd, 0, d.in)
	if transpose {
		set.Split(d.bwd, 0, d.Units)
	}
}

// share is a range of the kernel's rows, whole panels of the transpose where there is one.
func (d *Dense) share(part, parts int) (lo, hi int) {
	unit := d.set.Rows()
	if d.bwd != nil {
		unit = d.set.NR
	}
	return share(d.in, unit, part, parts)
}

// prepare gives the weights to answer with. Where a trainer has the layer, whose weights change, they are made anew.
func (d *Dense) prepare(set *kernel.Set) *kernel.Weights {
	if d.answers != nil && d.by == set.Name && d.kernel.panels == nil {
		return d.answers
	}
	values := d.kernel.Value
	if p := d.kernel.panels; p != nil {
		values = make([]float32, d.in*d.Units)
		p.Unpack(values, p.Data)
	}
	var bias []float32
	if d.bias != nil {
		bias = d.bias.Value
	}
	var w *kernel.Weights
	switch d.form {
	case Int8:
		w = set.NewInt8(d.in, d.Units, d.whole, bias)
	case BFloat16:
		half := make([]uint16, len(values))
		for i, v := range values {
			half[i] = kernel.ToBFloat16(v)
		}
		w = set.NewHalf(d.in, d.Units, half, bias)
	default:
		w = set.NewWeights(d.in, d.Units, values, bias)
	}
	w.ReLU = d.act.name == "relu"
	d.answers, d.by = w, set.Name
	return w
}

// answer computes y with weights that were prepared.
func (d *Dense) answer(c *Context, y, x []float32, m int) {
	c.Kernels.Answer(c.Scratch, y, x, m, c.weights)
	if c.weights.ReLU || d.act.name == "linear" {
		return
	}
	for i := range m {
		row := y[i*d.Units : (i+1)*d.Units]
		d.act.forward(row, row)
	}
}

// Forward computes y.
func (d *Dense) Forward(c *Context, y, x []float32, rows int) {
	m := rows * d.lead
	if c.weights != nil {
		d.answer(c, y, x, m)
		return
	}
	z := y
	if c.Training && d.act.needsInput {
		z = c.save(m * d.Units)
	}
	c.Kernels.Mul(c.Scratch, m, x, d.in, 1, d.fwd, 0, c.Kernels.PanelCount(d.Units), z, d.Units, false)
	if d.act.name == "relu" && d.bias != nil {
		for i := range m {
			c.Kernels.BiasReLU(z[i*d.Units:(i+1)*d.Units], d.bias.Value)
		}
		return
	}
	for i := range m {
		row := z[i*d.Units : (i+1)*d.Units]
		if d.bias != nil {
			for j, b := range d.bias.Value {
				row[j] += b
			}
		}
		d.act.forward(y[i*d.Units:(i+1)*d.Units], row)
	}
}

// begin makes room for a step of that many rows.
func (d *Dense) begin(rows int) {
	if m := rows * d.lead; d.dy == nil || d.dy.K != m {
		d.dy = d.set.NewPanels(m, d.Units)
		d.set.Split(d.dy, 0, m)
	}
}

// Backward turns dy into the gradient before the activation, in place, and computes dx.
func (d *Dense) Backward(c *Context, dx, dy, _, y []float32, rows int) {
	m := rows * d.lead
	if !c.Fused && d.act.name != "linear" {
		if d.act.name == "relu" {
			c.Kernels.ReLUBack(dy[:m*d.Units], y)
		} else {
			for i := range m {
				lo, hi := i*d.Units, (i+1)*d.Units
				z := y[lo:hi]
				if d.act.needsInput {
					z = c.saved[lo:hi]
				}
				d.act.backward(dy[lo:hi], dy[lo:hi], z, y[lo:hi])
			}
		}
	}
	c.Kernels.Put(d.dy, dy, d.Units, c.first*d.lead, m)
	if dx != nil {
		c.Kernels.Mul(c.Scratch, m, dy, d.Units, 1, d.bwd, 0, c.Kernels.PanelCount(d.in), dx, d.in, false)
	}
}

// Gradient computes rows of the kernel's gradient, xᵀ·dy, panel by panel, so that the update, and what is made of the
// kernel for the next step, find it in the cache.
func (d *Dense) Gradient(c *Context, part, parts int, dy, x []float32, rows int, update func(*Param, int, []float32)) {
	m := rows * d.lead
	lo, hi := d.share(part, parts)
	if hi > lo {
		nr := c.Kernels.NR
		left := c.Kernels.Left(c.Scratch, hi-lo, m, x[lo:], 1, d.in, d.dy)
		for j := range c.Kernels.PanelCount(d.Units) {
			g := c.save((hi - lo) * nr)
			if d.Units-j*nr < nr {
				clear(g) // the padding's gradient
			}
			c.Kernels.Multiply(c.Scratch, left, d.dy, j, j+1, g, nr, false)
			update(d.kernel, (j*d.in+lo)*nr, g)
			c.Kernels.Renew(c.Scratch, d.fwd, d.bwd, j, lo, hi)
		}
	}
	if d.bias == nil || part != parts-1 {
		return
	}
	g := c.save(d.Units)
	clear(g)
	for i := range m {
		c.Kernels.Add(g, dy[i*d.Units:(i+1)*d.Units])
	}
	update(d.bias, 0, g)
}

var _ Trainable = (*Dense)(nil)
