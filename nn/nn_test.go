package nn_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/kernel"
)

func uniform(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = r.Float32()*2 - 1
	}
	return x
}

func build(t *testing.T, in []int, layers ...nn.Layer) *nn.Network {
	t.Helper()
	n := &nn.Network{Name: "test", Input: in, Layers: layers}
	if err := n.Build(7); err != nil {
		t.Fatal(err)
	}
	return n
}

// descent makes a trainer whose steps move the weights by their gradients.
func descent(t *testing.T, net *nn.Network, loss *nn.Loss, batch, threads int, set *kernel.Set) *nn.Trainer {
	t.Helper()
	opt, err := nn.NewOptimizer(nn.OptimizerConfig{Type: "sgd", LearningRate: 1}, net.Params())
	if err != nil {
		t.Fatal(err)
	}
	tr, err := nn.NewTrainer(net, loss, opt, batch, threads, set)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.Close)
	return tr
}

// gradients makes a step and takes it back; it gives how far each weight moved, which is its gradient.
func gradients(tr *nn.Trainer, rows int, fill nn.Fill) (grads [][]float32, loss float64) {
	var before [][]float32
	for _, p := range tr.Net.Params() {
		before = append(before, slices.Clone(p.Value))
	}
	loss, _ = tr.Step(rows, fill)
	tr.Sync()
	for k, p := range tr.Net.Params() {
		g := make([]float32, len(p.Value))
		for i := range g {
			g[i] = before[k][i] - p.Value[i]
		}
		grads = append(grads, g)
		copy(p.Value, before[k])
	}
	tr.Refresh()
	return grads, loss
}

// checkGradients compares every gradient with the slope of the loss (Eval, without dropout) by central differences.
func checkGradients(t *testing.T, net *nn.Network, lossName string, logits bool, target func(r *rand.Rand, out int) []float32) {
	t.Helper()
	loss, err := nn.NewLoss(lossName, logits)
	if err != nil {
		t.Fatal(err)
	}
	const rows = 5
	r := rand.New(rand.NewPCG(11, 12))
	in, out := 1, 1
	for _, d := range net.Input {
		in *= d
	}
	for _, d := range net.OutputShape() {
		out *= d
	}
	x := uniform(r, rows*in)
	var y []float32
	for range rows {
		y = append(y, target(r, out)...)
	}
	w := len(y) / rows
	fill := func(dx, dy []float32, lo, hi int) {
		copy(dx, x[lo*in:hi*in])
		copy(dy, y[lo*w:hi*w])
	}
	grads, _ := gradients(descent(t, net, loss, rows, 2, nil), rows, fill)
	const h = 2e-3
	checked := 0
	for k, p := range net.Params() {
		for i := range p.Value {
			was := p.Value[i]
			at := func(v float32) float64 {
				p.Value[i] = v
				tr := descent(t, net, loss, rows, 1, nil)
				l, _ := tr.Eval(rows, fill)
				return l / rows
			}
			slope := (at(was+h) - at(was-h)) / (2 * h)
			p.Value[i] = was
			checked++
			if d := math.Abs(slope - float64(grads[k][i])); d > 2e-3+0.02*math.Abs(slope) {
				t.Errorf("parameter %d %s[%d]: gradient %v, slope %v", k, p.Name, i, grads[k][i], slope)
				return
			}
		}
	}
	if checked == 0 {
		t.Fatal("nothing was checked")
	}
}

func values(r *rand.Rand, out int) []float32 { return uniform(r, out) }

func oneHot(r *rand.Rand, out int) []float32 {
	y := make([]float32, out)
	y[r.IntN(out)] = 1
	return y
}

func class(r *rand.Rand, out int) []float32 { return []float32{float32(r.IntN(out))} }

func bits(r *rand.Rand, out int) []float32 {
	y := make([]float32, out)
	for i := range y {
		y[i] = float32(r.IntN(2))
	}
	return y
}

