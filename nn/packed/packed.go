// Package packed reads and writes networks whose weights are kept small: format lineshaft-nn, files ending in .lsnn.
//
// A file is eight bytes of magic, the length of a header (uint32), the header (JSON), and the parameters one after
// another, in the order of the network's layers. All numbers are little-endian. The header holds the architecture as
// Keras's configuration of a Sequential model, and for each parameter how it is encoded:
//
//	f32     its values
//	bf16    their upper halves
//	int8    a float32 for each column, then a whole number from -127 to 127 for each weight: the value is their product
//	sparse  a bit for each value, the lowest of each byte first, then those values whose bit is set
//
// and the CRC-32 (IEEE) of all that follows the header. A network that was read answers with its weights in the form that
// they have in the file; its parameters' values are what these stand for, so that keras.WriteH5 writes them for others.
package packed

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash"
	"hash/crc32"
	"io"
	"math"
	"math/bits"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/keras"
	"github.com/lineshaft/lineshaft/nn/kernel"
)

const (
	magic     = "\x93LSNN\x01\r\n"
	maxHeader = 1 << 20
	maxWidth  = 1 << 22 // values of one row in any layer
)

type header struct {
	Config json.RawMessage `json:"config"`
	Params []param         `json:"params"`
	CRC    uint32          `json:"crc32"`
}

// param is one parameter: its layer and its name are there for people.
type param struct {
	Layer    string `json:"layer"`
	Name     string `json:"name"`
	Shape    []int  `json:"shape"`
	Encoding string `json:"encoding"`
	Bytes    int64  `json:"bytes"`
}

// Is says whether a file begins as one of the format does.
func Is(r io.ReaderAt) bool {
	var b [len(magic)]byte
	n, _ := r.ReadAt(b[:], 0) // what cannot be read is none
	return n == len(magic) && string(b[:]) == magic
}

// Write writes a network with its weights in the forms that its layers have, those that are mostly zero without the
// zeros.
func Write(w io.Writer, n *nn.Network) error {
	const op = "packed.Write"
	var h header
	var err error
	if h.Config, err = keras.Config(n); err != nil {
		return err
	}
	sum := crc32.NewIEEE()
	for _, part := range arrays(n) {
		size := &count{}
		if err := part.encode(io.MultiWriter(sum, size)); err != nil {
			return errs.E(op, errs.Other, err)
		}
		part.Bytes = size.n
		h.Params = append(h.Params, part.param)
	}
	h.CRC = sum.Sum32()
	text, err := json.Marshal(h)
	if err != nil {
		return errs.E(op, errs.Other, err)
	}
	if len(text) > maxHeader {
		return errs.Errorf(op, errs.TooLarge, "the network's description takes %d bytes, more than %d", len(text), maxHeader)
	}
	head := append(binary.LittleEndian.AppendUint32([]byte(magic), uint32(len(text))), text...)
	if _, err := w.Write(head); err != nil {
		return errs.E(op, errs.Other, err)
	}
	for _, part := range arrays(n) {
		if err := part.encode(w); err != nil {
			return errs.E(op, errs.Other, err)
		}
	}
	return nil
}

type count struct{ n int64 }

func (c *count) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// array is a parameter with what is written of it.
type array struct {
	param
	values []float32
	whole  kernel.Quantised
}

func arrays(n *nn.Network) []array {
	var all []array
	for _, l := range n.Layers {
		for i, p := range l.Params() {
			a := array{param: param{Layer: l.Name(), Name: p.Name, Shape: p.Shape, Encoding: "f32"}, values: p.Value}
			switch d, ok := l.(*nn.Dense); {
			case ok && i == 0 && d.Form() == nn.Int8:
				a.Encoding, a.whole = "int8", d.Int8()
			case ok && i == 0 && d.Form() == nn.BFloat16:
				a.Encoding = "bf16"
			case sparse(p.Value):
				a.Encoding = "sparse"
			}
			all = append(all, a)
		}
	}
	return all
}

// sparse says that leaving zeros out saves room.
func sparse(v []float32) bool {
	zeros := 0
	for _, x := range v {
		zeros += int(1 - min(1, math.Float32bits(x)))
	}
	return 4*zeros > len(v)/8+8
}

func (a *array) encode(w io.Writer) error {
	var b []byte
	put := func(min int) error { // in pieces
		if len(b) < min || len(b) == 0 {
			return nil
		}
		_, err := w.Write(b)
		b = b[:0]
		return err
	}
	const piece = 64 << 10
	var err error
	floats := func(values []float32, only bool) {
		for _, v := range values {
			if u := math.Float32bits(v); err == nil && (u != 0 || !only) {
				b = binary.LittleEndian.AppendUint32(b, u)
				err = put(piece)
			}
		}
	}
	switch a.Encoding {
	case "bf16":
		for _, v := range a.values {
			if err == nil {
				b = binary.LittleEndian.AppendUint16(b, kernel.ToBFloat16(v))
				err = put(piece)
			}
		}
	case "int8":
		floats(a.whole.Scale, false)
		for _, v := range a.whole.Values {
			if err == nil {
				b = append(b, byte(v))
				err = put(piece)
			}
		}
	case "sparse":
		mask := make([]byte, (len(a.values)+7)/8)
		for i, v := range a.values {
			if math.Float32bits(v) != 0 {
				mask[i/8] |= 1 << (i % 8)
			}
		}
		if _, err = w.Write(mask); err == nil {
			floats(a.values, true)
		}
	default:
		floats(a.values, false)
	}
	if err == nil {
		err = put(0)
	}
	return err
}

