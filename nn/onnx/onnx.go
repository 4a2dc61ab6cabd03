// Package onnx writes networks as ONNX files (operator set 17, IR version 8), which ONNX Runtime, Triton, TensorRT,
// OpenVINO and many others read.
//
//	err := onnx.Write(w, network)
//
// Every layer of nn has a form in standard operators: what nn computes in one step and ONNX has no operator for becomes
// several. The names of input and output are those by which Lineshaft serves the network, the batch is a free
// dimension named "batch". A layer that only acts in training is left out. Files are protocol buffers, which hold no more
// than 2 GiB.
package onnx

import (
	"encoding/binary"
	"io"
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn"
)

const (
	irVersion = 8
	opset     = 17
	mostBytes = math.MaxInt32
)

// Input is the name of a network's input, Output that of its output.
func Input(n *nn.Network) string { return n.Layers[0].Name() + "_input" }

// Output is the name of a network's output.
func Output(n *nn.Network) string { return n.Layers[len(n.Layers)-1].Name() }

// Write writes a network that is built.
func Write(w io.Writer, n *nn.Network) error {
	const op = "onnx.Write"
	if size := int64(n.Size()) * 4; size > mostBytes-1<<20 {
		return errs.Errorf(op, errs.TooLarge, "the network has %d bytes of weights, and an ONNX file holds no more than 2 GiB", size)
	}
	g := &graph{at: Input(n), taken: map[string]bool{Input(n): true, Output(n): true}}
	shape := n.Input
	for i, l := range n.Layers {
		g.layer = l.Name()
		if err := g.add(l, shape); err != nil {
			return err
		}
		shape = n.Shapes()[i]
	}
	g.layer, g.last = "", Output(n)
	g.chain("Identity") // gives the output its name; runtimes take it away
	var out []byte
	for _, b := range g.nodes {
		out = bytesField(out, 1, b)
	}
	out = stringField(out, 2, "lineshaft")
	for _, b := range g.inits {
		out = bytesField(out, 5, b)
	}
	out = bytesField(out, 11, valueInfo(Input(n), n.Input))
	out = bytesField(out, 12, valueInfo(Output(n), n.OutputShape()))
	var m []byte
	m = intField(m, 1, irVersion)
	m = stringField(m, 2, "lineshaft")
	m = bytesField(m, 8, intField(stringField(nil, 1, ""), 2, opset))
	m = protowire.AppendTag(m, 7, protowire.BytesType)
	m = protowire.AppendVarint(m, uint64(len(out)))
	for _, part := range [][]byte{m, out} {
		if _, err := w.Write(part); err != nil {
			return errs.E(op, errs.Other, err)
		}
	}
	return nil
}

// graph collects nodes. Layers are a chain: at is the value that the next node takes.
type graph struct {
	nodes, inits [][]byte
	at           string
	layer        string // the one that is being written
	last         string // the name that the next value must have, where it must
	taken        map[string]bool
}

// attr is an attribute of a node.
type attr struct {
	name string
	b    []byte
}

func integer(name string, v int64) attr {
	return attr{name, intField(intField(nil, 3, uint64(v)), 20, 2)}
}

func float(name string, v float64) attr {
	b := protowire.AppendTag(nil, 2, protowire.Fixed32Type)
	return attr{name, intField(protowire.AppendFixed32(b, math.Float32bits(float32(v))), 20, 1)}
}

// name makes a name that no value has yet.
func (g *graph) name(what string) string {
	if g.last != "" {
		name := g.last
		g.last = ""
		return name
	}
	base := g.layer + "/" + what
	name := base
	for i := 1; g.taken[name]; i++ {
		name = base + "_" + strconv.Itoa(i)
	}
	g.taken[name] = true
	return name
}

// node adds an operation and gives the names of its outputs.
func (g *graph) node(operator string, outputs int, in []string, attrs ...attr) []string {
	var b []byte
	for _, name := range in {
		b = stringField(b, 1, name)
	}
	var out []string
	for range outputs {
		out = append(out, g.name(operator))
		b = stringField(b, 2, out[len(out)-1])
	}
	b = stringField(b, 3, out[0])
	b = stringField(b, 4, operator)
	for _, a := range attrs {
		b = bytesField(b, 5, append(stringField(nil, 1, a.name), a.b...))
	}
	g.nodes = append(g.nodes, b)
	return out
}

// value adds an operation with one output.
func (g *graph) value(operator string, in []string, attrs ...attr) string {
	return g.node(operator, 1, in, attrs...)[0]
}

// chain adds an operation on the value that the layers before gave, and goes on with what it gives.
func (g *graph) chain(operator string, attrs ...attr) {
	g.at = g.value(operator, []string{g.at}, attrs...)
}

// with is chain with a second operand.
func (g *graph) with(operator, second string, attrs ...attr) {
	g.at = g.value(operator, []string{g.at, second}, attrs...)
}

// floats adds a constant.
func (g *graph) floats(what string, v []float32, shape ...int) string {
	b := tensorHead(1, shape)
	name := g.name(what)
	b = stringField(b, 8, name)
	b = protowire.AppendTag(b, 9, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(len(v)*4))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	g.inits = append(g.inits, b)
	return name
}

// number adds a constant without dimensions.
func (g *graph) number(v float64) string { return g.floats("constant", []float32{float32(v)}) }

// integers adds a constant of whole numbers.
func (g *graph) integers(shape []int, v ...int64) string {
	b := tensorHead(7, shape)
	name := g.name("constant")
	b = stringField(b, 8, name)
	raw := make([]byte, 0, 8*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(x))
	}
	g.inits = append(g.inits, bytesField(b, 9, raw))
	return name
}

// tensorHead begins a TensorProto.
func tensorHead(dataType uint64, shape []int) []byte {
	var dims []byte
	for _, d := range shape {
		dims = protowire.AppendVarint(dims, uint64(d))
	}
	var b []byte
	if len(dims) > 0 {
		b = bytesField(b, 1, dims)
	}
	return intField(b, 2, dataType)
}

// valueInfo describes an input or an output of the graph.
func valueInfo(name string, shape []int) []byte {
	dims := bytesField(nil, 1, stringField(nil, 2, "batch"))
	for _, d := range shape {
		dims = bytesField(dims, 1, intField(nil, 1, uint64(d)))
	}
	tensor := bytesField(intField(nil, 1, 1), 2, dims)
	return bytesField(stringField(nil, 1, name), 2, bytesField(nil, 1, tensor))
}

func intField(b []byte, n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

func stringField(b []byte, n protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
}

func bytesField(b []byte, n protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
}
