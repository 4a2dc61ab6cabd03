package hdf5

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// message is one message of an object header.
type message struct {
	kind  int
	flags int
	body  []byte
}

type datatype struct {
	class  int // 0 integer, 1 float, 3 string, 9 variable length
	size   int
	signed bool
	big    bool // big-endian
	text   bool // of class 9: a string
}

type layout struct {
	kind    int // 0 compact, 1 contiguous, 2 chunked, -1 none
	data    []byte
	at      uint64
	size    uint64
	chunk   []int // without the element size
	filters []int
}

// messages reads an object header of version 1 or 2 with its continuations.
func (f *file) messages(at uint64) ([]message, error) {
	head, err := f.bytes(at, min(16, f.size-min(at, f.size)))
	if err != nil {
		return nil, err
	}
	if len(head) < 16 {
		return nil, bad("an object header is cut off")
	}
	type block struct{ at, n uint64 }
	var blocks []block
	v2, order := false, false
	switch {
	case string(head[:4]) == "OHDR" && head[4] == 2:
		v2, order = true, head[5]&4 != 0
		skip := uint64(6)
		if head[5]&0x20 != 0 {
			skip += 16
		}
		if head[5]&0x10 != 0 {
			skip += 4
		}
		width := uint64(1) << (head[5] & 3)
		b, err := f.bytes(at+skip, width)
		if err != nil {
			return nil, err
		}
		var n [8]byte
		copy(n[:], b)
		blocks = append(blocks, block{at + skip + width, binary.LittleEndian.Uint64(n[:])})
	case head[0] == 1:
		blocks = append(blocks, block{at + 16, uint64(binary.LittleEndian.Uint32(head[8:]))})
	default:
		return nil, unknown("an object header of version %d", head[0])
	}
	var out []message
	for i := 0; i < len(blocks); i++ {
		body, err := f.bytes(blocks[i].at, blocks[i].n)
		if err != nil {
			return nil, err
		}
		if v2 && i > 0 {
			if len(body) < 8 || string(body[:4]) != "OCHK" {
				return nil, bad("a continuation does not begin as one")
			}
			body = body[4 : len(body)-4]
		}
		c := &cursor{b: body}
		for least := 8; len(c.b) >= least || v2 && len(c.b) >= 4; {
			var m message
			var n int
			if v2 {
				m.kind, n, m.flags = c.u8(), c.u16(), c.u8()
				if order {
					c.take(2)
				}
			} else {
				m.kind, n, m.flags = c.u16(), c.u16(), c.u8()
				c.take(3)
			}
			m.body = c.take(n)
			if c.short {
				return nil, bad("a message of an object header is cut off")
			}
			if m.kind == 16 {
				x := &cursor{b: m.body}
				blocks = append(blocks, block{x.u64(), x.u64()})
				continue
			}
			out = append(out, m)
		}
	}
	return out, nil
}

// object reads a group or a data set.
func (f *file) object(at uint64, depth int) (Object, error) {
	if f.objects++; f.objects > maxObjects || depth > maxDepth {
		return nil, bad("it has over %d objects or groups nested deeper than %d", maxObjects, maxDepth)
	}
	ms, err := f.messages(at)
	if err != nil {
		return nil, err
	}
	g := NewGroup()
	d := &Dataset{Attrs: g.Attrs, file: f, layout: layout{kind: -1}}
	isData := false
	for _, m := range ms {
		if m.flags&2 != 0 && (m.kind == 1 || m.kind == 3 || m.kind == 12) {
			return nil, unknown("shared messages")
		}
		switch m.kind {
		case 1:
			d.Dims, err = dataspace(&cursor{b: m.body})
		case 3:
			isData = true
			d.typ, err = typeOf(&cursor{b: m.body})
		case 8:
			var filters []int
			filters, d.layout.filters = d.layout.filters, nil
			d.layout, err = layoutOf(&cursor{b: m.body})
			d.layout.filters = filters
		case 11:
			d.layout.filters, err = filtersOf(&cursor{b: m.body})
		case 12:
			err = f.attribute(m.body, g.Attrs)
		case 2, 21:
			err = dense(m)
		case 6:
			err = f.link(&cursor{b: m.body}, g, depth)
		case 17:
			c := &cursor{b: m.body}
			err = f.symbols(c.u64(), c.u64(), g, depth)
		}
		if err != nil {
			return nil, err
		}
	}
	if isData {
		return d, nil
	}
	return g, nil
}

// dense refuses groups and attributes that are kept in a fractal heap.
func dense(m message) error {
	c := &cursor{b: m.body}
	c.take(1)
	flags := c.u8()
	if m.kind == 2 && flags&1 != 0 {
		c.take(8)
	}
	if m.kind == 21 && flags&1 != 0 {
		c.take(2)
	}
	if heap := c.u64(); !c.short && heap != undefined {
		return unknown("dense links or attributes")
	}
	return nil
}

