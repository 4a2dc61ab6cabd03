package savedmodel

import (
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn/graph"
)

// This file says how each operation of package graph is written in TensorFlow's.

// same are those that TensorFlow has too, by its name.
func same() map[string]string {
	return map[string]string{
		"Identity": "Identity", "Add": "AddV2", "Sub": "Sub", "Mul": "Mul", "Div": "RealDiv", "Min": "Minimum",
		"Relu": "Relu", "Selu": "Selu", "Celu": "Elu", // celu of 1, the only one there is, is elu
		"Erf": "Erf", "Tanh": "Tanh", "Sigmoid": "Sigmoid", "Neg": "Neg", "Softplus": "Softplus", "Softsign": "Softsign",
		"Exp": "Exp", "Sqrt": "Sqrt", "Softmax": "Softmax", "LogSoftmax": "LogSoftmax",
		"GreaterOrEqual": "GreaterEqual", "Greater": "Greater", "Where": "SelectV2",
	}
}

func (t *writer) node(n graph.Node) error {
	in := make([]string, 0, len(n.In))
	for _, v := range n.In {
		in = append(in, t.input(v))
	}
	want := n.Out[0]
	give := func(nodes ...string) {
		for i, name := range nodes {
			t.names[n.Out[i]] = name
		}
	}
	if operation, ok := same()[n.Op]; ok {
		give(t.float(operation, want, in))
		return nil
	}
	switch n.Op {
	case "Gemm":
		out := t.float("MatMul", want, in[:2], boolAttr("transpose_a", false), boolAttr("transpose_b", false))
		if len(in) == 3 {
			out = t.float("BiasAdd", want+"/bias", []string{out, in[2]})
		}
		give(out)
	case "MatMul":
		give(t.float("BatchMatMulV2", want, in))
	case "Flatten":
		shape := t.whole(want+"/shape", []int{2}, -1, n.Attr("width").Whole)
		give(t.float("Reshape", want, []string{in[0], shape}, typeAttr("Tshape", typeInt32)))
	case "LeakyRelu":
		give(t.float("LeakyRelu", want, in, floatAttr("alpha", n.Attr("alpha").Float)))
	case "Elu":
		give(t.elu(want, in[0], n.Attr("alpha").Float))
	case "Clip":
		give(t.clip(want, in[0], in[1], in[2]))
	case "HardSigmoid":
		x := t.float("Mul", want+"/scaled", []string{in[0], t.number(want, n.Attr("alpha").Float)})
		x = t.float("AddV2", want+"/shifted", []string{x, t.number(want, n.Attr("beta").Float)})
		give(t.clip(want, x, t.number(want, 0), t.number(want, 1)))
	case "Shrink":
		give(t.shrink(want, in[0], n.Attr("lambd").Float, n.Attr("bias").Float))
	case "Split":
		axis := t.whole(want+"/axis", nil, -1)
		out := t.op("Split", want, []string{axis, in[0]}, typeAttr("T", typeFloat), intAttr("num_split", 2))
		give(out, out+":1")
	case "Cast":
		give(t.op("Cast", want, in, typeAttr("SrcT", typeBool), typeAttr("DstT", typeFloat), boolAttr("Truncate", false)))
	case "TopK": // takes its number as one, not as a list of one
		k := t.whole(want+"/k", nil, t.consts[n.In[1]].Whole[0])
		out := t.float("TopKV2", want, []string{in[0], k}, boolAttr("sorted", true))
		give(out, out+":1")
	case "CumSum":
		give(t.float("Cumsum", want, in, boolAttr("exclusive", false), boolAttr("reverse", false), typeAttr("Tidx", typeInt32)))
	case "ReduceSum":
		give(t.reduce("Sum", want, in[0], in[1]))
	case "LayerNormalization":
		give(t.layerNormalization(want, in, n.Attr("epsilon").Float))
	default:
		return errs.Errorf("savedmodel.Write", errs.Unsupported, "operation %s has no form in TensorFlow", n.Op)
	}
	return nil
}

func (t *writer) clip(want, x, lo, hi string) string {
	x = t.float("Maximum", want+"/above", []string{x, lo})
	return t.float("Minimum", want, []string{x, hi})
}

// elu with another alpha than TensorFlow's 1 is relu(x) + alpha·elu(min(x, 0)).
func (t *writer) elu(want, x string, alpha float64) string {
	if alpha == 1 {
		return t.float("Elu", want, []string{x})
	}
	below := t.float("Minimum", want+"/below", []string{x, t.number(want, 0)})
	below = t.float("Elu", want+"/elu", []string{below})
	below = t.float("Mul", want+"/scaled", []string{below, t.number(want, alpha)})
	return t.float("AddV2", want, []string{t.float("Relu", want+"/relu", []string{x}), below})
}

// shrink is x - bias from lambd on, x + bias below -lambd, and 0 between.
func (t *writer) shrink(want, x string, lambd, bias float64) string {
	if bias == lambd {
		within := t.clip(want+"/within", x, t.number(want, -lambd), t.number(want, lambd))
		return t.float("Sub", want, []string{x, within})
	}
	size := t.float("Abs", want+"/size", []string{x})
	beyond := t.float("Greater", want+"/beyond", []string{size, t.number(want, lambd)})
	return t.float("SelectV2", want, []string{beyond, x, t.number(want, 0)})
}

func (t *writer) reduce(operation, want, x, axes string) string {
	return t.float(operation, want, []string{x, axes}, boolAttr("keep_dims", true), typeAttr("Tidx", typeInt32))
}

func (t *writer) layerNormalization(want string, in []string, epsilon float64) string {
	axes := t.whole(want+"/axes", []int{1}, -1)
	mean := t.reduce("Mean", want+"/mean", in[0], axes)
	x := t.float("Sub", want+"/centred", []string{in[0], mean})
	variance := t.reduce("Mean", want+"/variance", t.float("Square", want+"/square", []string{x}), axes)
	variance = t.float("AddV2", want+"/kept", []string{variance, t.number(want, epsilon)})
	x = t.float("Mul", want+"/normal", []string{x, t.float("Rsqrt", want+"/inverse", []string{variance})})
	x = t.float("Mul", want+"/scaled", []string{x, in[1]})
	if len(in) == 3 {
		x = t.float("AddV2", want, []string{x, in[2]})
	}
	return x
}
