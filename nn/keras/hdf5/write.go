package hdf5

import (
	"bufio"
	"encoding/binary"
	"io"
	"maps"
	"math"
	"math/bits"
	"slices"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// maxMessage is the largest message of an object header; longer strings go to a global heap.
const maxMessage = 60_000

// Write writes a file with a version 2 superblock, version 2 object headers and contiguous arrays, which every HDF5
// library since 1.8 reads. Everything has its address before the first byte is written, so w need not seek.
func Write(w io.Writer, root *Group) error {
	p := &plan{next: 48}
	at, err := p.object(root, 0)
	if err != nil {
		return err
	}
	head := slices.Concat([]byte(signature), []byte{2, 8, 8, 0}, u64(0), u64(undefined), u64(p.next), u64(at))
	head = append(head, u32(lookup3(head))...)
	out := bufio.NewWriterSize(w, 1<<16)
	out.Write(head) //nolint:errcheck // Flush tells
	for _, part := range p.parts {
		part(out)
	}
	return errs.E("hdf5.Write", errs.Other, out.Flush())
}

// plan collects what will be written, in order, with the address after it.
type plan struct {
	next  uint64
	parts []func(*bufio.Writer)
}

func (p *plan) add(n int, write func(*bufio.Writer)) (at uint64) {
	at = p.next
	p.next += uint64(n)
	p.parts = append(p.parts, write)
	if pad := int(-p.next & 7); pad > 0 {
		p.next += uint64(pad)
		p.parts = append(p.parts, func(w *bufio.Writer) { w.Write(make([]byte, pad)) }) //nolint:errcheck // Flush tells
	}
	return at
}

func (p *plan) bytes(b []byte) uint64 {
	return p.add(len(b), func(w *bufio.Writer) { w.Write(b) }) //nolint:errcheck // Flush tells
}

func u16(n int) []byte    { return binary.LittleEndian.AppendUint16(nil, uint16(n)) }
func u32(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }
func u64(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }

func (p *plan) object(o Object, depth int) (uint64, error) {
	if depth > maxDepth {
		return 0, errs.Errorf("hdf5.Write", errs.Invalid, "groups are nested deeper than %d", maxDepth)
	}
	var body []byte
	message := func(kind byte, parts ...[]byte) error {
		m := slices.Concat(parts...)
		if len(m) > math.MaxUint16 {
			return errs.Errorf("hdf5.Write", errs.TooLarge, "a message of %d bytes does not fit into an object header", len(m))
		}
		body = slices.Concat(body, []byte{kind}, u16(len(m)), []byte{0}, m)
		return nil
	}
	switch o := o.(type) {
	case *Group:
		var links [][]byte
		for _, name := range slices.Sorted(maps.Keys(o.Children)) {
			at, err := p.object(o.Children[name], depth+1)
			if err != nil {
				return 0, err
			}
			links = append(links, slices.Concat([]byte{1, 0x11, 1}, u16(len(name)), []byte(name), u64(at)))
		}
		message(2, []byte{0, 0}, u64(undefined), u64(undefined)) //nolint:errcheck // short
		message(10, []byte{0, 0})                                //nolint:errcheck // short
		for _, l := range links {
			if err := message(6, l); err != nil {
				return 0, err
			}
		}
	case *Dataset:
		values, err := o.Floats()
		if err != nil {
			return 0, err
		}
		if len(values) != product(o.Dims) {
			return 0, errs.Errorf("hdf5.Write", errs.Invalid, "an array of shape %v has %d values", o.Dims, len(values))
		}
		width := 4
		if o.Integer {
			width = 8
		}
		at := p.add(width*len(values), func(w *bufio.Writer) { numbers(w, values, o.Integer) })
		message(1, space(o.Dims))                                         //nolint:errcheck // short
		message(3, numberType(o.Integer))                                 //nolint:errcheck // short
		message(5, []byte{3, 0x0a})                                       //nolint:errcheck // short
		message(8, []byte{3, 1}, u64(at), u64(uint64(width*len(values)))) //nolint:errcheck // short
	}
	attrs := o.Attributes()
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		typ, data := p.values(attrs[name])
		sp := space(attrs[name].Dims)
		err := message(12, []byte{3, 0}, u16(len(name)+1), u16(len(typ)), u16(len(sp)), []byte{1}, []byte(name), []byte{0}, typ, sp, data)
		if err != nil {
			return 0, err
		}
	}
	head := slices.Concat([]byte("OHDR"), []byte{2, 2}, u32(uint32(len(body))), body)
	return p.bytes(append(head, u32(lookup3(head))...)), nil
}

