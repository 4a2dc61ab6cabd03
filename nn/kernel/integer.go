package kernel

import (
	"math"
	"unsafe"
)

// Answers in whole numbers: each row of inputs is measured, shifted and scaled to 0…255, multiplied with weights from
// -127 to 127, and summed exactly in 32 bits; then a sum is worth its row's unit times its column's. So the answer is
// the same to the bit with every set, for every number of rows.

// integer is what a Set needs for that, and for weights in bfloat16.
type integer struct {
	rows int // how many rows tile computes at least
	// tile computes rows×NR sums of products over groups of four depths, rows of a stride bytes and rows of c ldc elements
	// apart; it gives how many rows it computed, at most m rounded up to a multiple of rows.
	tile func(m, groups int, a *uint8, stride int, b *int8, c *int32, ldc int) int
	// vector is tile for one row of which groups at offsets (in bytes, of the panel) have the values.
	vector func(n int, offsets, values *uint32, groups int, a *uint8, b *int8, c *int32)
	sparse bool // vector goes by the offsets

	// limits gives the least and the largest element, and Σx·0. n is a multiple of 16.
	limits func(n int, x *float32, out *[48]float32)
	// quantise rounds x·inv + zero to 0…255. n is a multiple of 16, and so for worth.
	quantise func(n int, dst *uint8, x *float32, inv float32, zero int32)
	// worth computes y = max((acc - zero·sums)·(unit·scale) + bias, least).
	worth func(n int, y *float32, acc *int32, scale, bias *float32, sums *int32, unit float32, zero int32, least float32)

	// half computes c[NR] = Σ over n pairs of rows of a panel in bfloat16, at offsets, of two values each.
	half func(n int, offsets *uint32, values *float32, b *uint16, c *float32)
	// widen makes rows of float32 of pairs of rows in bfloat16.
	widen func(pairs int, dst *float32, src *uint16)
}

const (
	lanes     = 16 // in whose multiples loops over vectors go
	bytesDeep = 64 // depths of one step of the matrix extension on bytes, to which panels are padded
)

// MaxInt8 is the depth above which sums could overflow 32 bits.
const MaxInt8 = 65536

// Quantised are a matrix's weights in Int8, row-major.
type Quantised struct {
	Values []int8
	Scale  []float32 // of each column
}

// Quantise rounds a row-major k×n matrix to Int8, each column by its own scale, so that its largest weight is 127; false
// where a weight is no number or infinite.
func Quantise(k, n int, b []float32) (q Quantised, ok bool) {
	q = Quantised{Values: make([]int8, k*n), Scale: make([]float32, n)}
	for i := range k {
		for j, v := range b[i*n : (i+1)*n] {
			if v-v != 0 {
				return q, false
			}
			q.Scale[j] = max(q.Scale[j], v, -v)
		}
	}
	for j, v := range q.Scale {
		q.Scale[j] = v / 127
	}
	for i := range k {
		for j, v := range b[i*n : (i+1)*n] {
			if s := float64(q.Scale[j]); s > 0 {
				q.Values[i*n+j] = int8(max(-127, min(127, math.RoundToEven(float64(v)/s))))
			}
		}
	}
	return q, true
}

// Floats gives the weights' values.
func (q Quantised) Floats() []float32 {
	n := len(q.Scale)
	b := make([]float32, len(q.Values))
	for i, v := range q.Values {
		b[i] = float32(v) * q.Scale[i%n]
	}
	return b
}

// NewInt8 prepares weights in Int8; k is at most MaxInt8.
func (s *Set) NewInt8(k, n int, q Quantised, bias []float32) *Weights {
	panels := s.PanelCount(n)
	w := s.weights(k, n, Int8, bias)
	deep := pad(k, bytesDeep)
	w.bytes = make([]int8, panels*deep*s.NR)
	w.scale, w.sums = make([]float32, pad(panels*s.NR, lanes)), make([]int32, pad(panels*s.NR, lanes))
	copy(w.scale, q.Scale)
	for i := range k {
		for j, v := range q.Values[i*n : (i+1)*n] {
			w.bytes[(j/s.NR)*deep*s.NR+(i/4)*4*s.NR+(j%s.NR)*4+i%4] = v
			w.sums[j] += int32(v)
		}
	}
	return w
}

