package tfserving

import (
	"encoding/binary"
	"math"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/rpc"
	"github.com/lineshaft/lineshaft/serve/tensor"
	tfproto "github.com/lineshaft/lineshaft/serve/tfserving/proto"
)

// This file reads a TensorProto from the bytes of its message. Elements that stand there as the machine has them, which
// is tensor_content, float_val and double_val, are not copied; the others are decoded into room that is used again.
//
// A list that is shorter than the shape goes on with its last value, and an empty one is zeros, as in TensorFlow, whose
// clients send constants that way. Above maxFill a tensor takes at most eight times the memory that it took bytes on
// the way: a request of twenty bytes must not cost gigabytes.

const (
	maxRank = 32
	maxFill = 64 << 20 // bytes
)

// dtypes are TensorFlow's numbers of the types.
var dtypes = [...]tensor.Type{
	tfproto.DataType_DT_FLOAT: tensor.Float32, tfproto.DataType_DT_DOUBLE: tensor.Float64, tfproto.DataType_DT_INT32: tensor.Int32,
	tfproto.DataType_DT_UINT8: tensor.Uint8, tfproto.DataType_DT_INT16: tensor.Int16, tfproto.DataType_DT_INT8: tensor.Int8,
	tfproto.DataType_DT_STRING: tensor.Bytes, tfproto.DataType_DT_INT64: tensor.Int64, tfproto.DataType_DT_BOOL: tensor.Bool,
	tfproto.DataType_DT_BFLOAT16: tensor.BFloat16, tfproto.DataType_DT_UINT16: tensor.Uint16, tfproto.DataType_DT_HALF: tensor.Float16,
	tfproto.DataType_DT_UINT32: tensor.Uint32, tfproto.DataType_DT_UINT64: tensor.Uint64,
}

// dtypeOf is TensorFlow's number of a type.
func dtypeOf(t tensor.Type) tfproto.DataType {
	for n, have := range dtypes {
		if have == t {
			return tfproto.DataType(n)
		}
	}
	return tfproto.DataType_DT_INVALID
}

// valueField is the number of the field that lists a type's values.
func valueField(t tensor.Type) protowire.Number {
	switch t {
	case tensor.Float32:
		return 5
	case tensor.Float64:
		return 6
	case tensor.Int32, tensor.Int16, tensor.Int8, tensor.Uint16, tensor.Uint8:
		return 7
	case tensor.Bytes:
		return 8
	case tensor.Int64:
		return 10
	case tensor.Bool:
		return 11
	case tensor.Float16, tensor.BFloat16:
		return 13
	case tensor.Uint32:
		return 16
	case tensor.Uint64:
		return 17
	}
	return 0
}

// wireTensor is a TensorProto taken apart, its values not yet read.
type wireTensor struct {
	typ     tensor.Type
	shape   []int
	content []byte
	given   bool // content is there
	listed  protowire.Number
	packed  []byte // the one run of values, where there is no more than one
	runs    int
}

// readTensor reads a TensorProto into t. It may share memory with msg; room is what it uses otherwise.
func readTensor(msg []byte, name string, t, room *tensor.Tensor) error {
	const op = "tfserving.readTensor"
	w := wireTensor{shape: t.Shape[:0]}
	if err := w.scan(msg, name); err != nil {
		return err
	}
	n, err := tensor.Elements(w.shape)
	if err != nil {
		return errs.Errorf(op, errs.KindOf(err), "the input %q: %v", name, err)
	}
	field := valueField(w.typ)
	t.Type, t.Shape, t.Data, t.Strings = w.typ, w.shape, nil, nil
	switch {
	case w.given && w.typ == tensor.Bytes:
		return w.stringContent(name, n, t, room)
	case w.given:
		if len(w.content) != n*w.typ.Size() {
			return errs.Errorf(op, errs.Invalid, "the input %q: the shape %s of %s needs %d bytes of tensor_content, and there are %d", name,
				tensor.Text(w.shape), w.typ, n*w.typ.Size(), len(w.content))
		}
		t.Data = w.content
		return nil
	case w.listed != 0 && w.listed != field:
		return errs.Errorf(op, errs.Invalid, "the input %q is of %s, and its values stand in a list of another type (field %d of TensorProto)", name, w.typ, w.listed)
	case w.runs == 1 && (w.typ == tensor.Float32 || w.typ == tensor.Float64) && len(w.packed) == n*w.typ.Size():
		t.Data = w.packed
		return nil
	}
	return listedValues(msg, field, name, n, t, room)
}

