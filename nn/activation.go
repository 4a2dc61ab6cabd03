package nn

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// activation is a function over one row. Most are element by element (f and its derivative); those that mix a row's
// elements have their own forward and backward. x may be y, and dx may be dy.
type activation struct {
	name       string
	f, df      func(x, y float64) float64 // f ignores y; df may use x and y = f(x)
	fwd        func(y, x []float32)
	bwd        func(dx, dy, x, y []float32)
	needsInput bool                          // the derivative cannot be had from y alone
	shape      func(in []int) ([]int, error) // where the output's shape is another
}

func (a activation) forward(y, x []float32) {
	switch {
	case a.fwd != nil:
		a.fwd(y, x)
	case a.name == "linear":
		copy(y, x)
	// What needs no rounding gives the same bits without a way through float64.
	case a.name == "relu" && !a.needsInput: // that of Bent needs it
		for i, v := range x {
			y[i] = max(v, 0)
		}
	case a.name == "relu6":
		for i, v := range x {
			y[i] = min(max(v, 0), 6)
		}
	case a.name == "hard_tanh":
		for i, v := range x {
			y[i] = min(max(v, -1), 1)
		}
	default:
		for i, v := range x {
			y[i] = float32(a.f(float64(v), 0))
		}
	}
}

func (a activation) backward(dx, dy, x, y []float32) {
	if a.bwd != nil {
		a.bwd(dx, dy, x, y)
		return
	}
	for i, d := range dy {
		dx[i] = d * float32(a.df(float64(x[i]), float64(y[i])))
	}
}

// Activations lists the names that NewActivation and DenseConfig take: all of Keras 3's.
func Activations() []string {
	var names []string
	for _, a := range activationTable() {
		names = append(names, a.name)
	}
	slices.Sort(names)
	return names
}

func activationFor(name string) (activation, error) {
	if name == "swish" {
		name = "silu"
	}
	if name == "hard_swish" {
		name = "hard_silu"
	}
	for _, a := range activationTable() {
		if a.name == name {
			return a, nil
		}
	}
	return activation{}, fmt.Errorf("activation %q is not known; there are %v", name, Activations())
}

func sigmoid(x float64) float64 {
	if x >= 0 {
		return 1 / (1 + math.Exp(-x))
	}
	e := math.Exp(x)
	return e / (1 + e)
}

