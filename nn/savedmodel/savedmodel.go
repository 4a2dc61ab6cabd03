// Package savedmodel writes networks as TensorFlow's SavedModels, which TensorFlow Serving serves, and reads networks and
// signatures from them.
//
// What is written is one file, saved_model.pb: the weights are constants of its graph, so that there is no folder of
// variables. Every layer of nn has a form in TensorFlow's operations (package graph says in which steps). The signature is
// serving_default, with the names by which Lineshaft serves the network.
package savedmodel

import (
	"encoding/binary"
	"io"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/graph"
)

// File is the name of the file that makes a folder a SavedModel.
const File = "saved_model.pb"

// TensorFlow's numbers for types.
const (
	typeFloat = 1
	typeInt32 = 3
	typeBool  = 10
)

const (
	producer  = 440 // version of the graph's form: TensorFlow 2.3's, which every later one reads
	mostBytes = math.MaxInt32
)

// Write writes a network that is built as the file File.
func Write(w io.Writer, n *nn.Network) error {
	const op = "savedmodel.Write"
	if size := int64(n.Size()) * 4; size > mostBytes-1<<20 {
		return errs.Errorf(op, errs.TooLarge, "the network has %d bytes of weights, and a SavedModel of one file holds no more than 2 GiB", size)
	}
	g, err := graph.Of(n)
	if err != nil {
		return err
	}
	t := &writer{names: map[string]string{}, taken: map[string]bool{}, consts: map[string]graph.Constant{}}
	for _, c := range g.Constants {
		t.consts[c.Name] = c
	}
	input := t.op("Placeholder", "serving_default_"+g.Input, nil, typeAttr("dtype", typeFloat), shapeAttr(g.InShape))
	t.names[g.Input] = input
	for _, n := range g.Nodes {
		if err := t.node(n); err != nil {
			return err
		}
	}
	var versions []byte
	versions = graph.AppendInt(versions, 1, producer)
	def := graph.AppendBytes(t.nodes, 4, versions)

	var signature []byte
	signature = entryField(signature, 1, g.Input, tensorInfo(input+":0", g.InShape))
	signature = entryField(signature, 2, g.Output, tensorInfo(t.names[g.Output]+":0", g.OutShape))
	signature = graph.AppendString(signature, 3, "tensorflow/serving/predict")

	var meta []byte
	meta = graph.AppendBytes(meta, 1, graph.AppendString(graph.AppendString(nil, 4, "serve"), 5, "2.3.0"))
	meta = graph.AppendBytes(meta, 2, def)
	meta = entryField(meta, 5, "serving_default", signature)

	head := graph.AppendInt(nil, 1, 1)
	head = protowire.AppendVarint(protowire.AppendTag(head, 2, protowire.BytesType), uint64(len(meta)))
	for _, part := range [][]byte{head, meta} {
		if _, err := w.Write(part); err != nil {
			return errs.E(op, errs.Other, err)
		}
	}
	return nil
}

// writer makes TensorFlow's nodes of operations.
type writer struct {
	nodes  []byte            // of a GraphDef
	names  map[string]string // of values: the node, with ":1" for its second output
	taken  map[string]bool
	consts map[string]graph.Constant
}

// name makes a node's name of a value's: TensorFlow takes letters, digits and a few signs.
func (t *writer) name(want string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '.', r == '/', r == '-':
			return r
		}
		return '_'
	}, want)
	if clean == "" || strings.IndexByte("_/-", clean[0]) >= 0 {
		clean = "v" + clean
	}
	name := clean
	for i := 1; t.taken[strings.ToLower(name)]; i++ { // names that differ in case only are the same for some
		name = clean + "_" + strconv.Itoa(i)
	}
	t.taken[strings.ToLower(name)] = true
	return name
}

type setting struct {
	name  string
	value []byte // an AttrValue
}

func typeAttr(name string, t uint64) setting { return setting{name, graph.AppendInt(nil, 6, t)} }
func intAttr(name string, v int64) setting   { return setting{name, graph.AppendInt(nil, 3, uint64(v))} }

func boolAttr(name string, v bool) setting {
	return setting{name, graph.AppendInt(nil, 5, protowire.EncodeBool(v))}
}

func floatAttr(name string, v float64) setting {
	b := protowire.AppendTag(nil, 4, protowire.Fixed32Type)
	return setting{name, protowire.AppendFixed32(b, math.Float32bits(float32(v)))}
}

func shapeAttr(row []int) setting {
	return setting{"shape", graph.AppendBytes(nil, 7, batchShape(row))}
}

// op adds a node and gives its name.
func (t *writer) op(operation, want string, in []string, attrs ...setting) string {
	name := t.name(want)
	b := graph.AppendString(graph.AppendString(nil, 1, name), 2, operation)
	for _, i := range in {
		b = graph.AppendString(b, 3, i)
	}
	for _, a := range attrs {
		b = entryField(b, 5, a.name, a.value)
	}
	t.nodes = graph.AppendBytes(t.nodes, 1, b)
	return name
}

// float adds a node that works on numbers: its type is T.
func (t *writer) float(operation, want string, in []string, attrs ...setting) string {
	return t.op(operation, want, in, append([]setting{typeAttr("T", typeFloat)}, attrs...)...)
}

// floats adds a constant.
func (t *writer) floats(want string, v []float32, shape []int) string {
	raw := make([]byte, 0, 4*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return t.constant(want, typeFloat, raw, shape)
}

func (t *writer) number(want string, v float64) string {
	return t.floats(want+"/number", []float32{float32(v)}, nil)
}

// whole adds a constant of whole numbers, which are TensorFlow's int32 everywhere here.
func (t *writer) whole(want string, shape []int, v ...int64) string {
	var raw []byte
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(int32(x)))
	}
	return t.constant(want, typeInt32, raw, shape)
}

func (t *writer) constant(want string, dtype uint64, raw []byte, shape []int) string {
	b := graph.AppendInt(nil, 1, dtype)
	b = graph.AppendBytes(b, 2, shapeOf(shape))
	b = graph.AppendBytes(b, 4, raw)
	return t.op("Const", want, nil, typeAttr("dtype", dtype), setting{"value", graph.AppendBytes(nil, 8, b)})
}

// input is the node that gives a value; constants are made where they are used first.
func (t *writer) input(value string) string {
	if name, ok := t.names[value]; ok {
		return name
	}
	c := t.consts[value]
	if c.Whole != nil {
		t.names[value] = t.whole(value, c.Shape, c.Whole...)
	} else {
		t.names[value] = t.floats(value, c.Floats, c.Shape)
	}
	return t.names[value]
}

// shapeOf is a TensorShapeProto, batchShape one with a first dimension that is open.
func shapeOf(shape []int) (b []byte) {
	for _, d := range shape {
		b = graph.AppendBytes(b, 2, graph.AppendInt(nil, 1, uint64(int64(d))))
	}
	return b
}

func batchShape(row []int) []byte { return shapeOf(append([]int{-1}, row...)) }

func tensorInfo(name string, row []int) []byte {
	b := graph.AppendString(nil, 1, name)
	b = graph.AppendInt(b, 2, typeFloat)
	return graph.AppendBytes(b, 3, batchShape(row))
}

// entryField adds an entry of a map from strings to messages.
func entryField(b []byte, n protowire.Number, key string, v []byte) []byte {
	return graph.AppendBytes(b, n, graph.AppendBytes(graph.AppendString(nil, 1, key), 2, v))
}
