package savedmodel

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/lineshaft/lineshaft/nn"
)

// This file finds a chain of layers in a graph: it goes from the output back to the input, through the functions that are
// called on the way, and recognises what each layer of nn is written as, by Keras or by this package.

const (
	maxSteps = 20_000 // of following values: what hostile graphs can cost
	maxDepth = 64     // of functions that call each other
)

// scope is where a name means something: the graph, or a call of a function.
type scope struct {
	nodes map[string]*operation
	fn    *function
	given map[string]value // what a call gave to the function's arguments
	depth int
}

// value is what gives a tensor: an output of an operation.
type value struct {
	in     *scope
	op     *operation
	output string // "0" in the graph, "product:0" in a function
}

// find follows a name to the operation behind it, through calls of functions and through what changes nothing.
func (g *reader) find(s *scope, ref string) (value, error) {
	for {
		if g.steps++; g.steps > maxSteps {
			return value{}, unsupported("the graph is too large to be followed")
		}
		name, output, _ := strings.Cut(ref, ":")
		o := s.nodes[name]
		if o == nil {
			v, ok := s.given[name]
			if !ok {
				return value{}, bad("the graph has no node %q", name)
			}
			return v, nil
		}
		switch o.op {
		case "Identity", "StopGradient", "PreventGradient", "EnsureShape", "Snapshot":
		case "Cast":
			if o.attrs["SrcT"].number != o.attrs["DstT"].number {
				return value{s, o, output}, nil
			}
		case "IdentityN":
			k, ok := index(output)
			if !ok || k >= len(o.in) {
				return value{}, bad("the node %q has no output %q", name, output)
			}
			ref = o.in[k]
			continue
		case "PartitionedCall", "StatefulPartitionedCall":
			inner, result, err := g.enter(s, o, output)
			if err != nil {
				return value{}, err
			}
			s, ref = inner, result
			continue
		default:
			return value{s, o, output}, nil
		}
		if len(o.in) == 0 {
			return value{}, bad("the node %q takes nothing", name)
		}
		ref = o.in[0]
	}
}

// enter goes into a function that is called; result is what gives the call's output there.
func (g *reader) enter(s *scope, o *operation, output string) (inner *scope, result string, err error) {
	f := g.functions[o.attrs["f"].function]
	if f == nil {
		return nil, "", bad("the graph has no function %q", o.attrs["f"].function)
	}
	if s.depth >= maxDepth {
		return nil, "", unsupported("functions call each other more than %d deep", maxDepth)
	}
	inner = &scope{nodes: f.nodes, fn: f, given: map[string]value{}, depth: s.depth + 1}
	for i, arg := range f.args {
		if i >= len(o.in) {
			return nil, "", bad("the call %q gives too little to its function", o.name)
		}
		if inner.given[arg], err = g.find(s, o.in[i]); err != nil {
			return nil, "", err
		}
	}
	k, ok := index(output)
	if !ok || k >= len(f.outs) {
		return nil, "", bad("the call %q has no output %q", o.name, output)
	}
	return inner, f.ret[f.outs[k]], nil
}

// index is the number of an output: the last part of "output:1"; the first where nothing is said.
func index(output string) (int, bool) {
	if output == "" {
		return 0, true
	}
	k, err := strconv.Atoi(output[strings.LastIndexByte(output, ':')+1:])
	return k, err == nil && k >= 0
}

// operand follows an input of an operation.
func (g *reader) operand(v value, i int) (value, error) {
	if i >= len(v.op.in) || strings.HasPrefix(v.op.in[i], "^") {
		return value{}, bad("the node %q takes too little", v.op.name)
	}
	return g.find(v.in, v.op.in[i])
}

