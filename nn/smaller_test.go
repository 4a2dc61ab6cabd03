package nn_test

import (
	"math"
	"slices"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn"
)

func mlp(t *testing.T) *nn.Network {
	t.Helper()
	return build(t, []int{9}, nn.NewDense("a", 40, nn.DenseConfig{Activation: "relu", BiasInit: nn.Initializer{Name: "random_normal"}}),
		nn.NewDropout("d", 0.5), nn.NewDense("b", 24, nn.DenseConfig{}), nn.NewActivation("t", "tanh"), nn.NewDense("c", 3, nn.DenseConfig{Activation: "softmax"}))
}

func ask(t *testing.T, n *nn.Network, x []float32, rows int) []float32 {
	t.Helper()
	p, err := nn.NewPredictor(n, 16)
	if err != nil {
		t.Fatal(err)
	}
	y := make([]float32, rows*n.OutputShape()[0])
	if err := p.Predict(y, x, rows); err != nil {
		t.Fatal(err)
	}
	return y
}

func TestAnswersWithSmallWeightsAreNearAndTakeLessMemory(t *testing.T) {
	x, _ := data(37)
	want := ask(t, mlp(t), x, 37)
	whole, err := nn.NewPredictor(mlp(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	for form, room := range map[nn.Form]float64{nn.Int8: 0.02, nn.BFloat16: 0.01} {
		n := mlp(t)
		if err := n.Shrink(form); err != nil {
			t.Fatal(err)
		}
		got := ask(t, n, x, 37)
		far := 0.0
		for i := range want {
			far = max(far, math.Abs(float64(got[i]-want[i])))
		}
		if far > room || far == 0 {
			t.Errorf("form %d: answers are %v away", form, far)
		}
		p, err := nn.NewPredictor(n, 1)
		if err != nil || p.Bytes() >= whole.Bytes() && form == nn.BFloat16 {
			t.Errorf("form %d: %d bytes, %d in float32, %v", form, p.Bytes(), whole.Bytes(), err)
		}
		// A copy of the values alone answers the same, up to a step of the inputs.
		plain := mlp(t)
		for i, q := range n.Params() {
			copy(plain.Params()[i].Value, q.Value)
		}
		for i, v := range ask(t, plain, x, 37) {
			if math.Abs(float64(got[i]-v)) > room {
				t.Fatalf("form %d: answer %d is %v, its values give %v", form, i, got[i], v)
			}
		}
	}
	n := mlp(t)
	n.Params()[0].Value[3] = float32(math.NaN())
	if err := n.Shrink(nn.Int8); !errs.Is(err, errs.Invalid) {
		t.Errorf("a network that diverged: %v", err)
	}
}

func TestPruningTakesTheSmallestWeights(t *testing.T) {
	n := mlp(t)
	before := slices.Clone(n.Params()[0].Value)
	if err := n.Prune(0.5); err != nil {
		t.Fatal(err)
	}
	zeros, least, most := 0, math.Inf(1), 0.0
	for i, v := range n.Params()[0].Value {
		if v == 0 {
			zeros++
			most = max(most, math.Abs(float64(before[i])))
		} else {
			least = min(least, math.Abs(float64(v)))
		}
	}
	if zeros != len(before)/2 || most > least {
		t.Errorf("%d of %d weights are zero; the largest that went was %v, the smallest that stayed %v", zeros, len(before), most, least)
	}
	for _, bad := range []float64{0, 1, -1, math.NaN()} {
		if err := n.Prune(bad); !errs.Is(err, errs.Invalid) {
			t.Errorf("a share of %v: %v", bad, err)
		}
	}
}

func TestUnitsThatDoNothingArePrunedWithoutATrace(t *testing.T) {
	n, x := mlp(t), func() []float32 { x, _ := data(11); return x }()
	// A third of the first layer's units leads nowhere, a quarter of the second's comes from nowhere.
	b, c := n.Params()[2].Value, n.Params()[4].Value
	for j := 0; j < 39; j += 3 {
		clear(b[j*24 : (j+1)*24])
	}
	for j := 0; j < 24; j += 4 {
		for i := range 40 {
			b[i*24+j] = 0
		}
		clear(c[j*3 : (j+1)*3])
	}
	want := ask(t, n, x, 11)
	gone, err := n.PruneUnits(0.25)
	if err != nil || gone != 16 {
		t.Fatalf("%d units went, %v", gone, err)
	}
	if w := n.Shapes(); w[0][0] != 30 || w[2][0] != 18 || w[4][0] != 3 {
		t.Errorf("shapes %v", w)
	}
	for i, v := range ask(t, n, x, 11) {
		if math.Abs(float64(v-want[i])) > 1e-5 {
			t.Fatalf("answer %d is %v instead of %v", i, v, want[i])
		}
	}
	alone := build(t, []int{4}, nn.NewDense("a", 9, nn.DenseConfig{}), nn.NewActivation("s", "softmax"), nn.NewDense("b", 2, nn.DenseConfig{}))
	if _, err := alone.PruneUnits(0.5); !errs.Is(err, errs.Invalid) {
		t.Errorf("units that softmax mixes: %v", err)
	}
}

func TestAPredictorOfANetworkThatLearnsTakesItsNewestWeights(t *testing.T) {
	net := build(t, []int{2}, nn.NewDense("a", 8, nn.DenseConfig{Activation: "relu"}), nn.NewDense("b", 1, nn.DenseConfig{Activation: "sigmoid"}))
	loss, err := nn.NewLoss("binary_crossentropy", false)
	if err != nil {
		t.Fatal(err)
	}
	opt, err := nn.NewOptimizer(nn.OptimizerConfig{Type: "sgd", LearningRate: 0.5}, net.Params())
	if err != nil {
		t.Fatal(err)
	}
	tr, err := nn.NewTrainer(net, loss, opt, 4, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	x, y := []float32{1, 0, 0, 1, 1, 1, 1, 0}, []float32{0, 1, 1, 0}
	first := ask(t, net, x, 4)
	for range 50 {
		tr.Step(4, func(dx, dy []float32, lo, hi int) { copy(dx, x[lo*2:hi*2]); copy(dy, y[lo:hi]) })
	}
	learned := ask(t, net, x, 4)
	tr.Sync()
	if slices.Equal(first, learned) || !slices.Equal(learned, ask(t, net, x, 4)) {
		t.Errorf("%v before, %v after", first, learned)
	}
}
