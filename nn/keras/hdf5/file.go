// Package hdf5 reads and writes the part of the HDF5 format that Keras uses: groups, data sets of numbers, attributes of
// numbers and strings. (HDF5 File Format Specification, versions 1.1 and 3.0, The HDF Group.)
//
// The reader takes files from anywhere. It never trusts an address or a length: everything is read through one method
// that checks it against the file and charges it to a budget of a small multiple of the file's size, and so is whatever
// is copied or unpacked from there, so that a file that points in circles or at one thing many times runs out of budget
// instead of memory or time. What it does not know (dense groups, committed types, other filters) it names.
package hdf5

import (
	"encoding/binary"
	"io"
	"math"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// signature begins every HDF5 file.
const signature = "\x89HDF\r\n\x1a\n"

const (
	maxDepth   = 32      // of groups in groups
	maxObjects = 100_000 // groups, data sets
	undefined  = math.MaxUint64
)

// Is tells whether a file begins as an HDF5 file.
func Is(r io.ReaderAt) bool {
	var b [len(signature)]byte
	_, err := r.ReadAt(b[:], 0)
	return (err == nil || err == io.EOF) && string(b[:]) == signature
}

type file struct {
	r       io.ReaderAt
	size    uint64
	budget  uint64
	unpack  uint64 // bytes that filters may still make
	objects int
	heaps   map[uint64]map[uint16][]byte
}

func bad(format string, args ...any) error {
	return errs.Errorf("hdf5.Open", errs.Invalid, "not a sound HDF5 file: "+format, args...)
}

func unknown(format string, args ...any) error {
	return errs.Errorf("hdf5.Open", errs.Unsupported, "this HDF5 file uses "+format+", which is not read here", args...)
}

// bytes reads n bytes at an address.
func (f *file) bytes(at, n uint64) ([]byte, error) {
	if at > f.size || n > f.size-at {
		return nil, bad("%d bytes at %d lie outside its %d bytes", n, at, f.size)
	}
	if err := f.charge(n); err != nil {
		return nil, err
	}
	b := make([]byte, n)
	return b, f.fill(b, at)
}

// read reads what lies at an address to b.
func (f *file) read(b []byte, at uint64) error {
	n := uint64(len(b))
	if at > f.size || n > f.size-at {
		return bad("%d bytes at %d lie outside its %d bytes", n, at, f.size)
	}
	if err := f.charge(n); err != nil {
		return err
	}
	return f.fill(b, at)
}

func (f *file) fill(b []byte, at uint64) error {
	if _, err := f.r.ReadAt(b, int64(at)); err != nil && !(err == io.EOF && len(b) == 0) {
		return errs.E("hdf5.Open", errs.KindOf(err), err)
	}
	return nil
}

// charge takes what n bytes cost from the budget.
func (f *file) charge(n uint64) error {
	if n+16 > f.budget {
		return bad("its parts are used over and over")
	}
	f.budget -= n + 16
	return nil
}

// most is how many bytes an array or a chunk of a file of that size can have: deflate alone may pack zeros a thousand
// times, arrays of weights not a tenth of that.
func (f *file) most() uint64 { return 64*f.size + 1<<16 }

// Open reads the whole structure of a file of that size; the numbers of data sets stay on the file until asked for.
func Open(r io.ReaderAt, size int64) (*Group, error) {
	if size < 0 || size > math.MaxInt64/256 {
		return nil, bad("its size is %d", size)
	}
	f := &file{r: r, size: uint64(size), budget: 4*uint64(size) + 1<<20, unpack: 128*uint64(size) + 1<<17, heaps: map[uint64]map[uint16][]byte{}}
	head, err := f.bytes(0, min(f.size, 96))
	if err != nil {
		return nil, err
	}
	if len(head) < 48 || string(head[:8]) != signature {
		return nil, bad("it does not begin as one")
	}
	var root uint64
	switch version := head[8]; version {
	case 0, 1:
		at := 64
		if version == 1 {
			at = 68
		}
		if len(head) < at+8 || head[13] != 8 || head[14] != 8 {
			return nil, unknown("addresses that are not 8 bytes")
		}
		root = binary.LittleEndian.Uint64(head[at:])
	case 2, 3:
		if head[9] != 8 || head[10] != 8 {
			return nil, unknown("addresses that are not 8 bytes")
		}
		root = binary.LittleEndian.Uint64(head[36:])
	default:
		return nil, unknown("superblock version %d", version)
	}
	o, err := f.object(root, 0)
	if err != nil {
		return nil, err
	}
	g, ok := o.(*Group)
	if !ok {
		return nil, bad("its root is not a group")
	}
	return g, nil
}

// cursor takes little-endian fields from a message; reading past the end gives zeros and remembers it.
type cursor struct {
	b     []byte
	short bool
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.short, c.b = true, nil
		return make([]byte, min(max(n, 0), 16))
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) u8() int     { return int(c.take(1)[0]) }
func (c *cursor) u16() int    { return int(binary.LittleEndian.Uint16(c.take(2))) }
func (c *cursor) u32() uint32 { return binary.LittleEndian.Uint32(c.take(4)) }
func (c *cursor) u64() uint64 { return binary.LittleEndian.Uint64(c.take(8)) }

// Object is a *Group or a *Dataset.
type Object interface{ Attributes() map[string]Attribute }

// Group holds other objects.
type Group struct {
	Attrs    map[string]Attribute
	Children map[string]Object
}

// Attributes of the group.
func (g *Group) Attributes() map[string]Attribute { return g.Attrs }

// NewGroup makes an empty group, for writing.
func NewGroup() *Group {
	return &Group{Attrs: map[string]Attribute{}, Children: map[string]Object{}}
}

// Group finds or makes the group at a path of names.
func (g *Group) Group(path ...string) *Group {
	for _, name := range path {
		next, ok := g.Children[name].(*Group)
		if !ok {
			next = NewGroup()
			g.Children[name] = next
		}
		g = next
	}
	return g
}

// Find gives the object at a path of names, or nil.
func (g *Group) Find(path ...string) Object {
	var o Object = g
	for _, name := range path {
		in, ok := o.(*Group)
		if !ok {
			return nil
		}
		if o, ok = in.Children[name]; !ok {
			return nil
		}
	}
	return o
}

// Attribute is a named value of an object: Strings or Numbers, with Dims (none for a single value).
type Attribute struct {
	Dims    []int
	Strings []string
	Numbers []float64
}

// Text is an attribute of one string.
func Text(s string) Attribute { return Attribute{Strings: []string{s}} }

// List is an attribute of a list of strings.
func List(s []string) Attribute { return Attribute{Dims: []int{len(s)}, Strings: s} }

// String is the first string, or "".
func (a Attribute) String() string {
	if len(a.Strings) == 0 {
		return ""
	}
	return a.Strings[0]
}

// Dataset is an array of numbers.
type Dataset struct {
	Attrs map[string]Attribute
	Dims  []int
	// Values are set for writing. After Open they are nil: Floats reads them.
	Values  []float32
	Integer bool // written as 64-bit integers

	file   *file
	typ    datatype
	layout layout
}

// Attributes of the data set.
func (d *Dataset) Attributes() map[string]Attribute { return d.Attrs }
