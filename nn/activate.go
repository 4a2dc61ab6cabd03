package nn

import (
	"math"
	"math/rand/v2"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Activation applies a function to its input, row by row along the last dimension.
type Activation struct {
	plain
	Function string
	Axis     int // that softmax goes along; only the last, which 0 and -1 are too

	bent *Bent

	act     activation
	in, out int // last dimensions
	lead    int
}

// NewActivation makes a layer of one of Activations.
func NewActivation(name, function string) *Activation {
	return &Activation{plain: plain{named{name}}, Function: function}
}

// Bent are the settings of the functions that bend: y = Max above it, x between Threshold and Max, and
// Slope·(x - Threshold) below. Alpha is elu's: Alpha·(eˣ - 1) below 0.
type Bent struct{ Max, Slope, Threshold, Alpha float64 }

// NewReLU makes Keras's layer ReLU, and LeakyReLU, with their settings; without a limit, maximum is +Inf.
func NewReLU(name string, maximum, slope, threshold float64) *Activation {
	return &Activation{plain: plain{named{name}}, Function: "relu", bent: &Bent{Max: maximum, Slope: slope, Threshold: threshold}}
}

// NewELU makes Keras's layer ELU.
func NewELU(name string, alpha float64) *Activation {
	return &Activation{plain: plain{named{name}}, Function: "elu", bent: &Bent{Alpha: alpha}}
}

// Bent gives the settings of a layer that was made by NewReLU or NewELU.
func (a *Activation) Bent() (b Bent, ok bool) {
	if a.bent == nil {
		return b, false
	}
	return *a.bent, true
}

// activation is the function with these settings.
func (b Bent) activation(function string) activation {
	if function == "elu" {
		return activation{
			name: "elu", needsInput: true,
			f: func(x, _ float64) float64 {
				if x > 0 {
					return x
				}
				return b.Alpha * math.Expm1(x)
			},
			df: func(x, _ float64) float64 {
				if x > 0 {
					return 1
				}
				return b.Alpha * math.Exp(x)
			},
		}
	}
	return activation{
		name: "relu", needsInput: true,
		f: func(x, _ float64) float64 {
			switch {
			case x >= b.Max:
				return b.Max
			case x >= b.Threshold && (x > 0 || b.Threshold != 0):
				return x
			}
			return b.Slope * (x - b.Threshold)
		},
		df: func(x, _ float64) float64 {
			switch {
			case x >= b.Max:
				return 0
			case x >= b.Threshold && (x > 0 || b.Threshold != 0):
				return 1
			}
			return b.Slope
		},
	}
}

// Kind is "Activation", or the class of the layer that has the settings.
func (a *Activation) Kind() string {
	switch {
	case a.bent == nil:
		return "Activation"
	case a.Function == "elu":
		return "ELU"
	}
	return "ReLU"
}

// Build looks the function up.
func (a *Activation) Build(in []int, _ *rand.Rand) ([]int, error) {
	const op = "nn.Activation"
	if len(in) == 0 {
		return nil, errs.Errorf(op, errs.Invalid, "layer %q: an activation needs an input of at least one dimension", a.name)
	}
	if a.Axis != 0 && a.Axis != -1 && a.Axis != len(in) {
		return nil, errs.Errorf(op, errs.Unsupported, "layer %q: %s along axis %d of input %v is not known; only along the last", a.name, a.Function, a.Axis, in)
	}
	act, err := activationFor(a.Function)
	if err != nil {
		return nil, errs.Errorf(op, errs.Invalid, "layer %q: %v", a.name, err)
	}
	if a.bent != nil {
		act = a.bent.activation(a.Function)
	}
	out := in
	if act.shape != nil {
		if out, err = act.shape(in); err != nil {
			return nil, errs.Errorf(op, errs.Invalid, "layer %q: %v", a.name, err)
		}
	}
	a.act, a.in, a.out, a.lead = act, in[len(in)-1], out[len(out)-1], size(in[:len(in)-1])
	return out, nil
}

// Forward applies the function.
func (a *Activation) Forward(_ *Context, y, x []float32, rows int) {
	for i := range rows * a.lead {
		a.act.forward(y[i*a.out:(i+1)*a.out], x[i*a.in:(i+1)*a.in])
	}
}

// Backward applies the derivative.
func (a *Activation) Backward(c *Context, dx, dy, x, y []float32, rows int) {
	if dx == nil {
		return
	}
	if c.Fused {
		copy(dx, dy[:rows*a.lead*a.out])
		return
	}
	for i := range rows * a.lead {
		a.act.backward(dx[i*a.in:(i+1)*a.in], dy[i*a.out:(i+1)*a.out], x[i*a.in:(i+1)*a.in], y[i*a.out:(i+1)*a.out])
	}
}

var _ Trainable = (*Activation)(nil)
