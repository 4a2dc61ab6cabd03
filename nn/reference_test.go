package nn_test

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/kernel"
)

// reference is testdata/keras.json, made by testdata/make.py with Keras itself.
type reference struct {
	Activations struct {
		X, W    []float32
		Columns int
		Of      map[string]struct{ Y, DX []float32 }
	}
	Losses []struct {
		Name                      string
		FromLogits                bool `json:"from_logits"`
		Target, Outputs, Rows, DY []float32
	}
	Optimizers struct {
		Start     []float32
		Gradients [][]float32
		Of        []struct {
			Config nn.OptimizerConfig
			Steps  [][]float32
		}
	}
}

func kerasReference(t *testing.T) reference {
	t.Helper()
	text, err := os.ReadFile("testdata/keras.json")
	if err != nil {
		t.Fatal(err)
	}
	var r reference
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// differ gives the first index at which a and b are further apart than tolerance, relative above 1, or -1.
func differ(a, b []float32, tolerance float64) int {
	if len(a) != len(b) {
		return min(len(a), len(b))
	}
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		if !(math.Abs(x-y) <= tolerance*math.Max(1, math.Abs(y))) {
			return i
		}
	}
	return -1
}

func TestEveryActivationAndItsGradientEqualKeras(t *testing.T) {
	ref := kerasReference(t).Activations
	for _, name := range nn.Activations() {
		if _, ok := ref.Of[name]; !ok {
			t.Errorf("Keras's values for %s are missing: run testdata/make.py", name)
		}
	}
	rows := len(ref.X) / ref.Columns
	for name, want := range ref.Of {
		l := nn.NewActivation("a", name)
		out, err := l.Build([]int{ref.Columns}, nil)
		if err != nil {
			t.Fatal(err)
		}
		y := make([]float32, rows*out[0])
		ctx := &nn.Context{Kernels: kernel.Best(), Scratch: &kernel.Scratch{}, Training: true}
		l.Forward(ctx, y, ref.X, rows)
		if i := differ(y, want.Y, 1e-5); i >= 0 {
			t.Errorf("%s: output %d is %v, Keras has %v", name, i, y[i], want.Y[i])
		}
		var dy []float32
		for r := range rows {
			dy = append(dy, ref.W[r*ref.Columns:r*ref.Columns+out[0]]...)
		}
		dx := make([]float32, len(ref.X))
		l.Backward(ctx, dx, dy, ref.X, y, rows)
		if name == "celu" { // Keras counts the slope at the bend twice
			for j, x := range ref.X {
				if x == 0 {
					dx[j] *= 2
				}
			}
		}
		if i := differ(dx, want.DX, 2e-5); i >= 0 {
			t.Errorf("%s: gradient %d at x = %v is %v, Keras has %v", name, i, ref.X[i], dx[i], want.DX[i])
		}
	}
}

func TestEveryLossAndItsGradientEqualKeras(t *testing.T) {
	const rows = 5
	for i, c := range kerasReference(t).Losses {
		loss, err := nn.NewLoss(c.Name, c.FromLogits)
		if err != nil {
			t.Fatal(err)
		}
		width := len(c.Target) / rows
		for r := range rows {
			got := loss.Eval(nil, c.Outputs[4*r:4*r+4], c.Target[width*r:width*(r+1)], 1, 1, false)
			if at := differ([]float32{float32(got)}, c.Rows[r:r+1], 1e-5); at >= 0 {
				t.Errorf("case %d, %s, row %d: %v, Keras has %v", i, c.Name, r, got, c.Rows[r])
			}
		}
		dy := make([]float32, len(c.Outputs))
		loss.Eval(dy, c.Outputs, c.Target, rows, rows, false)
		if at := differ(dy, c.DY, 1e-5); at >= 0 {
			t.Errorf("case %d, %s: gradient %d at output %v is %v, Keras has %v", i, c.Name, at, c.Outputs[at], dy[at], c.DY[at])
		}
	}
}

// TestEveryOptimiserMovesAsKerasDoes gives a layer of one input 1 the weights of Keras's variable, and targets for which
// the squared error has the gradients of the reference.
func TestEveryOptimiserMovesAsKerasDoes(t *testing.T) {
	ref := kerasReference(t).Optimizers
	n := len(ref.Start)
	for _, set := range kernel.Available() {
		for _, c := range ref.Of {
			net := build(t, []int{1}, nn.NewDense("a", n, nn.DenseConfig{NoBias: true}))
			weights := net.Params()[0].Value
			copy(weights, ref.Start)
			loss, _ := nn.NewLoss("mse", false)
			opt, err := nn.NewOptimizer(c.Config, net.Params())
			if err != nil {
				t.Fatal(err)
			}
			tr, err := nn.NewTrainer(net, loss, opt, 1, 1, set)
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			for s, g := range ref.Gradients {
				before := slices.Clone(weights)
				tr.Step(1, func(x, y []float32, _, _ int) {
					x[0] = 1
					for i := range y {
						y[i] = before[i] - g[i]*float32(n)/2
					}
				})
				tr.Sync()
				if i := differ(weights, c.Steps[s], 2e-6); i >= 0 {
					t.Errorf("%s, %+v: after step %d weight %d is %v, Keras has %v", set.Name, c.Config, s+1, i, weights[i], c.Steps[s][i])
					break
				}
			}
		}
	}
}
