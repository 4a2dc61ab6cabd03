package packed_test

import (
	"bytes"
	"math/rand/v2"
	"runtime/metrics"
	"slices"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/keras"
	"github.com/lineshaft/lineshaft/nn/packed"
)

func network(t testing.TB) *nn.Network {
	t.Helper()
	n := &nn.Network{Name: "n", Input: []int{4, 5}, Layers: []nn.Layer{
		nn.NewFlatten("flat"), nn.NewRescaling("scale", 0.5, 0), nn.NewDense("a", 33, nn.DenseConfig{Activation: "relu"}),
		nn.NewBatchNormalization("norm", nn.NormConfig{Axis: -1, Epsilon: 0.001, Center: true, Scale: true}),
		nn.NewDense("b", 7, nn.DenseConfig{NoBias: true}), nn.NewActivation("s", "softmax"),
	}}
	if err := n.Build(3); err != nil {
		t.Fatal(err)
	}
	return n
}

func file(t testing.TB, n *nn.Network) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := packed.Write(&b, n); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func answers(t testing.TB, n *nn.Network, rows int) []float32 {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	x, y := make([]float32, rows*20), make([]float32, rows*7)
	for i := range x {
		x[i] = rng.Float32()*2 - 1
	}
	p, err := nn.NewPredictor(n, rows)
	if err == nil {
		err = p.Predict(y, x, rows)
	}
	if err != nil {
		t.Fatal(err)
	}
	return y
}

func change(t testing.TB, name string) *nn.Network {
	t.Helper()
	n := network(t)
	var err error
	switch name {
	case "int8":
		err = n.Shrink(nn.Int8)
	case "bf16":
		err = n.Shrink(nn.BFloat16)
	case "pruned":
		err = n.Prune(0.6)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestWhatIsReadAnswersAsWhatWasWritten(t *testing.T) {
	whole := len(file(t, network(t)))
	for _, name := range []string{"", "int8", "bf16", "pruned"} {
		n := change(t, name)
		b := file(t, n)
		if !packed.Is(bytes.NewReader(b)) || name != "" && len(b) >= whole {
			t.Errorf("%s: %d bytes, %d in float32", name, len(b), whole)
		}
		got, err := packed.Read(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(name, err)
		}
		if !slices.Equal(answers(t, got, 3), answers(t, n, 3)) || !bytes.Equal(file(t, got), b) {
			t.Errorf("%s: what was read is another network", name)
		}
		// As a Keras file it holds the values that the small ones stand for.
		var h5 bytes.Buffer
		if err := keras.WriteH5(&h5, &keras.Model{Network: got}); err != nil {
			t.Fatal(err)
		}
		plain, err := keras.Read(bytes.NewReader(h5.Bytes()), int64(h5.Len()))
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range plain.Params() {
			if !slices.Equal(p.Value, n.Params()[i].Value) {
				t.Errorf("%s: %s differs in the Keras file", name, p.Name)
			}
		}
	}
}

func TestADamagedFileIsRefused(t *testing.T) {
	b := file(t, change(t, "int8"))
	for name, f := range map[string]func([]byte) []byte{
		"a flipped bit of the weights": func(b []byte) []byte { b[len(b)-9] ^= 2; return b },
		"the end cut off":              func(b []byte) []byte { return b[:len(b)-1] },
		"something after the end":      func(b []byte) []byte { return append(b, 0) },
		"half a header":                func(b []byte) []byte { return b[:100] },
		"a header without end":         func(b []byte) []byte { b[11] = 0xff; return b },
		"nothing":                      func([]byte) []byte { return nil },
		"another encoding":             func(b []byte) []byte { return bytes.Replace(b, []byte(`"int8"`), []byte(`"int9"`), 1) },
		"fewer parameters":             func(b []byte) []byte { return bytes.Replace(b, []byte(`"params"`), []byte(`"parans"`), 1) },
		"more units than the file can hold": func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"units":33`), []byte(`"units":99`), 1)
		},
	} {
		hurt := f(bytes.Clone(b))
		if _, err := packed.Read(bytes.NewReader(hurt), int64(len(hurt))); err == nil || errs.KindOf(err) == errs.Other {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

func FuzzRead(f *testing.F) {
	for _, name := range []string{"", "int8", "bf16", "pruned"} {
		b := file(f, change(f, name))
		f.Add(b)
		for i := 0; i < len(b); i += len(b)/20 + 1 {
			hurt := bytes.Clone(b)
			hurt[i] ^= 0xff
			f.Add(hurt)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := allocated()
		n, err := packed.Read(bytes.NewReader(b), int64(len(b)))
		if took := allocated() - before; took > 64<<20+256*uint64(len(b)) {
			t.Fatalf("%d bytes took %d MiB", len(b), took>>20)
		}
		if err != nil {
			return
		}
		again := file(t, n)
		if _, err := packed.Read(bytes.NewReader(again), int64(len(again))); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
	})
}
