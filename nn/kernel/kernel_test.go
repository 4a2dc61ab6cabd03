package kernel_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lineshaft/lineshaft/nn/kernel"
)

func random(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = r.Float32()*2 - 1
	}
	return x
}

// product is the definition, in float64.
func product(m, k, n int, a []float32, rs, cs int, b []float32) []float64 {
	c := make([]float64, m*n)
	for i := range m {
		for x := range k {
			v := float64(a[i*rs+x*cs])
			for j := range n {
				c[i*n+j] += v * float64(b[x*n+j])
			}
		}
	}
	return c
}

func TestEveryKernelMultipliesAsTheDefinitionDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range kernel.Available() {
		for _, d := range [][3]int{{1, 1, 1}, {1, 784, 512}, {2, 7, 33}, {3, 5, 10}, {4, 9, 16}, {6, 1, 32}, {8, 40, 64}, {12, 256, 32}, {13, 257, 65}, {16, 31, 48}, {64, 784, 96}, {128, 300, 10}, {37, 513, 100}} {
			m, k, n := d[0], d[1], d[2]
			a, b := random(r, m*k), random(r, k*n)
			for _, layout := range []string{"rows", "columns"} {
				rs, cs := k, 1
				if layout == "columns" {
					rs, cs = 1, m
				}
				want := product(m, k, n, a, rs, cs, b)
				for _, packing := range []string{"packed", "transposed"} {
					p := s.NewPanels(k, n)
					if packing == "packed" {
						p.Pack(b, n, 0, s.PanelCount(n))
					} else {
						bt := make([]float32, n*k)
						for i := range k {
							for j := range n {
								bt[j*k+i] = b[i*n+j]
							}
						}
						src := s.NewPanels(n, k)
						src.Pack(bt, k, 0, s.PanelCount(k))
						s.Transpose(p, src)
						back := make([]float32, n*k)
						if src.Unpack(back, src.Data); !slices.Equal(back, bt) {
							t.Fatalf("%s %v: Unpack is not the inverse of Pack", s.Name, d)
						}
					}
					s.Split(p, 0, k)
					var sc kernel.Scratch
					c := make([]float32, m*n+1)
					c[m*n] = 42
					for round := 1; round <= 2; round++ { // the second round adds
						half := s.PanelCount(n) / 2
						s.Mul(&sc, m, a, rs, cs, p, 0, half, c, n, round == 2)
						s.Mul(&sc, m, a, rs, cs, p, half, s.PanelCount(n), c[half*s.NR:], n, round == 2)
						for i, w := range want {
							if d := math.Abs(float64(c[i]) - float64(round)*w); d > 1e-4 {
								t.Fatalf("%s %v %s %s round %d: element %d is %v, want %v", s.Name, d, layout, packing, round, i, c[i], w)
							}
						}
					}
					if c[m*n] != 42 {
						t.Fatalf("%s %v wrote past the end", s.Name, d)
					}
				}
			}
		}
	}
}

func TestEveryKernelStepsAdamAsTheFormula(t *testing.T) {
	for _, s := range kernel.Available() {
		r := rand.New(rand.NewPCG(3, 4))
		n := 53
		p, m, v, g := random(r, n), random(r, n), random(r, n), random(r, n)
		for i := range v {
			v[i] = v[i] * v[i]
		}
		c := kernel.Adam{LR: 0.01, OneMinusB1: 0.1, OneMinusB2: 0.001, Eps: 1e-7}
		want := make([]float64, n)
		for i := range want {
			mi := float64(m[i]) + (float64(g[i])-float64(m[i]))*0.1
			vi := float64(v[i]) + (float64(g[i])*float64(g[i])-float64(v[i]))*0.001
			want[i] = float64(p[i]) - mi*0.01/(math.Sqrt(vi)+1e-7)
		}
		s.Adam(p, m, v, g, c)
		for i := range want {
			if math.Abs(float64(p[i])-want[i]) > 1e-5 {
				t.Fatalf("%s: element %d is %v, want %v", s.Name, i, p[i], want[i])
			}
		}
	}
}

