package onnx

import (
	"errors"
	"io"
)

// wire reads protobuf's wire format from a file, field by field, without ever holding more than a window of it. Lengths
// are held against the message around them, so that no field reaches over its parent's end.
type wire struct {
	r      io.ReaderAt
	window []byte
	start  int64 // of the window in the file
	have   int   // bytes in the window
}

const windowSize = 64 << 10

var errWire = errors.New("its fields make no sense")

// field is one field: its number and kind, and either a number or the range of its bytes.
type field struct {
	number   int
	kind     int
	value    uint64
	from, to int64
}

// The kinds of protobuf's fields.
const (
	kindVarint = 0
	kindI64    = 1
	kindBytes  = 2
	kindI32    = 5
)

func newWire(r io.ReaderAt) *wire { return &wire{r: r, window: make([]byte, windowSize)} }

// at gives one byte of the file.
func (w *wire) at(off int64) (byte, error) {
	if off < w.start || off >= w.start+int64(w.have) {
		n, err := w.r.ReadAt(w.window, off)
		if n == 0 {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
		w.start, w.have = off, n
	}
	return w.window[off-w.start], nil
}

// varint reads a number that ends before end.
func (w *wire) varint(off, end int64) (v uint64, next int64, err error) {
	for shift := 0; shift < 64; shift += 7 {
		if off >= end {
			return 0, off, errWire
		}
		b, err := w.at(off)
		if err != nil {
			return 0, off, err
		}
		off++
		if shift == 63 && b > 1 {
			return 0, off, errWire
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v, off, nil
		}
	}
	return 0, off, errWire
}

// next reads the field at off of a message that ends at end, and says where the next one begins.
func (w *wire) next(off, end int64) (field, int64, error) {
	tag, off, err := w.varint(off, end)
	if err != nil {
		return field{}, off, err
	}
	f := field{number: int(tag >> 3), kind: int(tag & 7)}
	if f.number == 0 || tag > 1<<32-1 {
		return f, off, errWire
	}
	n := int64(0)
	switch f.kind {
	case kindVarint:
		f.value, off, err = w.varint(off, end)
		return f, off, err
	case kindI64:
		n = 8
	case kindI32:
		n = 4
	case kindBytes:
		var length uint64
		if length, off, err = w.varint(off, end); err != nil {
			return f, off, err
		}
		if length > uint64(end-off) {
			return f, off, errWire
		}
		n = int64(length)
	default:
		return f, off, errWire
	}
	if n > end-off {
		return f, off, errWire
	}
	f.from, f.to = off, off+n
	return f, f.to, nil
}

// each calls do for every field of the message between from and to.
func (w *wire) each(from, to int64, do func(field) error) error {
	for off := from; off < to; {
		f, next, err := w.next(off, to)
		if err != nil {
			return err
		}
		if err := do(f); err != nil {
			return err
		}
		off = next
	}
	return nil
}

// text reads the bytes of a field, of which there may be most.
func (w *wire) text(f field, most int64) (string, error) {
	n := f.to - f.from
	if f.kind != kindBytes || n > most {
		return "", errWire
	}
	b := make([]byte, n)
	for i := range b {
		c, err := w.at(f.from + int64(i))
		if err != nil {
			return "", err
		}
		b[i] = c
	}
	return string(b), nil
}
