package kserve

import (
	"encoding/binary"
	"math"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/rpc"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// This file reads a ModelInferRequest from the bytes of its message and writes a ModelInferResponse. Raw contents, and
// lists of floats in one run, are not copied but are views of the message. A list takes at most eight times the memory
// that it took on the way, one of strings a bounded amount.

// wire is what a message held beside the request.
type wire struct {
	model, version string
	raws           [][]byte // raw_input_contents
	raw            bool     // they were there: the answer has raw contents too
}

// scan reads a message into the request, all but its tensors.
func (r *room) scan(msg []byte) error {
	r.begin()
	r.wire = wire{raws: r.wire.raws[:0]}
	return rpc.Fields(msg, func(num protowire.Number, typ protowire.Type, b []byte, _ uint64) error {
		if typ != protowire.BytesType {
			return nil
		}
		switch num {
		case 1:
			r.wire.model = string(b)
		case 2:
			r.wire.version = string(b)
		case 3:
			r.id = string(b)
		case 4:
			return parameter(b, r.parameter)
		case 5:
			if len(r.inputs) == maxInputs {
				return errs.Errorf("kserve.wire", errs.TooLarge, "a request has at most %d inputs", maxInputs)
			}
			return r.add().scan(b)
		case 6:
			if len(r.outputs) == maxInputs {
				return errs.Errorf("kserve.wire", errs.TooLarge, "a request asks for at most %d outputs", maxInputs)
			}
			return r.scanOutput(b)
		case 7:
			if len(r.wire.raws) == maxInputs {
				return errs.Errorf("kserve.wire", errs.TooLarge, "a request has at most %d raw inputs", maxInputs)
			}
			r.wire.raws, r.wire.raw = append(r.wire.raws, b), true
		}
		return nil
	})
}

// value is a parameter: a number in n, what is true, or bytes of the message.
type value struct {
	n    int64
	is   bool
	text []byte
	kind protowire.Number // 1 bool, 2 int64, 3 string, 4 double (of a load: bytes), 5 uint64; 0: none
}

// parameter reads an entry of a map of parameters.
func parameter(entry []byte, take func(key string, v value) error) error {
	key, v := "", value{}
	err := rpc.Fields(entry, func(num protowire.Number, typ protowire.Type, b []byte, _ uint64) error {
		switch {
		case typ != protowire.BytesType:
		case num == 1:
			key = string(b)
		case num == 2:
			return rpc.Fields(b, func(num protowire.Number, typ protowire.Type, b []byte, n uint64) error {
				v = value{kind: num, text: b}
				if typ == protowire.VarintType {
					v.n, v.is = int64(n), n != 0
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return err
	}
	return take(key, v)
}

// whole is the number of a parameter that counts something.
func (v value) whole(key string, limit int64) (int64, error) {
	if v.kind != 2 && v.kind != 5 || v.n < 0 || v.n > limit {
		return 0, errs.Errorf("kserve.wire", errs.Invalid, "the parameter %q must be a whole number, not below 0 and not above %d", key, limit)
	}
	return v.n, nil
}

func (q *request) parameter(key string, v value) (err error) {
	switch key {
	case "priority":
		q.priority, err = v.whole(key, math.MaxInt64)
	case "timeout":
		var micros int64
		micros, err = v.whole(key, math.MaxInt64/1000)
		q.timeout = time.Duration(micros) * time.Microsecond
	case "triton_enable_empty_final_response":
		q.final = v.is
	}
	return err
}

// scan reads an InferInputTensor, all but its contents.
func (in *input) scan(msg []byte) error {
	const op = "kserve.wire"
	err := rpc.Fields(msg, func(num protowire.Number, typ protowire.Type, b []byte, n uint64) error {
		switch {
		case num == 3 && typ == protowire.VarintType:
			in.shape = append(in.shape, int(int64(n)))
		case num == 3 && typ == protowire.BytesType:
			for len(b) > 0 && len(in.shape) <= maxRank {
				n, k := protowire.ConsumeVarint(b)
				if k < 0 {
					return rpc.Broken()
				}
				in.shape = append(in.shape, int(int64(n)))
				b = b[k:]
			}
		case typ != protowire.BytesType:
		case num == 1:
			in.name = string(b)
		case num == 2:
			if in.tensor.Type = typeOf(b); in.tensor.Type == 0 {
				return errs.Errorf(op, errs.Invalid, "the input %q: no datatype is called %q: they are BOOL, UINT8 to UINT64, INT8 to INT64, FP16, BF16, FP32, FP64 and BYTES", errs.Clip(in.name), errs.Clip(string(b)))
			}
		case num == 4:
			return parameter(b, func(key string, _ value) error {
				if key == "shared_memory_region" {
					return errSharedMemory
				}
				return nil
			})
		case num == 5 && in.contents != nil:
			return errs.Errorf(op, errs.Invalid, "the input %q has contents twice", errs.Clip(in.name))
		case num == 5:
			in.contents = b[:len(b):len(b)]
		}
		if len(in.shape) > maxRank {
			return errs.Errorf(op, errs.Invalid, "the input %q has more than %d dimensions", errs.Clip(in.name), maxRank)
		}
		return nil
	})
	if err == nil && in.tensor.Type == 0 {
		return errs.Errorf(op, errs.Invalid, "the input %q has no datatype", errs.Clip(in.name))
	}
	return err
}

func (r *room) scanOutput(msg []byte) error {
	var o output
	err := rpc.Fields(msg, func(num protowire.Number, typ protowire.Type, b []byte, _ uint64) error {
		switch {
		case typ != protowire.BytesType:
		case num == 1:
			o.name = string(b)
		case num == 2:
			return parameter(b, func(key string, v value) error {
				switch key {
				case "shared_memory_region":
					return errSharedMemory
				case "classification":
					k, err := v.whole(key, maxClasses)
					o.classes = int(k)
					return err
				}
				return nil
			})
		}
		return nil
	})
	r.outputs = append(r.outputs, o)
	return err
}

// tensors gives every input its elements.
func (r *room) tensors() error {
	const op = "kserve.wire"
	r.decoder.Op = op
	raws := r.wire.raws
	if len(raws) > 0 && len(raws) != len(r.inputs) {
		return errs.Errorf(op, errs.Invalid, "%d raw_input_contents came for %d inputs: there is one for each, or none", len(raws), len(r.inputs))
	}
	for i := range r.inputs {
		in := &r.inputs[i]
		if len(raws) == 0 {
			if err := r.decoder.listed(in); err != nil {
				return err
			}
			continue
		}
		if in.contents != nil {
			return errs.Errorf(op, errs.Invalid, "the input %q has contents, and raw_input_contents has them too", errs.Clip(in.name))
		}
		if err := r.decoder.view(in, raws[i]); err != nil {
			return err
		}
	}
	return nil
}

// lists are the fields of InferTensorContents.
var lists = [...]protowire.Number{
	tensor.Bool: 1, tensor.Int8: 2, tensor.Int16: 2, tensor.Int32: 2, tensor.Int64: 3, tensor.Uint8: 4, tensor.Uint16: 4,
	tensor.Uint32: 4, tensor.Uint64: 5, tensor.Float32: 6, tensor.Float64: 7, tensor.Bytes: 8,
}

// listed makes an input of the list of its type.
func (d *decoder) listed(in *input) error {
	const op = "kserve.wire"
	t := in.tensor.Type
	n, err := tensor.Elements(in.shape)
	switch {
	case err != nil:
		return errs.Errorf(op, errs.KindOf(err), "the input %q: %v", errs.Clip(in.name), err)
	case lists[t] == 0:
		return errs.Errorf(op, errs.Invalid, "the input %q is of %s, for which contents have no list: send it in raw_input_contents", errs.Clip(in.name), datatype(t))
	case n > len(in.contents):
		return errs.Errorf(op, errs.Invalid, "the input %q of the shape %s has %d elements, and fewer came", errs.Clip(in.name), tensor.Text(in.shape), n)
	}
	if err := d.holdFor(t, n); err != nil {
		return err
	}
	l := list{in: in, want: n}
	if err := rpc.Fields(in.contents, l.field); err != nil {
		return err
	}
	switch {
	case l.n != n:
		return errs.Errorf(op, errs.Invalid, "the input %q of the shape %s has %d elements, and %d came", errs.Clip(in.name), tensor.Text(in.shape), n, l.n)
	case !l.made:
		l.make()
	}
	return nil
}

// list reads the list of an input's type.
type list struct {
	in   *input
	want int
	n    int  // elements that came
	made bool // in.tensor has its memory
}

// make has memory made for the elements.
func (l *list) make() {
	if !l.made {
		l.in.room.Reset(l.in.tensor.Type, l.in.shape...)
		l.in.tensor, l.made = l.in.room, true
	}
}

func (l *list) field(num protowire.Number, typ protowire.Type, b []byte, n uint64) error {
	in := l.in
	t := in.tensor.Type
	if num != lists[t] {
		if num <= 8 && len(b) > 0 {
			return errs.Errorf("kserve.wire", errs.Invalid, "the input %q is of %s, and its contents are in the list of another type (field %d of InferTensorContents)", errs.Clip(in.name), datatype(t), num)
		}
		return nil
	}
	switch {
	case t == tensor.Bytes && typ == protowire.BytesType:
		l.make()
		if l.n < l.want {
			in.tensor.Strings[l.n] = b
		}
		l.n++
		return nil
	case t == tensor.Float32 || t == tensor.Float64:
		return l.fixed(typ, b, t.Size())
	case typ == protowire.VarintType:
		return l.varint(n)
	case typ != protowire.BytesType:
		return rpc.Broken()
	}
	for len(b) > 0 {
		n, k := protowire.ConsumeVarint(b)
		if k < 0 {
			return rpc.Broken()
		}
		if err := l.varint(n); err != nil {
			return err
		}
		b = b[k:]
	}
	return nil
}

// fixed takes elements that stand as the machine has them.
func (l *list) fixed(typ protowire.Type, b []byte, size int) error {
	if typ == protowire.VarintType || len(b)%size != 0 {
		return rpc.Broken()
	}
	k := len(b) / size
	if l.n == 0 && !l.made && k == l.want {
		l.in.tensor.Data, l.in.tensor.Shape, l.made = b[:len(b):len(b)], l.in.shape, true
	} else {
		l.make()
		if l.n+k <= l.want {
			copy(l.in.tensor.Data[l.n*size:], b)
		}
	}
	l.n += k
	return nil
}

// varint takes a whole number.
func (l *list) varint(n uint64) error {
	t := l.in.tensor.Type
	l.make()
	if l.n < l.want {
		at := l.in.tensor.Data[l.n*t.Size():]
		fits := true
		switch t {
		case tensor.Bool:
			at[0] = 0
			if n != 0 {
				at[0] = 1
			}
		case tensor.Int8:
			at[0], fits = byte(n), int64(int8(n)) == int64(n)
		case tensor.Uint8:
			at[0], fits = byte(n), n <= math.MaxUint8
		case tensor.Int16:
			binary.LittleEndian.PutUint16(at, uint16(n))
			fits = int64(int16(n)) == int64(n)
		case tensor.Uint16:
			binary.LittleEndian.PutUint16(at, uint16(n))
			fits = n <= math.MaxUint16
		case tensor.Int32, tensor.Uint32:
			binary.LittleEndian.PutUint32(at, uint32(n))
		default:
			binary.LittleEndian.PutUint64(at, n)
		}
		if !fits {
			return errs.Errorf("kserve.wire", errs.Invalid, "the input %q: its element %d does not fit %s", errs.Clip(l.in.name), l.n, datatype(t))
		}
	}
	l.n++
	return nil
}

// asRaw says whether the answer has raw contents: where the request had, and where an output has no list of its type.
func (r *room) asRaw() bool {
	for i := range r.outputs {
		if lists[r.result(i).Type] == 0 {
			return true
		}
	}
	return r.wire.raw
}

// bound is at least the size of the answer.
func (r *room) bound(raw bool) int {
	n := 128 + len(r.wire.model) + len(r.id)
	for i := range r.outputs {
		t := r.result(i)
		n += 96 + len(r.outputs[i].name) + 10*len(t.Shape)
		switch size := t.Type.Size(); {
		case raw || t.Type == tensor.Float32 || t.Type == tensor.Float64:
			n += t.Packed()
		case t.Type == tensor.Bytes:
			n += t.Packed() + 7*len(t.Strings)
		default:
			n += 10 * len(t.Data) / size
		}
	}
	return n
}

// appendResponse writes a ModelInferResponse.
func (r *room) appendResponse(b []byte, version int64, raw bool) []byte {
	b = appendString(b, 1, r.wire.model)
	var digits [20]byte
	b = appendString(b, 2, strconv.AppendInt(digits[:0], version, 10))
	if r.id != "" {
		b = appendString(b, 3, r.id)
	}
	if r.final {
		b = append(b, "\x22\x1b\x0a\x15triton_final_response\x12\x02\x08\x01"...) // parameters: {it: true}
	}
	for i := range r.outputs {
		t := r.result(i)
		m := r.out[:0]
		m = appendString(m, 1, r.outputs[i].name)
		m = appendString(m, 2, datatype(t.Type))
		if len(t.Shape) > 0 {
			size := 0
			for _, d := range t.Shape {
				size += protowire.SizeVarint(uint64(d))
			}
			m = protowire.AppendVarint(protowire.AppendTag(m, 3, protowire.BytesType), uint64(size))
			for _, d := range t.Shape {
				m = protowire.AppendVarint(m, uint64(d))
			}
		}
		if !raw {
			m = appendListed(m, t)
		}
		r.out = m
		b = protowire.AppendVarint(protowire.AppendTag(b, 5, protowire.BytesType), uint64(len(m)))
		b = append(b, m...)
	}
	for i := range r.outputs {
		if !raw {
			break
		}
		t := r.result(i)
		b = protowire.AppendVarint(protowire.AppendTag(b, 6, protowire.BytesType), uint64(t.Packed()))
		b = appendRaw(b, t)
	}
	return b
}

func appendString[S string | []byte](b []byte, num protowire.Number, s S) []byte {
	b = protowire.AppendVarint(protowire.AppendTag(b, num, protowire.BytesType), uint64(len(s)))
	return append(b, s...)
}

// appendListed writes the field contents: the elements in the list of their type.
func appendListed(m []byte, t *tensor.Tensor) []byte {
	num, size := lists[t.Type], 0
	switch t.Type {
	case tensor.Bytes:
		for _, s := range t.Strings {
			size += protowire.SizeTag(num) + protowire.SizeBytes(len(s))
		}
		m = protowire.AppendVarint(protowire.AppendTag(m, 5, protowire.BytesType), uint64(size))
		for _, s := range t.Strings {
			m = appendString(m, num, s)
		}
		return m
	case tensor.Float32, tensor.Float64:
		size = len(t.Data)
	default:
		for at := 0; at < len(t.Data); at += t.Type.Size() {
			size += protowire.SizeVarint(integer(t.Type, t.Data[at:]))
		}
	}
	m = protowire.AppendVarint(protowire.AppendTag(m, 5, protowire.BytesType), uint64(protowire.SizeTag(num)+protowire.SizeBytes(size)))
	m = protowire.AppendVarint(protowire.AppendTag(m, num, protowire.BytesType), uint64(size))
	if t.Type == tensor.Float32 || t.Type == tensor.Float64 {
		return append(m, t.Data...)
	}
	for at := 0; at < len(t.Data); at += t.Type.Size() {
		m = protowire.AppendVarint(m, integer(t.Type, t.Data[at:]))
	}
	return m
}

// integer is an element as a varint has it: negative ones in two's complement of 64 bits.
func integer(t tensor.Type, b []byte) uint64 {
	le := binary.LittleEndian
	switch t {
	case tensor.Bool, tensor.Uint8:
		return uint64(b[0])
	case tensor.Int8:
		return uint64(int8(b[0]))
	case tensor.Uint16:
		return uint64(le.Uint16(b))
	case tensor.Int16:
		return uint64(int16(le.Uint16(b)))
	case tensor.Uint32:
		return uint64(le.Uint32(b))
	case tensor.Int32:
		return uint64(int32(le.Uint32(b)))
	}
	return le.Uint64(b)
}