func softplus(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

func step(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

func clamp(x, lo, hi float64) float64 { return math.Min(math.Max(x, lo), hi) }

const (
	seluScale = 1.0507009873554804934193349852946
	seluAlpha = 1.6732632423543772848170429916717
	geluRoot  = 0.7978845608028654 // √(2/π)
)

// activationTable holds the formulas of keras.activations (Keras 3.15), with its default arguments.
func activationTable() []activation {
	type fn = func(x, y float64) float64
	of := func(name string, input bool, f, df fn) activation {
		return activation{name: name, f: f, df: df, needsInput: input}
	}
	return []activation{
		of("linear", false, func(x, _ float64) float64 { return x }, func(_, _ float64) float64 { return 1 }),
		of("relu", false, func(x, _ float64) float64 { return math.Max(x, 0) }, func(_, y float64) float64 { return step(y > 0) }),
		of("relu6", false, func(x, _ float64) float64 { return clamp(x, 0, 6) }, func(_, y float64) float64 { return step(y > 0 && y < 6) }),
		of("leaky_relu", false, func(x, _ float64) float64 { return math.Max(x, 0.2*x) }, func(_, y float64) float64 { return cmp.Or(step(y > 0), 0.2) }),
		of("elu", true, func(x, _ float64) float64 {
			if x > 0 {
				return x
			}
			return math.Expm1(x)
		}, func(x, _ float64) float64 { return math.Exp(math.Min(x, 0)) }),
		of("celu", true, func(x, _ float64) float64 {
			return math.Max(x, 0) + math.Min(0, math.Expm1(x))
		}, func(x, _ float64) float64 { return math.Exp(math.Min(x, 0)) }),
		of("selu", true, func(x, _ float64) float64 {
			if x > 0 {
				return seluScale * x
			}
			return seluScale * seluAlpha * math.Expm1(x)
		}, func(x, _ float64) float64 {
			if x >= 0 {
				return seluScale
			}
			return seluScale * seluAlpha * math.Exp(x)
		}),
		// Keras's default is the exact form; "gelu_tanh" stands for approximate=True.
		of("gelu", true, func(x, _ float64) float64 { return x / 2 * (1 + math.Erf(x/math.Sqrt2)) },
			func(x, _ float64) float64 {
				return (1+math.Erf(x/math.Sqrt2))/2 + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
			}),
		of("gelu_tanh", true, func(x, _ float64) float64 { return x / 2 * (1 + math.Tanh(geluRoot*(x+0.044715*x*x*x))) },
			func(x, _ float64) float64 {
				t := math.Tanh(geluRoot * (x + 0.044715*x*x*x))
				return (1+t)/2 + x/2*(1-t*t)*geluRoot*(1+3*0.044715*x*x)
			}),
		of("sigmoid", false, func(x, _ float64) float64 { return sigmoid(x) }, func(_, y float64) float64 { return y * (1 - y) }),
		of("log_sigmoid", true, func(x, _ float64) float64 { return -softplus(-x) }, func(x, _ float64) float64 { return sigmoid(-x) }),
		of("hard_sigmoid", false, func(x, _ float64) float64 { return clamp(x/6+0.5, 0, 1) }, func(_, y float64) float64 { return step(y > 0 && y < 1) / 6 }),
		of("tanh", false, func(x, _ float64) float64 { return math.Tanh(x) }, func(_, y float64) float64 { return 1 - y*y }),
		of("hard_tanh", true, func(x, _ float64) float64 { return clamp(x, -1, 1) }, func(x, _ float64) float64 { return step(x >= -1 && x <= 1) }),
		of("tanh_shrink", true, func(x, _ float64) float64 { return x - math.Tanh(x) }, func(x, _ float64) float64 { t := math.Tanh(x); return t * t }),
		of("soft_shrink", false, func(x, _ float64) float64 { return math.Copysign(math.Max(math.Abs(x)-0.5, 0), x) },
			func(_, y float64) float64 { return step(y != 0) }),
		of("hard_shrink", false, func(x, _ float64) float64 { return x * step(math.Abs(x) > 0.5) }, func(_, y float64) float64 { return step(y != 0) }),
		of("threshold", true, func(x, _ float64) float64 { return x * step(x > 0) }, func(x, _ float64) float64 { return step(x > 0) }),
		of("softplus", true, func(x, _ float64) float64 { return softplus(x) }, func(x, _ float64) float64 { return sigmoid(x) }),
		of("softsign", false, func(x, _ float64) float64 { return x / (1 + math.Abs(x)) }, func(_, y float64) float64 { d := 1 - math.Abs(y); return d * d }),
		of("silu", true, func(x, _ float64) float64 { return x * sigmoid(x) }, func(x, _ float64) float64 { s := sigmoid(x); return s * (1 + x*(1-s)) }),
		of("hard_silu", true, func(x, _ float64) float64 { return x * clamp(x/6+0.5, 0, 1) }, func(x, _ float64) float64 {
			return clamp(x/6+0.5, 0, 1) + x/6*step(x > -3 && x < 3)
		}),
		of("mish", true, func(x, _ float64) float64 { return x * math.Tanh(softplus(x)) }, func(x, _ float64) float64 {
			t := math.Tanh(softplus(x))
			return t + x*(1-t*t)*sigmoid(x)
		}),
		of("exponential", false, func(x, _ float64) float64 { return math.Exp(x) }, func(_, y float64) float64 { return y }),
		of("squareplus", true, func(x, _ float64) float64 { return (x + math.Sqrt(x*x+4)) / 2 }, func(x, _ float64) float64 { return (1 + x/math.Sqrt(x*x+4)) / 2 }),
		of("sparse_plus", true, func(x, _ float64) float64 {
			switch {
			case x <= -1:
				return 0
			case x < 1:
				return (x + 1) * (x + 1) / 4
			}
			return x
		}, func(x, _ float64) float64 { return clamp((x+1)/2, 0, 1) }),
		of("sparse_sigmoid", false, func(x, _ float64) float64 { return clamp((x+1)/2, 0, 1) }, func(_, y float64) float64 { return step(y > 0 && y < 1) / 2 }),
		{name: "softmax", fwd: softmax, bwd: softmaxBack},
		{name: "log_softmax", fwd: logSoftmax, bwd: logSoftmaxBack},
		{name: "sparsemax", fwd: sparsemax, bwd: sparsemaxBack, needsInput: true},
		{name: "glu", fwd: glu, bwd: gluBack, needsInput: true, shape: gluShape},
	}
}

func softmax(y, x []float32) {
	top := slices.Max(x)
	sum := 0.0
	for i, v := range x {
		e := math.Exp(float64(v - top))
		y[i] = float32(e)
		sum += e
	}
	scale := float32(1 / sum)
	for i := range y {
		y[i] *= scale
	}
}

func softmaxBack(dx, dy, _, y []float32) {
	dot := float32(0)
	for i, d := range dy {
		dot += d * y[i]
	}
	for i, d := range dy {
		dx[i] = y[i] * (d - dot)
	}
}

func logSoftmax(y, x []float32) {
	top := slices.Max(x)
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(float64(v - top))
	}
	shift := float64(top) + math.Log(sum)
	for i, v := range x {
		y[i] = float32(float64(v) - shift)
	}
}

func logSoftmaxBack(dx, dy, _, y []float32) {
	sum := float32(0)
	for _, d := range dy {
		sum += d
	}
	for i, d := range dy {
		dx[i] = d - sum*float32(math.Exp(float64(y[i])))
	}
}

// sparsemax is Keras's formula: with the largest k elements supported, the threshold is (Σ of their cumulative sums - 1)/k.
// (Martins and Astudillo, 2016, have the last cumulative sum there, so that the answers add up to 1. A network that was
// taught with the one must answer with the one.)
func sparsemax(y, x []float32) {
	_, _, tau := sparseSupport(x)
	for i, v := range x {
		y[i] = float32(math.Max(float64(v)-tau, 0))
	}
}

// sparseSupport orders a row from the largest element on and gives how many are supported, and the threshold.
func sparseSupport(x []float32) (order []int, k int, tau float64) {
	order = make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(x[b], x[a]) })
	cumulative, total := 0.0, 0.0
	for _, i := range order {
		v := float64(x[i])
		if v-(cumulative+v-1)/float64(k+1) <= 0 {
			break
		}
		cumulative += v
		total += cumulative
		k++
	}
	return order, k, (total - 1) / float64(max(k, 1))
}

func sparsemaxBack(dx, dy, x, _ []float32) {
	order, k, tau := sparseSupport(x)
	sum := float32(0)
	for i, v := range x {
		if float64(v) < tau {
			dx[i] = 0
			continue
		}
		dx[i] = dy[i]
		sum += dx[i]
	}
	for rank, i := range order[:k] {
		dx[i] -= sum * float32(k-rank) / float32(k)
	}
}

func glu(y, x []float32) {
	n := len(x) / 2
	for i := range n {
		y[i] = x[i] * float32(sigmoid(float64(x[n+i])))
	}
}

func gluBack(dx, dy, x, _ []float32) {
	n := len(x) / 2
	for i := range n {
		s := float32(sigmoid(float64(x[n+i])))
		dx[i], dx[n+i] = dy[i]*s, dy[i]*x[i]*s*(1-s)
	}
}

func gluShape(in []int) ([]int, error) {
	if in[len(in)-1]%2 != 0 {
		return nil, fmt.Errorf("activation glu halves the last dimension, which is %d: it must be even", in[len(in)-1])
	}
	out := slices.Clone(in)
	out[len(out)-1] /= 2
	return out, nil
}
