package kernel

import (
	"math"
	"unsafe"
)

// Portable is plain Go, for any processor.
func Portable() *Set {
	return &Set{
		Name: "portable", NR: 4, MR: 4, heights: []int{4}, tile: tileGo, row: rowGo, sparse: sparseGo, fewRows: 2, adam: adamGo, drop: dropGo,
		biasReLU: biasReLUGo, reluBack: reluBackGo, add: addGo, masked: maskedGo, fromBytes: fromBytesGo, turn: turnGo,
		integer: integer{
			rows: 1, tile: dotsGo,
			vector: func(_ int, _, _ *uint32, groups int, a *uint8, b *int8, c *int32) { dotsGo(1, groups, a, 0, b, c, 0) },
			limits: limitsGo, quantise: quantiseGo, worth: worthGo, half: halfGo, widen: widenGo,
		},
	}
}

func tileGo(_, k int, a *float32, rs, cs int, b, c *float32, ldc int, add bool) {
	ap, bp := unsafe.Slice(a, 3*rs+(k-1)*cs+1), unsafe.Slice(b, 4*k)
	var t [4][4]float32
	for x := range k {
		bv := bp[4*x : 4*x+4 : 4*x+4]
		b0, b1, b2, b3 := bv[0], bv[1], bv[2], bv[3]
		for i := range 4 {
			v := ap[i*rs+x*cs]
			t[i][0] += v * b0
			t[i][1] += v * b1
			t[i][2] += v * b2
			t[i][3] += v * b3
		}
	}
	cp := unsafe.Slice(c, 3*ldc+4)
	for i := range 4 {
		for j := range 4 {
			if add {
				cp[i*ldc+j] += t[i][j]
			} else {
				cp[i*ldc+j] = t[i][j]
			}
		}
	}
}

func rowGo(k int, a, b, c *float32, add bool) {
	ap, bp, cp := unsafe.Slice(a, k), unsafe.Slice(b, 4*k), unsafe.Slice(c, 4)
	var t [4]float32
	for x, v := range ap {
		bv := bp[4*x : 4*x+4 : 4*x+4]
		t[0] += v * bv[0]
		t[1] += v * bv[1]
		t[2] += v * bv[2]
		t[3] += v * bv[3]
	}
	for j := range t {
		if add {
			cp[j] += t[j]
		} else {
			cp[j] = t[j]
		}
	}
}

func sparseGo(n int, offsets *uint32, values, b, c *float32) {
	var t [4]float32
	vp := unsafe.Slice(values, n)
	for i, o := range unsafe.Slice(offsets, n) {
		bv := (*[4]float32)(unsafe.Add(unsafe.Pointer(b), o))
		v := vp[i]
		t[0] += v * bv[0]
		t[1] += v * bv[1]
		t[2] += v * bv[2]
		t[3] += v * bv[3]
	}
	copy(unsafe.Slice(c, 4), t[:])
}

// dotsGo is the sums of one row.
func dotsGo(_, groups int, a *uint8, _ int, b *int8, c *int32, _ int) int {
	ap, bp := unsafe.Slice(a, 4*groups), unsafe.Slice(b, 16*groups)
	var t [4]int32
	for g := range groups {
		v, w := ap[4*g:4*g+4:4*g+4], bp[16*g:16*g+16:16*g+16]
		v0, v1, v2, v3 := int32(v[0]), int32(v[1]), int32(v[2]), int32(v[3])
		t[0] += v0*int32(w[0]) + v1*int32(w[1]) + v2*int32(w[2]) + v3*int32(w[3])
		t[1] += v0*int32(w[4]) + v1*int32(w[5]) + v2*int32(w[6]) + v3*int32(w[7])
		t[2] += v0*int32(w[8]) + v1*int32(w[9]) + v2*int32(w[10]) + v3*int32(w[11])
		t[3] += v0*int32(w[12]) + v1*int32(w[13]) + v2*int32(w[14]) + v3*int32(w[15])
	}
	copy(unsafe.Slice(c, 4), t[:])
	return 1
}

func limitsGo(n int, x *float32, out *[48]float32) {
	lo, hi, check := *x, *x, float32(0)
	for _, v := range unsafe.Slice(x, n) {
		lo, hi, check = min(lo, v), max(hi, v), check+v*0
	}
	for i := range 16 {
		out[i], out[16+i], out[32+i] = lo, hi, check
	}
}

