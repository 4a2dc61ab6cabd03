// Package nn is Lineshaft's own neural networks: float32 tensors, layers, losses and optimisers on kernels in assembly,
// without cgo, so that one static binary trains and serves anywhere.
//
// A Network is a chain of layers. A Trainer makes steps of gradient descent on it with a fixed number of workers; a
// Predictor answers with it. Both hold their own buffers; the weights belong to the network. Names, defaults and
// formulas are those of Keras 3, so that a file of either reads in the other.
//
// Rows of a batch are independent of each other in every layer here. Hence a step has two phases with one meeting
// between them: each worker takes its rows forward and backward through all layers, then each takes its share of the
// parameters, computes their gradient over all rows and updates them. For a given seed, kernel set and number of
// workers the result is the same to the bit.
//
//	net := &nn.Network{Input: []int{784}, Layers: []nn.Layer{
//		nn.NewDense("hidden", 512, nn.DenseConfig{Activation: "relu"}),
//		nn.NewDense("out", 10, nn.DenseConfig{Activation: "softmax"})}}
//	err := net.Build(1)
//
// nn opens no files, reads no clock and leaves no goroutine behind.
package nn

import (
	"math/rand/v2"

	"github.com/lineshaft/lineshaft/nn/kernel"
)

// Param is one array of weights.
type Param struct {
	Name      string // in Keras's words: kernel, bias, gamma, beta, moving_mean, moving_variance
	Shape     []int
	Value     []float32 // row-major; a Trainer may hold newer ones until its Sync
	Trainable bool

	panels *kernel.Panels // where the layer learns in another order: the values in that order
}

// working are the values that learn.
func (p *Param) working() []float32 {
	if p.panels != nil {
		return p.panels.Data
	}
	return p.Value
}

func newParam(name string, trainable bool, shape ...int) *Param {
	return &Param{Name: name, Shape: shape, Value: make([]float32, size(shape)), Trainable: trainable}
}

// Layer is one step of a network. Shapes are without the batch dimension; slices hold rows one after another.
type Layer interface {
	// Name is unique in its network and names the layer in files.
	Name() string
	// Kind is Keras's class name.
	Kind() string
	// Build fixes the input's shape, makes the parameters, and gives the output's shape.
	Build(in []int, rng *rand.Rand) (out []int, err error)
	// Params lists the parameters in Keras's order.
	Params() []*Param
	// Forward computes y from x for that many rows.
	Forward(c *Context, y, x []float32, rows int)
}

// Trainable is a layer that learns, or lets the layers before it learn.
type Trainable interface {
	Layer
	// Backward computes dx, the gradient at the input, from dy, the gradient at the output, for the rows of the last
	// Forward in the same context; it may overwrite dy. A nil dx is not wanted.
	Backward(c *Context, dx, dy, x, y []float32, rows int)
	// Gradient computes the gradients of the part'th of parts shares of the parameters over all rows, and calls update
	// with every range that is done, which begins at the parameter's element lo; after update the new values are there,
	// and the layer prepares what its next Forward and Backward use of them. dy is what Backward left.
	Gradient(c *Context, part, parts int, dy, x []float32, rows int, update func(p *Param, lo int, g []float32))
}

// Context is what one worker brings to one layer: kernels, room, and what Forward keeps for Backward.
type Context struct {
	Kernels  *kernel.Set
	Scratch  *kernel.Scratch
	Training bool
	// Fused says that the loss already gave the gradient before the last activation (softmax with cross-entropy).
	Fused bool

	weights *kernel.Weights // of a Dense layer that answers
	factors []float64       // of a BatchNormalization layer

	first  int        // the number of the first row in the batch
	random [16]uint64 // of Dropout
	mask   []uint64
	saved  []float32 // values before the activation
}

func (c *Context) save(n int) []float32 {
	if cap(c.saved) < n {
		c.saved = make([]float32, n)
	}
	c.saved = c.saved[:n]
	return c.saved
}

func size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// share gives the bounds of the part'th of parts shares of n things, in multiples of unit.
func share(n, unit, part, parts int) (lo, hi int) {
	units := (n + unit - 1) / unit
	return min(n, units*part/parts*unit), min(n, units*(part+1)/parts*unit)
}

type named struct{ name string }

// Name is the layer's name.
func (n *named) Name() string { return n.name }

// plain is embedded by layers without parameters.
type plain struct{ named }

// Params are none.
func (*plain) Params() []*Param { return nil }

// Gradient has nothing to do.
func (*plain) Gradient(*Context, int, int, []float32, []float32, int, func(*Param, int, []float32)) {
}
