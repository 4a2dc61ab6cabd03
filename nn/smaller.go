package nn

import (
	"cmp"
	"math"
	"slices"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn/kernel"
)

// Form is how a Dense layer keeps its kernel to answer with.
type Form = kernel.Form

// The forms.
const (
	Float32  = kernel.Float32
	BFloat16 = kernel.BFloat16
	Int8     = kernel.Int8
)

// Form is the form of the layer's kernel. In a smaller one, the parameter's values are those that the form stands for.
func (d *Dense) Form() Form { return d.form }

// Int8 gives the kernel's whole numbers where Form is Int8.
func (d *Dense) Int8() kernel.Quantised { return d.whole }

// SetInt8 makes the kernel that of whole numbers, in×units of them, each column by its scale.
func (d *Dense) SetInt8(q kernel.Quantised) error {
	if len(q.Values) != d.in*d.Units || len(q.Scale) != d.Units || d.in > kernel.MaxInt8 {
		return errs.Errorf("nn.SetInt8", errs.Invalid, "layer %q: %d whole numbers and %d scales for %d inputs, at most %d, and %d units", d.name, len(q.Values), len(q.Scale), d.in, kernel.MaxInt8, d.Units)
	}
	d.form, d.whole, d.kernel.Value, d.answers = Int8, q, q.Floats(), nil
	return nil
}

// Shrink keeps the kernel in another form from here on: its values are rounded to what the form holds. Int8 leaves a
// layer of more than kernel.MaxInt8 inputs as it is.
func (d *Dense) Shrink(form Form) error {
	const op = "nn.Shrink"
	for i, v := range d.kernel.Value {
		if v-v != 0 {
			return errs.Errorf(op, errs.Invalid, "layer %q: weight %d is %v: such a network cannot be made smaller; train it again with a lower learning rate", d.name, i, v)
		}
	}
	switch {
	case form == BFloat16:
		for i, v := range d.kernel.Value {
			d.kernel.Value[i] = kernel.FromBFloat16(kernel.ToBFloat16(v))
		}
		d.form, d.whole, d.answers = BFloat16, kernel.Quantised{}, nil
	case form == Int8 && d.in <= kernel.MaxInt8:
		q, _ := kernel.Quantise(d.in, d.Units, d.kernel.Value)
		return d.SetInt8(q)
	}
	return nil
}

// Shrink keeps the kernels of all Dense layers in another form.
func (n *Network) Shrink(form Form) error {
	for _, l := range n.Layers {
		if d, ok := l.(*Dense); ok {
			if err := d.Shrink(form); err != nil {
				return err
			}
		}
	}
	return nil
}

// Prune sets the share of all Dense kernels' weights that are smallest in magnitude to zero, each layer's own (Han et
// al., 2015). Answers cost as much as before; the file shrinks.
func (n *Network) Prune(share float64) error {
	if !(share > 0 && share < 1) {
		return errs.Errorf("nn.Prune", errs.Invalid, "a share of %v of the weights cannot be pruned: say more than 0 and less than 1", share)
	}
	for _, l := range n.Layers {
		d, ok := l.(*Dense)
		if !ok {
			continue
		}
		size := make([]float32, len(d.kernel.Value))
		for i, v := range d.kernel.Value {
			size[i] = float32(math.Abs(float64(v)))
		}
		slices.Sort(size)
		limit := size[min(int(share*float64(len(size))), len(size)-1)]
		for i, v := range d.kernel.Value {
			if -limit < v && v < limit {
				d.kernel.Value[i] = 0
			}
		}
		d.form, d.whole, d.answers = Float32, kernel.Quantised{}, nil
	}
	return nil
}

