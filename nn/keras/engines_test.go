//go:build engines

package keras_test

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/pyenv"
	"github.com/lineshaft/lineshaft/internal/testkit"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/keras"
)

//go:embed testdata/load.py
var loadScript string

//go:embed testdata/save.py
var saveScript string

func optimizers() map[string]nn.OptimizerConfig {
	return map[string]nn.OptimizerConfig{
		"sgd":          {Type: "sgd", LearningRate: 0.1},
		"momentum":     {Type: "sgd", LearningRate: 0.1, Momentum: 0.9},
		"nesterov":     {Type: "sgd", LearningRate: 0.1, Momentum: 0.9, Nesterov: true},
		"rmsprop":      {Type: "rmsprop", LearningRate: 0.01},
		"rmsprop-full": {Type: "rmsprop", LearningRate: 0.01, Rho: 0.8, Momentum: 0.4, Centered: true},
		"adam":         {Type: "adam", LearningRate: 0.01},
		"adam-other":   {Type: "adam", LearningRate: 0.02, Beta1: 0.8, Beta2: 0.95, Epsilon: 1e-4},
	}
}

// small is a model of its own for each case, trained for a few steps so that the optimiser's state is not zero.
func small(t *testing.T, cfg nn.OptimizerConfig, lossName string, logits bool, layers ...nn.Layer) (*keras.Model, func()) {
	t.Helper()
	n := &nn.Network{Name: "small", Input: []int{2, 3}, Layers: layers}
	if err := n.Build(3); err != nil {
		t.Fatal(err)
	}
	loss, err := nn.NewLoss(lossName, logits)
	if err != nil {
		t.Fatal(err)
	}
	opt, err := nn.NewOptimizer(cfg, n.Params())
	if err != nil {
		t.Fatal(err)
	}
	m := &keras.Model{Network: n, Optimizer: opt, Loss: loss.Name, FromLogits: logits, Metrics: []string{"accuracy"}}
	return m, func() { steps(t, m, loss, 1) }
}

// rows are the inputs that every case uses; the target of row i is class i mod the outputs.
func rows() (x [][]float32) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 8 {
		row := make([]float32, 6)
		for j := range row {
			row[j] = float32(r.IntN(2001)-1000) / 500
		}
		x = append(x, row)
	}
	return x
}