func TestEveryActivationHasTheGradientOfItsFunction(t *testing.T) {
	for _, name := range nn.Activations() {
		t.Run(name, func(t *testing.T) {
			layers := []nn.Layer{nn.NewDense("a", 4, nn.DenseConfig{KernelInit: nn.Initializer{Name: "random_normal", Std: 0.7}}), nn.NewActivation("f", name), nn.NewDense("b", 3, nn.DenseConfig{})}
			checkGradients(t, build(t, []int{6}, layers...), "mse", false, values)
			if name != "glu" { // changes the shape
				net := build(t, []int{6}, nn.NewDense("a", 4, nn.DenseConfig{Activation: name, KernelInit: nn.Initializer{Name: "random_normal", Std: 0.7}}), nn.NewDense("b", 3, nn.DenseConfig{}))
				checkGradients(t, net, "mse", false, values)
			}
		})
	}
}

func TestEveryLossHasTheGradientOfItsFunction(t *testing.T) {
	for _, c := range []struct {
		loss, last string
		logits     bool
		target     func(*rand.Rand, int) []float32
	}{
		{"mean_squared_error", "linear", false, values},
		{"binary_crossentropy", "sigmoid", false, bits},
		{"binary_crossentropy", "linear", true, bits},
		{"binary_crossentropy", "hard_sigmoid", false, bits},
		{"categorical_crossentropy", "softmax", false, oneHot},
		{"categorical_crossentropy", "linear", true, oneHot},
		{"categorical_crossentropy", "sigmoid", false, oneHot},
		{"sparse_categorical_crossentropy", "softmax", false, class},
		{"sparse_categorical_crossentropy", "linear", true, class},
	} {
		t.Run(fmt.Sprintf("%s of %s logits %v", c.loss, c.last, c.logits), func(t *testing.T) {
			net := build(t, []int{6}, nn.NewDense("a", 7, nn.DenseConfig{Activation: "tanh"}), nn.NewDense("b", 4, nn.DenseConfig{Activation: c.last}))
			checkGradients(t, net, c.loss, c.logits, c.target)
		})
	}
	t.Run("softmax in a layer of its own", func(t *testing.T) {
		net := build(t, []int{6}, nn.NewDense("a", 4, nn.DenseConfig{}), nn.NewActivation("s", "softmax"))
		checkGradients(t, net, "categorical_crossentropy", false, oneHot)
	})
}

func TestGradientsPassThroughEveryOtherLayer(t *testing.T) {
	net := build(t, []int{2, 3},
		nn.NewDense("a", 5, nn.DenseConfig{Activation: "tanh"}), nn.NewFlatten("f"), nn.NewRescaling("r", 0.5, 1),
		nn.NewDropout("d", 0), nn.NewDense("b", 3, nn.DenseConfig{NoBias: true}))
	checkGradients(t, net, "mse", false, values)
}

func TestDropoutsGradientGoesWhereItsOutputDid(t *testing.T) {
	// With identity weights the gradient of the first layer's bias is zero exactly where the unit was dropped.
	const n = 200
	net := build(t, []int{n},
		nn.NewDense("a", n, nn.DenseConfig{KernelInit: nn.Initializer{Name: "zeros"}, BiasInit: nn.Initializer{Name: "ones"}}),
		nn.NewDropout("d", 0.25),
		nn.NewDense("b", n, nn.DenseConfig{KernelInit: nn.Initializer{Name: "identity"}, NoBias: true}))
	loss, _ := nn.NewLoss("mse", false)
	tr := descent(t, net, loss, 1, 1, nil)
	tr.Seed(1, 1)
	grads, got := gradients(tr, 1, func(_, y []float32, _, _ int) { clear(y) })
	kept := 0
	for _, g := range grads[1] {
		if g != 0 {
			kept++
			if want := 2 * (1 / 0.75) * (1 / 0.75) / n; math.Abs(float64(g)-want) > 1e-6 {
				t.Fatalf("gradient %v, want %v", g, want)
			}
		}
	}
	if kept < 120 || kept > 180 {
		t.Errorf("kept %d of %d at rate 0.25", kept, n)
	}
	if want := float64(kept) / n / 0.75 / 0.75; math.Abs(got-want) > 1e-4 {
		t.Errorf("loss %v, want %v", got, want)
	}
}

