package nn

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// maxSize bounds one array of weights, so that a hostile file cannot ask for all memory.
const maxSize = 1 << 28

func checkSize(layer string, shape []int) error {
	n := 1
	for _, d := range shape {
		if d < 1 || d > maxSize || n > maxSize/d {
			return errs.Errorf("nn.Build", errs.TooLarge, "layer %q: an array of shape %v is empty or has over %d elements", layer, shape, maxSize)
		}
		n *= d
	}
	return nil
}

// Initializer says how weights begin. The zero value is the layer's default.
type Initializer struct {
	Name  string  // Keras's name in snake case: glorot_uniform, he_normal, zeros, …
	Value float64 // of constant
	Min   float64 // of random_uniform; both zero: -0.05 to 0.05
	Max   float64
	Mean  float64 // of random_normal and truncated_normal
	Std   float64 // 0: 0.05
	Gain  float64 // of orthogonal and identity; 0: 1
}

func (i Initializer) or(name string) Initializer {
	if i.Name == "" {
		i.Name = name
	}
	return i
}

// fill follows keras.initializers: variance scaling with fan-in and fan-out of a matrix (in×out). Without a source of
// random numbers it looks at the name only.
func (i Initializer) fill(v []float32, shape []int, rng *rand.Rand) error {
	fanIn, fanOut := float64(shape[0]), float64(shape[len(shape)-1])
	scaled := func(variance float64, normal bool) func() float64 {
		if !normal {
			limit := math.Sqrt(3 * variance)
			return func() float64 { return (2*rng.Float64() - 1) * limit }
		}
		std := math.Sqrt(variance) / 0.87962566103423978 // the truncation at two deviations takes that share
		return func() float64 { return truncated(rng) * std }
	}
	var next func() float64
	switch i.Name {
	case "zeros":
		next = func() float64 { return 0 }
	case "ones":
		next = func() float64 { return 1 }
	case "constant":
		next = func() float64 { return i.Value }
	case "glorot_uniform":
		next = scaled(2/(fanIn+fanOut), false)
	case "glorot_normal":
		next = scaled(2/(fanIn+fanOut), true)
	case "he_uniform":
		next = scaled(2/fanIn, false)
	case "he_normal":
		next = scaled(2/fanIn, true)
	case "lecun_uniform":
		next = scaled(1/fanIn, false)
	case "lecun_normal":
		next = scaled(1/fanIn, true)
	case "random_uniform":
		lo, hi := i.Min, i.Max
		if lo == 0 && hi == 0 {
			lo, hi = -0.05, 0.05
		}
		next = func() float64 { return lo + rng.Float64()*(hi-lo) }
	case "random_normal":
		next = func() float64 { return i.Mean + rng.NormFloat64()*i.std() }
	case "truncated_normal":
		next = func() float64 { return i.Mean + truncated(rng)*i.std() }
	case "identity":
		if rng != nil {
			return i.identity(v, shape)
		}
	case "orthogonal":
		if rng != nil {
			return i.orthogonal(v, shape, rng)
		}
	default:
		return fmt.Errorf("initialiser %q is not known; there are constant, glorot_normal, glorot_uniform, he_normal, he_uniform, identity, lecun_normal, lecun_uniform, ones, orthogonal, random_normal, random_uniform, truncated_normal and zeros", i.Name)
	}
	if rng == nil {
		return nil
	}
	for x := range v {
		v[x] = float32(next())
	}
	return nil
}

func (i Initializer) std() float64 {
	if i.Std == 0 {
		return 0.05
	}
	return i.Std
}

func (i Initializer) gain() float32 {
	if i.Gain == 0 {
		return 1
	}
	return float32(i.Gain)
}

func truncated(rng *rand.Rand) float64 {
	for {
		if x := rng.NormFloat64(); math.Abs(x) <= 2 {
			return x
		}
	}
}

func (i Initializer) identity(v []float32, shape []int) error {
	if len(shape) != 2 {
		return fmt.Errorf("initialiser identity needs a matrix, not shape %v", shape)
	}
	clear(v)
	for d := range min(shape[0], shape[1]) {
		v[d*shape[1]+d] = i.gain()
	}
	return nil
}

// orthogonal makes the rows, or where there are more rows than columns the columns, orthonormal, by Gram and Schmidt on
// random vectors (Saxe et al., 2013).
func (i Initializer) orthogonal(v []float32, shape []int, rng *rand.Rand) error {
	if len(shape) != 2 {
		return fmt.Errorf("initialiser orthogonal needs a matrix, not shape %v", shape)
	}
	rows, cols := shape[0], shape[1]
	n, dim := min(rows, cols), max(rows, cols)
	basis := make([][]float64, n)
	for b := range basis {
		w := make([]float64, dim)
		for x := range w {
			w[x] = rng.NormFloat64()
		}
		for range 2 { // the second pass removes what rounding left
			for _, u := range basis[:b] {
				dot := 0.0
				for x := range w {
					dot += w[x] * u[x]
				}
				for x := range w {
					w[x] -= dot * u[x]
				}
			}
		}
		norm := 0.0
		for _, x := range w {
			norm += x * x
		}
		norm = math.Sqrt(norm)
		for x := range w {
			w[x] /= norm
			if rows <= cols {
				v[b*cols+x] = float32(w[x]) * i.gain()
			} else {
				v[x*cols+b] = float32(w[x]) * i.gain()
			}
		}
		basis[b] = w
	}
	return nil
}
