package hdf5

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"io"
	"math"
	"unsafe"

	"github.com/lineshaft/lineshaft/internal/turn"
)

// number reads one element as a float64; other classes give 0.
func (t datatype) number(e []byte) float64 {
	var order binary.ByteOrder = binary.LittleEndian
	if t.big {
		order = binary.BigEndian
	}
	switch {
	case t.class == 1 && t.size == 4:
		return float64(math.Float32frombits(order.Uint32(e)))
	case t.class == 1 && t.size == 8:
		return math.Float64frombits(order.Uint64(e))
	case t.class == 1 && t.size == 2:
		return half(order.Uint16(e))
	case t.class == 0 && t.size == 8 && t.signed:
		return float64(int64(order.Uint64(e)))
	case t.class == 0 && t.size == 8:
		return float64(order.Uint64(e))
	case t.class == 0 && t.size == 4 && t.signed:
		return float64(int32(order.Uint32(e)))
	case t.class == 0 && t.size == 4:
		return float64(order.Uint32(e))
	case t.class == 0 && t.size == 2 && t.signed:
		return float64(int16(order.Uint16(e)))
	case t.class == 0 && t.size == 2:
		return float64(order.Uint16(e))
	case t.class == 0 && t.size == 1 && t.signed:
		return float64(int8(e[0]))
	case t.class == 0 && t.size == 1:
		return float64(e[0])
	}
	return 0
}

// half is IEEE 754 binary16.
func half(b uint16) float64 {
	exp, frac := int(b>>10&31), float64(b&1023)
	v := math.Ldexp(1+frac/1024, exp-15)
	switch exp {
	case 0:
		v = math.Ldexp(frac, -24)
	case 31:
		v = math.Inf(1)
		if frac != 0 {
			v = math.NaN()
		}
	}
	if b&0x8000 != 0 {
		v = -v
	}
	return v
}

func (t datatype) known() bool {
	return t.class == 1 && (t.size == 2 || t.size == 4 || t.size == 8) ||
		t.class == 0 && (t.size == 1 || t.size == 2 || t.size == 4 || t.size == 8)
}

// atOnce is how many numbers are converted before requests get their turn.
const atOnce = turn.Bytes / 4

// Floats reads all numbers, row-major.
func (d *Dataset) Floats() ([]float32, error) {
	if d.file == nil {
		return d.Values, nil
	}
	if !d.typ.known() {
		return nil, unknown("an array of elements of class %d and %d bytes", d.typ.class, d.typ.size)
	}
	out := make([]float32, product(d.Dims))
	return out, d.Read(out)
}

// Read puts all numbers, row-major, to out, which has room for just as many. Numbers that lie in the file as they lie in
// memory are read in place: half of the time of loading a model was spent on copies.
func (d *Dataset) Read(out []float32) error {
	n := len(out)
	if d.file == nil || !d.typ.known() || n != product(d.Dims) {
		return unknown("an array of %d elements of class %d and %d bytes where %d numbers are needed", product(d.Dims), d.typ.class, d.typ.size, n)
	}
	plain := d.typ.class == 1 && d.typ.size == 4 && !d.typ.big
	if l := d.layout; plain && l.kind == 1 && l.at != undefined && l.size >= uint64(4*n) && n > 0 && little() {
		return d.file.read(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(out))), 4*n), l.at)
	}
	raw, err := d.raw(uint64(n) * uint64(d.typ.size))
	if err != nil {
		return err
	}
	for lo := 0; lo < n; lo += atOnce {
		for i := lo; i < min(lo+atOnce, n); i++ {
			if plain {
				out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
			} else {
				out[i] = float32(d.typ.number(raw[i*d.typ.size:]))
			}
		}
		turn.Pass()
	}
	return nil
}

// little says whether this machine's memory has the lowest byte first.
func little() bool { return binary.NativeEndian.Uint16([]byte{1, 0}) == 1 }

