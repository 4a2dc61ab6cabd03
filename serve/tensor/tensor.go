// Package tensor is what every protocol of serving decodes to and every runtime computes on: a type, a shape, and the
// elements' bytes in row-major order, little-endian, as KServe's raw contents, ONNX Runtime and this machine's memory
// have them, so that a tensor goes from a socket to a runtime without being converted.
//
//	x := tensor.Float32s([]float32{1, 2, 3}, 1, 3)
//	spec := tensor.Spec{Name: "x", Type: tensor.Float32, Shape: []int{-1, 3}}
//	err := spec.Check(x)
package tensor

import (
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"strings"
	"unsafe"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Type is the type of an element.
type Type uint8

// The types. The zero value is none.
const (
	Bool Type = iota + 1 // one byte, 0 or 1
	Uint8
	Uint16
	Uint32
	Uint64
	Int8
	Int16
	Int32
	Int64
	Float16
	BFloat16
	Float32
	Float64
	Bytes // strings and other byte strings, of any length each
)

var types = [...]struct {
	name string
	size int
}{
	0: {"none", 0}, Bool: {"bool", 1}, Uint8: {"uint8", 1}, Uint16: {"uint16", 2}, Uint32: {"uint32", 4}, Uint64: {"uint64", 8},
	Int8: {"int8", 1}, Int16: {"int16", 2}, Int32: {"int32", 4}, Int64: {"int64", 8}, Float16: {"float16", 2},
	BFloat16: {"bfloat16", 2}, Float32: {"float32", 4}, Float64: {"float64", 8}, Bytes: {"bytes", 0},
}

func (t Type) String() string {
	if int(t) < len(types) {
		return types[t].name
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// MarshalText writes the type's name.
func (t Type) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (t *Type) UnmarshalText(b []byte) error {
	for i := range types {
		if i > 0 && types[i].name == string(b) {
			*t = Type(i)
			return nil
		}
	}
	return errs.Errorf("tensor.Type", errs.Invalid, "no type of elements is called %.40q", b)
}

// Size is the bytes of an element; 0 for Bytes, whose elements differ.
func (t Type) Size() int {
	if int(t) < len(types) {
		return types[t].size
	}
	return 0
}

// MaxElements is the most elements that a tensor may have: 2³⁰, above which nothing that serves fits in memory.
const MaxElements = 1 << 30

// Any is a dimension of a Spec that each request chooses.
const Any = -1

// Tensor is a value. Data is nil where Type is Bytes, Strings is nil where it is not.
type Tensor struct {
	Type    Type
	Shape   []int
	Data    []byte
	Strings [][]byte
}

// Float32s makes a tensor over x, which it shares.
func Float32s(x []float32, shape ...int) Tensor {
	return Tensor{Type: Float32, Shape: shape, Data: view(x)}
}

func view(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}

// anyAddress says that this processor reads and writes numbers at any address, as fast as at aligned ones but for where
// cache lines end; our kernels load as it does.
const anyAddress = runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64"

// Float32s gives the elements of a Float32 tensor: the same memory where the processor can read it there, else a copy. A
// tensor inside a message begins where the message has it.
func (t *Tensor) Float32s() []float32 {
	n := len(t.Data) / 4
	p := unsafe.Pointer(unsafe.SliceData(t.Data))
	if anyAddress || uintptr(p)%4 == 0 {
		return unsafe.Slice((*float32)(p), n)
	}
	x := make([]float32, n)
	copy(view(x), t.Data)
	return x
}

// Reset makes t a tensor of that type and shape and gives it room; what it held is lost, its memory is used again.
func (t *Tensor) Reset(typ Type, shape ...int) {
	t.Type, t.Shape = typ, append(t.Shape[:0], shape...)
	n := 1
	for _, d := range shape {
		n *= d
	}
	if typ == Bytes {
		t.Data = nil
		t.Strings = room(t.Strings, n)
		return
	}
	t.Strings = nil
	bytes := n * typ.Size()
	if cap(t.Data) >= bytes {
		t.Data = t.Data[:bytes]
		return
	}
	words := make([]uint64, (bytes+7)/8) // so that elements of any type are aligned
	t.Data = unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), len(words)*8)[:bytes]
}

func room(s [][]byte, n int) [][]byte {
	if cap(s) < n {
		return make([][]byte, n)
	}
	return s[:n]
}

// Elements is the number of elements of a shape: errs.Invalid where a dimension is negative, errs.TooLarge where there
// are more than MaxElements.
func Elements(shape []int) (int, error) {
	n := 1
	for _, d := range shape {
		if d < 0 {
			return 0, errs.Errorf("tensor.Elements", errs.Invalid, "the shape %s has a negative dimension", Text(shape))
		}
		if d != 0 && n > MaxElements/d {
			return 0, errs.Errorf("tensor.Elements", errs.TooLarge, "the shape %s has more than %d elements", Text(shape), MaxElements)
		}
		n *= d
	}
	return n, nil
}

// Check says whether t is what it claims to be: its shape and its bytes agree.
func (t *Tensor) Check() error {
	const op = "tensor.Check"
	n, err := Elements(t.Shape)
	if err != nil {
		return err
	}
	switch size := t.Type.Size(); {
	case t.Type == Bytes && len(t.Strings) == n, size > 0 && len(t.Data) == n*size:
		return nil
	case t.Type == Bytes:
		return errs.Errorf(op, errs.Invalid, "the shape %s needs %d strings, and there are %d", Text(t.Shape), n, len(t.Strings))
	case size == 0:
		return errs.Errorf(op, errs.Invalid, "a tensor without a type")
	default:
		return errs.Errorf(op, errs.Invalid, "the shape %s of %s needs %d bytes, and there are %d", Text(t.Shape), t.Type, n*size, len(t.Data))
	}
}

// Text writes a shape: [?, 28, 28], a question mark for Any.
func Text(shape []int) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, d := range shape {
		if i > 0 {
			b.WriteString(", ")
		}
		if d == Any {
			b.WriteByte('?')
			continue
		}
		fmt.Fprint(&b, d)
	}
	b.WriteByte(']')
	return b.String()
}

