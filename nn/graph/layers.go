package graph

import (
	"math"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn"
)

// This file says how each layer and each activation is written in operators.

// add writes one layer, whose input has that shape without the batch.
func (g *builder) add(l nn.Layer, in []int) error {
	switch l := l.(type) {
	case *nn.Dense:
		g.dense(l, in)
		return g.activation(l.Config.Activation, l.Units)
	case *nn.Activation:
		if b, ok := l.Bent(); ok {
			g.bent(l.Function, b)
			return nil
		}
		return g.activation(l.Function, in[len(in)-1])
	case *nn.Dropout: // acts in training only
	case *nn.Flatten:
		g.chain("Flatten", whole("axis", 1), whole("width", int64(product(in))))
	case *nn.Rescaling:
		g.with("Mul", g.number(l.Scale))
		g.with("Add", g.number(l.Offset))
	case *nn.Standardization:
		g.standardization(l)
	case *nn.Normalization:
		g.normalization(l, in[len(in)-1])
	default:
		return errs.Errorf("graph.Of", errs.Unsupported, "layer %q is of kind %s, which has no form in other frameworks", l.Name(), l.Kind())
	}
	return nil
}

func (g *builder) dense(l *nn.Dense, in []int) {
	params := l.Params()
	width := in[len(in)-1]
	kernel := g.floats("kernel", params[0].Value, width, l.Units)
	operands := []string{g.at, kernel}
	if !l.Config.NoBias {
		operands = append(operands, g.floats("bias", params[1].Value, l.Units))
	}
	if len(in) == 1 {
		g.at = g.value("Gemm", operands)
		return
	}
	g.with("MatMul", kernel)
	if len(operands) == 3 {
		g.with("Add", operands[2])
	}
}

// standardization is (x - mean) / deviation, with deviations kept from zero as Keras keeps them.
func (g *builder) standardization(l *nn.Standardization) {
	const keep = 1e-7
	deviation := make([]float32, len(l.Variance))
	for i, v := range l.Variance {
		deviation[i] = max(float32(math.Sqrt(float64(v))), keep)
	}
	g.with("Sub", g.floats("mean", l.Mean, len(l.Mean)))
	g.with("Div", g.floats("deviation", deviation, len(deviation)))
}

// normalization of a batch has fixed numbers when it answers, and is a product and a sum; that of a layer has an operator.
func (g *builder) normalization(l *nn.Normalization, n int) {
	params := map[string][]float32{}
	for _, p := range l.Params() {
		params[p.Name] = p.Value
	}
	if !l.Batch {
		scale := params["gamma"]
		if scale == nil {
			scale = make([]float32, n)
			for i := range scale {
				scale[i] = 1
			}
		}
		operands := []string{g.at, g.floats("gamma", scale, n)}
		if beta := params["beta"]; beta != nil {
			operands = append(operands, g.floats("beta", beta, n))
		}
		g.at = g.value("LayerNormalization", operands, whole("axis", -1), real("epsilon", l.Config.Epsilon))
		return
	}
	scale, shift := make([]float32, n), make([]float32, n)
	for i := range n {
		s := 1 / math.Sqrt(float64(params["moving_variance"][i])+l.Config.Epsilon)
		if gamma := params["gamma"]; gamma != nil {
			s *= float64(gamma[i])
		}
		t := -float64(params["moving_mean"][i]) * s
		if beta := params["beta"]; beta != nil {
			t += float64(beta[i])
		}
		scale[i], shift[i] = float32(s), float32(t)
	}
	g.with("Mul", g.floats("scale", scale, n))
	g.with("Add", g.floats("shift", shift, n))
}

// bent is a function of the layers ReLU, LeakyReLU and ELU, with their settings.
func (g *builder) bent(function string, b nn.Bent) {
	if function == "elu" {
		g.chain("Elu", real("alpha", b.Alpha))
		return
	}
	if b.Threshold != 0 { // x from the threshold on, below it slope·(x - threshold)
		x := g.at
		threshold := g.number(b.Threshold)
		g.with("Sub", threshold)
		g.with("Mul", g.number(b.Slope))
		above := g.value("GreaterOrEqual", []string{x, threshold})
		g.at = g.value("Where", []string{above, x, g.at})
		if !math.IsInf(b.Max, 1) {
			most := g.number(b.Max)
			over := g.value("GreaterOrEqual", []string{x, most})
			g.at = g.value("Where", []string{over, most, g.at})
		}
		return
	}
	if b.Slope == 0 {
		g.chain("Relu")
	} else {
		g.chain("LeakyRelu", real("alpha", b.Slope))
	}
	if !math.IsInf(b.Max, 1) {
		g.with("Min", g.number(b.Max))
	}
}

