package kernel

import (
	"math"

	"github.com/lineshaft/lineshaft/internal/turn"
)

// Form is how weights are kept to answer with.
type Form uint8

// The forms.
const (
	Float32  Form = iota
	BFloat16      // the upper half of a float32: eight bits of precision
	Int8          // a whole number from -127 to 127 for each weight and a scale for each column
)

// Weights are a matrix and a bias, prepared to answer with: y = x·W + b, and no more of it than zero where ReLU is set.
// They serve any number of goroutines.
type Weights struct {
	K, N int
	Form Form
	ReLU bool

	panels *Panels   // Float32
	full   bool      // some weight is no number or infinite, so that zero times it is not zero
	half   []uint16  // BFloat16: panels of NR columns, row by row, a row's element beside the next row's
	bytes  []int8    // Int8: panels of NR columns, four rows by four rows, a column's four beside each other
	bias   []float32 // of whole panels; zero where there is none
	scale  []float32 // of Int8: what a unit of each column is worth
	sums   []int32   // of Int8: each column's sum, for what inputs are shifted by
}

// NewWeights prepares a row-major k×n matrix in float32; bias may be nil.
func (s *Set) NewWeights(k, n int, b, bias []float32) *Weights {
	w := s.weights(k, n, Float32, bias)
	w.panels = s.NewPanels(k, n)
	// A part at a time: models are packed beside requests that are being answered.
	count := s.PanelCount(n)
	step := max(1, turn.Bytes/4/max(1, k*s.NR))
	for lo := 0; lo < count; lo += step {
		w.panels.Pack(b, n, lo, min(lo+step, count))
		turn.Pass()
	}
	step = max(2, turn.Bytes/4/max(1, n)) &^ 1
	for lo := 0; lo < k; lo += step {
		s.Split(w.panels, lo, min(lo+step, k))
		turn.Pass()
	}
	for _, v := range b {
		w.full = w.full || v-v != 0
	}
	return w
}

func (s *Set) weights(k, n int, form Form, bias []float32) *Weights {
	w := &Weights{K: k, N: n, Form: form, bias: make([]float32, pad(s.PanelCount(n)*s.NR, lanes))}
	copy(w.bias, bias)
	return w
}

// Bytes is the memory that the weights take.
func (w *Weights) Bytes() int64 {
	n := 4*len(w.bias) + 2*len(w.half) + len(w.bytes) + 4*len(w.scale) + 4*len(w.sums)
	if w.panels != nil {
		n += 4*len(w.panels.Data) + 2*len(w.panels.parts)
	}
	return int64(n)
}

// Answer computes m rows of y from m rows of x. What it adds up, and hence the last bits, depends on m and on which
// inputs are zero, where the form is Float32 or BFloat16; with Int8 it does not.
func (s *Set) Answer(sc *Scratch, y, x []float32, m int, w *Weights) {
	switch {
	case m == 0:
	case w.K == 0:
		clear(y)
		s.finish(y, m, w)
	case w.Form == Int8:
		s.answerBytes(sc, y, x, m, w)
	case w.Form == BFloat16:
		s.answerHalf(sc, y, x, m, w)
	default:
		s.answerFloat(sc, y, x, m, w)
	}
}

func (s *Set) answerFloat(sc *Scratch, y, x []float32, m int, w *Weights) {
	b := w.panels
	switch {
	case m <= s.fewRows:
		for i := range m {
			s.vector(sc, y[i*w.N:(i+1)*w.N], x[i*w.K:(i+1)*w.K], w)
		}
		return
	case b.parts != nil && m >= s.split.least:
		s.mulSplit(sc, s.Left(sc, m, w.K, x, w.K, 1, b), b, 0, s.PanelCount(w.N), y, w.N, false)
	default:
		s.Multiply(sc, Left{m: m, k: w.K, a: x, rs: w.K, cs: 1}, b, 0, s.PanelCount(w.N), y, w.N, false)
	}
	s.finish(y, m, w)
}

// finish adds the bias and cuts off.
func (s *Set) finish(y []float32, m int, w *Weights) {
	for i := range m {
		row := y[i*w.N : (i+1)*w.N]
		if w.ReLU {
			s.biasReLU(row, w.bias[:w.N])
		} else {
			s.add(row, w.bias[:w.N])
		}
	}
}

// vector answers one row. The weights come from memory once and that is what it takes, so rows of them whose input is
// zero are not read at all, and panels are read in turns from the first and from the last on: what was read last is
// still in the cache.
func (s *Set) vector(sc *Scratch, y, x []float32, w *Weights) {
	n := sc.nonzero(x, 4*s.NR)
	sc.c = grow(sc.c, s.MR*s.NR)
	sparse := n < len(x)-len(x)/8 && !w.full
	panels := s.PanelCount(w.N)
	for j := range panels {
		if sc.back {
			j = panels - 1 - j
		}
		bp := &w.panels.Panel(j)[0]
		if sparse {
			s.sparse(n, &sc.offsets[0], &sc.values[0], bp, &sc.c[0])
		} else {
			s.row(w.K, &x[0], bp, &sc.c[0], false)
		}
		s.put(y, sc.c, j, w)
	}
}

// put adds the bias to what was summed for a panel, cuts off, and copies it to its place.
func (s *Set) put(y, sums []float32, j int, w *Weights) {
	lo := j * s.NR
	width := min(s.NR, w.N-lo)
	out := sums[:width]
	if w.ReLU {
		s.biasReLU(out, w.bias[lo:lo+width])
	} else {
		s.add(out, w.bias[lo:lo+width])
	}
	copy(y[lo:lo+width], out)
}

// nonzero lists the elements that are not zero, and where their rows begin in a panel of rows of so many bytes.
func (sc *Scratch) nonzero(x []float32, rowBytes int) int {
	offsets, values := sc.room(len(x) + 1)
	n := 0
	for i, v := range x {
		offsets[n], values[n] = uint32(i*rowBytes), v
		b := math.Float32bits(v) << 1
		n += int((b | -b) >> 31)
	}
	return n
}

// room is for a list of n rows.
func (sc *Scratch) room(n int) (offsets []uint32, values []float32) {
	if len(sc.values) < n+ahead {
		sc.offsets, sc.values = make([]uint32, n+ahead), make([]float32, n+ahead)
	}
	return sc.offsets[:n], sc.values[:n]
}

// ahead is how many rows before their turn the rows of a vector's product are fetched.
const ahead = 16

// Turn lets the next answers read the weights from the other end.
func (sc *Scratch) Turn() { sc.back = !sc.back }
