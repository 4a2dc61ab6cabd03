// Package kernel holds the arithmetic that nn spends its time in: float32 matrix products and a few loops over
// vectors, in assembly where this machine has the instructions and in plain Go elsewhere.
//
// A Set is one implementation. Best picks the fastest that the processor runs: AVX-512, AVX2 with FMA, or Portable.
// There is no NEON set, because no machine at hand could run one: 64-bit Arm uses Portable. Sums run in a fixed order
// that depends on the Set and the sizes only, never on the number of threads, so that the same input gives the same
// bits.
//
// The product works on packed operands, as in Goto and van de Geijn, "Anatomy of High-Performance Matrix
// Multiplication" (2008): A in panels of MR rows, B in panels of NR columns, and a tile of MR×NR results kept in
// registers over the whole depth.
package kernel

// Set is one implementation of the kernels.
type Set struct {
	Name string
	MR   int // rows of a tile
	NR   int // columns of a tile

	// tile computes C[MR×NR] (rows ldc floats apart) = or += Aᵖ·Bᵖ over depth k, from packed panels.
	tile func(k int, a, b, c *float32, ldc int, add bool)
	// row computes c[NR] = or += a[k]·Bᵖ for one row.
	row func(k int, a, b, c *float32, add bool)

	adam func(p, m, v, g []float32, c Adam)
	drop func(y, x []float32, mask []uint64, state *[16]uint64, threshold uint32, scale float32)

	biasReLU func(y, b []float32)
	reluBack func(d, y []float32)
	add      func(y, x []float32)
	masked   func(y, x []float32, mask []uint64, scale float32)
}

// Adam is one step's constants: lr is the step size with the bias corrections in it, so that
// p -= lr·m/(√v + eps) after m += (1-b1)(g-m), v += (1-b2)(g²-v).
type Adam struct{ LR, OneMinusB1, OneMinusB2, Eps float32 }

// Panels is a matrix packed as the right operand of a product: columns in panels of NR, each k×NR row by row, the last
// one padded with zeros.
type Panels struct {
	K, N int
	Data []float32
	nr   int
}

// PanelCount is how many panels n columns make.
func (s *Set) PanelCount(n int) int { return (n + s.NR - 1) / s.NR }

// NewPanels makes room for a k×n operand.
func (s *Set) NewPanels(k, n int) *Panels {
	return &Panels{K: k, N: n, Data: make([]float32, s.PanelCount(n)*k*s.NR), nr: s.NR}
}

// Panel is the data of panel j.
func (p *Panels) Panel(j int) []float32 { return p.Data[j*p.K*p.nr : (j+1)*p.K*p.nr] }

// Pack fills panels lo to hi-1 from a row-major k×n matrix whose rows are ld floats apart.
func (p *Panels) Pack(b []float32, ld, lo, hi int) {
	nr := p.nr
	for j := lo; j < hi; j++ {
		w := min(nr, p.N-j*nr)
		dst := p.Panel(j)
		for k := range p.K {
			src := b[k*ld+j*nr : k*ld+j*nr+w]
			row := dst[k*nr : k*nr+nr]
			copy(row, src)
			clear(row[w:])
		}
	}
}

// PackTransposed fills panels lo to hi-1 so that the operand is the transpose of b, which is row-major n×k with rows
// ld floats apart.
func (p *Panels) PackTransposed(b []float32, ld, lo, hi int) {
	nr := p.nr
	for j := lo; j < hi; j++ {
		w := min(nr, p.N-j*nr)
		dst := p.Panel(j)
		if w < nr {
			clear(dst)
		}
		// Blocks of eight depths keep the written lines in the cache while each source row is read along.
		for k0 := 0; k0 < p.K; k0 += 8 {
			k1 := min(k0+8, p.K)
			for x := range w {
				src := b[(j*nr+x)*ld+k0 : (j*nr+x)*ld+k1]
				at := k0*nr + x
				for _, v := range src {
					dst[at] = v
					at += nr
				}
			}
		}
	}
}

// Scratch is the room one goroutine needs for products. It grows as needed and is not for concurrent use.
type Scratch struct {
	a, c []float32
}

func grow(b []float32, n int) []float32 {
	if cap(b) < n {
		return make([]float32, n)
	}
	return b[:n]
}

// kc is the depth of one pass: a panel of B of that depth stays in the first-level cache.
const kc = 256

