package kernel

import "golang.org/x/sys/cpu"

// Best is the fastest set that this processor runs.
func Best() *Set { return Available()[0] }

// Available lists the sets that this processor runs, fastest first.
func Available() []*Set {
	sets := []*Set{Portable()}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		sets = append([]*Set{avx2()}, sets...)
	}
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL {
		sets = append([]*Set{avx512()}, sets...)
		if s, ok := amx(); ok {
			sets = append([]*Set{s}, sets...)
		}
	}
	return sets
}

func avx2() *Set {
	return &Set{
		Name: "avx2", NR: 16, MR: 6, heights: []int{4, 6},
		tile: func(h, k int, a *float32, rs, cs int, b, c *float32, ldc int, add bool) {
			if h == 6 {
				tile6x16(k, a, rs*4, cs*4, b, c, ldc*4, add)
				return
			}
			tile4x16(k, a, rs*4, cs*4, b, c, ldc*4, add)
		},
		row: row16, sparse: sparse16, fewRows: 2,
		adam: func(p, m, v, g []float32, c Adam) {
			n := len(g) &^ 7
			if n > 0 {
				adam8(n, &p[0], &m[0], &v[0], &g[0], &c)
			}
			adamGo(p[n:], m[n:], v[n:], g[n:], c)
		},
		drop: func(y, x []float32, mask []uint64, state *[16]uint64, threshold uint32, scale float32) {
			n := len(x) &^ 63
			if n > 0 {
				drop8(n, &y[0], &x[0], &mask[0], state, threshold, scale)
			}
			dropGo(y[n:], x[n:], mask[n/64:], state, threshold, scale)
		},
		biasReLU:  two(8, biasReLU8, biasReLUGo),
		reluBack:  two(8, reluBack8, reluBackGo),
		add:       two(8, add8, addGo),
		fromBytes: bytesBy(8, fromBytes8),
		masked:    maskedBy(masked8),
		turn:      turnBy8,
		integer:   integer2(64, cpu.X86.HasAVXVNNI),
	}
}

func avx512() *Set {
	return &Set{
		Name: "avx512", NR: 32, MR: 12, heights: []int{4, 8, 12},
		tile: func(h, k int, a *float32, rs, cs int, b, c *float32, ldc int, add bool) {
			switch h {
			case 12:
				tile12x32(k, a, rs*4, cs*4, b, c, ldc*4, add)
			case 8:
				tile8x32(k, a, rs*4, cs*4, b, c, ldc*4, add)
			default:
				tile4x32(k, a, rs*4, cs*4, b, c, ldc*4, add)
			}
		},
		row: row32, sparse: sparse32, fewRows: 2,
		adam: func(p, m, v, g []float32, c Adam) {
			n := len(g) &^ 15
			if n > 0 {
				adam16(n, &p[0], &m[0], &v[0], &g[0], &c)
			}
			adamGo(p[n:], m[n:], v[n:], g[n:], c)
		},
		drop: func(y, x []float32, mask []uint64, state *[16]uint64, threshold uint32, scale float32) {
			n := len(x) &^ 63
			if n > 0 {
				drop16(n, &y[0], &x[0], &mask[0], state, threshold, scale)
			}
			dropGo(y[n:], x[n:], mask[n/64:], state, threshold, scale)
		},
		biasReLU:  two(16, biasReLU16, biasReLUGo),
		reluBack:  two(16, reluBack16, reluBackGo),
		add:       two(16, add16, addGo),
		fromBytes: bytesBy(16, fromBytes16),
		masked:    maskedBy(masked16),
		turn:      turnBy8,
		integer:   integer512(),
	}
}

// two makes a function over two vectors of one in assembly, for the whole vectors of lanes elements, and one in Go, for
// the rest.
func two(lanes int, asm func(n int, y, x *float32), rest func(y, x []float32)) func(y, x []float32) {
	return func(y, x []float32) {
		n := len(x) &^ (lanes - 1)
		if n > 0 {
			asm(n, &y[0], &x[0])
		}
		rest(y[n:], x[n:])
	}
}