// data is a small problem: the class is the largest of three sums.
func data(rows int) (x []float32, y []float32) {
	r := rand.New(rand.NewPCG(21, 22))
	x = uniform(r, rows*9)
	for i := range rows {
		best, at := float32(-9), 0
		for c := range 3 {
			if s := x[i*9+c] + x[i*9+3+c] + x[i*9+6+c]; s > best {
				best, at = s, c
			}
		}
		y = append(y, float32(at))
	}
	return x, y
}

func train(t *testing.T, opt nn.OptimizerConfig, threads, steps int, set *kernel.Set) (weights []float32, accuracy float64) {
	t.Helper()
	net := build(t, []int{9}, nn.NewDense("a", 33, nn.DenseConfig{Activation: "relu"}), nn.NewDropout("d", 0.1), nn.NewDense("b", 3, nn.DenseConfig{Activation: "softmax"}))
	loss, err := nn.NewLoss("sparse_categorical_crossentropy", false)
	if err != nil {
		t.Fatal(err)
	}
	o, err := nn.NewOptimizer(opt, net.Params())
	if err != nil {
		t.Fatal(err)
	}
	tr, err := nn.NewTrainer(net, loss, o, 50, threads, set)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	x, y := data(500)
	fill := func(at int) nn.Fill {
		return func(dx, dy []float32, lo, hi int) {
			copy(dx, x[(at+lo)*9:(at+hi)*9])
			copy(dy, y[at+lo:at+hi])
		}
	}
	tr.Seed(1, 0)
	for s := range steps {
		tr.Step(50, fill(s%10*50))
	}
	tr.Sync()
	correct := 0
	for b := range 10 {
		_, c := tr.Eval(50, fill(b*50))
		correct += c
	}
	for _, p := range net.Params() {
		weights = append(weights, p.Value...)
	}
	return weights, float64(correct) / 500
}

func TestEveryOptimiserLearns(t *testing.T) {
	for _, c := range []nn.OptimizerConfig{
		{Type: "adam", LearningRate: 0.01},
		{Type: "sgd", LearningRate: 0.5},
		{Type: "sgd", LearningRate: 0.1, Momentum: 0.9},
		{Type: "sgd", LearningRate: 0.1, Momentum: 0.9, Nesterov: true},
		{Type: "rmsprop", LearningRate: 0.005},
		{Type: "rmsprop", LearningRate: 0.002, Momentum: 0.5, Centered: true},
	} {
		if _, acc := train(t, c, 2, 400, nil); acc < 0.95 {
			t.Errorf("%+v reaches accuracy %v", c, acc)
		}
	}
}

func TestTheSameSeedKernelAndThreadsGiveTheSameBits(t *testing.T) {
	for _, set := range kernel.Available() {
		for _, threads := range []int{1, 2, 3} {
			a, _ := train(t, nn.OptimizerConfig{Type: "adam"}, threads, 60, set)
			b, _ := train(t, nn.OptimizerConfig{Type: "adam"}, threads, 60, set)
			if !slices.Equal(a, b) {
				t.Errorf("%s with %d threads gave two results", set.Name, threads)
			}
		}
	}
}

