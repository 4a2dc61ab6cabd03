// Package number reads and writes numbers as JSON has them, to and from the elements of tensors. It is where the
// protocols that speak JSON spend most of their time.
//
// It takes JSON's numbers (RFC 8259) and, where the type has them, NaN, Infinity and -Infinity, as TensorFlow Serving
// and Python's json do. A reader gives where the number ends, at where there is none, and false for one that the type
// cannot hold.
package number

import (
	"math"
	"math/bits"
	"strconv"
	"unsafe"
)

// A float32 is rounded once. Most are decided by one division of exact operands; the rest goes to strconv.

// pow10 holds the powers of ten that fit 64 bits.
var pow10 = [20]uint64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
}

// Float32 reads the nearest float32; false for a number that none is near to.
func Float32(b []byte, at int) (v float32, end int, ok bool) {
	i, negative := at, false
	if i < len(b) && b[i] == '-' {
		negative = true
		i++
	}
	var mantissa uint64
	from := i
	for i < len(b) && b[i]-'0' <= 9 {
		mantissa = mantissa*10 + uint64(b[i]-'0')
		i++
	}
	digits := i - from
	if digits == 0 {
		return special(b, at, i, negative)
	}
	if digits > 1 && b[from] == '0' {
		return 0, at, true // JSON has no leading zeros
	}
	scale := 0 // digits after the point
	if i < len(b) && b[i] == '.' {
		i++
		point := i
		for i < len(b) && b[i]-'0' <= 9 {
			mantissa = mantissa*10 + uint64(b[i]-'0')
			i++
		}
		scale = i - point
		if scale == 0 {
			return 0, at, true
		}
		digits += scale
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		if i = exponent(b, i+1); i < 0 {
			return 0, at, true
		}
		return slow(b[at:i], i)
	}
	if digits > 19 { // the mantissa may have overflowed
		return slow(b[at:i], i)
	}
	if mantissa == 0 {
		if negative {
			return float32(math.Copysign(0, -1)), i, true
		}
		return 0, i, true
	}
	v = quotient(mantissa, scale)
	if negative {
		v = -v
	}
	return v, i, true
}

// exponent gives the end of the digits of an exponent, or -1.
func exponent(b []byte, i int) int {
	if i < len(b) && (b[i] == '+' || b[i] == '-') {
		i++
	}
	from := i
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	if i == from {
		return -1
	}
	return i
}

func slow(text []byte, end int) (float32, int, bool) {
	v, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(text), len(text)), 32)
	return float32(v), end, err == nil
}

// special reads the three words that JSON does not have and TensorFlow Serving takes.
func special(b []byte, at, i int, negative bool) (float32, int, bool) {
	rest := b[i:]
	switch {
	case len(rest) >= 8 && string(rest[:8]) == "Infinity":
		if negative {
			return float32(math.Inf(-1)), i + 8, true
		}
		return float32(math.Inf(1)), i + 8, true
	case !negative && len(rest) >= 3 && string(rest[:3]) == "NaN":
		return float32(math.NaN()), i + 3, true
	}
	return 0, at, true
}

// quotient is m/10^scale rounded once to float32, for 0 < m < 10^19 and scale < 20.
func quotient(m uint64, scale int) float32 {
	if m < 1<<24 && scale <= 10 {
		return float32(m) / float32(pow10[scale]) // both exact: 5^10 < 2^24
	}
	// Move both to the top: the quotient of 128 by 64 bits then has 63 or 64 bits, and the rest only tells which way
	// a tie goes.
	d := pow10[scale]
	sd, sm := bits.LeadingZeros64(d), bits.LeadingZeros64(m)
	d, m = d<<sd, m<<sm
	q, rest := bits.Div64(m>>1, m<<63, d) // (m·2^63)/d, from 2^62 to below 2^64
	exp := sd - sm - 63                   // the value is q·2^exp
	up := bits.LeadingZeros64(q)
	q <<= up
	exp -= up
	// q has its highest bit set: 24 bits stay, 40 are rounded. The smallest value here, 10^-19, is far above float32's
	// subnormal ones, and the largest, 10^19, far below its end.
	low := q & (1<<40 - 1)
	q >>= 40
	if low > 1<<39 || low == 1<<39 && (rest != 0 || q&1 == 1) {
		q++ // to 2^24 at most, which is exact too
	}
	return float32(q) * float32frompow2(exp+40)
}

// float32frompow2 is 2^n for n of normal numbers.
func float32frompow2(n int) float32 { return math.Float32frombits(uint32(n+127) << 23) }
