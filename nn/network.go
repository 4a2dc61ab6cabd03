package nn

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn/kernel"
)

// maxRoom is how many values a predictor's buffer has at most, unless one row needs more.
const maxRoom = 1 << 22

// maxLayers bounds a network that comes from outside.
const maxLayers = 1000

// Network is a chain of layers. Its methods that change it are not for concurrent use.
type Network struct {
	Name   string
	Input  []int // shape without the batch dimension
	Layers []Layer
	// Limit is how many weights the network may have in all and how wide it may be; 0 is no limit beyond that of one
	// array. A reader of files that come from anywhere sets it.
	Limit Limit

	shapes [][]int // of every layer's output
}

// Limit bounds a network before anything is made for it.
type Limit struct{ Weights, Width int }

// weighty is a layer that can tell how many weights it will have before it makes them.
type weighty interface{ weights(in []int) int }

// fits checks a layer against the limit.
func (n *Network) fits(l Layer, in []int, have *int) error {
	if w, ok := l.(weighty); ok {
		if need := w.weights(in); n.Limit.Weights > 0 && (need < 0 || need > n.Limit.Weights-*have) {
			return errs.Errorf("nn.Build", errs.Invalid, "layer %q needs more weights than there can be, which is %d", l.Name(), n.Limit.Weights)
		} else {
			*have += need
		}
	}
	return nil
}

func (n *Network) wide(name string, shape []int) error {
	if err := checkSize(name, shape); err != nil {
		return err
	}
	if n.Limit.Width > 0 && size(shape) > n.Limit.Width {
		return errs.Errorf("nn.Build", errs.TooLarge, "layer %q: %v is more than %d values a row", name, shape, n.Limit.Width)
	}
	return nil
}

// Build checks the shapes and makes the parameters, filled from seed.
func (n *Network) Build(seed uint64) error {
	return n.build(rand.New(rand.NewPCG(seed, 0x6c696e6573686166)))
}

// BuildEmpty is Build with weights that are all zero, for whoever fills them in: drawing them takes longer than reading.
func (n *Network) BuildEmpty() error { return n.build(nil) }

// build makes the parameters; without a source of random numbers they stay zero.
func (n *Network) build(rng *rand.Rand) error {
	const op = "nn.Build"
	if len(n.Input) == 0 || len(n.Layers) == 0 || len(n.Layers) > maxLayers {
		return errs.Errorf(op, errs.Invalid, "a network needs an input shape and 1 to %d layers; this one has input %v and %d layers", maxLayers, n.Input, len(n.Layers))
	}
	if err := n.wide("input", n.Input); err != nil {
		return err
	}
	weights := 0
	names := map[string]bool{}
	n.shapes = n.shapes[:0]
	shape := n.Input
	for _, l := range n.Layers {
		if names[l.Name()] {
			return errs.Errorf(op, errs.Invalid, "two layers are named %q", l.Name())
		}
		names[l.Name()] = true
		if err := n.fits(l, shape, &weights); err != nil {
			return err
		}
		out, err := l.Build(shape, rng)
		if err != nil {
			return err
		}
		if err := n.wide(l.Name(), out); err != nil {
			return err
		}
		n.shapes = append(n.shapes, out)
		shape = out
	}
	return nil
}

// Params lists the parameters layer by layer.
func (n *Network) Params() []*Param {
	var all []*Param
	for _, l := range n.Layers {
		all = append(all, l.Params()...)
	}
	return all
}

// OutputShape is the shape of one answer.
func (n *Network) OutputShape() []int { return n.shapes[len(n.shapes)-1] }

// Shapes are those of every layer's output, in order.
func (n *Network) Shapes() [][]int { return n.shapes }

// Size is the number of weights.
func (n *Network) Size() int {
	total := 0
	for _, p := range n.Params() {
		total += len(p.Value)
	}
	return total
}

// widths are the sizes of the input and of every layer's output.
func (n *Network) widths() []int {
	w := []int{size(n.Input)}
	for _, s := range n.shapes {
		w = append(w, size(s))
	}
	return w
}

// Predictor answers with a network whose weights no longer change. It is not for concurrent use; several may share one
// network once the first is made.
type Predictor struct {
	net    *Network
	ctx    []Context
	buf    [2][]float32
	widths []int
	rows   int
}

// NewPredictor makes a predictor that takes up to maxRows rows at a time, fewer where they are wide; more are answered
// in pieces. The first call
// for a network prepares its weights for this processor and must not run beside another.
func NewPredictor(n *Network, maxRows int) (*Predictor, error) {
	if len(n.shapes) != len(n.Layers) || len(n.Layers) == 0 {
		return nil, errs.Errorf("nn.NewPredictor", errs.Invalid, "the network %q was not built", n.Name)
	}
	p := &Predictor{net: n, widths: n.widths(), ctx: make([]Context, len(n.Layers))}
	widest := slices.Max(p.widths)
	p.rows = max(1, min(maxRows, maxRoom/widest))
	set, scratch := kernel.Best(), &kernel.Scratch{}
	for i, l := range n.Layers {
		p.ctx[i] = Context{Kernels: set, Scratch: scratch}
		if d, ok := l.(*Dense); ok {
			p.ctx[i].weights = d.prepare(set)
		}
	}
	p.buf[0], p.buf[1] = make([]float32, p.rows*widest), make([]float32, p.rows*widest)
	return p, nil
}

