package savedmodel_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/testkit"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/savedmodel"
)

func write(t *testing.T, n *nn.Network) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := savedmodel.Write(&b, n); err != nil {
		t.Fatal(n.Name, err)
	}
	return b.Bytes()
}

func answer(t *testing.T, n *nn.Network, x []float32, rows int) []float32 {
	t.Helper()
	p, err := nn.NewPredictor(n, rows)
	if err != nil {
		t.Fatal(err)
	}
	width := 1
	for _, d := range n.OutputShape() {
		width *= d
	}
	y := make([]float32, rows*width)
	if err := p.Predict(y, x, rows); err != nil {
		t.Fatal(err)
	}
	return y
}

func differ(a, b []float32) float64 {
	worst := 0.0
	for i := range a {
		worst = max(worst, math.Abs(float64(a[i]-b[i]))/max(1, math.Abs(float64(b[i]))))
	}
	return worst
}

// kerasFiles are those of testdata/save.py: a network that Keras 3 exported, with the variables in a bundle.
func kerasFiles(t testing.TB) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	dir := os.DirFS("testdata/keras")
	for _, name := range []string{savedmodel.File, "variables/variables.index", "variables/variables.data-00000-of-00001"} {
		b, err := fs.ReadFile(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: b}
	}
	return files
}

func TestWhatKerasExportedAnswersAsInKeras(t *testing.T) {
	m, err := savedmodel.Read(kerasFiles(t))
	if err != nil || m.Why != nil {
		t.Fatal(err, m.Why)
	}
	if got := m.Signature.String(); got != "keras_tensor float [?, 2, 6] → output_0 float [?, 4]" {
		t.Error(got)
	}
	text, err := os.ReadFile("testdata/keras.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct{ X, Y []float32 }
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if d := differ(answer(t, m.Network, want.X, 3), want.Y); d > 1e-5 {
		t.Errorf("the answers differ by %g", d)
	}
	var kinds []string
	for _, l := range m.Network.Layers {
		kinds = append(kinds, l.Name()+" "+l.Kind())
	}
	t.Log(kinds)
}

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	read := 0
	for name, n := range testkit.Networks(t) {
		m, err := savedmodel.Read(fstest.MapFS{savedmodel.File: &fstest.MapFile{Data: write(t, n)}})
		if err != nil {
			t.Fatal(name, err)
		}
		if m.Network == nil {
			if !errs.Is(m.Why, errs.Unsupported) {
				t.Errorf("%s: %v", name, m.Why)
			}
			continue // what is several operations is not put together again
		}
		read++
		rows, width := 4, 1
		for _, d := range n.Input {
			width *= d
		}
		x := make([]float32, rows*width)
		r := rand.New(rand.NewPCG(1, 1))
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		if d := differ(answer(t, m.Network, x, rows), answer(t, n, x, rows)); d > 1e-5 {
			t.Errorf("%s: the answers differ by %g", name, d)
		}
	}
	if read < 30 {
		t.Errorf("only %d networks were read again", read)
	}
}

func TestADamagedBundleIsRefused(t *testing.T) {
	for name, edit := range map[string]func(b []byte) []byte{
		"variables/variables.index": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"variables/variables.data-00000-of-00001": func(b []byte) []byte {
			for i := range b {
				b[i] ^= 1
			}
			return b
		},
		savedmodel.File: func(b []byte) []byte { return b[:len(b)/2] },
	} {
		for _, cut := range []bool{false, true} {
			files := kerasFiles(t)
			data := bytes.Clone(files[name].Data)
			if cut {
				data = data[:len(data)/3]
			} else {
				data = edit(data)
			}
			files[name] = &fstest.MapFile{Data: data}
			m, err := savedmodel.Read(files)
			if err == nil {
				err = m.Why
			}
			if !errs.Is(err, errs.Invalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	files := kerasFiles(t)
	delete(files, "variables/variables.data-00000-of-00001")
	if m, err := savedmodel.Read(files); err != nil || m.Why == nil || !strings.Contains(m.Why.Error(), "variables are not whole") {
		t.Error(err)
	}
	if _, err := savedmodel.Read(fstest.MapFS{}); err == nil || !strings.Contains(err.Error(), "no saved_model.pb is there") {
		t.Error(err)
	}
}

// hold reads files that may be anything: what is wrong with them has a kind.
func hold(t *testing.T, files fstest.MapFS) {
	m, err := savedmodel.Read(files)
	if err == nil && m.Network == nil {
		err = m.Why
	}
	if err != nil && errs.KindOf(err) == errs.Other {
		t.Errorf("an error without a kind: %v", err)
	}
}

func FuzzSavedModels(f *testing.F) {
	n := &nn.Network{Input: []int{2}, Layers: []nn.Layer{nn.NewRescaling("r", 2, 1), nn.NewDense("d", 3, nn.DenseConfig{Activation: "tanh"})}}
	if err := n.Build(1); err != nil {
		f.Fatal(err)
	}
	var b bytes.Buffer
	if err := savedmodel.Write(&b, n); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, model []byte) {
		hold(t, fstest.MapFS{savedmodel.File: &fstest.MapFile{Data: model}})
	})
}

func FuzzBundles(f *testing.F) {
	files := kerasFiles(f)
	f.Add(files["variables/variables.index"].Data)
	f.Fuzz(func(t *testing.T, index []byte) {
		files := kerasFiles(t)
		files["variables/variables.index"] = &fstest.MapFile{Data: index}
		hold(t, files)
	})
}