// scan reads everything but the values.
func (w *wireTensor) scan(msg []byte, name string) error {
	const op = "tfserving.readTensor"
	err := rpc.Fields(msg, func(num protowire.Number, typ protowire.Type, b []byte, n uint64) error {
		switch {
		case num == 1 && typ == protowire.VarintType:
			w.typ = 0
			if n < uint64(len(dtypes)) {
				w.typ = dtypes[n]
			}
			if w.typ == 0 {
				return errs.Errorf(op, errs.Invalid, "the input %q has the type %s, which no model here takes", name, tfproto.DataType(min(n, math.MaxInt32)))
			}
		case num == 2 && typ == protowire.BytesType:
			return w.scanShape(b, name)
		case num == 4 && typ == protowire.BytesType:
			w.content, w.given = b, len(b) > 0
		case num >= 5 && num <= 17 && num != 14 && num != 15:
			if w.listed != 0 && w.listed != num {
				return errs.Errorf(op, errs.Invalid, "the input %q has values of two types (fields %d and %d of TensorProto)", name, w.listed, num)
			}
			w.listed = num
			w.packed = b
			w.runs++
			if typ != protowire.BytesType {
				w.runs++ // single values, not a run
			}
		}
		return nil
	})
	if err == nil && w.typ == 0 {
		return errs.Errorf(op, errs.Invalid, "the input %q has no type: set dtype", name)
	}
	return err
}

func (w *wireTensor) scanShape(msg []byte, name string) error {
	const op = "tfserving.readTensor"
	return rpc.Fields(msg, func(num protowire.Number, typ protowire.Type, b []byte, n uint64) error {
		switch {
		case num == 3 && n != 0:
			return errs.Errorf(op, errs.Invalid, "the input %q comes without a shape (unknown_rank)", name)
		case num != 2 || typ != protowire.BytesType:
			return nil
		case len(w.shape) == maxRank:
			return errs.Errorf(op, errs.Invalid, "the input %q has more than %d dimensions", name, maxRank)
		}
		size := int64(0)
		err := rpc.Fields(b, func(num protowire.Number, typ protowire.Type, _ []byte, n uint64) error {
			if num == 1 && typ == protowire.VarintType {
				size = int64(n)
			}
			return nil
		})
		if size < 0 || size > tensor.MaxElements {
			return errs.Errorf(op, errs.Invalid, "the input %q has a dimension of %d: from 0 to %d is possible", name, size, tensor.MaxElements)
		}
		w.shape = append(w.shape, int(size))
		return err
	})
}

// stringContent reads strings from tensor_content: the length of each, and then their bytes.
func (w *wireTensor) stringContent(name string, n int, t, room *tensor.Tensor) error {
	if err := mayTake(len(w.content), name, n, t); err != nil {
		return err
	}
	bad := func() error {
		return errs.Errorf("tfserving.readTensor", errs.Invalid, "the input %q: tensor_content does not hold %d strings as TensorFlow writes them", name, n)
	}
	if n > len(w.content) {
		return bad()
	}
	room.Reset(tensor.Bytes, w.shape...)
	lengths, at := w.content, 0
	for range n {
		_, k := protowire.ConsumeVarint(lengths[at:])
		if k < 0 {
			return bad()
		}
		at += k
	}
	rest := w.content[at:]
	for i := range n {
		size, k := protowire.ConsumeVarint(lengths)
		if size > uint64(len(rest)) {
			return bad()
		}
		lengths = lengths[k:]
		room.Strings[i], rest = rest[:size:size], rest[size:]
	}
	if len(rest) > 0 {
		return bad()
	}
	t.Strings = room.Strings
	return nil
}

