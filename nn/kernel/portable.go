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