// PruneUnits takes a share of the units out of every Dense layer but the last, and what the next one makes of them, so
// that the network is narrower and faster (Li et al., 2017): those go whose incoming and outgoing weights are smallest,
// by the product of their lengths. Layers whose output passes through anything but activations and Dropout on the way to
// the next Dense layer stay as they are; it gives how many units went.
func (n *Network) PruneUnits(share float64) (gone int, err error) {
	const op = "nn.PruneUnits"
	if !(share > 0 && share < 1) {
		return 0, errs.Errorf(op, errs.Invalid, "a share of %v of the units cannot be pruned: say more than 0 and less than 1", share)
	}
	for i, l := range n.Layers {
		d, ok := l.(*Dense)
		if !ok {
			continue
		}
		next := n.follower(i)
		cut := min(int(share*float64(d.Units)), d.Units-1)
		if next == nil || cut == 0 {
			continue
		}
		keep := d.strongest(next, d.Units-cut)
		d.takeUnits(keep)
		next.takeInputs(keep)
		gone += cut
	}
	if gone == 0 {
		return 0, errs.Errorf(op, errs.Invalid, "no unit of the network can be pruned by a share of %v: it needs a dense layer that another one follows, and enough units", share)
	}
	return gone, n.reshape()
}

// follower is the Dense layer that takes the outputs of layer i one by one, or nil.
func (n *Network) follower(i int) *Dense {
	for _, l := range n.Layers[i+1:] {
		switch l := l.(type) {
		case *Dense:
			return l
		case *Dropout:
		case *Activation:
			if l.act.fwd != nil { // mixes a row's elements
				return nil
			}
		default:
			return nil
		}
	}
	return nil
}

// strongest lists which units to keep, in order.
func (d *Dense) strongest(next *Dense, n int) []int {
	worth, units := make([]float64, d.Units), make([]int, d.Units)
	for j := range d.Units {
		in, out := 0.0, 0.0
		for i := range d.in {
			in += float64(d.kernel.Value[i*d.Units+j]) * float64(d.kernel.Value[i*d.Units+j])
		}
		if d.bias != nil {
			in += float64(d.bias.Value[j]) * float64(d.bias.Value[j])
		}
		for _, v := range next.kernel.Value[j*next.Units : (j+1)*next.Units] {
			out += float64(v) * float64(v)
		}
		worth[j], units[j] = in*out, j
	}
	slices.SortStableFunc(units, func(a, b int) int { return cmp.Compare(worth[b], worth[a]) })
	units = units[:n]
	slices.Sort(units)
	return units
}

// takeUnits keeps these columns.
func (d *Dense) takeUnits(keep []int) {
	value := make([]float32, 0, d.in*len(keep))
	for i := range d.in {
		for _, j := range keep {
			value = append(value, d.kernel.Value[i*d.Units+j])
		}
	}
	if d.bias != nil {
		bias := make([]float32, 0, len(keep))
		for _, j := range keep {
			bias = append(bias, d.bias.Value[j])
		}
		d.bias.Value, d.bias.Shape = bias, []int{len(keep)}
	}
	d.Units = len(keep)
	d.replace(value)
}

// takeInputs keeps these rows.
func (d *Dense) takeInputs(keep []int) {
	value := make([]float32, 0, len(keep)*d.Units)
	for _, i := range keep {
		value = append(value, d.kernel.Value[i*d.Units:(i+1)*d.Units]...)
	}
	d.in = len(keep)
	d.replace(value)
}

func (d *Dense) replace(value []float32) {
	d.kernel.Value, d.kernel.Shape = value, []int{d.in, d.Units}
	d.form, d.whole, d.answers = Float32, kernel.Quantised{}, nil
}

// reshape builds the layers anew for their new widths, with the weights that they have.
func (n *Network) reshape() error {
	fresh := &Network{Name: n.Name, Input: n.Input, Limit: n.Limit, Layers: n.Layers}
	old := n.Params()
	values := make([][]float32, len(old))
	for i, p := range old {
		values[i] = p.Value
	}
	if err := fresh.Build(1); err != nil {
		return err
	}
	for i, p := range fresh.Params() {
		if len(p.Value) != len(values[i]) {
			return errs.Errorf("nn.PruneUnits", errs.Other, "parameter %d has %d values and needs %d", i, len(values[i]), len(p.Value))
		}
		p.Value = values[i]
	}
	n.shapes = fresh.shapes
	return nil
}
