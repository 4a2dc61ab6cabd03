//go:build engines

package onnx_test

import (
	_ "embed"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/lineshaft/lineshaft/internal/pyenv"
	"github.com/lineshaft/lineshaft/internal/testkit"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/graph"
)

//go:embed testdata/run.py
var runScript string

func TestEnginesONNXRuntimeAnswersAsTheNetworkItself(t *testing.T) {
	python, err := pyenv.Make(t.Context(), "onnxruntime==1.32.0", "onnx==1.23.2", "numpy==2.4.6")
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
		if err := os.WriteFile(c.File, write(t, n), 0o600); err != nil {
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