// constant computes what does not depend on the input; nil where it does.
func (g *reader) constant(v value, depth int) (*array, error) {
	if depth > maxDepth {
		return nil, nil
	}
	switch v.op.op {
	case "Const":
		return tensorOf(v.op.attrs["value"].tensor)
	case "ReadVariableOp":
		handle, err := g.operand(v, 0)
		if err != nil || handle.op.op != "VarHandleOp" {
			return nil, err
		}
		key, ok := g.keys[handle.op.name]
		if !ok {
			key = handle.op.attrs["shared_name"].text
		}
		return g.bundle.read(key)
	}
	of := map[string]func(a, b float64) float64{
		"AddV2": func(a, b float64) float64 { return a + b }, "Add": func(a, b float64) float64 { return a + b },
		"Sub": func(a, b float64) float64 { return a - b }, "Mul": func(a, b float64) float64 { return a * b },
		"RealDiv": func(a, b float64) float64 { return a / b }, "Maximum": math.Max,
		"Sqrt": func(a, _ float64) float64 { return math.Sqrt(a) }, "Rsqrt": func(a, _ float64) float64 { return 1 / math.Sqrt(a) },
		"Neg": func(a, _ float64) float64 { return -a }, "Square": func(a, _ float64) float64 { return a * a },
	}[v.op.op]
	if of == nil {
		return nil, nil
	}
	var operands []*array
	for i := range v.op.in {
		if strings.HasPrefix(v.op.in[i], "^") {
			break
		}
		o, err := g.operand(v, i)
		if err != nil {
			return nil, err
		}
		a, err := g.constant(o, depth+1)
		if a == nil || err != nil || len(a.floats) == 0 {
			return nil, err
		}
		operands = append(operands, a)
	}
	if len(operands) == 0 {
		return nil, nil
	}
	a, b := operands[0], operands[len(operands)-1]
	n := max(len(a.floats), len(b.floats))
	if len(a.floats) != n && len(a.floats) != 1 || len(b.floats) != n && len(b.floats) != 1 {
		return nil, nil
	}
	out := &array{shape: a.shape, floats: make([]float32, n)}
	if len(b.floats) > len(a.floats) {
		out.shape = b.shape
	}
	for i := range out.floats {
		out.floats[i] = float32(of(float64(a.floats[i%len(a.floats)]), float64(b.floats[i%len(b.floats)])))
	}
	return out, nil
}

// found is a layer, with the weights that it gets when the network is built.
type found struct {
	name     string
	make     func(name string) nn.Layer
	weights  map[string]*array
	function string // of an activation: a Dense layer before it takes it up

	// Of a rescaling; a product and the sum after it are one.
	scale, offset float64
}

// and makes one layer of a product and the sum that follows it, where both are one.
func (f found) and(next found) (found, bool) {
	gamma, beta := f.weights["gamma"], next.weights["beta"]
	switch {
	case gamma != nil && beta != nil && f.weights["beta"] == nil && next.weights["gamma"] == nil && len(gamma.floats) == len(beta.floats):
		return normalization(f.name, gamma, beta), true
	case f.scale != 0 && f.offset == 0 && next.scale == 1 && next.offset != 0:
		return rescaling(f.name, f.scale, next.offset), true
	}
	return f, false
}

func rescaling(name string, scale, offset float64) found {
	return found{name: name, scale: scale, offset: offset, make: func(name string) nn.Layer { return nn.NewRescaling(name, scale, offset) }}
}

// normalization is a batch normalisation with mean 0 and variance 1: a product, a sum, or both.
func normalization(name string, gamma, beta *array) found {
	weights := map[string]*array{}
	if gamma != nil {
		weights["gamma"] = gamma
	}
	if beta != nil {
		weights["beta"] = beta
	}
	return found{name: name, weights: weights, make: func(name string) nn.Layer {
		return nn.NewBatchNormalization(name, nn.NormConfig{Axis: -1, Center: beta != nil, Scale: gamma != nil})
	}}
}

// network walks from the output to the input.
func (g *reader) network() (*nn.Network, error) {
	s := g.signature
	if len(s.Inputs) != 1 || len(s.Outputs) != 1 || s.Inputs[0].dtype != typeFloat || s.Outputs[0].dtype != typeFloat {
		return nil, unsupported("it has other inputs and outputs than one of numbers each")
	}
	shape := s.Inputs[0].Shape
	if len(shape) < 2 || slices.Min(shape[1:]) < 1 {
		return nil, unsupported("its input leaves more open than the number of rows")
	}
	if err := g.restored(); err != nil {
		return nil, err
	}
	at, err := g.find(&scope{nodes: g.nodes}, s.Outputs[0].node)
	if err != nil {
		return nil, err
	}
	input := strings.Split(s.Inputs[0].node, ":")[0]
	var chain []found
	for at.op.op != "Placeholder" || at.op.name != input {
		step, next, err := g.step(at)
		if err != nil {
			return nil, err
		}
		if step != nil {
			chain = append(chain, *step)
		}
		at = next
	}
	slices.Reverse(chain)
	var joined []found
	for _, f := range chain {
		if k := len(joined) - 1; k >= 0 {
			if both, ok := joined[k].and(f); ok {
				joined[k] = both
				continue
			}
		}
		joined = append(joined, f)
	}
	return build(shape[1:], joined)
}

