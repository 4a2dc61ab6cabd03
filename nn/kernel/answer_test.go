package kernel_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lineshaft/lineshaft/nn/kernel"
)

// shapes are rows, depth and columns: odd ones, those that just fill a tile, and those that just do not.
func shapes() [][3]int {
	return [][3]int{{1, 1, 1}, {1, 784, 512}, {2, 7, 33}, {1, 3, 5}, {3, 5, 10}, {4, 64, 16}, {5, 65, 17}, {7, 63, 32}, {8, 40, 64}, {12, 256, 32}, {13, 257, 65}, {19, 31, 48}, {20, 33, 31}, {32, 784, 96}, {33, 100, 10}, {64, 130, 40}, {37, 513, 100}}
}

// prepared gives weights in every form, and the float32 that they stand for.
func prepared(s *kernel.Set, k, n int, b, bias []float32) map[kernel.Form]*kernel.Weights {
	half := make([]uint16, len(b))
	for i, v := range b {
		half[i] = kernel.ToBFloat16(v)
	}
	q, _ := kernel.Quantise(k, n, b)
	return map[kernel.Form]*kernel.Weights{
		kernel.Float32:  s.NewWeights(k, n, b, bias),
		kernel.BFloat16: s.NewHalf(k, n, half, bias),
		kernel.Int8:     s.NewInt8(k, n, q, bias),
	}
}

func stands(form kernel.Form, k, n int, b []float32) []float32 {
	out := slices.Clone(b)
	switch form {
	case kernel.BFloat16:
		for i, v := range out {
			out[i] = kernel.FromBFloat16(kernel.ToBFloat16(v))
		}
	case kernel.Int8:
		q, _ := kernel.Quantise(k, n, b)
		return q.Floats()
	}
	return out
}

// inputs are rows of every kind: signed, never below zero, mostly zero, all zero.
func inputs(r *rand.Rand, m, k int) []float32 {
	x := random(r, m*k)
	for i := range m {
		for j := range k {
			switch v := &x[i*k+j]; i % 4 {
			case 1:
				*v = max(*v, 0)
			case 2:
				if r.IntN(5) > 0 {
					*v = 0
				}
			case 3:
				if i%8 == 3 {
					*v = 0
				}
			}
		}
	}
	return x
}

func TestEveryKernelAnswersAsTheDefinitionDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	for _, s := range kernel.Available() {
		for _, d := range shapes() {
			m, k, n := d[0], d[1], d[2]
			x, b, bias := inputs(r, m, k), random(r, k*n), random(r, n)
			for form, w := range prepared(s, k, n, b, bias) {
				for _, relu := range []bool{false, true} {
					w.ReLU = relu
					want := product(m, k, n, x, k, 1, stands(form, k, n, b))
					y := make([]float32, m*n+1)
					y[m*n] = 42
					var sc kernel.Scratch
					for range 2 { // once from each end
						sc.Turn()
						s.Answer(&sc, y[:m*n], x, m, w)
						for i, v := range want {
							v += float64(bias[i%n])
							room := 1e-4
							if form == kernel.Int8 { // half a step of each input, as large as the weight at most
								room = 1.01*float64(k)/255 + 1e-4
							}
							if relu {
								v = max(v, 0)
							}
							if math.Abs(float64(y[i])-v) > room {
								t.Fatalf("%s %v form %d relu %v: element %d is %v, want %v", s.Name, d, form, relu, i, y[i], v)
							}
						}
					}
					if y[m*n] != 42 {
						t.Fatalf("%s %v form %d wrote past the end", s.Name, d, form)
					}
				}
			}
		}
	}
}