func quantiseGo(n int, dst *uint8, x *float32, inv float32, zero int32) {
	out := unsafe.Slice(dst, n)
	for i, v := range unsafe.Slice(x, n) {
		out[i] = uint8(max(0, min(255, int32(math.RoundToEven(float64(v*inv)))+zero)))
	}
}

// worthGo rounds after each operation, as the vector kernels do, so that all give the same bits.
func worthGo(n int, y *float32, acc *int32, scale, bias *float32, sums *int32, unit float32, zero int32, least float32) {
	a, s, b, t := unsafe.Slice(acc, n), unsafe.Slice(scale, n), unsafe.Slice(bias, n), unsafe.Slice(sums, n)
	for i := range unsafe.Slice(y, n) {
		v := float32(float32(a[i]-zero*t[i]) * float32(unit*s[i]))
		unsafe.Slice(y, n)[i] = max(v+b[i], least)
	}
}

func halfGo(n int, offsets *uint32, values *float32, b *uint16, c *float32) {
	var t [4]float32
	vp := unsafe.Slice(values, 2*n)
	for i, o := range unsafe.Slice(offsets, n) {
		w := (*[8]uint16)(unsafe.Add(unsafe.Pointer(b), o))
		for j := range t {
			t[j] += vp[2*i]*FromBFloat16(w[2*j]) + vp[2*i+1]*FromBFloat16(w[2*j+1])
		}
	}
	copy(unsafe.Slice(c, 4), t[:])
}

func widenGo(pairs int, dst *float32, src *uint16) {
	d, s := unsafe.Slice(dst, 8*pairs), unsafe.Slice(src, 8*pairs)
	for p := range pairs {
		for j := range 4 {
			d[8*p+j], d[8*p+4+j] = FromBFloat16(s[8*p+2*j]), FromBFloat16(s[8*p+2*j+1])
		}
	}
}

func adamGo(p, m, v, g []float32, c Adam) {
	for i, gi := range g {
		m[i] += (gi - m[i]) * c.OneMinusB1
		v[i] += (gi*gi - v[i]) * c.OneMinusB2
		p[i] -= m[i] * c.LR / (float32(math.Sqrt(float64(v[i]))) + c.Eps)
	}
}

// dropGo draws as the vector kernels do: eight lanes, each giving the halves of a 64-bit number to two elements, so
// that elements 0 to 7 take the low halves and 8 to 15 the high ones.
func dropGo(y, x []float32, mask []uint64, state *[16]uint64, threshold uint32, scale float32) {
	clear(mask)
	for base := 0; base < len(x); base += 16 {
		var r [8]uint64
		for l := range r {
			s1, s0 := state[l], state[8+l]
			r[l] = s0 + s1
			state[l] = s0
			s1 ^= s1 << 23
			state[8+l] = s1 ^ s0 ^ (s1 >> 17) ^ (s0 >> 26)
		}
		for i := base; i < min(base+16, len(x)); i++ {
			l := i - base
			u := uint32(r[l&7] >> (uint(l>>3) * 32))
			if u < threshold {
				y[i] = 0
				continue
			}
			mask[i>>6] |= 1 << (i & 63)
			y[i] = x[i] * scale
		}
	}
}

func biasReLUGo(y, b []float32) {
	for i, v := range b {
		y[i] = max(y[i]+v, 0)
	}
}

func reluBackGo(d, y []float32) {
	for i, v := range y {
		if v <= 0 {
			d[i] = 0
		}
	}
}

func addGo(y, x []float32) {
	for i, v := range x {
		y[i] += v
	}
}

func maskedGo(y, x []float32, mask []uint64, scale float32) {
	for i, v := range x {
		y[i] = v * scale * float32(mask[i>>6]>>(i&63)&1)
	}
}

func fromBytesGo(dst []float32, src []byte, scale float32) {
	for i, v := range src {
		dst[i] = float32(v) / scale
	}
}

// turnGo writes the transpose of a block of rows×cols; rows are ldd and lds floats apart.
func turnGo(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	for i := range rows {
		at := i
		for _, v := range src[i*lds : i*lds+cols] {
			dst[at] = v
			at += ldd
		}
	}
}