func TestTheArticlesLogisticRegressionLearnsItsFourRows(t *testing.T) {
	x, y := []float32{1, 0, 0, 1, 1, 1, 1, 0}, []float32{0, 1, 1, 0}
	net := build(t, []int{2}, nn.NewDense("logistic", 1, nn.DenseConfig{Activation: "sigmoid", KernelInit: nn.Initializer{Name: "zeros"}}))
	loss, _ := nn.NewLoss("mse", false)
	opt, _ := nn.NewOptimizer(nn.OptimizerConfig{Type: "sgd", LearningRate: 0.01}, net.Params())
	tr, err := nn.NewTrainer(net, loss, opt, 4, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	fill := func(dx, dy []float32, lo, hi int) { copy(dx, x[lo*2:hi*2]); copy(dy, y[lo:hi]) }
	before, _ := tr.Eval(4, fill)
	for range 1000 {
		tr.Step(4, fill)
	}
	after, correct := tr.Eval(4, fill)
	if after >= before || correct != 4 {
		t.Errorf("loss went from %v to %v, %d of 4 right", before/4, after/4, correct)
	}
}

func TestAPredictorAnswersAsTheTrainerEvaluates(t *testing.T) {
	net := build(t, []int{9}, nn.NewDense("a", 40, nn.DenseConfig{Activation: "relu"}), nn.NewDropout("d", 0.5), nn.NewDense("b", 3, nn.DenseConfig{Activation: "softmax"}))
	x, _ := data(37)
	whole, err := nn.NewPredictor(net, 64)
	if err != nil {
		t.Fatal(err)
	}
	pieces, err := nn.NewPredictor(net, 5)
	if err != nil {
		t.Fatal(err)
	}
	a, b := make([]float32, 37*3), make([]float32, 37*3)
	if err := whole.Predict(a, x, 37); err != nil {
		t.Fatal(err)
	}
	if err := pieces.Predict(b, x, 37); err != nil {
		t.Fatal(err)
	}
	for i := range a {
		if math.Abs(float64(a[i]-b[i])) > 1e-6 {
			t.Fatalf("answer %d is %v in one piece and %v in several", i, a[i], b[i])
		}
	}
	if err := whole.Predict(a, x[1:], 37); err == nil {
		t.Error("a short input was taken")
	}
}

func TestInitialisersHaveTheirSpreadAndUnknownOnesAreNamed(t *testing.T) {
	for name, std := range map[string]float64{
		"glorot_uniform": math.Sqrt(2. / 500), "glorot_normal": math.Sqrt(2. / 500), "he_normal": math.Sqrt(2. / 300),
		"he_uniform": math.Sqrt(2. / 300), "lecun_normal": math.Sqrt(1. / 300), "lecun_uniform": math.Sqrt(1. / 300),
		"random_normal": 0.05, "random_uniform": 0.1 / math.Sqrt(12), "zeros": 0, "orthogonal": math.Sqrt(1. / 300),
	} {
		net := build(t, []int{300}, nn.NewDense("a", 200, nn.DenseConfig{KernelInit: nn.Initializer{Name: name}}))
		sum := 0.0
		for _, v := range net.Params()[0].Value {
			sum += float64(v) * float64(v)
		}
		if got := math.Sqrt(sum / 60000); math.Abs(got-std) > 0.03*std+1e-9 {
			t.Errorf("%s has deviation %v, want %v", name, got, std)
		}
	}
	n := &nn.Network{Input: []int{2}, Layers: []nn.Layer{nn.NewDense("a", 2, nn.DenseConfig{KernelInit: nn.Initializer{Name: "magic"}})}}
	if err := n.Build(1); err == nil {
		t.Error("an unknown initialiser was taken")
	}
}

func TestASpecNamesItsLayersAndItsMistakes(t *testing.T) {
	spec := nn.NetworkSpec{Layers: []nn.LayerSpec{{Type: "dense", Units: 3}, {Type: "dropout", Rate: 0.1}, {Type: "dense", Units: 2}}}
	n, err := spec.Network([]int{4})
	if err != nil || n.Layers[2].Name() != "dense_1" {
		t.Errorf("got %v, %v", n, err)
	}
	for _, bad := range []nn.LayerSpec{{Type: "conv"}, {Type: "dense", Units: -1}, {Type: "dropout", Rate: 1}, {Type: "activation", Activation: "x"}, {Type: "dense", Units: 1 << 30}} {
		n, err := nn.NetworkSpec{Layers: []nn.LayerSpec{bad}}.Network([]int{4})
		if err == nil {
			err = n.Build(1)
		}
		if err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}
