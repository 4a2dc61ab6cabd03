package kernel

// Matrix extensions multiply bfloat16, which has eight bits of precision, many times faster than the vector units
// multiply float32. A float32 is the exact sum of three bfloat16 (its 24 bits in three parts), so a product of float32
// is the sum of nine products of parts, of which the three smallest are below what float32 keeps: six are computed and
// added up in float32. (Henry, Tang and Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype For
// Higher-Precision Computations", 2019.)

// splitter is what a Set needs for that.
type splitter struct {
	// least is how many rows at least are answered so.
	least int
	bytes bool // blocks multiplies bytes too
	// blocks computes C = or += A·B for a grid of blocks of 32×32: of float32 in parts (kind 0), of A in parts with B in
	// bfloat16 (1), or of bytes, unsigned with signed, to whole numbers (2).
	blocks func(g *grid)
	// row splits n elements, a multiple of 16.
	row func(n int, src *float32, dst *uint16, partBytes int)
	// pairs splits n pairs of rows of as many elements as a panel has columns.
	pairs func(n int, src *float32, ldBytes int, dst *uint16, partBytes int)
}

// grid is rows blocks below each other and panels beside each other, over chunks of 32 depths, 64 of bytes. Strides are in
// bytes.
type grid struct {
	chunks, rows, panels  int
	kind                  int
	a                     *uint16
	rowBytes, partBytes   int
	b                     *uint16
	panelPart, panelBytes int
	c                     *float32
	ldcBytes              int
	add                   int // 0 or 1
}

const (
	least  = 8    // depth from which on splitting is worth its while
	chunk  = 32   // depths of one step, and rows and columns of a block
	passes = 1024 // depths for which results stay in registers
)

func padded(n int) int { return (n + chunk - 1) / chunk * chunk }

// apart is the distance of rows of k elements: an odd number of cache lines, so that a block's rows do not fall into the
// same few sets of the cache.
func apart(k int) int { return (padded(k)/chunk | 1) * chunk }

// Split says that the panels will be the operand of many products, and prepares rows lo to hi-1 of all of them for it.
// lo is even, and so is hi unless it is K. It does nothing where products of float32 themselves are as fast.
func (s *Set) Split(p *Panels, lo, hi int) {
	if s.split == nil || hi <= lo || p.K < least {
		return
	}
	if p.parts == nil {
		p.parts = make([]uint16, len(p.Data)/p.K*padded(p.K)*3)
	}
	for j := range s.PanelCount(p.N) {
		s.splitPanel(p, j, lo, hi)
	}
}

// Renew brings what was made of panel j of p up to date after its rows lo to hi-1 changed: its parts, and p's transpose
// where there is one. lo and hi are even, or K.
func (s *Set) Renew(sc *Scratch, p, transpose *Panels, j, lo, hi int) {
	if p.parts != nil {
		s.splitPanel(p, j, lo, hi)
	}
	if transpose == nil {
		return
	}
	nr := p.nr
	cols := min(nr, p.N-j*nr)
	for i := lo; i < hi; i += nr {
		w := min(nr, hi-i)
		src := p.Panel(j)[i*nr:]
		if transpose.parts == nil {
			s.turn(transpose.Panel(i / nr)[j*nr*nr:], nr, src, nr, w, cols)
			continue
		}
		// The transpose is only ever used in parts.
		sc.c = grow(sc.c, chunk*nr)
		if w < nr || cols < nr {
			clear(sc.c)
		}
		s.turn(sc.c, nr, src, nr, w, cols)
		s.split.pairs(nr/2, &sc.c[0], 4*nr, &transpose.part(i / nr)[j*nr*nr], padded(transpose.K)*nr*2)
	}
}

// Put makes rows at to at+n-1 of p, an operand of a product soon, those of b, row-major with rows ld floats apart. at is
// even. Different rows may be put at once after Split.
func (s *Set) Put(p *Panels, b []float32, ld, at, n int) {
	nr := p.nr
	for j := range s.PanelCount(p.N) {
		w := min(nr, p.N-j*nr)
		if p.parts != nil && w == nr && n > 1 && n%2 == 0 {
			s.split.pairs(n/2, &b[j*nr], 4*ld, &p.part(j)[at*nr], padded(p.K)*nr*2)
			continue
		}
		dst := p.Panel(j)[at*nr:]
		for k := range n {
			copy(dst[k*nr:k*nr+w], b[k*ld+j*nr:k*ld+j*nr+w])
		}
		if p.parts != nil {
			s.splitPanel(p, j, at, at+n)
		}
	}
}

// part is the offset of panel j's first part; its parts lie padded(K)·NR elements apart.
func (p *Panels) part(j int) []uint16 { return p.parts[j*3*padded(p.K)*p.nr:] }