func bad(format string, args ...any) error {
	return errs.Errorf("packed.Read", errs.Invalid, format, args...)
}

// Read reads a network. What it takes in memory is bounded by the file's size.
func Read(r io.ReaderAt, size int64) (*nn.Network, error) {
	fixed := make([]byte, len(magic)+4)
	if _, err := r.ReadAt(fixed, 0); err != nil || string(fixed[:len(magic)]) != magic {
		return nil, bad("no file of format lineshaft-nn: it begins with % x", fixed[:4])
	}
	n := int64(binary.LittleEndian.Uint32(fixed[len(magic):]))
	if from := int64(len(fixed)); n > maxHeader || n > size-from {
		return nil, bad("the header takes %d bytes: the file is cut off or damaged", n)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(r, int64(len(fixed)), n), text); err != nil {
		return nil, errs.E("packed.Read", errs.KindOf(err), err)
	}
	var h header
	if err := json.Unmarshal(text, &h); err != nil {
		return nil, bad("the header does not parse: %v", err)
	}
	// A value takes a bit at least, in which case it is zero.
	net, err := keras.FromConfig(h.Config, nn.Limit{Weights: int(8*size + 1<<10), Width: maxWidth})
	if err != nil {
		return nil, err
	}
	return net, fill(net, h, io.NewSectionReader(r, int64(len(fixed))+n, size-int64(len(fixed))-n))
}

// fill reads the parameters.
func fill(net *nn.Network, h header, body *io.SectionReader) error {
	sum := crc32.NewIEEE()
	at, left := 0, body.Size()
	for _, l := range net.Layers {
		for i, p := range l.Params() {
			if at == len(h.Params) {
				return bad("the file ends before %q of layer %q", p.Name, l.Name())
			}
			have := h.Params[at]
			at++
			if have.Bytes < 0 || have.Bytes > left {
				return bad("%q of layer %q takes %d bytes, of which %d are there: the file is cut off or damaged", p.Name, l.Name(), have.Bytes, left)
			}
			left -= have.Bytes
			b := make([]byte, have.Bytes)
			if _, err := io.ReadFull(body, b); err != nil {
				return errs.E("packed.Read", errs.KindOf(err), err)
			}
			if err := decode(l, i, p, have.Encoding, b, sum); err != nil {
				return err
			}
		}
	}
	if at != len(h.Params) || left != 0 {
		return bad("%d bytes and %d parameters are left over after the last layer", left, len(h.Params)-at)
	}
	if sum.Sum32() != h.CRC {
		return bad("the weights fail their check sum: the file is damaged")
	}
	return nil
}

// decode makes a parameter of its bytes.
func decode(l nn.Layer, i int, p *nn.Param, encoding string, b []byte, sum hash.Hash) error {
	sum.Write(b)
	n := len(p.Value)
	d, dense := l.(*nn.Dense)
	wrong := func(want int) error {
		return bad("%q of layer %q has %d bytes as %s and needs %d", p.Name, l.Name(), len(b), encoding, want)
	}
	switch encoding {
	case "f32":
		if len(b) != 4*n {
			return wrong(4 * n)
		}
		floats(p.Value, b)
	case "sparse":
		mask := (n + 7) / 8
		if len(b) < mask {
			return wrong(mask)
		}
		set := 0
		for _, m := range b[:mask] {
			set += bits.OnesCount8(m)
		}
		if len(b) != mask+4*set || n%8 != 0 && b[mask-1]>>(n%8) != 0 {
			return wrong(mask + 4*set)
		}
		rest := bytes.NewBuffer(b[mask:])
		for j := range p.Value {
			p.Value[j] = 0
			if b[j/8]>>(j%8)&1 == 1 {
				floats(p.Value[j:j+1], rest.Next(4))
			}
		}
	case "bf16":
		if !dense || i != 0 || len(b) != 2*n {
			return wrong(2 * n)
		}
		for j := range p.Value {
			p.Value[j] = kernel.FromBFloat16(binary.LittleEndian.Uint16(b[2*j:]))
		}
		return d.Shrink(nn.BFloat16)
	case "int8":
		if !dense || i != 0 || len(b) != 4*d.Units+n {
			return wrong(n)
		}
		q := kernel.Quantised{Scale: make([]float32, d.Units), Values: make([]int8, n)}
		floats(q.Scale, b)
		for j, v := range b[4*d.Units:] {
			if q.Values[j] = int8(v); q.Values[j] == -128 {
				return bad("%q of layer %q holds -128, which no weight is", p.Name, l.Name())
			}
		}
		return d.SetInt8(q)
	default:
		return errs.Errorf("packed.Read", errs.Unsupported, "%q of layer %q is encoded as %q, which this version does not know", p.Name, l.Name(), encoding)
	}
	return nil
}

func floats(dst []float32, b []byte) {
	for j := range dst {
		dst[j] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*j:]))
	}
}
