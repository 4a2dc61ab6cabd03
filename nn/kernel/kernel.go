// Package kernel holds the arithmetic that nn spends its time in: float32 matrix products and a few loops over
// vectors, in assembly where this machine has the instructions and in plain Go elsewhere.
//
// A Set is one implementation. Best picks the fastest that the processor runs: AVX-512 with AMX, AVX-512, AVX2 with FMA,
// or Portable. There is no NEON set, because no machine at hand could run one: 64-bit Arm uses Portable. Sums run in a
// fixed order that depends on the Set and the sizes only, so that the same input gives the same bits; no instruction is
// used whose result is left to the processor's maker.
//
// The product follows Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008): the right
// operand is packed in panels of NR columns, and a tile of up to MR×NR results is kept in registers over the depth of a
// panel that stays in the first-level cache. The left operand is read where it lies: a tile takes single elements of it,
// so it needs no order. AMX has no float32: there both operands are split into parts, see split.go.
package kernel

// Set is one implementation of the kernels.
type Set struct {
	Name string
	MR   int // rows of the largest tile
	NR   int // columns of a tile

	heights []int // rows of the tiles there are, ascending; the last is MR

	// tile computes C[h×NR] (rows ldc floats apart) = or += A·Bᵖ over depth k; A's element (i, j) is i·rs + j·cs floats
	// from a.
	tile func(h, k int, a *float32, rs, cs int, b, c *float32, ldc int, add bool)
	// row computes c[NR] = or += a[k]·Bᵖ for one row.
	row func(k int, a, b, c *float32, add bool)
	// sparse computes c[NR] = Σ values·rows of a panel, n of them, which begin offsets bytes from b.
	sparse func(n int, offsets *uint32, values, b, c *float32)
	// fewRows is up to how many rows are answered one by one.
	fewRows int

	adam func(p, m, v, g []float32, c Adam)
	drop func(y, x []float32, mask []uint64, state *[16]uint64, threshold uint32, scale float32)

	biasReLU  func(y, b []float32)
	reluBack  func(d, y []float32)
	add       func(y, x []float32)
	masked    func(y, x []float32, mask []uint64, scale float32)
	fromBytes func(dst []float32, src []byte, scale float32)
	turn      func(dst []float32, ldd int, src []float32, lds, rows, cols int)

	integer integer

	split *splitter // nil: products of float32 themselves
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

	parts []uint16 // of Split
}