// Mul computes columns lo·NR to hi·NR of C = A·B (or C += A·B), A being m×k with element (i, j) at a[i·rs+j·cs], B in
// panels, C row-major with rows ldc floats apart.
func (s *Set) Mul(sc *Scratch, m int, a []float32, rs, cs int, b *Panels, lo, hi int, c []float32, ldc int, add bool) {
	if b.K == 0 || m == 0 {
		return
	}
	if m <= 2 && cs == 1 {
		s.mulRows(sc, m, a, rs, b, lo, hi, c, ldc, add)
		return
	}
	tiles := (m + s.MR - 1) / s.MR
	for k0 := 0; k0 < b.K; k0 += kc {
		k := min(kc, b.K-k0)
		sc.a = grow(sc.a, tiles*s.MR*k)
		s.packA(sc.a, m, a[k0*cs:], rs, cs, k)
		for j := lo; j < hi; j++ {
			bp := &b.Panel(j)[k0*s.NR]
			w := min(s.NR, b.N-j*s.NR)
			for t := range tiles {
				h := min(s.MR, m-t*s.MR)
				ap := &sc.a[t*s.MR*k]
				at := t*s.MR*ldc + j*s.NR
				if h == s.MR && w == s.NR {
					s.tile(k, ap, bp, &c[at], ldc, add || k0 > 0)
					continue
				}
				s.edge(sc, k, ap, bp, c[at:], ldc, h, w, add || k0 > 0)
			}
		}
	}
}

// edge computes a tile that sticks out of C beside it and copies what belongs there.
func (s *Set) edge(sc *Scratch, k int, ap, bp *float32, c []float32, ldc, h, w int, add bool) {
	sc.c = grow(sc.c, s.MR*s.NR)
	s.tile(k, ap, bp, &sc.c[0], s.NR, false)
	for i := range h {
		dst, src := c[i*ldc:i*ldc+w], sc.c[i*s.NR:i*s.NR+w]
		if add {
			for j, v := range src {
				dst[j] += v
			}
		} else {
			copy(dst, src)
		}
	}
}

// mulRows serves one or two rows without packing A: then the weights are read once from memory and that is all.
func (s *Set) mulRows(sc *Scratch, m int, a []float32, rs int, b *Panels, lo, hi int, c []float32, ldc int, add bool) {
	sc.c = grow(sc.c, s.MR*s.NR)
	for j := lo; j < hi; j++ {
		w := min(s.NR, b.N-j*s.NR)
		for i := range m {
			dst := c[i*ldc+j*s.NR : i*ldc+j*s.NR+w]
			if w == s.NR {
				s.row(b.K, &a[i*rs], &b.Panel(j)[0], &dst[0], add)
				continue
			}
			s.row(b.K, &a[i*rs], &b.Panel(j)[0], &sc.c[0], false)
			if add {
				for x := range dst {
					dst[x] += sc.c[x]
				}
			} else {
				copy(dst, sc.c)
			}
		}
	}
}

// packA lays m rows out in panels of MR, each column by column, the last one padded with zeros.
func (s *Set) packA(dst []float32, m int, a []float32, rs, cs, k int) {
	mr := s.MR
	for i0 := 0; i0 < m; i0 += mr {
		h := min(mr, m-i0)
		p := dst[i0*k : i0*k+mr*k]
		if h < mr {
			clear(p)
		}
		if rs == 1 {
			for x := range k {
				copy(p[x*mr:x*mr+h], a[i0+x*cs:i0+x*cs+h])
			}
			continue
		}
		for i := range h {
			src := a[(i0+i)*rs:]
			for x, at := 0, i; x < k; x, at = x+1, at+mr {
				p[at] = src[x*cs]
			}
		}
	}
}

// Adam makes one step over slices of equal length.
func (s *Set) Adam(p, m, v, g []float32, c Adam) { s.adam(p, m, v, g, c) }

// Dropout writes x times scale where a random number is not below threshold (out of 2³²), else 0, and records in mask,
// one bit an element, what it kept. x and y may be the same; mask holds (len+63)/64 words. state is eight lanes of
// xorshift128+ (Vigna, 2014), two words each, which go on.
func (s *Set) Dropout(y, x []float32, mask []uint64, state *[16]uint64, threshold uint32, scale float32) {
	s.drop(y, x, mask, state, threshold, scale)
}

// PackRows packs rows lo to hi-1 of a row-major k×n matrix again, in every panel.
func (p *Panels) PackRows(b []float32, ld, lo, hi int) {
	nr := p.nr
	for j := 0; j*nr < p.N; j++ {
		w := min(nr, p.N-j*nr)
		dst := p.Panel(j)
		for k := lo; k < hi; k++ {
			copy(dst[k*nr:k*nr+w], b[k*ld+j*nr:k*ld+j*nr+w])
		}
	}
}

// BiasReLU computes y = max(y + b, 0) in place.
func (s *Set) BiasReLU(y, b []float32) { s.biasReLU(y, b) }

// ReLUBack sets d to zero where y is not above zero.
func (s *Set) ReLUBack(d, y []float32) { s.reluBack(d, y[:len(d)]) }

// Add computes y += x.
func (s *Set) Add(y, x []float32) { s.add(y, x[:len(y)]) }

// Masked computes y = x·scale where the mask's bit is set, and 0 elsewhere.
func (s *Set) Masked(y, x []float32, mask []uint64, scale float32) {
	s.masked(y, x[:len(y)], mask, scale)
}