func (s *Set) splitPanel(p *Panels, j, lo, hi int) {
	partBytes := padded(p.K) * p.nr * 2
	src, dst := p.Panel(j), p.part(j)
	if n := (hi - lo) / 2; n > 0 {
		s.split.pairs(n, &src[lo*p.nr], 4*p.nr, &dst[lo*p.nr], partBytes)
	}
	if (hi-lo)%2 == 1 {
		last := make([]float32, 2*p.nr)
		copy(last, src[(hi-1)*p.nr:hi*p.nr])
		s.split.pairs(1, &last[0], 4*p.nr, &dst[(hi-1)*p.nr], partBytes)
	}
}

// Left is the left operand of products, prepared once for all panels of the right one. It lives in a Scratch until the
// next one is made there.
type Left struct {
	m, k   int
	a      []float32
	rs, cs int
	parts  []uint16 // rows of padded(k), apart(k) apart, in three parts
}

// Left prepares A, m×k with element (i, j) at a[i·rs+j·cs], for products with b.
func (s *Set) Left(sc *Scratch, m, k int, a []float32, rs, cs int, b *Panels) Left {
	l := Left{m: m, k: k, a: a, rs: rs, cs: cs}
	if b.parts == nil {
		return l
	}
	return s.splitLeft(sc, l)
}

func (s *Set) splitLeft(sc *Scratch, l Left) Left {
	m, k, a, cs := l.m, l.k, l.a, l.cs
	width, stride := padded(k), apart(k)
	if cs != 1 { // a row's elements must lie together
		sc.a = grow(sc.a, m*k)
		s.turn(sc.a, k, a, cs, k, m)
		l.a, l.rs, l.cs = sc.a, k, 1
	}
	n := padded(m) * stride
	if cap(sc.parts) < 3*n {
		sc.parts = make([]uint16, 3*n)
	}
	l.parts = sc.parts[:3*n]
	whole := k &^ 15
	for i := range m {
		row := l.a[i*l.rs : i*l.rs+k]
		if whole > 0 {
			s.split.row(whole, &row[0], &l.parts[i*stride], 2*n)
		}
		if whole < width {
			var rest [chunk]float32
			copy(rest[:], row[whole:])
			s.split.row(width-whole, &rest[0], &l.parts[i*stride+whole], 2*n)
		}
	}
	for part := range 3 {
		clear(l.parts[part*n+m*stride : (part+1)*n])
	}
	return l
}

// mulSplit is Multiply for operands in parts.
func (s *Set) mulSplit(sc *Scratch, l Left, b *Panels, lo, hi int, c []float32, ldc int, add bool) {
	s.mulParts(sc, l, b, lo, hi, c, ldc, add, 3)
}

// mulParts is mulSplit for a B of so many parts.
func (s *Set) mulParts(sc *Scratch, l Left, b *Panels, lo, hi int, c []float32, ldc int, add bool, parts int) {
	kind := 0
	if parts == 1 {
		kind = 1
	}
	width, stride := padded(l.k), apart(l.k)
	n := padded(l.m) * stride
	rows, panels := l.m/chunk, min(hi, b.N/s.NR)-lo
	for k0 := 0; k0 < width; k0 += passes {
		more := 0
		if add || k0 > 0 {
			more = 1
		}
		g := grid{
			kind: kind, chunks: min(passes, width-k0) / chunk, rows: rows, panels: panels,
			a: &l.parts[k0], rowBytes: 2 * stride, partBytes: 2 * n,
			b: &b.parts[(lo*parts*width+k0)*s.NR], panelPart: 2 * width * s.NR, panelBytes: 2 * parts * width * s.NR,
			c: &c[0], ldcBytes: 4 * ldc, add: more,
		}
		if rows > 0 && panels > 0 {
			s.split.blocks(&g)
		}
		sc.c = grow(sc.c, chunk*s.NR)
		g.rows, g.panels, g.c, g.ldcBytes, g.add = 1, 1, &sc.c[0], 4*s.NR, 0
		for j := lo; j < hi; j++ { // what does not fill a block
			i := rows
			if j-lo >= panels {
				i = 0
			}
			for ; i*chunk < l.m; i++ {
				g.a, g.b = &l.parts[i*chunk*stride+k0], &b.parts[(j*parts*width+k0)*s.NR]
				s.split.blocks(&g)
				take(c[i*chunk*ldc+(j-lo)*s.NR:], ldc, sc.c, s.NR, min(chunk, l.m-i*chunk), min(s.NR, b.N-j*s.NR), more == 1)
			}
		}
	}
}