func TestEveryKernelDropsTheSameElementsAndAboutTheRightShare(t *testing.T) {
	n := 10_000
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i + 1)
	}
	var first []float32
	for _, s := range kernel.Available() {
		var state [16]uint64
		r := rand.New(rand.NewPCG(5, 6))
		for i := range state {
			state[i] = r.Uint64()
		}
		y, mask := make([]float32, n), make([]uint64, (n+63)/64)
		s.Dropout(y, x, mask, &state, 858993459, 1.25)
		zero := 0
		for i := range y {
			kept := mask[i/64]>>(i%64)&1 == 1
			if kept != (y[i] != 0) || kept && y[i] != x[i]*1.25 {
				t.Fatalf("%s: element %d is %v, kept %v", s.Name, i, y[i], kept)
			}
			if !kept {
				zero++
			}
		}
		if zero < 1800 || zero > 2200 {
			t.Errorf("%s dropped %d of %d at rate 0.2", s.Name, zero, n)
		}
		if first == nil {
			first = y
		}
		for i := range y {
			if y[i] != first[i] {
				t.Fatalf("%s drops other elements than %s", s.Name, kernel.Available()[0].Name)
			}
		}
	}
}

func TestEveryKernelsLoopsEqualThePortableOnes(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	plain := kernel.Portable()
	for _, s := range kernel.Available() {
		for _, n := range []int{1, 7, 8, 15, 16, 17, 63, 64, 65, 128, 200, 511} {
			x, y := random(r, n), random(r, n)
			src, mask := make([]byte, n), make([]uint64, (n+63)/64)
			for i := range src {
				src[i] = byte(r.Uint32())
			}
			for i := range mask {
				mask[i] = r.Uint64()
			}
			for name, run := range map[string]func(s *kernel.Set, out []float32){
				"BiasReLU":  func(s *kernel.Set, out []float32) { copy(out, x); s.BiasReLU(out, y) },
				"ReLUBack":  func(s *kernel.Set, out []float32) { copy(out, x); s.ReLUBack(out, y) },
				"Add":       func(s *kernel.Set, out []float32) { copy(out, x); s.Add(out, y) },
				"Masked":    func(s *kernel.Set, out []float32) { s.Masked(out, x, mask, 1.25) },
				"FromBytes": func(s *kernel.Set, out []float32) { s.FromBytes(out, src, 255) },
			} {
				want, got := make([]float32, n), make([]float32, n)
				run(plain, want)
				run(s, got)
				if !slices.Equal(want, got) {
					t.Errorf("%s: %s over %d elements differs from the portable loop", s.Name, name, n)
				}
			}
		}
	}
}

// TestWhatIsRenewedEqualsWhatIsMadeAnew changes some rows of an operand and compares its products, and its transpose's,
// with those of an operand that was packed with the change.
func TestWhatIsRenewedEqualsWhatIsMadeAnew(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for _, s := range kernel.Available() {
		for _, d := range [][2]int{{96, 64}, {65, 33}, {128, 10}, {31, 100}, {9, 9}} {
			k, n := d[0], d[1]
			old, fresh := random(r, k*n), random(r, k*n)
			lo, hi := min(k, s.NR), k // whole panels of the transpose
			copy(fresh[:lo*n], old)
			operand := func(b []float32) (p, q *kernel.Panels) {
				p, q = s.NewPanels(k, n), s.NewPanels(n, k)
				p.Pack(b, n, 0, s.PanelCount(n))
				s.Transpose(q, p)
				s.Split(p, 0, k)
				s.Split(q, 0, n)
				return p, q
			}
			p, q := operand(old)
			p.PackRows(fresh, n, 0, k)
			var sc kernel.Scratch
			for j := range s.PanelCount(n) {
				s.Renew(&sc, p, q, j, lo, hi)
			}
			p2, q2 := operand(fresh)
			product := func(p *kernel.Panels) []float32 {
				const m = 40
				c := make([]float32, m*p.N)
				s.Mul(&sc, m, random(rand.New(rand.NewPCG(1, 1)), m*p.K), p.K, 1, p, 0, s.PanelCount(p.N), c, p.N, false)
				return c
			}
			if !slices.Equal(product(p), product(p2)) || !slices.Equal(product(q), product(q2)) {
				t.Errorf("%s %v: products differ", s.Name, d)
			}
		}
	}
}

