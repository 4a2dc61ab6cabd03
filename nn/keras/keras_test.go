package keras_test

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/keras"
)

type reference struct{ Inputs, Outputs [][]float32 }

func load(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func read(t testing.TB, b []byte) *keras.Model {
	t.Helper()
	m, err := keras.ReadModel(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func answers(t testing.TB, n *nn.Network, inputs [][]float32) []float32 {
	t.Helper()
	x := slices.Concat(inputs...)
	p, err := nn.NewPredictor(n, 8)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float32, len(inputs)*n.OutputShape()[0])
	if err := p.Predict(out, x, len(inputs)); err != nil {
		t.Fatal(err)
	}
	return out
}

// farthest is the largest difference, relative to what is above 1.
func farthest(a, b []float32) float64 {
	far := 0.0
	for i := range a {
		far = max(far, math.Abs(float64(a[i]-b[i]))/math.Max(1, math.Abs(float64(b[i]))))
	}
	return far
}

func TestFilesOfKeras2And3AnswerAsKerasDid(t *testing.T) {
	for file, ref := range map[string]string{"keras3.h5": "keras3", "keras3.keras": "keras3", "keras2.h5": "keras2", "regression.h5": "regression"} {
		var r reference
		if err := json.Unmarshal(load(t, ref+".json"), &r); err != nil {
			t.Fatal(err)
		}
		m := read(t, load(t, file))
		if got := answers(t, m.Network, r.Inputs); farthest(got, slices.Concat(r.Outputs...)) > 1e-5 || len(got) == 0 {
			t.Errorf("%s: answers differ from Keras's by %v", file, farthest(got, slices.Concat(r.Outputs...)))
		}
	}
}

func TestTheOptimisersStateIsRead(t *testing.T) {
	for _, file := range []string{"keras3.h5", "keras2.h5"} {
		m := read(t, load(t, file))
		if m.Loss != "categorical_crossentropy" || m.Optimizer == nil || m.Optimizer.Iterations != 4 || m.Optimizer.Config.Beta2 != 0.999 {
			t.Fatalf("%s: loss %q, optimiser %+v", file, m.Loss, m.Optimizer)
		}
		for _, s := range slices.Concat(m.Optimizer.Slots...) {
			if !slices.ContainsFunc(s, func(v float32) bool { return v != 0 }) {
				t.Errorf("%s: a slot of %d numbers is all zeros", file, len(s))
			}
		}
	}
}

func TestWhatIsWrittenReadsBackTheSame(t *testing.T) {
	for _, source := range []string{"keras3.h5", "regression.h5"} {
		m := read(t, load(t, source))
		for name, write := range map[string]func(*bytes.Buffer) error{
			"h5":    func(b *bytes.Buffer) error { return keras.WriteH5(b, m) },
			"keras": func(b *bytes.Buffer) error { return keras.WriteKeras(b, m) },
		} {
			var b bytes.Buffer
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			again := read(t, b.Bytes())
			for i, p := range m.Network.Params() {
				if !slices.Equal(p.Value, again.Network.Params()[i].Value) {
					t.Errorf("%s as %s: weight %d changed", source, name, i)
				}
			}
			if again.Loss != m.Loss || again.Optimizer == nil || again.Optimizer.Iterations != m.Optimizer.Iterations ||
				again.Optimizer.Config.LearningRate != m.Optimizer.Config.LearningRate {
				t.Errorf("%s as %s: compiled as %q %+v", source, name, again.Loss, again.Optimizer)
			}
			for i, slots := range m.Optimizer.Slots {
				for j := range slots {
					if !slices.Equal(slots[j], again.Optimizer.Slots[i][j]) {
						t.Errorf("%s as %s: slot %d of weight %d changed", source, name, j, i)
					}
				}
			}
		}
	}
}

func TestEveryKindOfLayerSurvivesWritingAndReading(t *testing.T) {
	norm := nn.NormConfig{Axis: -1, Epsilon: 1e-3, Center: true, Scale: true}
	n := &nn.Network{Name: "all", Input: []int{3, 4}, Layers: []nn.Layer{
		nn.NewRescaling("r", 0.5, -1), nn.NewFlatten("f"), nn.NewDense("d", 6, nn.DenseConfig{Activation: "gelu", NoBias: true}),
		nn.NewBatchNormalization("bn", norm), nn.NewLayerNormalization("ln", norm), nn.NewDropout("o", 0.3),
		nn.NewActivation("a", "mish"), nn.NewDense("e", 2, nn.DenseConfig{Activation: "softmax"}),
	}}
	if err := n.Build(9); err != nil {
		t.Fatal(err)
	}
	x := [][]float32{{1, -2, 3, 0.5, 0, 1, 1, -1, 2, 2, 0.1, 0.2}}
	want := answers(t, n, x)
	for _, write := range []func(*bytes.Buffer) error{
		func(b *bytes.Buffer) error { return keras.WriteH5(b, &keras.Model{Network: n}) },
		func(b *bytes.Buffer) error { return keras.WriteKeras(b, &keras.Model{Network: n}) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		if got := answers(t, read(t, b.Bytes()).Network, x); !slices.Equal(got, want) {
			t.Errorf("answers changed from %v to %v", want, got)
		}
	}
}

func TestAConfigurationOver64KBIsKept(t *testing.T) {
	n := &nn.Network{Name: "deep", Input: []int{2}}
	for i := range 150 {
		n.Layers = append(n.Layers, nn.NewDense(strings.Repeat("x", i+1), 2, nn.DenseConfig{}))
	}
	if err := n.Build(1); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := keras.WriteH5(&b, &keras.Model{Network: n}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, b.Bytes()); len(got.Network.Layers) != 150 {
		t.Errorf("%d layers came back", len(got.Network.Layers))
	}
}

func TestAnUnknownLayerIsNamed(t *testing.T) {
	b := bytes.ReplaceAll(load(t, "keras3.h5"), []byte(`"class_name": "Dropout"`), []byte(`"class_name": "Dr0pout"`))
	_, err := keras.Read(bytes.NewReader(b), int64(len(b)))
	if !errs.Is(err, errs.Unsupported) || !strings.Contains(err.Error(), "Dr0pout") || !strings.Contains(err.Error(), `"dropout"`) {
		t.Errorf("got %v", err)
	}
}

func TestATruncatedFileIsRefusedWhereverItEnds(t *testing.T) {
	for _, file := range []string{"keras3.h5", "keras3.keras", "keras2.h5"} {
		b := load(t, file)
		for n := 0; n < len(b)-1; n += 97 {
			if _, err := keras.Read(bytes.NewReader(b[:n]), int64(n)); err == nil {
				t.Fatalf("%s cut to %d bytes was taken", file, n)
			}
		}
	}
}

func fuzz(f *testing.F, files ...string) {
	for _, file := range files {
		b := load(f, file)
		f.Add(b)
		for i := 0; i < len(b); i += len(b)/40 + 1 {
			bad := slices.Clone(b)
			bad[i] ^= 0xff
			f.Add(bad)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := keras.ReadModel(bytes.NewReader(b), int64(len(b)))
		if err == nil && (m.Network == nil || len(m.Network.Layers) == 0) {
			t.Fatal("no error and no network")
		}
		if k := errs.KindOf(err); err != nil && k == errs.Other {
			t.Fatalf("an error without a kind: %v", err)
		}
	})
}

func FuzzH5(f *testing.F)    { fuzz(f, "keras3.h5", "keras2.h5", "regression.h5") }
func FuzzKeras(f *testing.F) { fuzz(f, "keras3.keras") }
