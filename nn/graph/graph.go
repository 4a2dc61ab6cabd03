// Package graph writes a network as a graph of elementary operations, which other frameworks have too: the step between
// nn and the files of others (nn/onnx, nn/savedmodel).
//
// Operators are called as ONNX calls them and mean what they mean there (operator set 17). What nn computes in one step
// and has no operator becomes several. The names of input and output are those by which Lineshaft serves the network; a
// layer that only acts in training is left out.
package graph

import (
	"strconv"

	"github.com/lineshaft/lineshaft/nn"
)

// Graph is a network as operations, each after those whose results it takes.
type Graph struct {
	Input, Output     string
	InShape, OutShape []int // of one row
	Constants         []Constant
	Nodes             []Node
}

// Constant is a value that is fixed: numbers, or whole numbers.
type Constant struct {
	Name   string
	Shape  []int // nil: one number
	Floats []float32
	Whole  []int64
}

// Node is one operation.
type Node struct {
	Op      string
	In, Out []string
	Attrs   []Attr
}

// Attr is a setting of an operation: a number, or a whole number.
type Attr struct {
	Name    string
	Float   float64
	Whole   int64
	IsWhole bool
}

// Attr finds a setting.
func (n Node) Attr(name string) (a Attr) {
	for _, a := range n.Attrs {
		if a.Name == name {
			return a
		}
	}
	return a
}

// Input is the name of a network's input, Output that of its output.
func Input(n *nn.Network) string { return n.Layers[0].Name() + "_input" }

// Output is the name of a network's output.
func Output(n *nn.Network) string { return n.Layers[len(n.Layers)-1].Name() }

// Of writes a network that is built.
func Of(n *nn.Network) (*Graph, error) {
	g := &builder{at: Input(n), taken: map[string]bool{Input(n): true, Output(n): true}}
	g.Graph = Graph{Input: Input(n), Output: Output(n), InShape: n.Input, OutShape: n.OutputShape()}
	shape := n.Input
	for i, l := range n.Layers {
		g.layer = l.Name()
		if err := g.add(l, shape); err != nil {
			return nil, err
		}
		shape = n.Shapes()[i]
	}
	// Gives the output its name; runtimes take it away.
	g.Nodes = append(g.Nodes, Node{Op: "Identity", In: []string{g.at}, Out: []string{g.Output}})
	return &g.Graph, nil
}

// builder collects operations. Layers are a chain: at is the value that the next operation takes.
type builder struct {
	Graph
	at    string
	layer string // the one that is being written
	taken map[string]bool
}

func whole(name string, v int64) Attr  { return Attr{Name: name, Whole: v, IsWhole: true} }
func real(name string, v float64) Attr { return Attr{Name: name, Float: v} }

// name makes a name that no value has yet.
func (g *builder) name(what string) string {
	base := g.layer + "/" + what
	name := base
	for i := 1; g.taken[name]; i++ {
		name = base + "_" + strconv.Itoa(i)
	}
	g.taken[name] = true
	return name
}

// node adds an operation and gives the names of its outputs.
func (g *builder) node(operator string, outputs int, in []string, attrs ...Attr) []string {
	n := Node{Op: operator, In: in, Attrs: attrs}
	for range outputs {
		n.Out = append(n.Out, g.name(operator))
	}
	g.Nodes = append(g.Nodes, n)
	return n.Out
}

// value adds an operation with one output.
func (g *builder) value(operator string, in []string, attrs ...Attr) string {
	return g.node(operator, 1, in, attrs...)[0]
}

// chain adds an operation on the value that the layers before gave, and goes on with what it gives.
func (g *builder) chain(operator string, attrs ...Attr) {
	g.at = g.value(operator, []string{g.at}, attrs...)
}

// with is chain with a second operand.
func (g *builder) with(operator, second string, attrs ...Attr) {
	g.at = g.value(operator, []string{g.at, second}, attrs...)
}

// floats adds a constant.
func (g *builder) floats(what string, v []float32, shape ...int) string {
	c := Constant{Name: g.name(what), Shape: shape, Floats: v}
	g.Constants = append(g.Constants, c)
	return c.Name
}

// number adds a constant without dimensions.
func (g *builder) number(v float64) string { return g.floats("constant", []float32{float32(v)}) }

// integers adds a constant of whole numbers.
func (g *builder) integers(shape []int, v ...int64) string {
	c := Constant{Name: g.name("constant"), Shape: shape, Whole: v}
	g.Constants = append(g.Constants, c)
	return c.Name
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