func TestRowsThatArePutEqualThoseThatWerePacked(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	for _, s := range kernel.Available() {
		for _, d := range [][3]int{{128, 512, 64}, {50, 70, 20}, {37, 33, 12}, {9, 5, 8}, {7, 64, 4}} {
			k, n, first := d[0], d[1], d[2]
			b := random(r, k*n)
			want, got := s.NewPanels(k, n), s.NewPanels(k, n)
			want.Pack(b, n, 0, s.PanelCount(n))
			s.Split(want, 0, k)
			s.Split(got, 0, k)
			s.Put(got, b[first*n:], n, first, k-first)
			s.Put(got, b, n, 0, first)
			a := random(r, 40*k)
			var sc kernel.Scratch
			product := func(p *kernel.Panels) []float32 {
				c := make([]float32, 40*n)
				s.Mul(&sc, 40, a, k, 1, p, 0, s.PanelCount(n), c, n, false)
				return c
			}
			if !slices.Equal(product(got), product(want)) {
				t.Errorf("%s %v: products differ", s.Name, d)
			}
		}
	}
}

func TestProductsInPartsAreAsExactAsFloat32(t *testing.T) {
	const m, k, n = 64, 784, 96
	r := rand.New(rand.NewPCG(11, 12))
	a, b := random(r, m*k), random(r, k*n)
	for i := range a { // of very different sizes
		a[i] *= float32(math.Exp(6 * r.NormFloat64()))
	}
	size := make([]float64, m*n) // Σ|a·b|: what errors are relative to
	abs := func(x []float32) []float32 {
		y := slices.Clone(x)
		for i := range y {
			y[i] = float32(math.Abs(float64(y[i])))
		}
		return y
	}
	copy(size, product(m, k, n, abs(a), k, 1, abs(b)))
	want := product(m, k, n, a, k, 1, b)
	for _, s := range kernel.Available() {
		p := s.NewPanels(k, n)
		p.Pack(b, n, 0, s.PanelCount(n))
		s.Split(p, 0, k)
		var sc kernel.Scratch
		c := make([]float32, m*n)
		s.Mul(&sc, m, a, k, 1, p, 0, s.PanelCount(n), c, n, false)
		worst, sum := 0.0, 0.0
		for i, w := range want {
			e := math.Abs(float64(c[i])-w) / size[i]
			worst, sum = max(worst, e), sum+e
		}
		t.Logf("%s: worst error %.2g, mean %.2g of Σ|a·b|", s.Name, worst, sum/float64(m*n))
		if worst > 1e-6 || sum/float64(m*n) > 1.5e-7 {
			t.Errorf("%s: worst error %v, mean %v", s.Name, worst, sum/float64(m*n))
		}
	}
}

func BenchmarkMul(b *testing.B) {
	for _, s := range kernel.Available() {
		for _, d := range [][3]int{{128, 784, 512}, {784, 128, 512}, {1, 784, 512}, {32, 784, 512}} {
			b.Run(fmt.Sprintf("%s/%dx%dx%d", s.Name, d[0], d[1], d[2]), func(b *testing.B) {
				r := rand.New(rand.NewPCG(1, 2))
				m, k, n := d[0], d[1], d[2]
				x, w, c := random(r, m*k), random(r, k*n), make([]float32, m*n)
				p := s.NewPanels(k, n)
				p.Pack(w, n, 0, s.PanelCount(n))
				var sc kernel.Scratch
				for b.Loop() {
					s.Mul(&sc, m, x, k, 1, p, 0, s.PanelCount(n), c, n, false)
				}
				b.ReportMetric(2*float64(m*k*n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}

func TestWhatIsNoNumberStaysNoneThroughReLU(t *testing.T) {
	nan := float32(math.NaN())
	for _, s := range kernel.Available() {
		y, b := make([]float32, 67), make([]float32, 67)
		for i := range y {
			y[i] = float32(i) - 33
		}
		y[0], y[40], b[66] = nan, nan, nan
		s.BiasReLU(y, b)
		for i, v := range y {
			bad := i == 0 || i == 40 || i == 66
			if want := max(float32(i)-33, 0); bad != (v != v) || !bad && v != want {
				t.Errorf("%s: element %d is %v", s.Name, i, v)
			}
		}
	}
}