// activation writes one of nn.Activations, along a last dimension of width.
func (g *builder) activation(name string, width int) error {
	x := g.at
	switch name {
	case "", "linear":
	case "relu", "threshold":
		g.chain("Relu")
	case "relu6":
		g.clip(0, 6)
	case "leaky_relu":
		g.chain("LeakyRelu", real("alpha", 0.2))
	case "elu":
		g.chain("Elu", real("alpha", 1))
	case "celu":
		g.chain("Celu", real("alpha", 1))
	case "selu":
		g.chain("Selu", real("alpha", 1.6732632423543772848170429916717), real("gamma", 1.0507009873554804934193349852946))
	case "gelu": // x/2·(1 + erf(x/√2))
		g.with("Div", g.number(math.Sqrt2))
		g.chain("Erf")
		g.half(x)
	case "gelu_tanh": // x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))
		g.with("Mul", x)
		g.with("Mul", g.number(0.044715))
		g.with("Add", g.number(1))
		g.with("Mul", x)
		g.with("Mul", g.number(math.Sqrt(2/math.Pi)))
		g.chain("Tanh")
		g.half(x)
	case "sigmoid":
		g.chain("Sigmoid")
	case "log_sigmoid":
		g.chain("Neg")
		g.chain("Softplus")
		g.chain("Neg")
	case "hard_sigmoid":
		g.hardSigmoid()
	case "tanh":
		g.chain("Tanh")
	case "hard_tanh":
		g.clip(-1, 1)
	case "tanh_shrink":
		g.chain("Tanh")
		g.at = g.value("Sub", []string{x, g.at})
	case "soft_shrink":
		g.chain("Shrink", real("lambd", 0.5), real("bias", 0.5))
	case "hard_shrink":
		g.chain("Shrink", real("lambd", 0.5), real("bias", 0))
	case "softplus":
		g.chain("Softplus")
	case "softsign":
		g.chain("Softsign")
	case "silu", "swish":
		g.chain("Sigmoid")
		g.with("Mul", x)
	case "hard_silu", "hard_swish":
		g.hardSigmoid()
		g.with("Mul", x)
	case "mish":
		g.chain("Softplus")
		g.chain("Tanh")
		g.with("Mul", x)
	case "exponential":
		g.chain("Exp")
	case "squareplus": // (x + √(x² + 4))/2
		g.with("Mul", x)
		g.with("Add", g.number(4))
		g.chain("Sqrt")
		g.with("Add", x)
		g.with("Mul", g.number(0.5))
	case "sparse_plus": // ((x between -1 and 1) + 1)²/4 + the rest above 1
		g.clip(-1, 1)
		g.with("Add", g.number(1))
		g.with("Mul", g.at)
		g.with("Mul", g.number(0.25))
		within := g.at
		g.at = g.value("Sub", []string{x, g.number(1)})
		g.chain("Relu")
		g.with("Add", within)
	case "sparse_sigmoid":
		g.with("Add", g.number(1))
		g.with("Mul", g.number(0.5))
		g.clip(0, 1)
	case "softmax":
		g.chain("Softmax", whole("axis", -1))
	case "log_softmax":
		g.chain("LogSoftmax", whole("axis", -1))
	case "glu":
		parts := g.node("Split", 2, []string{x}, whole("axis", -1))
		g.at = g.value("Sigmoid", parts[1:])
		g.with("Mul", parts[0])
	case "sparsemax":
		g.sparsemax(width)
	default:
		return errs.Errorf("graph.Of", errs.Unsupported, "layer %q: activation %q has no form in other frameworks", g.layer, name)
	}
	return nil
}

func (g *builder) clip(lo, hi float64) {
	g.at = g.value("Clip", []string{g.at, g.number(lo), g.number(hi)})
}

func (g *builder) hardSigmoid() {
	g.chain("HardSigmoid", real("alpha", 1.0/6), real("beta", 0.5))
}

// half goes on with x/2·(1 + at).
func (g *builder) half(x string) {
	g.with("Add", g.number(1))
	g.with("Mul", x)
	g.with("Mul", g.number(0.5))
}

// sparsemax is nn's, which is Keras's: with the k largest elements supported, the threshold is (Σ of their cumulative
// sums - 1)/k.
func (g *builder) sparsemax(width int) {
	x := g.at
	rank := make([]float32, width)
	for i := range rank {
		rank[i] = float32(i + 1)
	}
	axis, axes := g.integers(nil, -1), g.integers([]int{1}, -1)
	ordered := g.node("TopK", 2, []string{x, g.integers([]int{1}, int64(width))}, whole("axis", -1))[0]
	sums := g.value("CumSum", []string{ordered, axis})
	g.at = g.value("Sub", []string{sums, g.number(1)})
	g.with("Div", g.floats("rank", rank, width))
	supported := g.value("Greater", []string{ordered, g.at})
	g.at = g.value("Cast", []string{supported}, whole("to", 1))
	count := g.value("ReduceSum", []string{g.at, axes}, whole("keepdims", 1))
	g.with("Mul", sums)
	g.at = g.value("ReduceSum", []string{g.at, axes}, whole("keepdims", 1))
	g.with("Sub", g.number(1))
	g.with("Div", count)
	g.at = g.value("Sub", []string{x, g.at})
	g.chain("Relu")
}
