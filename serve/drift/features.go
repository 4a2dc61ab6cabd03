package drift

import (
	"fmt"
	"math"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

const (
	few    = 16      // numbers of a row that are watched one by one
	pieces = 16      // of a longer row
	most   = 1 << 16 // numbers of a row that are looked at; of longer ones every so many-th
)

// side is one tensor of a call: how many features a row of it has, and what they are called.
type side struct {
	name   string
	size   int // numbers of a row
	output bool
	bytes  bool
}

func (s side) names() []string {
	switch {
	case s.bytes:
		return []string{s.name + " length"}
	case s.size == 1:
		return []string{s.name}
	case s.output && s.size <= 1000:
		return []string{s.name + " largest", s.name + " largest value"}
	case s.size <= few:
		var all []string
		for i := range s.size {
			all = append(all, fmt.Sprintf("%s[%d]", s.name, i))
		}
		return all
	}
	all := []string{s.name + " mean", s.name + " deviation", s.name + " min", s.name + " max"}
	for i := range pieces {
		all = append(all, fmt.Sprintf("%s mean of part %d/%d", s.name, i+1, pieces))
	}
	return all
}

// classes is how many values feature i has, where it is the number of a class.
func (s side) classes(i int) int {
	if !s.bytes && s.output && i == 0 && s.size > 1 && s.size <= 1000 {
		return s.size
	}
	return 0
}

// row appends the features of a row.
func (s side) row(dst []float64, t *tensor.Tensor, row int) []float64 {
	if s.bytes {
		n := 0
		for _, b := range t.Strings[row*s.size : (row+1)*s.size] {
			n += len(b)
		}
		return append(dst, float64(n))
	}
	at := func(i int) float64 { return t.Number(row*s.size + i) }
	switch {
	case s.size == 1:
		return append(dst, at(0))
	case s.output && s.size <= 1000:
		best, where := at(0), 0
		for i := 1; i < s.size; i++ {
			if v := at(i); v > best {
				best, where = v, i
			}
		}
		return append(dst, float64(where), best)
	case s.size <= few:
		for i := range s.size {
			dst = append(dst, at(i))
		}
		return dst
	}
	return s.long(dst, at)
}

// long is the features of a row of many numbers.
func (s side) long(dst []float64, at func(int) float64) []float64 {
	var sum, square, n float64
	var part, count [pieces]float64
	low, high := math.Inf(1), math.Inf(-1)
	for i := 0; i < s.size; i += 1 + s.size/most {
		v := at(i)
		sum, square, n = sum+v, square+v*v, n+1
		low, high = min(low, v), max(high, v)
		p := i * pieces / s.size
		part[p], count[p] = part[p]+v, count[p]+1
	}
	mean := sum / n
	dst = append(dst, mean, math.Sqrt(max(0, square/n-mean*mean)), low, high)
	for p := range part {
		dst = append(dst, part[p]/max(1, count[p]))
	}
	return dst
}

// sides looks at the tensors of a call that has so many rows. Names may be fewer than the tensors.
func sides(all []tensor.Tensor, names []string, rows int, output bool) ([]side, error) {
	var out []side
	for i := range all {
		t := &all[i]
		n, err := tensor.Elements(t.Shape)
		if err != nil || rows < 1 || n < rows || n%rows != 0 {
			return nil, errs.Errorf("drift.sides", errs.Invalid, "tensor %d of shape %s has no %d rows", i+1, tensor.Text(t.Shape), rows)
		}
		s := side{name: fmt.Sprint(i + 1), size: n / rows, output: output, bytes: t.Type == tensor.Bytes}
		if i < len(names) {
			s.name = names[i]
		}
		out = append(out, s)
	}
	return out, nil
}

// sample is features of rows, feature by feature.
type sample struct {
	sides  []side
	values [][]float64
}

func newSample(sides []side) *sample {
	s := &sample{sides: sides}
	for _, one := range sides {
		for range one.names() {
			s.values = append(s.values, nil)
		}
	}
	return s
}

func (s *sample) add(row []float64) {
	for i, v := range row {
		s.values[i] = append(s.values[i], v)
	}
}

func (s *sample) features() []Feature {
	var out []Feature
	for _, one := range s.sides {
		for i, name := range one.names() {
			out = append(out, cut(name, s.values[len(out)], one.classes(i)))
		}
	}
	return out
}

// Measure makes a reference of rows.
func Measure(source string, in, out []tensor.Tensor, inNames, outNames []string, rows int) (*Reference, error) {
	ins, err := sides(in, inNames, rows, false)
	if err != nil {
		return nil, err
	}
	outs, err := sides(out, outNames, rows, true)
	if err != nil {
		return nil, err
	}
	a, b := newSample(ins), newSample(outs)
	var dst []float64
	for row := range rows {
		dst = rowOf(dst[:0], ins, in, row)
		a.add(dst)
		dst = rowOf(dst[:0], outs, out, row)
		b.add(dst)
	}
	return &Reference{Source: source, Rows: int64(rows), Inputs: a.features(), Outputs: b.features()}, nil
}

func rowOf(dst []float64, sides []side, all []tensor.Tensor, row int) []float64 {
	for i, s := range sides {
		dst = s.row(dst, &all[i], row)
	}
	return dst
}