func bytesBy(lanes int, asm func(n int, dst *float32, src *uint8, scale float32)) func(dst []float32, src []byte, scale float32) {
	return func(dst []float32, src []byte, scale float32) {
		n := len(src) &^ (lanes - 1)
		if n > 0 {
			asm(n, &dst[0], &src[0], scale)
		}
		fromBytesGo(dst[n:], src[n:], scale)
	}
}

func maskedBy(asm func(n int, y, x *float32, mask *uint64, scale float32)) func(y, x []float32, mask []uint64, scale float32) {
	return func(y, x []float32, mask []uint64, scale float32) {
		n := len(y) &^ 63
		if n > 0 {
			asm(n, &y[0], &x[0], &mask[0], scale)
		}
		maskedGo(y[n:], x[n:], mask[n/64:], scale)
	}
}

// turnBy8 transposes whole blocks of 8×8 in assembly.
func turnBy8(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	r, c := rows&^7, cols&^7
	if r > 0 {
		for j := 0; j < c; j += 8 {
			turn8(r/8, &src[j], lds*4, &dst[j*ldd], ldd*4)
		}
	}
	if c < cols && rows > 0 {
		turnGo(dst[c*ldd:], ldd, src[c:], lds, rows, cols-c)
	}
	if r < rows && c > 0 {
		turnGo(dst[r:], ldd, src[r*lds:], lds, rows-r, c)
	}
}

//go:noescape
func tile12x32(k int, a *float32, rs, cs int, b, c *float32, ldc int, add bool)

//go:noescape
func tile8x32(k int, a *float32, rs, cs int, b, c *float32, ldc int, add bool)

//go:noescape
func tile4x32(k int, a *float32, rs, cs int, b, c *float32, ldc int, add bool)

//go:noescape
func tile6x16(k int, a *float32, rs, cs int, b, c *float32, ldc int, add bool)

//go:noescape
func tile4x16(k int, a *float32, rs, cs int, b, c *float32, ldc int, add bool)

//go:noescape
func row32(k int, a, b, c *float32, add bool)

//go:noescape
func row16(k int, a, b, c *float32, add bool)

// sparse32 reads up to 16 offsets behind the last, and uses none of them.
//
//go:noescape
func sparse32(n int, offsets *uint32, values, b, c *float32)

//go:noescape
func sparse16(n int, offsets *uint32, values, b, c *float32)

//go:noescape
func adam16(n int, p, m, v, grad *float32, c *Adam)

//go:noescape
func adam8(n int, p, m, v, grad *float32, c *Adam)

// drop16 handles a multiple of 64 elements.
//
//go:noescape
func drop16(n int, y, x *float32, mask *uint64, state *[16]uint64, threshold uint32, scale float32)

// drop8 handles a multiple of 64 elements.
//
//go:noescape
func drop8(n int, y, x *float32, mask *uint64, state *[16]uint64, threshold uint32, scale float32)

//go:noescape
func biasReLU16(n int, y, b *float32)

//go:noescape
func biasReLU8(n int, y, b *float32)

//go:noescape
func reluBack16(n int, d, y *float32)

//go:noescape
func reluBack8(n int, d, y *float32)

//go:noescape
func add16(n int, y, x *float32)

//go:noescape
func add8(n int, y, x *float32)

//go:noescape
func masked16(n int, y, x *float32, mask *uint64, scale float32)

//go:noescape
func masked8(n int, y, x *float32, mask *uint64, scale float32)

//go:noescape
func fromBytes16(n int, dst *float32, src *uint8, scale float32)

//go:noescape
func fromBytes8(n int, dst *float32, src *uint8, scale float32)

//go:noescape
func turn8(n int, src *float32, lds int, dst *float32, ldd int)
