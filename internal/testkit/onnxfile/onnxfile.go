// Package onnxfile writes small ONNX files, for tests and benchmarks: what is needed of the format (onnx.proto) and no
// more.
//
//	f := onnxfile.Model{Inputs: []onnxfile.Port{{"x", onnxfile.Float, []any{"n", 4}}}, …}
//	bytes := f.Bytes()
package onnxfile

import (
	"encoding/binary"
	"math"
)

// Types of elements: TensorProto.DataType.
const (
	Float  = 1
	Uint8  = 2
	Int64  = 7
	String = 8
	Bool   = 9
	Half   = 10
)

// Port is an input or an output. A dimension is an int, or a string for a symbol; nil Dims say no shape.
type Port struct {
	Name string
	Type int
	Dims []any
}

// Weight is an initialiser.
type Weight struct {
	Name string
	Type int
	Dims []int
	Raw  []byte
}

// Node is an operator.
type Node struct {
	Op, Domain string
	In, Out    []string
	Ints       map[string]int64
	Lists      map[string][]int64
	Floats     map[string]float32
	Graphs     map[string]Model // their graph alone is written
}

// Model is a file.
type Model struct {
	Opset   int64 // 0: 17
	Inputs  []Port
	Outputs []Port
	Weights []Weight
	Nodes   []Node
}

// Floats is the raw form of weights.
func Floats(x []float32) []byte {
	b := make([]byte, 0, 4*len(x))
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// Message is protobuf's wire format.
type Message []byte

// Int appends a number.
func (m Message) Int(field int, v int64) Message {
	m = binary.AppendUvarint(m, uint64(field)<<3)
	return binary.AppendUvarint(m, uint64(v))
}

// Put appends bytes, a text or a message.
func (m Message) Put(field int, b []byte) Message {
	m = binary.AppendUvarint(m, uint64(field)<<3|2)
	m = binary.AppendUvarint(m, uint64(len(b)))
	return append(m, b...)
}

// Text appends a text.
func (m Message) Text(field int, s string) Message { return m.Put(field, []byte(s)) }

// Bytes writes the file.
func (f Model) Bytes() []byte {
	opset := f.Opset
	if opset == 0 {
		opset = 17
	}
	m := Message{}.Int(1, 8).Text(2, "lineshaft").Put(7, f.graph()).Put(8, Message{}.Text(1, "").Int(2, opset))
	for _, n := range f.Nodes {
		if n.Domain != "" {
			m = m.Put(8, Message{}.Text(1, n.Domain).Int(2, 1))
		}
	}
	return m
}

func (f Model) graph() Message {
	g := Message{}
	for _, n := range f.Nodes {
		g = g.Put(1, n.bytes())
	}
	g = g.Text(2, "graph")
	for _, w := range f.Weights {
		t := Message{}
		for _, d := range w.Dims {
			t = t.Int(1, int64(d))
		}
		g = g.Put(5, t.Int(2, int64(w.Type)).Text(8, w.Name).Put(9, w.Raw))
	}
	for _, p := range f.Inputs {
		g = g.Put(11, p.bytes())
	}
	for _, p := range f.Outputs {
		g = g.Put(12, p.bytes())
	}
	return g
}

func (p Port) bytes() Message {
	t := Message{}.Int(1, int64(p.Type))
	if p.Dims != nil {
		s := Message{}
		for _, d := range p.Dims {
			switch d := d.(type) {
			case int:
				s = s.Put(1, Message{}.Int(1, int64(d)))
			case string:
				s = s.Put(1, Message{}.Text(2, d))
			}
		}
		t = t.Put(2, s)
	}
	return Message{}.Text(1, p.Name).Put(2, Message{}.Put(1, t))
}

func (n Node) bytes() Message {
	m := Message{}
	for _, s := range n.In {
		m = m.Text(1, s)
	}
	for _, s := range n.Out {
		m = m.Text(2, s)
	}
	m = m.Text(4, n.Op)
	for name, v := range n.Ints {
		m = m.Put(5, Message{}.Text(1, name).Int(3, v).Int(20, 2))
	}
	for name, v := range n.Floats {
		a := binary.AppendUvarint(Message{}.Text(1, name), 2<<3|5)
		a = binary.LittleEndian.AppendUint32(a, math.Float32bits(v))
		m = m.Put(5, Message(a).Int(20, 1))
	}
	for name, list := range n.Lists {
		a := Message{}.Text(1, name)
		for _, v := range list {
			a = a.Int(8, v)
		}
		m = m.Put(5, a.Int(20, 7))
	}
	for name, g := range n.Graphs {
		m = m.Put(5, Message{}.Text(1, name).Put(6, g.graph()).Int(20, 5))
	}
	if n.Domain != "" {
		m = m.Text(7, n.Domain)
	}
	return m
}

// MLP is a classifier of fully connected layers of those widths, with weights of a fixed sequence: ReLU between them,
// softmax at the end, any number of rows.
func MLP(widths ...int) Model {
	last := len(widths) - 1
	f := Model{
		Inputs:  []Port{{"pixels", Float, []any{"rows", widths[0]}}},
		Outputs: []Port{{"classes", Float, []any{"rows", widths[last]}}},
	}
	x, seed := "pixels", uint32(1)
	random := func(n int, scale float32) []byte {
		w := make([]float32, n)
		for i := range w {
			seed = seed*1664525 + 1013904223
			w[i] = (float32(seed>>8)/(1<<24) - 0.5) * scale
		}
		return Floats(w)
	}
	for i := range last {
		k := string(rune('0' + i))
		f.Weights = append(f.Weights,
			Weight{"w" + k, Float, []int{widths[i], widths[i+1]}, random(widths[i]*widths[i+1], 4/float32(math.Sqrt(float64(widths[i]))))},
			Weight{"b" + k, Float, []int{widths[i+1]}, random(widths[i+1], 0.1)})
		f.Nodes = append(f.Nodes, Node{Op: "Gemm", In: []string{x, "w" + k, "b" + k}, Out: []string{"z" + k}})
		x = "a" + k
		op := "Relu"
		if i == last-1 {
			op, x = "Softmax", "classes"
		}
		f.Nodes = append(f.Nodes, Node{Op: op, In: []string{"z" + k}, Out: []string{x}})
	}
	return f
}
