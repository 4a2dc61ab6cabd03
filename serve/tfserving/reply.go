package tfserving

import (
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/lineshaft/lineshaft/serve/tensor"
)

// This file writes a PredictResponse. Values go into the list of their type, as TensorFlow Serving has them go: programs
// read float_val. What has a length is measured first, so that the message is written once, in one piece.

// output is one tensor of an answer under its name.
type output struct {
	name string
	t    *tensor.Tensor
	// measured
	values, shape, tensor, entry int
}

// replySize measures the message.
func replySize(outs []output, spec answered) int {
	n := protowire.SizeTag(2) + protowire.SizeBytes(spec.size())
	for i := range outs {
		outs[i].measure()
		n += 1 + protowire.SizeBytes(outs[i].entry)
	}
	return n
}

// appendReply writes what replySize has measured.
func appendReply(b []byte, outs []output, spec answered) []byte {
	for i := range outs {
		b = outs[i].append(b)
	}
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(spec.size()))
	return spec.append(b)
}

// answered is the ModelSpec of an answer: the version that gave it.
type answered struct {
	model     string
	version   int64
	signature string
}

func (s answered) size() int {
	n := 1 + protowire.SizeBytes(len(s.model)) + 1 + protowire.SizeBytes(1+protowire.SizeVarint(uint64(s.version)))
	if s.signature != "" {
		n += 1 + protowire.SizeBytes(len(s.signature))
	}
	return n
}

func (s answered) append(b []byte) []byte {
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	b = protowire.AppendString(b, s.model)
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(1+protowire.SizeVarint(uint64(s.version))))
	b = protowire.AppendTag(b, 1, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(s.version))
	if s.signature != "" {
		b = protowire.AppendTag(b, 3, protowire.BytesType)
		b = protowire.AppendString(b, s.signature)
	}
	return b
}

func (o *output) measure() {
	o.values, o.shape = sizeValues(o.t), 0
	for _, d := range o.t.Shape {
		o.shape += 1 + protowire.SizeBytes(1+protowire.SizeVarint(uint64(d)))
	}
	o.tensor = 1 + protowire.SizeVarint(uint64(dtypeOf(o.t.Type))) + 1 + protowire.SizeBytes(o.shape)
	switch {
	case o.t.Type == tensor.Bytes:
		o.tensor += o.values
	case o.values > 0:
		o.tensor += protowire.SizeTag(valueField(o.t.Type)) + protowire.SizeBytes(o.values)
	}
	o.entry = 1 + protowire.SizeBytes(len(o.name)) + 1 + protowire.SizeBytes(o.tensor)
}

func (o *output) append(b []byte) []byte {
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(o.entry))
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	b = protowire.AppendString(b, o.name)
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(o.tensor))
	b = protowire.AppendTag(b, 1, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(dtypeOf(o.t.Type)))
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(o.shape))
	for _, d := range o.t.Shape {
		b = protowire.AppendTag(b, 2, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(1+protowire.SizeVarint(uint64(d))))
		b = protowire.AppendTag(b, 1, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(d))
	}
	field := valueField(o.t.Type)
	if o.t.Type == tensor.Bytes {
		for _, s := range o.t.Strings {
			b = protowire.AppendTag(b, field, protowire.BytesType)
			b = protowire.AppendBytes(b, s)
		}
		return b
	}
	if o.values == 0 {
		return b
	}
	b = protowire.AppendTag(b, field, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(o.values))
	return appendValues(b, o.t)
}

// sizeValues is the length of a tensor's list of values: without the tag and length, except for strings, which have one
// each.
func sizeValues(t *tensor.Tensor) int {
	n := 0
	switch t.Type {
	case tensor.Float32, tensor.Float64, tensor.Bool:
		return len(t.Data)
	case tensor.Bytes:
		for _, s := range t.Strings {
			n += 1 + protowire.SizeBytes(len(s))
		}
		return n
	}
	for i := range len(t.Data) / t.Type.Size() {
		n += protowire.SizeVarint(wholeAt(t, i))
	}
	return n
}

func appendValues(b []byte, t *tensor.Tensor) []byte {
	switch t.Type {
	case tensor.Float32, tensor.Float64, tensor.Bool:
		return append(b, t.Data...)
	}
	for i := range len(t.Data) / t.Type.Size() {
		b = protowire.AppendVarint(b, wholeAt(t, i))
	}
	return b
}

// wholeAt is an element as a varint has it: negative numbers as 64 bits, 16-bit floats as their bits.
func wholeAt(t *tensor.Tensor, i int) uint64 {
	le := binary.LittleEndian
	switch t.Type {
	case tensor.Uint8, tensor.Bool:
		return uint64(t.Data[i])
	case tensor.Int8:
		return uint64(int64(int8(t.Data[i])))
	case tensor.Uint16, tensor.Float16, tensor.BFloat16:
		return uint64(le.Uint16(t.Data[2*i:]))
	case tensor.Int16:
		return uint64(int64(int16(le.Uint16(t.Data[2*i:]))))
	case tensor.Int32:
		return uint64(int64(int32(le.Uint32(t.Data[4*i:]))))
	case tensor.Uint32:
		return uint64(le.Uint32(t.Data[4*i:]))
	}
	return le.Uint64(t.Data[8*i:])
}
