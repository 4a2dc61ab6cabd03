package number

import (
	"encoding/binary"
	"math"
	"strconv"
	"unsafe"

	"github.com/lineshaft/lineshaft/serve/tensor"
)

// Read reads an element of type t, which is not tensor.Bytes, into dst, which has its size. What is true or false is so
// by these words or by 1 and 0; an integer may be written 3.0 or 3e2, not 3.5.
func Read(t tensor.Type, dst, b []byte, at int) (end int, ok bool) {
	end, ok = read(t, dst, b, at)
	return end, ok && end > at
}

func read(t tensor.Type, dst, b []byte, at int) (end int, ok bool) {
	switch t {
	case tensor.Float32:
		v, end, ok := Float32(b, at)
		binary.LittleEndian.PutUint32(dst, math.Float32bits(v))
		return end, ok
	case tensor.Float64:
		v, end, ok := Float64(b, at)
		binary.LittleEndian.PutUint64(dst, math.Float64bits(v))
		return end, ok
	case tensor.Float16:
		v, end, ok := Float32(b, at)
		h := tensor.ToFloat16(v)
		binary.LittleEndian.PutUint16(dst, h)
		return end, ok && (h&0x7fff != 0x7c00 || math.IsInf(float64(v), 0))
	case tensor.BFloat16:
		v, end, ok := Float32(b, at)
		h := BFloat16(v)
		binary.LittleEndian.PutUint16(dst, h)
		return end, ok && (h&0x7fff != 0x7f80 || math.IsInf(float64(v), 0))
	case tensor.Bool:
		return boolean(dst, b, at)
	case tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64:
		return unsigned(dst, b, at, 8*t.Size())
	case tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64:
		return signed(dst, b, at, 8*t.Size())
	}
	return at, false
}