func numbers(w *bufio.Writer, values []float32, integer bool) {
	var b [8]byte
	for _, v := range values {
		if integer {
			binary.LittleEndian.PutUint64(b[:], uint64(int64(v)))
			w.Write(b[:]) //nolint:errcheck // Flush tells
			continue
		}
		binary.LittleEndian.PutUint32(b[:], math.Float32bits(v))
		w.Write(b[:4]) //nolint:errcheck // Flush tells
	}
}

func space(dims []int) []byte {
	kind := byte(1)
	if len(dims) == 0 {
		kind = 0
	}
	m := []byte{2, byte(len(dims)), 0, kind}
	for _, d := range dims {
		m = append(m, u64(uint64(d))...)
	}
	return m
}

func numberType(integer bool) []byte {
	if integer {
		return slices.Concat([]byte{0x10, 0x08, 0, 0}, u32(8), u16(0), u16(64))
	}
	return slices.Concat([]byte{0x11, 0x20, 31, 0}, u32(4), u16(0), u16(32), []byte{23, 8, 0, 23}, u32(127))
}

// values encodes an attribute: short strings with a fixed length, long ones through a global heap.
func (p *plan) values(a Attribute) (typ, data []byte) {
	if a.Strings == nil {
		for _, v := range a.Numbers {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(v)))
		}
		return numberType(false), data
	}
	width := 1
	for _, s := range a.Strings {
		width = max(width, len(s))
	}
	if width*len(a.Strings) <= maxMessage {
		for _, s := range a.Strings {
			data = append(data, s...)
			data = append(data, make([]byte, width-len(s))...)
		}
		return slices.Concat([]byte{0x13, 0x11, 0, 0}, u32(uint32(width))), data
	}
	heap := slices.Concat([]byte("GCOL"), []byte{1, 0, 0, 0}, u64(0))
	for i, s := range a.Strings {
		heap = slices.Concat(heap, u16(i+1), u16(1), make([]byte, 4), u64(uint64(len(s))), []byte(s), make([]byte, -len(s)&7))
	}
	// What is left of a collection is object 0; a collection has at least 4096 bytes.
	free := max(4096-len(heap), 16)
	heap = slices.Concat(heap, make([]byte, 8), u64(uint64(free)), make([]byte, free-16))
	binary.LittleEndian.PutUint64(heap[8:], uint64(len(heap)))
	at := p.bytes(heap)
	for i, s := range a.Strings {
		data = slices.Concat(data, u32(uint32(len(s))), u64(at), u32(uint32(i+1)))
	}
	// Variable length, of a UTF-8 string, its base a one-byte string.
	return slices.Concat([]byte{0x19, 0x01, 0x01, 0}, u32(16), []byte{0x13, 0x10, 0, 0}, u32(1)), data
}

// lookup3 is Bob Jenkins's hash of 2006, the check sum of version 2 structures.
func lookup3(k []byte) uint32 {
	rot := func(x uint32, n int) uint32 { return bits.RotateLeft32(x, n) }
	a := 0xdeadbeef + uint32(len(k))
	b, c := a, a
	for len(k) > 12 {
		a += binary.LittleEndian.Uint32(k)
		b += binary.LittleEndian.Uint32(k[4:])
		c += binary.LittleEndian.Uint32(k[8:])
		a, b, c = mix(a, b, c, rot)
		k = k[12:]
	}
	if len(k) == 0 {
		return c
	}
	var t [12]byte
	copy(t[:], k)
	a += binary.LittleEndian.Uint32(t[:])
	b += binary.LittleEndian.Uint32(t[4:])
	c += binary.LittleEndian.Uint32(t[8:])
	c = (c ^ b) - rot(b, 14)
	a = (a ^ c) - rot(c, 11)
	b = (b ^ a) - rot(a, 25)
	c = (c ^ b) - rot(b, 16)
	a = (a ^ c) - rot(c, 4)
	b = (b ^ a) - rot(a, 14)
	return (c ^ b) - rot(b, 24)
}

func mix(a, b, c uint32, rot func(uint32, int) uint32) (x, y, z uint32) {
	a = (a - c) ^ rot(c, 4)
	c += b
	b = (b - a) ^ rot(a, 6)
	a += c
	c = (c - b) ^ rot(b, 8)
	b += a
	a = (a - c) ^ rot(c, 16)
	c += b
	b = (b - a) ^ rot(a, 19)
	a += c
	c = (c - b) ^ rot(b, 4)
	b += a
	return a, b, c
}