// Rows is the number of rows in whose multiples large products are best divided.
func (s *Set) Rows() int {
	if s.split != nil {
		return chunk
	}
	return s.heights[0]
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

// Unpack is the inverse of Pack: data, in the layout of p, to a row-major matrix.
func (p *Panels) Unpack(b, data []float32) {
	nr := p.nr
	for j := 0; j*nr < p.N; j++ {
		w := min(nr, p.N-j*nr)
		src := data[j*p.K*nr:]
		for k := range p.K {
			copy(b[k*p.N+j*nr:k*p.N+j*nr+w], src[k*nr:k*nr+w])
		}
	}
}

// Transpose makes p the transpose of src.
func (s *Set) Transpose(p, src *Panels) {
	nr := p.nr
	for j := range s.PanelCount(src.N) {
		for i := 0; i < src.K; i += nr {
			s.turn(p.Panel(i / nr)[j*nr*nr:], nr, src.Panel(j)[i*nr:], nr, min(nr, src.K-i), min(nr, src.N-j*nr))
		}
	}
}

// Scratch is the room one goroutine needs for products. It grows as needed and is not for concurrent use.
type Scratch struct {
	a, c  []float32
	parts []uint16

	// Of answers:
	offsets []uint32
	values  []float32
	back    bool // read panels from the last on
	bytes   []uint8
	sums    []int32
	wide    []float32
}

func grow(b []float32, n int) []float32 {
	if cap(b) < n {
		return make([]float32, n)
	}
	return b[:n]
}

// kc is the largest depth of one pass: a panel of B of that depth stays in the first-level cache.
const kc = 256

// depth divides k into equal passes.
func depth(k int) int {
	n := (k + kc - 1) / kc
	return (k + n - 1) / n
}

// height chooses the next tile for m rows that are left, so that little of the last one is wasted.
func (s *Set) height(m int) int {
	for _, h := range s.heights {
		if m <= h {
			return h
		}
	}
	// Two smaller tiles where the largest would leave a sliver.
	if n := len(s.heights); n > 1 && m <= 2*s.heights[n-2] {
		return s.heights[n-2]
	}
	return s.MR
}

// Mul computes C = A·B (or C += A·B) for the panels lo to hi-1 of B. A is m×k with element (i, j) at a[i·rs+j·cs]; C gets
// the columns of these panels, row-major with rows ldc floats apart.
func (s *Set) Mul(sc *Scratch, m int, a []float32, rs, cs int, b *Panels, lo, hi int, c []float32, ldc int, add bool) {
	if b.K == 0 || m == 0 {
		return
	}
	s.Multiply(sc, s.Left(sc, m, b.K, a, rs, cs, b), b, lo, hi, c, ldc, add)
}

// Multiply is Mul with a left operand that serves several calls.
func (s *Set) Multiply(sc *Scratch, l Left, b *Panels, lo, hi int, c []float32, ldc int, add bool) {
	m, a, rs, cs := l.m, l.a, l.rs, l.cs
	switch {
	case l.parts != nil:
		s.mulSplit(sc, l, b, lo, hi, c, ldc, add)
		return
	case m <= 2 && cs == 1:
		s.mulRows(sc, m, a, rs, b, lo, hi, c, ldc, add)
		return
	}
	pass := depth(b.K)
	for k0 := 0; k0 < b.K; k0 += pass {
		k := min(pass, b.K-k0)
		for j := lo; j < hi; j++ {
			bp := &b.Panel(j)[k0*s.NR]
			w := min(s.NR, b.N-j*s.NR)
			for i := 0; i < m; {
				h := s.height(m - i)
				at := i*ldc + (j-lo)*s.NR
				if h <= m-i && w == s.NR {
					s.tile(h, k, &a[i*rs+k0*cs], rs, cs, bp, &c[at], ldc, add || k0 > 0)
				} else {
					s.edge(sc, h, k, a[i*rs+k0*cs:], rs, cs, bp, c[at:], ldc, min(h, m-i), w, add || k0 > 0)
				}
				i += h
			}
		}
	}
}

// edge computes a tile that sticks out of C beside it and copies the m×w results that belong there. Where it sticks out
// of A too, it takes a copy of A with zeros below.
func (s *Set) edge(sc *Scratch, h, k int, a []float32, rs, cs int, bp *float32, c []float32, ldc, m, w int, add bool) {
	sc.c = grow(sc.c, s.MR*s.NR)
	if m < h {
		sc.a = grow(sc.a, h*k)
		for x := range k {
			for i := range m {
				sc.a[x*h+i] = a[i*rs+x*cs]
			}
			clear(sc.a[x*h+m : x*h+h])
		}
		a, rs, cs = sc.a, 1, h
	}
	s.tile(h, k, &a[0], rs, cs, bp, &sc.c[0], s.NR, false)
	take(c, ldc, sc.c, s.NR, m, w, add)
}

// take copies or adds m×w results from src.
func take(c []float32, ldc int, src []float32, lds, m, w int, add bool) {
	for i := range m {
		dst, src := c[i*ldc:i*ldc+w], src[i*lds:i*lds+w]
		if !add {
			copy(dst, src)
			continue
		}
		for j, v := range src {
			dst[j] += v
		}
	}
}

// mulRows serves one or two rows without packing A: then the weights are read once from memory and that is all.
func (s *Set) mulRows(sc *Scratch, m int, a []float32, rs int, b *Panels, lo, hi int, c []float32, ldc int, add bool) {
	sc.c = grow(sc.c, s.MR*s.NR)
	for j := lo; j < hi; j++ {
		w := min(s.NR, b.N-j*s.NR)
		for i := range m {
			dst := c[i*ldc+(j-lo)*s.NR : i*ldc+(j-lo)*s.NR+w]
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

// Adam makes one step over slices of equal length.
func (s *Set) Adam(p, m, v, g []float32, c Adam) { s.adam(p, m, v, g, c) }

// Dropout writes x times scale where a random number is not below threshold (out of 2³²), else 0, and records in mask,
// one bit an element, what it kept. x and y may be the same; mask holds (len+63)/64 words. state is eight lanes of
// xorshift128+ (Vigna, 2014), two words each, which go on.
func (s *Set) Dropout(y, x []float32, mask []uint64, state *[16]uint64, threshold uint32, scale float32) {
	s.drop(y, x, mask, state, threshold, scale)
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

// FromBytes computes dst = src / scale.
func (s *Set) FromBytes(dst []float32, src []byte, scale float32) {
	s.fromBytes(dst[:len(src)], src, scale)
}
