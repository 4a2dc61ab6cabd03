package train

import (
	"fmt"
	"math"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn"
)

// Dataset is what a network learns from or is measured on. Inputs are bytes or floats and become float32 as a batch is
// gathered; targets are class numbers or values.
type Dataset struct {
	Rows    int
	Shape   []int // of one input
	Bytes   []byte
	Floats  []float32 // instead of Bytes
	Classes int       // 0: Values are the targets
	Labels  []byte    // class numbers
	// ClassNames are the classes' words where the source had words.
	ClassNames []string
	Values     []float32 // Outputs a row
	Outputs    int
}

// Validate checks that the parts fit together.
func (d *Dataset) Validate() error {
	const op = "train.Dataset"
	n := d.Rows
	for _, s := range d.Shape {
		n *= s
	}
	if d.Rows < 1 || n < 1 || len(d.Bytes)+len(d.Floats) != n {
		return errs.Errorf(op, errs.Invalid, "a data set of %d rows of shape %v needs %d inputs, has %d", d.Rows, d.Shape, n, len(d.Bytes)+len(d.Floats))
	}
	if d.Classes == 0 {
		if d.Outputs < 1 || len(d.Values) != d.Rows*d.Outputs {
			return errs.Errorf(op, errs.Invalid, "%d rows need %d targets of %d values, there are %d", d.Rows, d.Rows, d.Outputs, len(d.Values))
		}
		return nil
	}
	if len(d.Labels) != d.Rows {
		return errs.Errorf(op, errs.Invalid, "%d rows need as many labels, there are %d", d.Rows, len(d.Labels))
	}
	for i, l := range d.Labels {
		if int(l) >= d.Classes {
			return errs.Errorf(op, errs.Invalid, "label %d is class %d of %d", i, l, d.Classes)
		}
	}
	return nil
}

// Preprocess is what happens to the inputs first.
//
// Scale is a unit that whoever asks the network knows too, as in x/255 for pixels: it is applied to the data and stays
// outside the network. What Standardise and Normalise measure, on the training part alone, nobody else knows: it becomes
// the network's first layer, so that a served network takes inputs as the data set has them, divided by Scale. (See
// docs/adr/0004-preprocessing.md.)
type Preprocess struct {
	Scale       float64 `json:"scale,omitempty" yaml:"scale,omitempty"`             // divide by this
	Standardise bool    `json:"standardise,omitempty" yaml:"standardise,omitempty"` // mean 0, deviation 1, by input
	Normalise   bool    `json:"normalise,omitempty" yaml:"normalise,omitempty"`     // 0 to 1, by input
}

func (p Preprocess) validate() error {
	if !(p.Scale >= 0) || math.IsInf(p.Scale, 0) {
		return fmt.Errorf("preprocess.scale is %v: it must be above 0", p.Scale)
	}
	if p.Standardise && p.Normalise {
		return fmt.Errorf("preprocess: choose standardise or normalise, not both")
	}
	return nil
}

// scale is what inputs are divided by.
func (p Preprocess) scale() float32 {
	if p.Scale == 0 {
		return 1
	}
	return float32(p.Scale)
}

// layer measures the scaled inputs of d and gives the layer that takes them to their range, or nil.
func (p Preprocess) layer(d *Dataset) nn.Layer {
	if !p.Standardise && !p.Normalise {
		return nil
	}
	width := d.Shape[len(d.Shape)-1]
	mean, variance := make([]float32, width), make([]float32, width)
	for i := range width {
		m, v := p.measure(d, width, i)
		if v == 0 { // a constant input becomes 0, and what differs from it later stays in proportion
			v = 1
		}
		mean[i], variance[i] = float32(m), float32(v)
	}
	return nn.NewStandardization("normalization", -1, mean, variance)
}

// measure gives what to take off and the square of what to divide by.
func (p Preprocess) measure(d *Dataset, width, column int) (mean, variance float64) {
	scale := p.scale()
	at := func(i int) float64 { return float64(d.input(i) / scale) }
	lo, hi, sum := math.Inf(1), math.Inf(-1), 0.0
	size := len(d.Bytes) + len(d.Floats)
	for i := column; i < size; i += width {
		v := at(i)
		lo, hi, sum = math.Min(lo, v), math.Max(hi, v), sum+v
	}
	if p.Normalise {
		return lo, (hi - lo) * (hi - lo)
	}
	n := float64(size / width)
	mean = sum / n
	for i := column; i < size; i += width {
		variance += (at(i) - mean) * (at(i) - mean)
	}
	return mean, variance / n
}

func (d *Dataset) input(i int) float32 {
	if d.Floats != nil {
		return d.Floats[i]
	}
	return float32(d.Bytes[i])
}

// Sample gives up to n rows, spread over all, as the trained network takes them.
func (d *Dataset) Sample(p Preprocess, n int) (x []float32, rows int) {
	size := 1
	for _, s := range d.Shape {
		size *= s
	}
	rows = min(n, d.Rows)
	x = make([]float32, 0, rows*size)
	for i := range rows {
		from := i * d.Rows / rows * size
		for at := range size {
			x = append(x, d.input(from+at)/p.scale())
		}
	}
	return x, rows
}

// FromMNIST makes the two parts from the four arrays of the MNIST files, by their dimensions.
func FromMNIST(images, labels []byte, dims []int) (*Dataset, error) {
	if len(dims) < 2 {
		return nil, errs.Errorf("train.FromMNIST", errs.Invalid, "images need at least two dimensions, have %v", dims)
	}
	size := 1
	for _, n := range dims[1:] {
		size *= n
	}
	classes := 0
	for _, l := range labels {
		classes = max(classes, int(l)+1)
	}
	d := &Dataset{Rows: dims[0], Shape: []int{size}, Bytes: images, Labels: labels, Classes: max(classes, 2)}
	return d, d.Validate()
}