func steps(t *testing.T, m *keras.Model, loss *nn.Loss, n int) {
	t.Helper()
	tr, err := nn.NewTrainer(m.Network, loss, m.Optimizer, 8, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	x, out := rows(), m.Network.OutputShape()[0]
	for range n {
		tr.Step(8, func(dx, dy []float32, lo, hi int) {
			clear(dy)
			for i := lo; i < hi; i++ {
				copy(dx[(i-lo)*6:], x[i])
				if loss.Sparse {
					dy[i-lo] = float32(i % out)
				} else {
					dy[(i-lo)*out+i%out] = 1
				}
			}
		})
	}
	tr.Sync()
}

type loaded struct {
	Outputs    [][]float32
	Iterations int64
	Optimizer  struct {
		LearningRate float64 `json:"learning_rate"`
	}
	State [][]float32 // the optimiser's arrays
	After []float32   // all weights after one more step; of .keras
}

func flat(n *nn.Network) (all []float32) {
	for _, p := range n.Params() {
		if p.Trainable {
			all = append(all, p.Value...)
		}
	}
	return all
}

// TestKerasLoadsWhatIsWrittenAndTrainsOn: Keras loads each file and answers the same; its next step, from the same
// optimiser state, leads to the same weights.
func TestKerasLoadsWhatIsWrittenAndTrainsOn(t *testing.T) {
	python := testkit.Python(t, pyenv.Keras()...)
	dir := t.TempDir()
	models, answersBefore := map[string]*keras.Model{}, map[string][]float32{}
	save := func(name string, m *keras.Model) {
		for ext, write := range map[string]func(*bytes.Buffer) error{
			".h5":    func(b *bytes.Buffer) error { return keras.WriteH5(b, m) },
			".keras": func(b *bytes.Buffer) error { return keras.WriteKeras(b, m) },
		} {
			var b bytes.Buffer
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name+ext), b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			models[name+ext], answersBefore[name+ext] = m, answers(t, m.Network, rows())
		}
	}
	more := map[string]func(){}
	add := func(name string, cfg nn.OptimizerConfig, loss string, logits bool, layers ...nn.Layer) {
		m, step := small(t, cfg, loss, logits, layers...)
		step()
		step()
		save(name, m)
		more[name+".keras"] = step
	}
	hot, adam := "categorical_crossentropy", nn.OptimizerConfig{Type: "adam", LearningRate: 0.01}
	for name, cfg := range optimizers() {
		add("optimizer-"+name, cfg, hot, false, nn.NewFlatten("f"), nn.NewDense("a", 5, nn.DenseConfig{Activation: "tanh"}),
			nn.NewDropout("d", 0), nn.NewDense("b", 4, nn.DenseConfig{Activation: "softmax"}))
	}
	for _, act := range nn.Activations() {
		if act == "gelu_tanh" || act == "threshold" || act == "glu" {
			continue // Keras has no name for the first, wants arguments for the second; the third halves its input
		}
		add("activation-"+act, adam, "mean_squared_error", false, nn.NewFlatten("f"), nn.NewDense("a", 5, nn.DenseConfig{Activation: act}), nn.NewActivation("act", act), nn.NewDense("b", 2, nn.DenseConfig{}))
	}
	add("glu", adam, "mean_squared_error", false, nn.NewFlatten("f"), nn.NewDense("a", 6, nn.DenseConfig{NoBias: true}), nn.NewActivation("act", "glu"))
	for _, loss := range nn.Losses() {
		last := "softmax" // Keras takes what stands before any sigmoid or softmax for logits of the loss, so they must fit
		if loss == "binary_crossentropy" {
			last = "sigmoid"
		}
		add("loss-"+loss, adam, loss, false, nn.NewDense("a", 3, nn.DenseConfig{Activation: "relu", KernelInit: nn.Initializer{Name: "he_normal"}}), nn.NewFlatten("f"), nn.NewDense("b", 3, nn.DenseConfig{Activation: last}))
		if loss != "mean_squared_error" {
			add("logits-"+loss, adam, loss, true, nn.NewFlatten("f"), nn.NewDense("b", 3, nn.DenseConfig{}))
		}
	}
	add("scaled", adam, hot, false, nn.NewStandardization("n", -1, []float32{0.5, -1, 2}, []float32{4, 1, 0.25}), nn.NewRescaling("r", 0.5, -1),
		nn.NewFlatten("f"), nn.NewDense("b", 4, nn.DenseConfig{Activation: "softmax", BiasInit: nn.Initializer{Name: "constant", Value: 0.1}}))
	norm := nn.NormConfig{Axis: -1, Epsilon: 1e-3, Center: true, Scale: true}
	plain := &nn.Network{Name: "plain", Input: []int{2, 3}, Layers: []nn.Layer{
		nn.NewBatchNormalization("bn", norm), nn.NewDense("d", 4, nn.DenseConfig{Activation: "gelu"}), nn.NewLayerNormalization("ln", norm), nn.NewFlatten("f"),
	}}
	if err := plain.Build(1); err != nil {
		t.Fatal(err)
	}
	save("norms", &keras.Model{Network: plain})

	x, _ := json.Marshal(rows())
	var got map[string]loaded
	if err := json.Unmarshal([]byte(testkit.RunPython(t, python, loadScript, dir, string(x))), &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(models)) {
		m, have := models[name], got[name]
		if d := farthest(slices.Concat(have.Outputs...), answersBefore[name]); d > 1e-5 || len(have.Outputs) != 8 {
			t.Errorf("%s: Keras's answers differ by %v", name, d)
		}
		if m.Optimizer == nil {
			continue
		}
		if have.Iterations != 2 || math.Abs(have.Optimizer.LearningRate-m.Optimizer.Config.LearningRate) > 1e-8 {
			t.Errorf("%s: Keras read %+v after %d iterations", name, have.Optimizer, have.Iterations)
		}
		if ext := filepath.Ext(name); ext == ".keras" {
			if twin := got[strings.TrimSuffix(name, ext)+".h5"]; !slices.EqualFunc(twin.State, have.State, slices.Equal) {
				t.Errorf("%s: Keras has another optimiser state than the .h5 file", name)
			}
			more[name]()
			if d := farthest(have.After, flat(m.Network)); d > 1e-5 || len(have.After) != len(flat(m.Network)) {
				t.Errorf("%s: after one more step Keras's weights differ by %v", name, d)
			}
		}
	}
}

type saved struct {
	Outputs    [][]float32
	After      []float32
	Iterations int64
	Loss       string
}

// TestFilesThatKerasWritesAnswerAndTrainOnHere reads what testdata/save.py makes: chains of all known layers as
// Sequential and as functional models, compiled with each optimiser, in both formats.
func TestFilesThatKerasWritesAnswerAndTrainOnHere(t *testing.T) {
	python := testkit.Python(t, pyenv.Keras()...)
	dir := t.TempDir()
	x, _ := json.Marshal(rows())
	var want map[string]saved
	if err := json.Unmarshal([]byte(testkit.RunPython(t, python, saveScript, dir, string(x))), &want); err != nil {
		t.Fatal(err)
	}
	if len(want) < 40 {
		t.Fatalf("Keras wrote only %d files", len(want))
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		w := want[name]
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		m, err := keras.ReadModel(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := farthest(answers(t, m.Network, rows()), slices.Concat(w.Outputs...)); d > 1e-5 {
			t.Errorf("%s: answers differ from Keras's by %v", name, d)
		}
		if w.After == nil {
			continue
		}
		if m.Optimizer == nil || m.Loss != w.Loss || m.Optimizer.Iterations != w.Iterations {
			t.Errorf("%s: loss %q, optimiser %+v", name, m.Loss, m.Optimizer)
			continue
		}
		loss, err := nn.NewLoss(m.Loss, m.FromLogits)
		if err != nil {
			t.Fatal(err)
		}
		steps(t, m, loss, 1)
		if d := farthest(w.After, flat(m.Network)); d > 1e-5 || len(w.After) != len(flat(m.Network)) {
			t.Errorf("%s: after one more step the weights differ from Keras's by %v", name, d)
		}
	}
}