func TestAnswersInWholeNumbersAreTheSameToTheBitEverywhere(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 24))
	plain := kernel.Portable()
	for _, s := range kernel.Sets() {
		for _, d := range shapes() {
			m, k, n := d[0], d[1], d[2]
			x, b, bias := inputs(r, m, k), random(r, k*n), random(r, n)
			for i := range b { // columns of different sizes, the largest values too
				b[i] *= float32(math.Exp2(float64(i%n%7) - 3))
			}
			q, _ := kernel.Quantise(k, n, b)
			var sc, one kernel.Scratch
			want, got, single := make([]float32, m*n), make([]float32, m*n), make([]float32, m*n)
			plain.Answer(&sc, want, x, m, plain.NewInt8(k, n, q, bias))
			w := s.NewInt8(k, n, q, bias)
			s.Answer(&sc, got, x, m, w)
			for i := range m {
				s.Answer(&one, single[i*n:(i+1)*n], x[i*k:(i+1)*k], 1, w)
			}
			if !slices.Equal(got, want) || !slices.Equal(single, want) {
				t.Fatalf("%s %v: answers differ from the portable ones", s.Name, d)
			}
		}
	}
}

func TestQuantisingTwiceChangesNothingAndIsWithinHalfAStep(t *testing.T) {
	r := rand.New(rand.NewPCG(25, 26))
	b := random(r, 30*7)
	for i := range 30 {
		b[i*7] = 0
	}
	q, ok := kernel.Quantise(30, 7, b)
	if !ok {
		t.Fatal("finite weights are refused")
	}
	for i, v := range q.Floats() {
		if math.Abs(float64(v-b[i])) > 0.5001*float64(q.Scale[i%7]) {
			t.Errorf("weight %d: %v became %v, a step is %v", i, b[i], v, q.Scale[i%7])
		}
	}
	again, _ := kernel.Quantise(30, 7, q.Floats())
	if !slices.Equal(again.Values, q.Values) {
		t.Error("quantised weights change when they are quantised again")
	}
	b[5] = float32(math.Inf(1))
	if _, ok := kernel.Quantise(30, 7, b); ok {
		t.Error("an infinite weight was quantised")
	}
}

func TestWhatIsNoNumberIsNeverLostInAnAnswer(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	const k, n = 40, 33
	r := rand.New(rand.NewPCG(27, 28))
	for _, s := range kernel.Available() {
		b, bias := random(r, k*n), random(r, n)
		for form, w := range prepared(s, k, n, b, bias) {
			for _, m := range []int{1, 3, 40} {
				for _, bad := range []float32{nan, inf} {
					x, y := random(r, m*k), make([]float32, m*n)
					x[(m-1)*k+17] = bad
					var sc kernel.Scratch
					s.Answer(&sc, y, x, m, w)
					for i, v := range y {
						if last := i >= (m-1)*n; last == (v-v == 0) {
							t.Fatalf("%s form %d, %d rows, input %v: answer %d is %v", s.Name, form, m, bad, i, v)
						}
					}
				}
			}
		}
		b[3*n+2] = nan
		w, x, y := s.NewWeights(k, n, b, bias), random(r, k), make([]float32, n)
		clear(x[:20])
		var sc kernel.Scratch
		if s.Answer(&sc, y, x, 1, w); y[2] == y[2] {
			t.Errorf("%s: a weight that is no number is lost where its input is zero", s.Name)
		}
	}
}

func TestBFloat16RoundsToTheNearestTiesToEven(t *testing.T) {
	for _, c := range []struct{ in, want float32 }{
		{1, 1}, {1.00390625, 1}, {1.01171875, 1.015625}, {1.0039064, 1.0078125}, {-3.1415927, -3.140625}, {3.4e38, float32(math.Inf(1))}, {0, 0},
	} {
		if got := kernel.FromBFloat16(kernel.ToBFloat16(c.in)); got != c.want {
			t.Errorf("%v became %v, want %v", c.in, got, c.want)
		}
	}
	if v := kernel.FromBFloat16(kernel.ToBFloat16(float32(math.NaN()))); v == v {
		t.Error("no number became one")
	}
}

func BenchmarkAnswer(b *testing.B) {
	for _, s := range kernel.Sets() {
		for _, m := range []int{1, 8, 32} {
			const k, n = 784, 512
			r := rand.New(rand.NewPCG(1, 2))
			x := random(r, m*k)
			for form, w := range prepared(s, k, n, random(r, k*n), nil) {
				b.Run(fmt.Sprintf("%s/form%d/%d", s.Name, form, m), func(b *testing.B) {
					y := make([]float32, m*n)
					var sc kernel.Scratch
					for b.Loop() {
						s.Answer(&sc, y, x, m, w)
					}
				})
			}
		}
	}
}