// raw gives the elements' bytes in order.
func (d *Dataset) raw(n uint64) ([]byte, error) {
	l := d.layout
	switch {
	case l.kind == 0 && uint64(len(l.data)) >= n:
		return l.data[:n], nil
	case l.kind == 1 && l.at != undefined && l.size >= n:
		return d.file.bytes(l.at, n)
	case l.kind == 2:
		if n > d.file.most() {
			return nil, bad("an array says it is %d bytes long, in a file of %d", n, d.file.size)
		}
		out := make([]byte, n)
		if l.at == undefined {
			return out, nil
		}
		return out, d.chunks(l.at, out, 0)
	case n == 0:
		return nil, nil
	}
	return nil, bad("an array has less data than its shape %v needs", d.Dims)
}

// chunks walks the version 1 B-tree of a chunked array and places every chunk.
func (d *Dataset) chunks(at uint64, out []byte, level int) error {
	if level > maxDepth {
		return bad("a tree is deeper than %d", maxDepth)
	}
	head, err := d.file.bytes(at, 8)
	if err != nil {
		return err
	}
	if string(head[:4]) != "TREE" || head[4] != 1 || len(d.layout.chunk) != len(d.Dims) {
		return bad("a tree of chunks does not begin as one or has another rank than its array")
	}
	rank := len(d.Dims)
	key := uint64(8 + 8*(rank+1))
	n := uint64(binary.LittleEndian.Uint16(head[6:]))
	body, err := d.file.bytes(at+24, n*(key+8)+key)
	if err != nil {
		return err
	}
	for i := range n {
		c := &cursor{b: body[i*(key+8):]}
		size, mask := c.u32(), c.u32()
		offset := make([]uint64, rank)
		for j := range offset {
			offset[j] = c.u64()
		}
		c.take(8)
		child := c.u64()
		if head[5] > 0 {
			err = d.chunks(child, out, level+1)
		} else {
			err = d.chunk(child, uint64(size), mask, offset, out)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *Dataset) chunk(at, size uint64, mask uint32, offset []uint64, out []byte) error {
	b, err := d.file.bytes(at, size)
	if err != nil {
		return err
	}
	want := product(d.layout.chunk) * d.typ.size
	if uint64(want) > d.file.most() || uint64(want) > d.file.unpack {
		return bad("its chunks of %d bytes unpack to more than a file of %d can hold", want, d.file.size)
	}
	d.file.unpack -= uint64(want)
	for i := len(d.layout.filters) - 1; i >= 0; i-- {
		if mask>>i&1 == 1 {
			continue
		}
		switch d.layout.filters[i] {
		case 1:
			if b, err = inflate(b, want); err != nil {
				return err
			}
		case 2:
			b = unshuffle(b, d.typ.size)
		case 3:
			if len(b) < 4 {
				return bad("a chunk is cut off")
			}
			b = b[:len(b)-4]
		}
	}
	if len(b) < want {
		return bad("a chunk holds %d of %d bytes", len(b), want)
	}
	for j, o := range offset {
		if o >= uint64(d.Dims[j]) {
			return bad("a chunk lies outside its array")
		}
	}
	if len(offset) == 0 {
		copy(out, b[:want])
		return nil
	}
	d.place(b, offset, out, 0, 0, 0)
	return nil
}

// place copies a chunk into the array, dimension by dimension; from and to are element numbers.
func (d *Dataset) place(b []byte, offset []uint64, out []byte, dim, from, to int) {
	n := min(d.layout.chunk[dim], d.Dims[dim]-int(offset[dim]))
	to = to*d.Dims[dim] + int(offset[dim])
	from *= d.layout.chunk[dim]
	if dim == len(d.Dims)-1 {
		e := d.typ.size
		copy(out[to*e:(to+n)*e], b[from*e:(from+n)*e])
		return
	}
	for i := range n {
		d.place(b, offset, out, dim+1, from+i, to+i)
	}
}

func inflate(b []byte, want int) ([]byte, error) {
	z, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, bad("a chunk does not unpack: %v", err)
	}
	var out bytes.Buffer
	if _, err := io.Copy(&out, io.LimitReader(z, int64(want)+5)); err != nil {
		return nil, bad("a chunk does not unpack: %v", err)
	}
	return out.Bytes(), nil
}

func unshuffle(b []byte, size int) []byte {
	n := len(b) / size
	out := make([]byte, len(b))
	for i := range n {
		for j := range size {
			out[i*size+j] = b[j*n+i]
		}
	}
	copy(out[n*size:], b[n*size:])
	return out
}