// Spec describes an input or an output. Shape has every dimension, that of the batch too; Any where requests choose.
type Spec struct {
	Name  string `json:"name"`
	Type  Type   `json:"type"`
	Shape []int  `json:"shape"`
}

// RowShape is the shape of one row: without the first dimension.
func (s Spec) RowShape() []int {
	if len(s.Shape) == 0 {
		return nil
	}
	return s.Shape[1:]
}

// RowSize is the number of elements of one row; 0 where requests choose.
func (s Spec) RowSize() int {
	n := 1
	for _, d := range s.RowShape() {
		if d == Any {
			return 0
		}
		n *= d
	}
	return n
}

// Check says whether t may be given for this input.
func (s Spec) Check(t *Tensor) error {
	const op = "tensor.Spec.Check"
	if t.Type != s.Type {
		return errs.Errorf(op, errs.Invalid, "the input %q is of %s, and %s came", s.Name, s.Type, t.Type)
	}
	fits := len(t.Shape) == len(s.Shape)
	for i := 0; fits && i < len(s.Shape); i++ {
		fits = s.Shape[i] == Any || s.Shape[i] == t.Shape[i]
	}
	if !fits {
		return errs.Errorf(op, errs.Invalid, "the input %q has the shape %s, and %s came", s.Name, Text(s.Shape), Text(t.Shape))
	}
	if err := t.Check(); err != nil {
		return errs.Errorf(op, errs.KindOf(err), "the input %q: %v", s.Name, err)
	}
	return nil
}

// Number is element i; NaN where t has no numbers.
func (t *Tensor) Number(i int) float64 {
	le := binary.LittleEndian
	switch d := t.Data[i*t.Type.Size():]; t.Type {
	case Bool, Uint8:
		return float64(d[0])
	case Uint16:
		return float64(le.Uint16(d))
	case Uint32:
		return float64(le.Uint32(d))
	case Uint64:
		return float64(le.Uint64(d))
	case Int8:
		return float64(int8(d[0]))
	case Int16:
		return float64(int16(le.Uint16(d)))
	case Int32:
		return float64(int32(le.Uint32(d)))
	case Int64:
		return float64(int64(le.Uint64(d)))
	case Float16:
		return float64(FromFloat16(le.Uint16(d)))
	case BFloat16:
		return float64(math.Float32frombits(uint32(le.Uint16(d)) << 16))
	case Float32:
		return float64(math.Float32frombits(le.Uint32(d)))
	case Float64:
		return math.Float64frombits(le.Uint64(d))
	case Bytes: // has no numbers
	}
	return math.NaN()
}

// Packed is how many bytes t takes where strings lie with their lengths in four bytes each: the form of KServe's raw
// contents, and as much as any other that needs no types.
func (t *Tensor) Packed() int {
	if t.Type != Bytes {
		return len(t.Data)
	}
	n := 4 * len(t.Strings)
	for _, s := range t.Strings {
		n += len(s)
	}
	return n
}

// FromFloat16 converts IEEE 754's binary16 exactly.
func FromFloat16(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, uint32(h>>10)&31, uint32(h)&1023
	switch exp {
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	case 0: // frac × 2⁻²⁴
		f := float32(frac) / (1 << 24)
		return math.Float32frombits(sign | math.Float32bits(f))
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

// ToFloat16 converts to the nearest binary16, ties to even; what is too large is infinite.
func ToFloat16(f float32) uint16 {
	b := math.Float32bits(f)
	sign, mag := uint16(b>>16)&0x8000, b&0x7fffffff
	switch {
	case mag > 0x7f800000:
		return sign | 0x7e00
	case mag >= 0x477ff000: // 65520 and above
		return sign | 0x7c00
	case mag < 0x38800000: // subnormal: in units of 2⁻²⁴
		return sign | uint16(math.RoundToEven(float64(math.Float32frombits(mag))*(1<<24)))
	}
	mag += 0xfff + mag>>13&1
	return sign | uint16((mag-0x38000000)>>13)
}