// build names the layers, makes the network and fills its weights in.
func build(input []int, chain []found) (*nn.Network, error) {
	held := 0 // numbers that the file has; a normalisation has four for each of them
	for _, f := range chain {
		for _, a := range f.weights {
			if a != nil {
				held += len(a.floats)
			}
		}
	}
	n := &nn.Network{Name: "savedmodel", Input: input, Limit: nn.Limit{Weights: 4*held + 1, Width: 1 << 22}}
	var weights []map[string]*array
	taken := map[string]bool{}
	for _, f := range chain {
		if k := len(n.Layers); f.function != "" && k > 0 {
			if d, ok := n.Layers[k-1].(*nn.Dense); ok && (d.Config.Activation == "" || d.Config.Activation == "linear") {
				d.Config.Activation = f.function
				continue
			}
		}
		name := f.name
		for i := 1; taken[name]; i++ {
			name = f.name + "_" + strconv.Itoa(i)
		}
		taken[name] = true
		n.Layers = append(n.Layers, f.make(name))
		weights = append(weights, f.weights)
	}
	if len(n.Layers) == 0 {
		return nil, unsupported("it computes nothing")
	}
	if err := n.Build(0); err != nil {
		return nil, err
	}
	for i, l := range n.Layers {
		for _, p := range l.Params() {
			a := weights[i][p.Name]
			if a == nil {
				continue // a moving variance of 1, which Build makes
			}
			if len(a.floats) != len(p.Value) {
				return nil, unsupported("layer %s takes %v and its %s has the shape %v", l.Name(), p.Shape, p.Name, a.shape)
			}
			copy(p.Value, a.floats)
		}
	}
	return n, nil
}

// step recognises the layer whose result is at; next is what it takes.
func (g *reader) step(at value) (*found, value, error) {
	name := layerName(at.op.name)
	if act, ok := activations()[at.op.op]; ok {
		next, err := g.operand(at, 0)
		return activation(name, act), next, err
	}
	switch at.op.op {
	case "LeakyRelu":
		next, err := g.operand(at, 0)
		slope := at.op.attrs["alpha"].float
		return &found{name: name, make: func(name string) nn.Layer { return nn.NewReLU(name, math.Inf(1), slope, 0) }}, next, err
	case "Reshape":
		return g.flatten(at, name)
	case "MatMul", "BatchMatMulV2", "BatchMatMul":
		return g.dense(at, nil, name)
	case "BiasAdd", "AddV2", "Add", "Sub", "Mul", "RealDiv":
		return g.affine(at, name)
	}
	return nil, value{}, unsupported("the operation %s (%s) is not among those that are known", at.op.op, at.op.name)
}

// activations are the operations that are activations of nn.
func activations() map[string]string {
	return map[string]string{
		"Relu": "relu", "Relu6": "relu6", "Elu": "elu", "Selu": "selu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Softplus": "softplus",
		"Softsign": "softsign", "Exp": "exponential", "Softmax": "softmax", "LogSoftmax": "log_softmax",
	}
}

func activation(name, function string) *found {
	return &found{name: name, function: function, make: func(name string) nn.Layer { return nn.NewActivation(name, function) }}
}

// layerName is the part of a node's name that names its layer.
func layerName(node string) string {
	parts := strings.Split(node, "/")
	return parts[max(0, len(parts)-2)]
}

// flatten is a reshape to rows of one dimension.
func (g *reader) flatten(at value, name string) (*found, value, error) {
	next, err := g.operand(at, 0)
	if err != nil {
		return nil, next, err
	}
	to, err := g.operand(at, 1)
	if err != nil {
		return nil, next, err
	}
	shape, err := g.constant(to, 0)
	if err != nil {
		return nil, next, err
	}
	rows := shape != nil && len(shape.whole) == 2 && shape.whole[0] == -1
	if to.op.op == "Pack" && len(to.op.in) == 2 { // as many rows as there are, and one dimension
		second, err := g.operand(to, 1)
		if err != nil {
			return nil, next, err
		}
		rows = second.op.op == "Const"
	}
	if !rows {
		return nil, next, unsupported("the operation Reshape (%s) makes another shape than rows of one dimension", at.op.name)
	}
	return &found{name: name, make: func(name string) nn.Layer { return nn.NewFlatten(name) }}, next, nil
}