func dataspace(c *cursor) ([]int, error) {
	version, rank, flags := c.u8(), c.u8(), c.u8()
	switch version {
	case 1:
		c.take(5)
	case 2:
		if c.u8() == 2 { // null: no elements
			return []int{0}, nil
		}
	default:
		return nil, unknown("a data space of version %d", version)
	}
	_ = flags // maximal sizes follow; they do not matter to a reader
	dims := make([]int, 0, min(rank, 32))
	n := uint64(1)
	for range rank {
		d := c.u64()
		if c.short || rank > 32 || d > math.MaxInt32 || (d > 0 && n > math.MaxInt32/d) {
			return nil, bad("an array has more than 2³¹ elements or its dimensions are cut off")
		}
		n *= max(d, 1)
		dims = append(dims, int(d))
	}
	return dims, nil
}

func product(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

func typeOf(c *cursor) (datatype, error) {
	head := c.u8()
	b0 := c.u8()
	c.take(2)
	t := datatype{class: head & 15, size: int(c.u32())}
	if c.short || t.size <= 0 || t.size > 1<<26 {
		return t, bad("a data type is cut off or has elements of %d bytes", t.size)
	}
	t.big = b0&1 != 0
	switch t.class {
	case 0:
		t.signed = b0&8 != 0
	case 1, 3:
	case 9:
		t.text = b0&15 == 1
	default:
		return t, unknown("a data type of class %d", t.class)
	}
	return t, nil
}

func layoutOf(c *cursor) (layout, error) {
	version := c.u8()
	if version != 3 && version != 4 {
		return layout{}, unknown("a data layout of version %d", version)
	}
	l := layout{kind: c.u8()}
	switch {
	case l.kind == 0:
		l.data = bytes.Clone(c.take(c.u16()))
	case l.kind == 1:
		l.at, l.size = c.u64(), c.u64()
	case l.kind == 2 && version == 3:
		rank := c.u8()
		l.at = c.u64()
		n := uint64(1)
		for i := range rank {
			d := uint64(c.u32())
			if d == 0 || rank > 33 || n > math.MaxInt32/d {
				return l, bad("a chunk has no or too many elements")
			}
			n *= d
			if i < rank-1 {
				l.chunk = append(l.chunk, int(d))
			}
		}
	default:
		return l, unknown("a data layout of version %d and class %d", version, l.kind)
	}
	if c.short {
		return l, bad("a data layout is cut off")
	}
	return l, nil
}

func filtersOf(c *cursor) ([]int, error) {
	version, n := c.u8(), c.u8()
	if version == 1 {
		c.take(6)
	}
	var ids []int
	for range n {
		id := c.u16()
		name := 0
		if version == 1 || id >= 256 {
			name = c.u16()
		}
		c.take(2)
		values := c.u16()
		if version == 1 {
			name = (name + 7) &^ 7
			values += values & 1
		}
		c.take(name)
		c.take(4 * values)
		if c.short || n > 32 {
			return nil, bad("a list of filters is cut off")
		}
		if id < 1 || id > 3 {
			return nil, unknown("filter %d", id)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// link is a link message: only hard links lead on.
func (f *file) link(c *cursor, g *Group, depth int) error {
	version, flags := c.u8(), c.u8()
	kind := 0
	if flags&8 != 0 {
		kind = c.u8()
	}
	if flags&4 != 0 {
		c.take(8)
	}
	if flags&16 != 0 {
		c.take(1)
	}
	var n [8]byte
	copy(n[:], c.take(1<<(flags&3)))
	length := binary.LittleEndian.Uint64(n[:])
	if version != 1 || kind != 0 {
		return unknown("soft or external links")
	}
	if length > 1<<16 {
		return bad("a name is %d bytes long", length)
	}
	name := string(c.take(int(length)))
	at := c.u64()
	if c.short {
		return bad("a link is cut off")
	}
	return f.child(g, name, at, depth)
}

func (f *file) child(g *Group, name string, at uint64, depth int) error {
	if _, twice := g.Children[name]; twice {
		return bad("two objects are named %q", name)
	}
	o, err := f.object(at, depth+1)
	if err != nil {
		return err
	}
	g.Children[name] = o
	return nil
}

// symbols walks a group's version 1 B-tree; names lie in the local heap.
func (f *file) symbols(tree, heap uint64, g *Group, depth int) error {
	h, err := f.bytes(heap, 32)
	if err != nil {
		return err
	}
	if string(h[:4]) != "HEAP" {
		return bad("a heap does not begin as one")
	}
	names, err := f.bytes(binary.LittleEndian.Uint64(h[24:]), binary.LittleEndian.Uint64(h[8:]))
	if err != nil {
		return err
	}
	return f.symbolNode(tree, names, g, depth, 0)
}

func (f *file) symbolNode(at uint64, names []byte, g *Group, depth, level int) error {
	if level > maxDepth {
		return bad("a tree is deeper than %d", maxDepth)
	}
	head, err := f.bytes(at, 8)
	if err != nil {
		return err
	}
	n := uint64(binary.LittleEndian.Uint16(head[6:]))
	switch string(head[:4]) {
	case "TREE":
		body, err := f.bytes(at+24, 16*n+8)
		if err != nil {
			return err
		}
		for i := range n {
			if err := f.symbolNode(binary.LittleEndian.Uint64(body[16*i+8:]), names, g, depth, level+1); err != nil {
				return err
			}
		}
		return nil
	case "SNOD":
		body, err := f.bytes(at+8, 40*n)
		if err != nil {
			return err
		}
		for i := range n {
			e := body[40*i:]
			from := binary.LittleEndian.Uint64(e)
			if from > uint64(len(names)) {
				return bad("a name lies outside its heap")
			}
			name := names[from:]
			end := bytes.IndexByte(name, 0)
			if end < 0 {
				return bad("a name does not end")
			}
			if err := f.charge(uint64(end)); err != nil {
				return err
			}
			if err := f.child(g, string(name[:end]), binary.LittleEndian.Uint64(e[8:]), depth); err != nil {
				return err
			}
		}
		return nil
	}
	return bad("a tree's node does not begin as one")
}

// attribute reads an attribute message of version 1 to 3.
func (f *file) attribute(body []byte, into map[string]Attribute) error {
	c := &cursor{b: body}
	version := c.u8()
	flags := c.u8()
	nameLen, typeLen, spaceLen := c.u16(), c.u16(), c.u16()
	round := func(n int) int { return n }
	switch version {
	case 1:
		round = func(n int) int { return (n + 7) &^ 7 }
	case 2:
	case 3:
		c.take(1)
	default:
		return unknown("an attribute of version %d", version)
	}
	if version > 1 && flags != 0 {
		return unknown("shared attribute types")
	}
	name := string(bytes.TrimRight(c.take(round(nameLen)), "\x00"))
	typeBytes, spaceBytes := c.take(round(typeLen)), c.take(round(spaceLen))
	if c.short {
		return bad("an attribute is cut off")
	}
	t, err := typeOf(&cursor{b: typeBytes})
	if errs.Is(err, errs.Unsupported) {
		return nil // an attribute nobody here asks for
	}
	if err != nil {
		return err
	}
	dims, err := dataspace(&cursor{b: spaceBytes})
	if err != nil {
		return err
	}
	a := Attribute{Dims: dims}
	for range product(dims) {
		e := c.take(t.size)
		if c.short {
			return bad("the values of attribute %q are cut off", name)
		}
		switch t.class {
		case 3:
			a.Strings = append(a.Strings, string(bytes.TrimRight(e, "\x00")))
		case 9:
			s, err := f.variable(e)
			if err != nil {
				return err
			}
			a.Strings = append(a.Strings, s)
		default:
			a.Numbers = append(a.Numbers, t.number(e))
		}
	}
	into[name] = a
	return nil
}

// variable follows a reference into the global heap: length, address of the collection, index in it.
func (f *file) variable(e []byte) (string, error) {
	if len(e) < 16 {
		return "", bad("a reference to a string is cut off")
	}
	n, at, index := binary.LittleEndian.Uint32(e), binary.LittleEndian.Uint64(e[4:]), binary.LittleEndian.Uint32(e[12:])
	if n == 0 {
		return "", nil
	}
	objects, ok := f.heaps[at]
	if !ok {
		var err error
		if objects, err = f.collection(at); err != nil {
			return "", err
		}
		f.heaps[at] = objects
	}
	s := objects[uint16(index)]
	if uint64(n) > uint64(len(s)) || index > math.MaxUint16 {
		return "", bad("a string lies outside its heap")
	}
	if err := f.charge(uint64(n)); err != nil {
		return "", err
	}
	return string(bytes.TrimRight(s[:n], "\x00")), nil
}

func (f *file) collection(at uint64) (map[uint16][]byte, error) {
	head, err := f.bytes(at, 16)
	if err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint64(head[8:])
	if string(head[:4]) != "GCOL" || size < 16 {
		return nil, bad("a global heap does not begin as one")
	}
	body, err := f.bytes(at+16, size-16)
	if err != nil {
		return nil, err
	}
	out := map[uint16][]byte{}
	for c := (&cursor{b: body}); len(c.b) >= 16; {
		index := c.u16()
		c.take(6)
		n := c.u64()
		if index == 0 {
			break
		}
		if n > uint64(len(c.b)) {
			return nil, bad("an object of a global heap is cut off")
		}
		out[uint16(index)] = c.take(int(n))
		c.take(min(len(c.b), int(-n&7)))
	}
	return out, nil
}
