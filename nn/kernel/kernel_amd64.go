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
	}
	return sets
}

func avx2() *Set {
	return &Set{
		Name: "avx2", MR: 6, NR: 16,
		tile: func(k int, a, b, c *float32, ldc int, add bool) { tile6x16(k, a, b, c, ldc*4, add) },
		row:  row16,
		adam: func(p, m, v, g []float32, c Adam) {
			n := len(g) &^ 7
			if n > 0 {
				adam8(n, &p[0], &m[0], &v[0], &g[0], &c)
			}
			adamGo(p[n:], m[n:], v[n:], g[n:], c)
		},
		drop:     dropGo,
		biasReLU: biasReLUGo, reluBack: reluBackGo, add: addGo, masked: maskedGo,
	}
}

func avx512() *Set {
	return &Set{
		Name: "avx512", MR: 12, NR: 32,
		tile: func(k int, a, b, c *float32, ldc int, add bool) { tile12x32(k, a, b, c, ldc*4, add) },
		row:  row32,
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
		biasReLU: func(y, b []float32) {
			n := len(b) &^ 15
			if n > 0 {
				biasReLU16(n, &y[0], &b[0])
			}
			biasReLUGo(y[n:], b[n:])
		},
		reluBack: func(d, y []float32) {
			n := len(d) &^ 15
			if n > 0 {
				reluBack16(n, &d[0], &y[0])
			}
			reluBackGo(d[n:], y[n:])
		},
		add: func(y, x []float32) {
			n := len(y) &^ 15
			if n > 0 {
				add16(n, &y[0], &x[0])
			}
			addGo(y[n:], x[n:])
		},
		masked: func(y, x []float32, mask []uint64, scale float32) {
			n := len(y) &^ 63
			if n > 0 {
				masked16(n, &y[0], &x[0], &mask[0], scale)
			}
			maskedGo(y[n:], x[n:], mask[n/64:], scale)
		},
	}
}

//go:noescape
func tile12x32(k int, a, b, c *float32, ldc int, add bool)

//go:noescape
func tile6x16(k int, a, b, c *float32, ldc int, add bool)

//go:noescape
func row32(k int, a, b, c *float32, add bool)

//go:noescape
func row16(k int, a, b, c *float32, add bool)

//go:noescape
func adam16(n int, p, m, v, grad *float32, c *Adam)

//go:noescape
func adam8(n int, p, m, v, grad *float32, c *Adam)

// drop16 handles a multiple of 64 elements.
//
//go:noescape
func drop16(n int, y, x *float32, mask *uint64, state *[16]uint64, threshold uint32, scale float32)

//go:noescape
func biasReLU16(n int, y, b *float32)

//go:noescape
func reluBack16(n int, d, y *float32)

//go:noescape
func add16(n int, y, x *float32)

//go:noescape
func masked16(n int, y, x *float32, mask *uint64, scale float32)