// dense is a product with a matrix, with a bias where there is one.
func (g *reader) dense(product value, bias *array, name string) (*found, value, error) {
	for _, flag := range []string{"transpose_a", "transpose_b", "adj_x", "adj_y"} {
		if product.op.attrs[flag].on {
			return nil, value{}, unsupported("the operation %s (%s) transposes", product.op.op, product.op.name)
		}
	}
	next, err := g.operand(product, 0)
	if err != nil {
		return nil, next, err
	}
	second, err := g.operand(product, 1)
	if err != nil {
		return nil, next, err
	}
	kernel, err := g.constant(second, 0)
	if err != nil {
		return nil, next, err
	}
	if kernel == nil || len(kernel.shape) != 2 {
		return nil, next, unsupported("the operation %s (%s) multiplies with something else than a matrix of weights", product.op.op, product.op.name)
	}
	return &found{
		name: name, weights: map[string]*array{"kernel": kernel, "bias": bias},
		make: func(name string) nn.Layer {
			return nn.NewDense(name, kernel.shape[1], nn.DenseConfig{NoBias: bias == nil})
		},
	}, next, nil
}

// sigmoidOf says whether v is the sigmoid of x, or of x times 1, as TensorFlow writes it.
func (g *reader) sigmoidOf(v, x value) (bool, error) {
	if v.op.op != "Sigmoid" {
		return false, nil
	}
	of, err := g.operand(v, 0)
	if err != nil || of.op == x.op {
		return err == nil && of.output == x.output, err
	}
	if of.op.op != "Mul" {
		return false, nil
	}
	for i := range 2 {
		factor, err := g.operand(of, i)
		if err != nil {
			return false, err
		}
		one, err := g.constant(factor, 0)
		if err != nil {
			return false, err
		}
		other, err := g.operand(of, 1-i)
		if err != nil {
			return false, err
		}
		if one != nil && len(one.floats) == 1 && one.floats[0] == 1 && other.op == x.op && other.output == x.output {
			return true, nil
		}
	}
	return false, nil
}

// affine is a sum or a product with what is fixed: a Dense layer's bias, a rescaling, or a part of a normalisation.
func (g *reader) affine(at value, name string) (*found, value, error) {
	x, err := g.operand(at, 0)
	if err != nil {
		return nil, x, err
	}
	second, err := g.operand(at, 1)
	if err != nil {
		return nil, x, err
	}
	fixed, err := g.constant(second, 0)
	if err != nil {
		return nil, x, err
	}
	swaps := at.op.op != "Sub" && at.op.op != "RealDiv"
	if fixed == nil && swaps {
		if fixed, err = g.constant(x, 0); err != nil {
			return nil, x, err
		}
		x, second = second, x
	}
	if fixed == nil && at.op.op == "Mul" { // x·sigmoid(x)
		for _, pair := range [][2]value{{x, second}, {second, x}} {
			if ok, err := g.sigmoidOf(pair[0], pair[1]); ok || err != nil {
				return activation(name, "silu"), pair[1], err
			}
		}
	}
	if fixed == nil || len(fixed.floats) == 0 {
		return nil, x, unsupported("the operation %s (%s) joins two values that both depend on the input: only chains of layers are known", at.op.op, at.op.name)
	}
	sum := at.op.op != "Mul" && at.op.op != "RealDiv"
	if x.op.op == "MatMul" || strings.HasPrefix(x.op.op, "BatchMatMul") {
		if sum && at.op.op != "Sub" && len(fixed.floats) > 1 || at.op.op == "BiasAdd" {
			return g.dense(x, fixed, name)
		}
	}
	v := slices.Clone(fixed.floats)
	for i := range v {
		switch at.op.op {
		case "Sub":
			v[i] = -v[i]
		case "RealDiv":
			v[i] = 1 / v[i]
		}
	}
	if len(v) == 1 {
		f := rescaling(name, float64(v[0]), 0)
		if sum {
			f = rescaling(name, 1, float64(v[0]))
		}
		return &f, x, nil
	}
	for _, d := range fixed.shape[:len(fixed.shape)-1] {
		if d != 1 {
			return nil, x, unsupported("the operation %s (%s) differs along other dimensions than the last", at.op.op, at.op.name)
		}
	}
	f := normalization(name, &array{shape: fixed.shape, floats: v}, nil)
	if sum {
		f = normalization(name, nil, &array{shape: fixed.shape, floats: v})
	}
	return &f, x, nil
}