// listedValues reads the values of a list, packed or not, and goes on with the last where there are fewer than n.
func listedValues(msg []byte, field protowire.Number, name string, n int, t, room *tensor.Tensor) error {
	const op = "tfserving.readTensor"
	if err := mayTake(len(msg), name, n, t); err != nil {
		return err
	}
	room.Reset(t.Type, t.Shape...)
	got := 0
	err := rpc.Fields(msg, func(num protowire.Number, typ protowire.Type, b []byte, v uint64) (err error) {
		if num == field {
			got, err = put(room, got, n, typ, b, v)
		}
		return err
	})
	switch {
	case err != nil:
		return errs.Errorf(op, errs.KindOf(err), "the input %q: %v", name, err)
	case got > n:
		return errs.Errorf(op, errs.Invalid, "the input %q has more values than its shape %s has room for", name, tensor.Text(t.Shape))
	}
	if t.Type == tensor.Bytes {
		var last []byte
		if got > 0 {
			last = room.Strings[got-1]
		}
		for i := got; i < n; i++ {
			room.Strings[i] = last
		}
	} else {
		fill(room.Data, got*t.Type.Size(), t.Type.Size())
	}
	t.Data, t.Strings = room.Data, room.Strings
	return nil
}

// mayTake refuses a tensor that takes much more memory here than it took bytes on the way.
func mayTake(sent int, name string, n int, t *tensor.Tensor) error {
	size := t.Type.Size()
	if t.Type == tensor.Bytes {
		size = int(unsafe.Sizeof([]byte(nil)))
	}
	if n*size > max(maxFill, 8*sent) {
		return errs.Errorf("tfserving.readTensor", errs.TooLarge, "the input %q of shape %s takes %d bytes of memory and came in %d: send fewer rows at a time, or tensor_content",
			name, tensor.Text(t.Shape), n*size, sent)
	}
	return nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// fill repeats the last element before at to the end; zeros where there is none.
func fill(data []byte, at, size int) {
	if at == 0 {
		clear(data)
		return
	}
	for at < len(data) {
		at += copy(data[at:], data[at-size:at])
		if size < 4096 && 2*size <= at {
			size *= 2 // all of it is the same element
		}
	}
}

// put adds what one field holds to the values that room has got so far.
func put(room *tensor.Tensor, got, n int, typ protowire.Type, b []byte, v uint64) (int, error) {
	size := room.Type.Size()
	switch {
	case room.Type == tensor.Bytes:
		if typ == protowire.BytesType && got < n {
			room.Strings[got] = b
		}
		return got + 1, nil
	case room.Type == tensor.Float32 || room.Type == tensor.Float64:
		if len(b)%size != 0 || typ == protowire.VarintType {
			return got, rpc.Broken()
		}
		if k := len(b) / size; got+k <= n {
			copy(room.Data[got*size:], b)
		}
		return got + len(b)/size, nil
	case typ == protowire.VarintType:
		return putVarint(room, got, n, v)
	case typ != protowire.BytesType:
		return got, rpc.Broken()
	}
	for len(b) > 0 {
		v, k := protowire.ConsumeVarint(b)
		if k < 0 {
			return got, rpc.Broken()
		}
		b = b[k:]
		var err error
		if got, err = putVarint(room, got, n, v); err != nil {
			return got, err
		}
	}
	return got, nil
}

// putVarint adds one whole number, which must fit the type. Negative ones come as 64 bits.
func putVarint(room *tensor.Tensor, got, n int, v uint64) (int, error) {
	if got >= n {
		return got + 1, nil
	}
	ok := true
	switch i := int64(v); room.Type {
	case tensor.Bool:
		room.Data[got] = byte(btoi(v != 0))
	case tensor.Uint8:
		ok = v <= math.MaxUint8
		room.Data[got] = byte(v)
	case tensor.Int8:
		ok = i >= math.MinInt8 && i <= math.MaxInt8
		room.Data[got] = byte(v)
	case tensor.Uint16, tensor.Float16, tensor.BFloat16:
		ok = v <= math.MaxUint16
		binary.LittleEndian.PutUint16(room.Data[2*got:], uint16(v))
	case tensor.Int16:
		ok = i >= math.MinInt16 && i <= math.MaxInt16
		binary.LittleEndian.PutUint16(room.Data[2*got:], uint16(v))
	case tensor.Int32:
		ok = i >= math.MinInt32 && i <= math.MaxInt32
		binary.LittleEndian.PutUint32(room.Data[4*got:], uint32(v))
	case tensor.Uint32:
		ok = v <= math.MaxUint32
		binary.LittleEndian.PutUint32(room.Data[4*got:], uint32(v))
	default:
		binary.LittleEndian.PutUint64(room.Data[8*got:], v)
	}
	if !ok {
		return got, errs.Errorf("tfserving.readTensor", errs.Invalid, "the value %d at %d does not fit %s", int64(v), got, room.Type)
	}
	return got + 1, nil
}