// BFloat16 is the nearest one, ties to even.
func BFloat16(f float32) uint16 {
	u := math.Float32bits(f)
	if f != f {
		return uint16(u>>16) | 0x40
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}

func boolean(dst, b []byte, at int) (end int, ok bool) {
	rest := b[at:]
	switch {
	case len(rest) >= 4 && string(rest[:4]) == "true":
		dst[0], end = 1, at+4
	case len(rest) >= 5 && string(rest[:5]) == "false":
		dst[0], end = 0, at+5
	default:
		end = extent(b, at)
		if end != at+1 || rest[0] > '1' {
			return end, false
		}
		dst[0] = rest[0] - '0'
	}
	return end, true
}

// Float64 reads the nearest float64; false for a number that none is near to.
func Float64(b []byte, at int) (v float64, end int, ok bool) {
	end = extent(b, at)
	if end == at {
		negative := at < len(b) && b[at] == '-'
		i := at
		if negative {
			i++
		}
		f, end, ok := special(b, at, i, negative)
		return float64(f), end, ok
	}
	v, err := strconv.ParseFloat(unsafe.String(&b[at], end-at), 64)
	return v, end, err == nil
}

// extent gives the end of the JSON number at b[at:], or at.
func extent(b []byte, at int) int {
	i := at
	if i < len(b) && b[i] == '-' {
		i++
	}
	from := i
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	if i == from || i > from+1 && b[from] == '0' {
		return at
	}
	if i < len(b) && b[i] == '.' {
		i++
		point := i
		for i < len(b) && b[i]-'0' <= 9 {
			i++
		}
		if i == point {
			return at
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		if i = exponent(b, i+1); i < 0 {
			return at
		}
	}
	return i
}

// digits reads the digits of a whole number; false where it is not written as one, or has more than 64 bits.
func digits(b []byte, i, end int) (v uint64, ok bool) {
	for ; i < end; i++ {
		d := uint64(b[i] - '0')
		if d > 9 || v > (math.MaxUint64-d)/10 {
			return 0, false
		}
		v = v*10 + d
	}
	return v, true
}

// whole reads a whole number that is written as a fraction or with an exponent.
func whole(b []byte, at, end int) (v float64, ok bool) {
	v, err := strconv.ParseFloat(unsafe.String(&b[at], end-at), 64)
	return v, err == nil && v == math.Trunc(v) && math.Abs(v) < 1<<53
}

func unsigned(dst, b []byte, at, bits int) (end int, ok bool) {
	if end = extent(b, at); end == at {
		return end, false
	}
	v, ok := digits(b, at, end)
	if !ok {
		f, is := whole(b, at, end)
		if !is || f < 0 {
			return end, false
		}
		v = uint64(f)
	}
	if bits < 64 && v>>bits != 0 {
		return end, false
	}
	store(dst, v)
	return end, true
}

func signed(dst, b []byte, at, bits int) (end int, ok bool) {
	if end = extent(b, at); end == at {
		return end, false
	}
	negative, from := b[at] == '-', at
	if negative {
		from++
	}
	v, ok := digits(b, from, end)
	if !ok {
		f, is := whole(b, from, end)
		if !is {
			return end, false
		}
		v = uint64(f)
	}
	limit := uint64(1) << (bits - 1)
	if negative {
		if v > limit {
			return end, false
		}
		v = -v
	} else if v >= limit {
		return end, false
	}
	store(dst, v)
	return end, true
}

// store writes the low bytes of v.
func store(dst []byte, v uint64) {
	switch len(dst) {
	case 1:
		dst[0] = byte(v)
	case 2:
		binary.LittleEndian.PutUint16(dst, uint16(v))
	case 4:
		binary.LittleEndian.PutUint32(dst, uint32(v))
	case 8:
		binary.LittleEndian.PutUint64(dst, v)
	}
}

// Append writes an element of type t, which is not tensor.Bytes, from its bytes.
func Append(b []byte, t tensor.Type, e []byte) []byte {
	switch t {
	case tensor.Float32:
		return AppendFloat(b, float64(math.Float32frombits(binary.LittleEndian.Uint32(e))), 32)
	case tensor.Float64:
		return AppendFloat(b, math.Float64frombits(binary.LittleEndian.Uint64(e)), 64)
	case tensor.Float16:
		return AppendFloat(b, float64(tensor.FromFloat16(binary.LittleEndian.Uint16(e))), 32)
	case tensor.BFloat16:
		return AppendFloat(b, float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(e))<<16)), 32)
	case tensor.Bool:
		return strconv.AppendBool(b, e[0] != 0)
	case tensor.Uint8:
		return strconv.AppendUint(b, uint64(e[0]), 10)
	case tensor.Uint16:
		return strconv.AppendUint(b, uint64(binary.LittleEndian.Uint16(e)), 10)
	case tensor.Uint32:
		return strconv.AppendUint(b, uint64(binary.LittleEndian.Uint32(e)), 10)
	case tensor.Uint64:
		return strconv.AppendUint(b, binary.LittleEndian.Uint64(e), 10)
	case tensor.Int8:
		return strconv.AppendInt(b, int64(int8(e[0])), 10)
	case tensor.Int16:
		return strconv.AppendInt(b, int64(int16(binary.LittleEndian.Uint16(e))), 10)
	case tensor.Int32:
		return strconv.AppendInt(b, int64(int32(binary.LittleEndian.Uint32(e))), 10)
	case tensor.Int64:
		return strconv.AppendInt(b, int64(binary.LittleEndian.Uint64(e)), 10)
	}
	return append(b, "null"...)
}

// AppendFloat writes the shortest decimal that reads back as f, which has so many bits. Whole numbers get ".0", so that
// a reader sees that they are not integers; what JSON cannot say is written NaN, Infinity, -Infinity.
func AppendFloat(b []byte, f float64, bits int) []byte {
	switch {
	case f != f:
		return append(b, "NaN"...)
	case math.IsInf(f, 1):
		return append(b, "Infinity"...)
	case math.IsInf(f, -1):
		return append(b, "-Infinity"...)
	}
	from := len(b)
	b = strconv.AppendFloat(b, f, 'g', -1, bits)
	for _, c := range b[from:] {
		if c == '.' || c == 'e' {
			return b
		}
	}
	return append(b, ".0"...)
}