// NewHalf prepares weights in BFloat16: the upper halves of float32, row-major.
func (s *Set) NewHalf(k, n int, b []uint16, bias []float32) *Weights {
	w := s.weights(k, n, BFloat16, bias)
	deep := padded(k)
	w.half = make([]uint16, s.PanelCount(n)*deep*s.NR)
	for i := range k {
		for j, v := range b[i*n : (i+1)*n] {
			w.half[(j/s.NR)*deep*s.NR+(i/2)*2*s.NR+(j%s.NR)*2+i%2] = v
		}
	}
	return w
}

// ToBFloat16 rounds to the nearest bfloat16, ties to even.
func ToBFloat16(v float32) uint16 {
	b := math.Float32bits(v)
	if v != v {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// FromBFloat16 is exact.
func FromBFloat16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

func pad(n, to int) int { return (n + to - 1) / to * to }

// sentRow is what a row of inputs was turned to whole numbers by.
type sentRow struct {
	unit float32 // what 1 is worth; NaN for a row that holds no numbers or infinite ones
	zero int32   // what 0 became
}

// measure chooses a row's unit: its numbers and 0 fill 0…255.
func (s *Set) measure(x []float32) (r sentRow, inv float32) {
	lo, hi, check := float32(0), float32(0), float32(0)
	n := len(x) &^ (lanes - 1)
	if n > 0 {
		var out [48]float32
		s.integer.limits(n, &x[0], &out)
		for i := range lanes {
			lo, hi, check = min(lo, out[i]), max(hi, out[16+i]), check+out[32+i]
		}
	}
	for _, v := range x[n:] {
		lo, hi, check = min(lo, v), max(hi, v), check+v*0
	}
	span := hi - lo
	switch {
	case check != 0 || span-span != 0:
		return sentRow{unit: float32(math.NaN())}, 0
	case span < 1e-30:
		return sentRow{}, 0
	}
	inv = 255 / span
	return sentRow{unit: span / 255, zero: int32(math.RoundToEven(float64(-lo * inv)))}, inv
}

// send turns a row to whole numbers.
func (s *Set) send(dst []uint8, x []float32) sentRow {
	r, inv := s.measure(x)
	n := len(x) &^ (lanes - 1)
	if r.unit != r.unit {
		clear(dst[:len(x)])
		return r
	}
	if n > 0 {
		s.integer.quantise(n, &dst[0], &x[0], inv, r.zero)
	}
	if n < len(x) {
		quantiseGo(len(x)-n, &dst[n], &x[n], inv, r.zero)
	}
	return r
}

// answerBytes is Answer in whole numbers.
func (s *Set) answerBytes(sc *Scratch, y, x []float32, m int, w *Weights) {
	const most = 32 // rows at a time, whose sums stay in the cache
	deep, wide := pad(w.K, bytesDeep), s.PanelCount(w.N)*s.NR
	stride := (deep/bytesDeep | 1) * bytesDeep
	if len(sc.bytes) < most*stride {
		sc.bytes = make([]uint8, most*stride)
	}
	if len(sc.sums) < most*wide {
		sc.sums = make([]int32, most*wide)
	}
	var sent [most]sentRow
	for first := 0; first < m; first += most {
		rows := min(most, m-first)
		for i := range rows {
			line := sc.bytes[i*stride : (i+1)*stride]
			sent[i] = s.send(line, x[(first+i)*w.K:(first+i+1)*w.K])
			clear(line[w.K:deep])
		}
		switch {
		case rows == 1:
			s.bytesVector(sc, w, deep)
		case s.split != nil && s.split.bytes && rows > s.integer.rows:
			s.split.blocks(&grid{
				kind: 2, chunks: deep / bytesDeep, rows: 1, panels: wide / s.NR,
				a: (*uint16)(unsafe.Pointer(&sc.bytes[0])), rowBytes: stride,
				b: (*uint16)(unsafe.Pointer(&w.bytes[0])), panelBytes: deep * s.NR,
				c: (*float32)(unsafe.Pointer(&sc.sums[0])), ldcBytes: 4 * wide,
			})
		default:
			for j := range wide / s.NR {
				for i := 0; i < rows; {
					i += s.integer.tile(rows-i, (w.K+3)/4, &sc.bytes[i*stride], stride, &w.bytes[j*deep*s.NR], &sc.sums[i*wide+j*s.NR], wide)
				}
			}
		}
		for i := range rows {
			s.worth(y[(first+i)*w.N:(first+i+1)*w.N], sc.sums[i*wide:(i+1)*wide], w, sent[i])
		}
	}
}

// bytesVector computes one row's sums. Groups of four inputs that are all zero are left out, which changes no sum.
func (s *Set) bytesVector(sc *Scratch, w *Weights, deep int) {
	groups, n := (w.K+3)/4, 0
	if s.integer.sparse {
		offsets, values := sc.room(groups)
		for g := range groups {
			v := *(*uint32)(unsafe.Pointer(&sc.bytes[4*g]))
			offsets[n], values[n] = uint32(g*4*s.NR), math.Float32frombits(v)
			n += int((v | -v) >> 31)
		}
	} else {
		sc.room(1)
	}
	for j := range s.PanelCount(w.N) {
		s.integer.vector(n, &sc.offsets[0], (*uint32)(unsafe.Pointer(&sc.values[0])), groups, &sc.bytes[0], &w.bytes[j*deep*s.NR], &sc.sums[j*s.NR])
	}
}

// worth turns a row's sums to answers.
func (s *Set) worth(y []float32, sums []int32, w *Weights, r sentRow) {
	least := float32(math.Inf(-1))
	if w.ReLU {
		least = 0
	}
	if r.unit != r.unit {
		for j := range y {
			y[j] = r.unit
		}
		return
	}
	n := w.N &^ (lanes - 1)
	if n > 0 {
		s.integer.worth(n, &y[0], &sums[0], &w.scale[0], &w.bias[0], &w.sums[0], r.unit, r.zero, least)
	}
	if n < w.N {
		worthGo(w.N-n, &y[n], &sums[n], &w.scale[n], &w.bias[n], &w.sums[n], r.unit, r.zero, least)
	}
}

// answerHalf is Answer with weights in bfloat16, whose products and sums are of float32.
func (s *Set) answerHalf(sc *Scratch, y, x []float32, m int, w *Weights) {
	deep, panels := padded(w.K), s.PanelCount(w.N)
	switch {
	case m <= s.fewRows:
		for i := range m {
			s.halfVector(sc, y[i*w.N:(i+1)*w.N], x[i*w.K:(i+1)*w.K], w)
		}
		return
	case s.split != nil && m >= s.split.least:
		b := &Panels{K: w.K, N: w.N, nr: s.NR, parts: w.half}
		s.mulParts(sc, s.splitLeft(sc, Left{m: m, k: w.K, a: x, rs: w.K, cs: 1}), b, 0, panels, y, w.N, false, 1)
	default:
		s.mulWiden(sc, y, x, m, w, deep)
	}
	s.finish(y, m, w)
}

// halfVector answers one row.
func (s *Set) halfVector(sc *Scratch, y, x []float32, w *Weights) {
	deep := padded(w.K)
	n := sc.pairs(x, 4*s.NR)
	sc.c = grow(sc.c, s.MR*s.NR)
	for j := range s.PanelCount(w.N) {
		s.integer.half(n, &sc.offsets[0], &sc.values[0], &w.half[j*deep*s.NR], &sc.c[0])
		s.put(y, sc.c, j, w)
	}
}

// pairs lists the pairs of elements of which one is not zero.
func (sc *Scratch) pairs(x []float32, rowBytes int) int {
	offsets, values := sc.room(len(x) + 2)
	n := 0
	for i := 0; i+1 < len(x); i += 2 {
		offsets[n], values[2*n], values[2*n+1] = uint32(i/2*rowBytes), x[i], x[i+1]
		b := (math.Float32bits(x[i]) | math.Float32bits(x[i+1])) << 1
		n += int((b | -b) >> 31)
	}
	if i := len(x) - 1; i%2 == 0 && x[i] != 0 {
		offsets[n], values[2*n], values[2*n+1] = uint32(i/2*rowBytes), x[i], 0
		n++
	}
	return n
}

// mulWiden computes y = x·W by widening a panel at a time for the product of float32.
func (s *Set) mulWiden(sc *Scratch, y, x []float32, m int, w *Weights, deep int) {
	pass := pad(depth(w.K), 2)
	sc.wide = grow(sc.wide, pass*s.NR)
	one := Panels{K: pass, N: s.NR, nr: s.NR, Data: sc.wide}
	for j := range s.PanelCount(w.N) {
		lo := j * s.NR
		one.N = min(s.NR, w.N-lo)
		for k0 := 0; k0 < w.K; k0 += pass {
			one.K = min(pass, w.K-k0)
			s.integer.widen((one.K+1)/2, &sc.wide[0], &w.half[j*deep*s.NR+k0*s.NR])
			s.Multiply(sc, Left{m: m, k: one.K, a: x[k0:], rs: w.K, cs: 1}, &one, 0, 1, y[lo:], w.N, k0 > 0)
		}
	}
}
