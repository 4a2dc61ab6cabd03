//go:build engines

package savedmodel_test

import (
	_ "embed"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/pyenv"
	"github.com/lineshaft/lineshaft/internal/testkit"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/graph"
	"github.com/lineshaft/lineshaft/nn/savedmodel"
)

//go:embed testdata/export.py
var exportScript string

//go:embed testdata/run.py
var runScript string

func TestEnginesTensorFlowAnswersAsTheNetworkItself(t *testing.T) {
	python, err := pyenv.Make(t.Context(), pyenv.Keras()...)
	if err != nil {
		t.Fatal(err)
	}
	type one struct {
		File  string    `json:"file"`
		Names []string  `json:"names"`
		In    []int     `json:"in"`
		Out   []int     `json:"out"`
		X     []float32 `json:"x"`
		Y     []float32 `json:"y"`
	}
	const rows = 16
	dir := t.TempDir()
	var all []one
	for name, n := range testkit.Networks(t) {
		c := one{File: filepath.Join(dir, name), Names: []string{graph.Input(n), graph.Output(n)}, In: n.Input, Out: n.OutputShape()}
		if err := os.Mkdir(c.File, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(c.File, savedmodel.File), write(t, n), 0o600); err != nil {
			t.Fatal(err)
		}
		width := func(shape []int) int {
			k := 1
			for _, d := range shape {
				k *= d
			}
			return k
		}
		r := rand.New(rand.NewPCG(1, 5))
		for range rows * width(c.In) {
			c.X = append(c.X, float32(r.NormFloat64()*2))
		}
		p, err := nn.NewPredictor(n, rows)
		if err != nil {
			t.Fatal(err)
		}
		c.Y = make([]float32, rows*width(c.Out))
		if err := p.Predict(c.Y, c.X, rows); err != nil {
			t.Fatal(name, err)
		}
		all = append(all, c)
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	list, script := filepath.Join(dir, "cases.json"), filepath.Join(dir, "run.py")
	if err := os.WriteFile(list, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(script, []byte(runScript), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, script, list)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	worst := map[string]float64{}
	if err := json.Unmarshal(out, &worst); err != nil {
		t.Fatal(err)
	}
	if len(worst) != len(all) {
		t.Errorf("%d of %d networks were compared", len(worst), len(all))
	}
	for name, difference := range worst {
		if !(difference < 1e-4) {
			t.Errorf("%s: the answers differ by %g", name, difference)
		}
	}
}

func TestEnginesWhatKerasExportsIsReadWhereItsLayersAreKnown(t *testing.T) {
	python, err := pyenv.Make(t.Context(), pyenv.Keras()...)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := filepath.Join(dir, "export.py")
	if err := os.WriteFile(script, []byte(exportScript), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(python, script, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]struct{ X, Y []float32 }
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	for name, c := range all {
		m, err := savedmodel.Read(os.DirFS(filepath.Join(dir, name)))
		switch {
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case name == "other":
			if m.Network != nil || !errs.Is(m.Why, errs.Unsupported) {
				t.Errorf("%s: %v", name, m.Why)
			}
		case m.Network == nil:
			t.Errorf("%s: %v", name, m.Why)
		default:
			if d := differ(answer(t, m.Network, c.X, 7), c.Y); !(d < 1e-4) {
				t.Errorf("%s: the answers differ by %g", name, d)
			}
		}
	}
}