// Bytes is the memory that the weights take as they are kept to answer with, which all predictors of a network share.
func (p *Predictor) Bytes() int64 {
	total := int64(0)
	for i, l := range p.net.Layers {
		for j, q := range l.Params() {
			if w := p.ctx[i].weights; w == nil {
				total += 4 * int64(len(q.Value))
			} else if j == 0 {
				total += w.Bytes()
			}
		}
	}
	return total
}

// Settle lets go of the kernels that a predictor has prepared in its own order: from here on the network answers through
// predictors alone, and can be neither trained nor written.
func (n *Network) Settle() {
	for _, l := range n.Layers {
		if d, ok := l.(*Dense); ok && d.answers != nil {
			d.kernel.Value, d.whole = nil, kernel.Quantised{}
		}
	}
}

// Predict writes the answers for rows rows of x (row-major) to dst.
func (p *Predictor) Predict(dst, x []float32, rows int) error {
	in, out := p.widths[0], p.widths[len(p.widths)-1]
	if rows < 0 || len(x) != rows*in || len(dst) != rows*out {
		return errs.Errorf("nn.Predict", errs.Invalid, "%d rows need %d inputs and %d outputs, got %d and %d", rows, rows*in, rows*out, len(x), len(dst))
	}
	for ; rows > 0; rows -= p.rows {
		n := min(rows, p.rows)
		p.predict(dst[:n*out], x[:n*in], n)
		if rows > p.rows {
			dst, x = dst[n*out:], x[n*in:]
		}
	}
	return nil
}

func (p *Predictor) predict(dst, x []float32, rows int) {
	p.ctx[0].Scratch.Turn()
	from := x
	for i, l := range p.net.Layers {
		to := p.buf[i%2][:rows*p.widths[i+1]]
		if i == len(p.net.Layers)-1 {
			to = dst
		}
		l.Forward(&p.ctx[i], to, from, rows)
		from = to
	}
}

// NetworkSpec is a network as a person writes it.
type NetworkSpec struct {
	Layers []LayerSpec `json:"layers" yaml:"layers"`
}

// LayerSpec is one layer as a person writes it; which fields count depends on Type.
type LayerSpec struct {
	Type       string   `json:"type" yaml:"type"` // dense, activation, dropout, flatten, rescaling
	Name       string   `json:"name,omitempty" yaml:"name,omitempty"`
	Units      int      `json:"units,omitempty" yaml:"units,omitempty"`
	Activation string   `json:"activation,omitempty" yaml:"activation,omitempty"`
	UseBias    *bool    `json:"use_bias,omitempty" yaml:"use_bias,omitempty"`
	KernelInit string   `json:"kernel_initializer,omitempty" yaml:"kernel_initializer,omitempty"`
	BiasInit   string   `json:"bias_initializer,omitempty" yaml:"bias_initializer,omitempty"`
	Rate       float64  `json:"rate,omitempty" yaml:"rate,omitempty"`
	Scale      *float64 `json:"scale,omitempty" yaml:"scale,omitempty"`
	Offset     float64  `json:"offset,omitempty" yaml:"offset,omitempty"`
}

// Network makes the layers; it is not built yet. Layers without a name get their type and a number, as Keras does.
func (s NetworkSpec) Network(input []int) (*Network, error) {
	n := &Network{Name: "sequential", Input: slices.Clone(input)}
	count := map[string]int{}
	for i, l := range s.Layers {
		name := l.Name
		if name == "" {
			name = l.Type
			if c := count[l.Type]; c > 0 {
				name = fmt.Sprintf("%s_%d", l.Type, c)
			}
			count[l.Type]++
		}
		layer, err := l.layer(name)
		if err != nil {
			return nil, errs.Errorf("nn.Network", errs.Invalid, "layers[%d]: %v", i, err)
		}
		n.Layers = append(n.Layers, layer)
	}
	return n, nil
}

func (l LayerSpec) layer(name string) (Layer, error) {
	switch l.Type {
	case "dense":
		return NewDense(name, l.Units, DenseConfig{
			Activation: l.Activation,
			NoBias:     l.UseBias != nil && !*l.UseBias,
			KernelInit: Initializer{Name: l.KernelInit},
			BiasInit:   Initializer{Name: l.BiasInit},
		}), nil
	case "activation":
		return NewActivation(name, l.Activation), nil
	case "dropout":
		return NewDropout(name, l.Rate), nil
	case "flatten":
		return NewFlatten(name), nil
	case "rescaling":
		scale := 1.0
		if l.Scale != nil {
			scale = *l.Scale
		}
		return NewRescaling(name, scale, l.Offset), nil
	}
	return nil, fmt.Errorf("layer type %q is not known; there are dense, activation, dropout, flatten and rescaling", l.Type)
}

// String names the layer for people: "dense 512 relu".
func (l LayerSpec) String() string {
	s := l.Type
	switch l.Type {
	case "dense":
		s += fmt.Sprintf(" %d", l.Units)
	case "dropout":
		s += fmt.Sprintf(" %v", l.Rate)
	}
	if l.Activation != "" {
		s += " " + l.Activation
	}
	return s
}
