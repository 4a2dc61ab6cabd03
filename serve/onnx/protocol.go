package onnx

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/lineshaft/lineshaft/serve/tensor"
)

// The messages between server and worker; worker/worker.c has the other end. Numbers are in the machine's byte order,
// which is little-endian wherever ONNX Runtime comes from a package.
//
// Control (a stream), to the server once: kind, length, then text of an error, or version, what the worker gave up,
// number of inputs and outputs, and each one's name, type, dimensions and symbols. To the worker: lane, 0, sequence
// number of a request to be left. The end of the stream ends the worker.
//
// A lane (one message each way at a time): sequence number, tensors, 0, and each tensor's type, number of dimensions,
// offset and bytes in the lane's memory, dimensions. The answer: sequence number, status, tensors, and the tensors or
// the text of an error. Strings lie in memory as their lengths (32 bits each), then their bytes.
const (
	ready     = 1
	failed    = 2
	noLibrary = 3

	statusOK          = 0
	statusInvalid     = 1
	statusFault       = 2
	statusNoRoom      = 3
	statusNoMemory    = 4
	statusStopped     = 5
	statusUnsupported = 6

	mostTensors  = 256
	mostDims     = 16
	mostMessage  = 64 << 10
	mostGreeting = 4 << 20 // of the control socket
	align        = 64
)

// elementTypes are ONNX's types of elements (TensorProto.DataType) as ours; the rest is not served.
var elementTypes = [...]tensor.Type{
	1: tensor.Float32, 2: tensor.Uint8, 3: tensor.Int8, 4: tensor.Uint16, 5: tensor.Int16, 6: tensor.Int32, 7: tensor.Int64,
	8: tensor.Bytes, 9: tensor.Bool, 10: tensor.Float16, 11: tensor.Float64, 12: tensor.Uint32, 13: tensor.Uint64, 16: tensor.BFloat16,
}

func typeOf(onnx uint32) (tensor.Type, bool) {
	if int(onnx) >= len(elementTypes) || elementTypes[onnx] == 0 {
		return 0, false
	}
	return elementTypes[onnx], true
}

func onnxType(t tensor.Type) uint32 {
	for i, have := range elementTypes {
		if have == t {
			return uint32(i)
		}
	}
	return 0
}

// port is an input or an output as the worker names it.
type port struct {
	name    string
	typ     uint32 // 0: no tensor
	dims    []int64
	symbols []string
}

// greeting is what a worker says once it has loaded the model.
type greeting struct {
	version, confined string
	inputs, outputs   []port
}

var errCut = errors.New("a message that is cut off or makes no sense")

// decoder takes numbers and strings off a message; what is missing makes bad true.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.bad, d.b = true, nil
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) u32() uint32 {
	if b := d.take(4); b != nil {
		return binary.NativeEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if b := d.take(8); b != nil {
		return binary.NativeEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) text() string { return string(d.take(int(d.u32()))) }

func (d *decoder) ports(n uint32) []port {
	if n > mostTensors {
		d.bad = true
		return nil
	}
	out := make([]port, n)
	for i := range out {
		p := port{name: d.text(), typ: d.u32()}
		dims := d.u32()
		if d.bad || dims > mostDims {
			d.bad = true
			return nil
		}
		for range dims {
			p.dims = append(p.dims, int64(d.u64()))
			p.symbols = append(p.symbols, d.text())
		}
		out[i] = p
	}
	return out
}

func parseGreeting(b []byte) (greeting, error) {
	d := decoder{b: b}
	g := greeting{version: d.text(), confined: d.text()}
	in, out := d.u32(), d.u32()
	g.inputs, g.outputs = d.ports(in), d.ports(out)
	if d.bad || len(d.b) > 0 {
		return g, errCut
	}
	return g, nil
}

func up(n int) int { return (n + align - 1) / align * align }

// place copies a tensor to memory, which has room for it.
func place(memory []byte, t *tensor.Tensor) {
	if t.Type != tensor.Bytes {
		copy(memory, t.Data)
		return
	}
	at := 4 * len(t.Strings)
	for i, s := range t.Strings {
		binary.NativeEndian.PutUint32(memory[4*i:], uint32(len(s)))
		at += copy(memory[at:], s)
	}
}

// request writes the message of a request whose tensors lie one after the other, and says where the last one ends.
func request(msg []byte, seq uint64, in []tensor.Tensor) (_ []byte, end int) {
	msg = binary.NativeEndian.AppendUint64(msg[:0], seq)
	msg = binary.NativeEndian.AppendUint32(msg, uint32(len(in)))
	msg = binary.NativeEndian.AppendUint32(msg, 0)
	for i := range in {
		t := &in[i]
		offset, n := up(end), t.Packed()
		msg = binary.NativeEndian.AppendUint32(msg, onnxType(t.Type))
		msg = binary.NativeEndian.AppendUint32(msg, uint32(len(t.Shape)))
		msg = binary.NativeEndian.AppendUint64(msg, uint64(offset))
		msg = binary.NativeEndian.AppendUint64(msg, uint64(n))
		for _, d := range t.Shape {
			msg = binary.NativeEndian.AppendUint64(msg, uint64(d))
		}
		end = offset + n
	}
	return msg, end
}

// answered takes the tensors of an answer out of memory. Nothing of it is believed: whoever wrote it ran a model that
// anybody may have made, and can write to the memory while it is read. end is where the last tensor ends.
func (d *decoder) answered(memory []byte, out []tensor.Tensor) (end int, err error) {
	for i := range out {
		typ, ok := typeOf(d.u32())
		dims := d.u32()
		offset, size := d.u64(), d.u64()
		if d.bad || !ok || dims > mostDims || offset > uint64(len(memory)) || size > uint64(len(memory))-offset {
			return end, errCut
		}
		var room [mostDims]int
		shape := room[:dims]
		for j := range shape {
			shape[j] = int(int64(d.u64()))
		}
		n, err := tensor.Elements(shape)
		if d.bad || err != nil {
			return end, errors.Join(errCut, err)
		}
		at := memory[offset : offset+size]
		if typ != tensor.Bytes && uint64(n)*uint64(typ.Size()) != size || typ == tensor.Bytes && uint64(n) > size/4 {
			return end, fmt.Errorf("%w: %d bytes for the shape %v", errCut, size, shape)
		}
		out[i].Reset(typ, shape...)
		if typ != tensor.Bytes {
			copy(out[i].Data, at)
		} else if err := texts(at, out[i].Strings); err != nil {
			return end, err
		}
		end = max(end, int(offset+size))
	}
	return end, nil
}

// texts takes strings out of memory.
func texts(at []byte, out [][]byte) error {
	rest := bytes.Clone(at[4*len(out):]) // new memory: whoever has the strings may keep them
	for i := range out {
		n := binary.NativeEndian.Uint32(at[4*i:]) // read once: the memory is shared
		if uint64(n) > uint64(len(rest)) {
			return errCut
		}
		out[i], rest = rest[:n:n], rest[n:]
	}
	return nil
}
