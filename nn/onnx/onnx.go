// Package onnx writes networks as ONNX files (operator set 17, IR version 8), which ONNX Runtime, Triton, TensorRT,
// OpenVINO and many others read.
//
//	err := onnx.Write(w, network)
//
// Every layer of nn has a form in standard operators (package graph). The names of input and output are those by which
// Lineshaft serves the network, the batch is a free dimension named "batch". Files are protocol buffers, which hold no
// more than 2 GiB.
package onnx

import (
	"encoding/binary"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/graph"
)

const (
	irVersion = 8
	opset     = 17
	mostBytes = math.MaxInt32

	typeFloat = 1
	typeInt64 = 7
)

// Write writes a network that is built.
func Write(w io.Writer, n *nn.Network) error {
	const op = "onnx.Write"
	if size := int64(n.Size()) * 4; size > mostBytes-1<<20 {
		return errs.Errorf(op, errs.TooLarge, "the network has %d bytes of weights, and an ONNX file holds no more than 2 GiB", size)
	}
	g, err := graph.Of(n)
	if err != nil {
		return err
	}
	var out []byte
	for _, n := range g.Nodes {
		out = graph.AppendBytes(out, 1, node(n))
	}
	out = graph.AppendString(out, 2, "lineshaft")
	for _, c := range g.Constants {
		out = graph.AppendBytes(out, 5, constant(c))
	}
	out = graph.AppendBytes(out, 11, valueInfo(g.Input, g.InShape))
	out = graph.AppendBytes(out, 12, valueInfo(g.Output, g.OutShape))
	var m []byte
	m = graph.AppendInt(m, 1, irVersion)
	m = graph.AppendString(m, 2, "lineshaft")
	m = graph.AppendBytes(m, 8, graph.AppendInt(graph.AppendString(nil, 1, ""), 2, opset))
	m = protowire.AppendTag(m, 7, protowire.BytesType)
	m = protowire.AppendVarint(m, uint64(len(out)))
	for _, part := range [][]byte{m, out} {
		if _, err := w.Write(part); err != nil {
			return errs.E(op, errs.Other, err)
		}
	}
	return nil
}

// node is a NodeProto.
func node(n graph.Node) (b []byte) {
	for _, name := range n.In {
		b = graph.AppendString(b, 1, name)
	}
	for _, name := range n.Out {
		b = graph.AppendString(b, 2, name)
	}
	b = graph.AppendString(b, 3, n.Out[0])
	b = graph.AppendString(b, 4, n.Op)
	for _, a := range n.Attrs {
		switch {
		case n.Op == "Flatten" && a.Name == "width": // for those who do not know Flatten
		case a.IsWhole:
			b = graph.AppendBytes(b, 5, graph.AppendInt(graph.AppendInt(graph.AppendString(nil, 1, a.Name), 3, uint64(a.Whole)), 20, 2))
		default:
			f := protowire.AppendTag(graph.AppendString(nil, 1, a.Name), 2, protowire.Fixed32Type)
			f = protowire.AppendFixed32(f, math.Float32bits(float32(a.Float)))
			b = graph.AppendBytes(b, 5, graph.AppendInt(f, 20, 1))
		}
	}
	return b
}

// constant is a TensorProto.
func constant(c graph.Constant) (b []byte) {
	var dims []byte
	for _, d := range c.Shape {
		dims = protowire.AppendVarint(dims, uint64(d))
	}
	if len(dims) > 0 {
		b = graph.AppendBytes(b, 1, dims)
	}
	dataType, size := uint64(typeFloat), 4*len(c.Floats)
	if c.Whole != nil {
		dataType, size = typeInt64, 8*len(c.Whole)
	}
	b = graph.AppendString(graph.AppendInt(b, 2, dataType), 8, c.Name)
	b = protowire.AppendVarint(protowire.AppendTag(b, 9, protowire.BytesType), uint64(size))
	for _, x := range c.Floats {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	for _, x := range c.Whole {
		b = binary.LittleEndian.AppendUint64(b, uint64(x))
	}
	return b
}

// valueInfo describes an input or an output of the graph.
func valueInfo(name string, shape []int) []byte {
	dims := graph.AppendBytes(nil, 1, graph.AppendString(nil, 2, "batch"))
	for _, d := range shape {
		dims = graph.AppendBytes(dims, 1, graph.AppendInt(nil, 1, uint64(d)))
	}
	tensor := graph.AppendBytes(graph.AppendInt(nil, 1, typeFloat), 2, dims)
	return graph.AppendBytes(graph.AppendString(nil, 1, name), 2, graph.AppendBytes(nil, 1, tensor))
}
