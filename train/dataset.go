package train

import (
	"fmt"
	"math"

	"github.com/lineshaft/lineshaft/internal/errs"
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
	Values  []float32 // Outputs a row
	Outputs int
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

// Preprocess is what happens to the inputs first. What it measures, it measures on the training part alone.
type Preprocess struct {
	Scale       float64 `json:"scale,omitempty" yaml:"scale,omitempty"`             // divide by this
	Standardise bool    `json:"standardise,omitempty" yaml:"standardise,omitempty"` // mean 0, deviation 1, by input
	Normalise   bool    `json:"normalise,omitempty" yaml:"normalise,omitempty"`     // 0 to 1, by input
}

// fit gives, for each input, what to multiply by and add: x·mul + add.
func (p Preprocess) fit(d *Dataset, width int) (mul, add []float32, err error) {
	scale := 1.0
	switch {
	case p.Scale < 0 || math.IsNaN(p.Scale) || math.IsInf(p.Scale, 0):
		return nil, nil, fmt.Errorf("preprocess.scale is %v: it must be above 0", p.Scale)
	case p.Scale > 0:
		scale = 1 / p.Scale
	}
	if p.Standardise && p.Normalise {
		return nil, nil, fmt.Errorf("preprocess: choose standardise or normalise, not both")
	}
	mul, add = make([]float32, width), make([]float32, width)
	for i := range width {
		m, a := scale, 0.0
		if p.Standardise || p.Normalise {
			m, a = p.measure(d, width, i, scale)
		}
		mul[i], add[i] = float32(m), float32(a)
	}
	return mul, add, nil
}

func (p Preprocess) measure(d *Dataset, width, column int, scale float64) (mul, add float64) {
	lo, hi, sum, squares := math.Inf(1), math.Inf(-1), 0.0, 0.0
	for r := range d.Rows {
		v := d.input(r*width+column) * scale
		lo, hi = math.Min(lo, v), math.Max(hi, v)
		sum += v
		squares += v * v
	}
	n := float64(d.Rows)
	mean := sum / n
	if p.Normalise {
		if hi == lo {
			return scale, -lo
		}
		return scale / (hi - lo), -lo / (hi - lo)
	}
	deviation := math.Sqrt(math.Max(squares/n-mean*mean, 0))
	if deviation == 0 {
		deviation = 1
	}
	return scale / deviation, -mean / deviation
}

func (d *Dataset) input(i int) float64 {
	if d.Floats != nil {
		return float64(d.Floats[i])
	}
	return float64(d.Bytes[i])
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
