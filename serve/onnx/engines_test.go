//go:build engines && linux

package onnx_test

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/pyenv"
	"github.com/lineshaft/lineshaft/internal/testkit/onnxfile"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/onnx"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

//go:embed testdata/answers.py
var answersScript string

// engine is a runtime with the library that the command line installs, kept in the cache between tests.
func engine(t *testing.T, o onnx.Options) *onnx.Runtime {
	t.Helper()
	if !onnx.Built() {
		t.Fatal("built without the worker: `make build` where gcc is")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	o.Folder = filepath.Join(cache, "lineshaft-test", "runtimes")
	if _, err := onnx.Install(t.Context(), o.Folder, onnx.Source{Index: os.Getenv("PIP_INDEX_URL")}); err != nil {
		t.Fatal(err)
	}
	return onnx.New(o)
}

func serveEngine(t *testing.T, o onnx.Options, file []byte) (serve.Servable, error) {
	t.Helper()
	s, err := engine(t, o).Load(t.Context(), model.ONNX, bytes.NewReader(file), int64(len(file)))
	if err == nil {
		t.Cleanup(s.Close)
	}
	return s, err
}

// python answers with ONNX Runtime in Python.
type python struct {
	mu  sync.Mutex
	in  io.Writer
	out *bufio.Scanner
	bin string
}

func newPython(t *testing.T) *python {
	t.Helper()
	bin, err := pyenv.Make(t.Context(), "onnxruntime=="+onnx.Release, "numpy==2.4.6")
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(t.TempDir(), "answers.py")
	if err := os.WriteFile(script, []byte(answersScript), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin, script)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	p := &python{in: in, out: bufio.NewScanner(out), bin: bin}
	p.out.Buffer(nil, 256<<20)
	return p
}

type value struct {
	Type    string   `json:"type"`
	Shape   []int    `json:"shape"`
	Data    []byte   `json:"data,omitempty"`
	Strings []string `json:"strings,omitempty"`
}

func (p *python) answer(t *testing.T, path string, sig serve.Signature, in []tensor.Tensor) []value {
	t.Helper()
	inputs := map[string]value{}
	for i, x := range in {
		v := value{Type: x.Type.String(), Shape: append([]int{}, x.Shape...), Data: x.Data}
		for _, s := range x.Strings {
			v.Strings = append(v.Strings, string(s))
		}
		inputs[sig.Inputs[i].Name] = v
	}
	line, err := json.Marshal(map[string]any{"model": path, "inputs": inputs})
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
	if !p.out.Scan() {
		t.Fatalf("Python answers no more: %v", p.out.Err())
	}
	var out []value
	if err := json.Unmarshal(p.out.Bytes(), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// held compares an answer of ours with Python's and gives the largest difference.
func held(t *testing.T, what string, got []tensor.Tensor, want []value) (far float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d outputs, want %d", what, len(got), len(want))
	}
	for i, w := range want {
		g := got[i]
		if g.Type.String() != w.Type || !slices.Equal(g.Shape, w.Shape) {
			t.Fatalf("%s: output %d is %v %v, want %s %v", what, i, g.Type, g.Shape, w.Type, w.Shape)
		}
		switch g.Type {
		case tensor.Float32:
			for e, v := range g.Float32s() {
				x := math.Float32frombits(binary.LittleEndian.Uint32(w.Data[4*e:]))
				far = max(far, math.Abs(float64(v-x)))
			}
		case tensor.Bytes:
			for e, s := range g.Strings {
				if string(s) != w.Strings[e] {
					t.Fatalf("%s: %q, want %q", what, s, w.Strings[e])
				}
			}
		default:
			if !bytes.Equal(g.Data, w.Data) {
				t.Fatalf("%s: output %d differs", what, i)
			}
		}
	}
	return far
}

// carried are the ONNX files that a package carries, by their names, also on the disk for Python.
func carried(t *testing.T, p *python, name string) (files map[string][]byte, paths map[string]string) {
	t.Helper()
	wheel, err := pyenv.Package(t.Context(), p.bin, name)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.OpenReader(wheel)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	files, paths, dir := map[string][]byte{}, map[string]string{}, t.TempDir()
	for _, f := range z.File {
		base := filepath.Base(f.Name)
		if !strings.HasSuffix(base, ".onnx") && !strings.HasSuffix(base, ".json") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[base], paths[base] = b, filepath.Join(dir, base)
		if err := os.WriteFile(paths[base], b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files, paths
}

func answer(t *testing.T, s serve.Servable, in []tensor.Tensor) []tensor.Tensor {
	t.Helper()
	c := &serve.Call{In: in}
	if err := s.Signature().Check(c); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return c.Out
}

func floats(r *rand.Rand, shape ...int) tensor.Tensor {
	n, err := tensor.Elements(shape)
	if err != nil {
		panic(err)
	}
	x := make([]float32, n)
	for i := range x {
		x[i] = r.Float32()*2 - 1
	}
	return tensor.Float32s(x, shape...)
}

// features are a file as magika's model reads it: the first and the last 1024 bytes without the space around.
func features(files ...[]byte) tensor.Tensor {
	t := tensor.Tensor{}
	t.Reset(tensor.Int32, len(files), 2048)
	for i, b := range files {
		first, last := bytes.TrimLeft(b, " \n\t\r"), bytes.TrimRight(b, " \n\t\r")
		first, last = first[:min(len(first), 1024)], last[max(0, len(last)-1024):]
		for e := range 2048 {
			v := uint32(256) // nothing there
			if e < len(first) {
				v = uint32(first[e])
			}
			if at := e - (2048 - len(last)); e >= 1024 && at >= 0 {
				v = uint32(last[at])
			} else if e >= 1024 {
				v = 256
			}
			binary.LittleEndian.PutUint32(t.Data[4*(i*2048+e):], v)
		}
	}
	return t
}

// TestEnginesMagikaAnswersAsInPython also has it tell what files of this repository are.
func TestEnginesMagikaAnswersAsInPython(t *testing.T) {
	p := newPython(t)
	files, paths := carried(t, p, "magika==1.0.3")
	s, err := serveEngine(t, onnx.Options{}, files["model.onnx"])
	if err != nil {
		t.Fatal(err)
	}
	if sig := s.Signature(); !sig.Batched || sig.Inputs[0].Type != tensor.Int32 {
		t.Errorf("%+v", sig)
	}
	var config struct {
		Labels []string `json:"target_labels_space"`
	}
	if err := json.Unmarshal(files["config.min.json"], &config); err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for _, name := range []string{"engines_test.go", "worker/worker.c", "testdata/answers.py", "../../docs/ARCHITECTURE.md", "../../go.sum"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	in := []tensor.Tensor{features(all...)}
	out := answer(t, s, in)
	if far := held(t, "magika", out, p.answer(t, paths["model.onnx"], s.Signature(), in)); far > 1e-5 {
		t.Errorf("off by %g", far)
	}
	for i, want := range []string{"go", "c", "python", "markdown"} {
		row := out[0].Float32s()[i*len(config.Labels):][:len(config.Labels)]
		best := 0
		for e, v := range row {
			if v > row[best] {
				best = e
			}
		}
		if config.Labels[best] != want {
			t.Errorf("file %d is %s, want %s", i, config.Labels[best], want)
		}
	}
}

// TestEnginesSileroAnswersAsInPython follows a signal through the model's state.
func TestEnginesSileroAnswersAsInPython(t *testing.T) {
	p := newPython(t)
	files, paths := carried(t, p, "silero-vad==6.2.3")
	r := rand.New(rand.NewPCG(1, 2))
	tried := 0
	for name, file := range files {
		if !strings.HasSuffix(name, ".onnx") {
			continue
		}
		s, err := serveEngine(t, onnx.Options{Lanes: 1}, file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		sig := s.Signature()
		if sig.Batched {
			t.Errorf("%s: a model with a state is no batch: %+v", name, sig)
		}
		in := make([]tensor.Tensor, len(sig.Inputs))
		for i, spec := range sig.Inputs {
			shape := slices.Clone(spec.Shape)
			for j, d := range shape {
				if d == tensor.Any {
					shape[j] = map[string][]int{"input": {1, 576}, "state": {2, 1, 128}}[spec.Name][j]
				}
			}
			if spec.Type == tensor.Int64 {
				in[i].Reset(tensor.Int64, shape...)
				binary.LittleEndian.PutUint64(in[i].Data, 16000)
			} else {
				in[i].Reset(tensor.Float32, shape...)
				clear(in[i].Data)
			}
		}
		for step := range 5 {
			for i, spec := range sig.Inputs {
				if spec.Name == "input" {
					in[i] = floats(r, in[i].Shape...)
				}
			}
			out := answer(t, s, in)
			if far := held(t, name, out, p.answer(t, paths[name], sig, in)); far > 1e-5 {
				t.Errorf("%s, step %d: off by %g", name, step, far)
			}
			for i, spec := range sig.Inputs {
				for j, o := range sig.Outputs {
					if o.Name == spec.Name+"N" || o.Name == spec.Name+"n" {
						in[i] = tensor.Float32s(slices.Clone(out[j].Float32s()), out[j].Shape...)
					}
				}
			}
		}
		tried++
	}
	if tried < 5 {
		t.Errorf("%d models tried", tried)
	}
}

func TestEnginesRapidOCRAnswersAsInPython(t *testing.T) {
	p := newPython(t)
	files, paths := carried(t, p, "rapidocr-onnxruntime==1.4.4")
	r := rand.New(rand.NewPCG(3, 4))
	for name, c := range map[string]struct {
		shapes  [][]int
		batched bool
	}{
		"ch_PP-OCRv4_det_infer.onnx":          {[][]int{{1, 3, 64, 96}, {2, 3, 96, 64}}, true},
		"ch_PP-OCRv4_rec_infer.onnx":          {[][]int{{1, 3, 48, 160}, {4, 3, 48, 320}}, true},
		"ch_ppocr_mobile_v2.0_cls_infer.onnx": {[][]int{{1, 3, 48, 192}, {6, 3, 48, 192}}, true},
	} {
		s, err := serveEngine(t, onnx.Options{}, files[name])
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s.Signature().Batched != c.batched {
			t.Errorf("%s: batched %v", name, s.Signature().Batched)
		}
		for _, shape := range c.shapes {
			in := []tensor.Tensor{floats(r, shape...)}
			if far := held(t, name, answer(t, s, in), p.answer(t, paths[name], s.Signature(), in)); far > 1e-4 {
				t.Errorf("%s %v: off by %g", name, shape, far)
			}
		}
		if err := s.Signature().Check(&serve.Call{In: []tensor.Tensor{floats(r, 1, 4, 48, 192)}}); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: four colours: %v", name, err)
		}
	}
}

// one makes a model of one operator.
func one(n onnxfile.Node, in, out []onnxfile.Port, weights ...onnxfile.Weight) onnxfile.Model {
	return onnxfile.Model{Inputs: in, Outputs: out, Nodes: []onnxfile.Node{n}, Weights: weights, Opset: 20}
}

func TestEnginesEveryKindOfTensorGoesThrough(t *testing.T) {
	p := newPython(t)
	text := onnxfile.Port{Name: "a", Type: onnxfile.String, Dims: []any{"n"}}
	other, joined := text, text
	other.Name, joined.Name = "b", "ab"
	words := one(onnxfile.Node{Op: "StringConcat", In: []string{"a", "b"}, Out: []string{"ab"}}, []onnxfile.Port{text, other}, []onnxfile.Port{joined})
	x := onnxfile.Port{Name: "x", Type: onnxfile.Float, Dims: []any{"n", "m"}}
	where := one(onnxfile.Node{Op: "NonZero", In: []string{"x"}, Out: []string{"at"}}, []onnxfile.Port{x}, []onnxfile.Port{{Name: "at", Type: onnxfile.Int64, Dims: []any{2, "k"}}})
	total := one(onnxfile.Node{Op: "ReduceSum", In: []string{"x"}, Out: []string{"sum"}, Ints: map[string]int64{"keepdims": 0}}, []onnxfile.Port{x}, []onnxfile.Port{{Name: "sum", Type: onnxfile.Float, Dims: []any{}}})
	half := one(onnxfile.Node{Op: "Cast", In: []string{"x"}, Out: []string{"h"}, Ints: map[string]int64{"to": onnxfile.Half}}, []onnxfile.Port{x}, []onnxfile.Port{{Name: "h", Type: onnxfile.Half, Dims: []any{"n", "m"}}})
	truth := one(onnxfile.Node{Op: "Cast", In: []string{"x"}, Out: []string{"t"}, Ints: map[string]int64{"to": onnxfile.Bool}}, []onnxfile.Port{x}, []onnxfile.Port{{Name: "t", Type: onnxfile.Bool, Dims: []any{"n", "m"}}})
	zeros := tensor.Float32s(make([]float32, 6), 2, 3)
	for name, c := range map[string]struct {
		m       onnxfile.Model
		batched bool
		in      []tensor.Tensor
	}{
		"strings": {words, true, []tensor.Tensor{
			{Type: tensor.Bytes, Shape: []int{3}, Strings: [][]byte{[]byte("天"), nil, []byte("c")}}, {Type: tensor.Bytes, Shape: []int{3}, Strings: [][]byte{[]byte("轴"), []byte("b"), nil}},
		}},
		"nothing found": {where, false, []tensor.Tensor{zeros}},
		"a scalar":      {total, false, []tensor.Tensor{tensor.Float32s([]float32{1, 2, 3.5}, 1, 3)}},
		"half":          {half, true, []tensor.Tensor{tensor.Float32s([]float32{1, -2, 1e9}, 1, 3)}},
		"truth":         {truth, true, []tensor.Tensor{tensor.Float32s([]float32{1, 0, -3}, 3, 1)}},
	} {
		file := c.m.Bytes()
		path := filepath.Join(t.TempDir(), "m.onnx")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := serveEngine(t, onnx.Options{Lanes: 1}, file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s.Signature().Batched != c.batched {
			t.Errorf("%s: batched %v", name, s.Signature().Batched)
		}
		held(t, name, answer(t, s, c.in), p.answer(t, path, s.Signature(), c.in))
	}
}

func TestEnginesWhatCannotBeLoadedSaysWhy(t *testing.T) {
	mlp := func() onnxfile.Model { return onnxfile.MLP(4, 3, 2) }
	unknown, domain, future, twisted, cut, loop := mlp(), mlp(), mlp(), mlp(), mlp(), mlp()
	unknown.Nodes[1].Op = "Frobnicate"
	domain.Nodes[1].Op, domain.Nodes[1].Domain = "Frobnicate", "com.example"
	future.Opset = 999
	twisted.Weights[0].Dims = []int{3, 4}
	cut.Weights[0].Raw = cut.Weights[0].Raw[:8]
	loop.Nodes[0].In[0] = "classes"
	for name, c := range map[string]struct {
		m    onnxfile.Model
		says string
	}{
		"operator": {unknown, "Frobnicate"}, "domain": {domain, "com.example"}, "opset": {future, "opset"}, "shapes": {twisted, "Gemm"}, "weights": {cut, "w0"}, "cycle": {loop, ""},
	} {
		_, err := serveEngine(t, onnx.Options{Lanes: 1}, c.m.Bytes())
		if err == nil || !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v (%v)", name, err, errs.KindOf(err))
		}
		t.Logf("%s: %v", name, err)
	}
}

// endless counts to a number that is never reached.
func endless() onnxfile.Model {
	body := onnxfile.Model{
		Inputs:  []onnxfile.Port{{Name: "i", Type: onnxfile.Int64, Dims: []any{}}, {Name: "on", Type: onnxfile.Bool, Dims: []any{}}, {Name: "v", Type: onnxfile.Float, Dims: []any{1}}},
		Outputs: []onnxfile.Port{{Name: "still", Type: onnxfile.Bool, Dims: []any{}}, {Name: "w", Type: onnxfile.Float, Dims: []any{1}}},
		Nodes: []onnxfile.Node{
			{Op: "Identity", In: []string{"on"}, Out: []string{"still"}},
			{Op: "Add", In: []string{"v", "v"}, Out: []string{"w"}},
		},
	}
	return onnxfile.Model{
		Inputs:  []onnxfile.Port{{Name: "x", Type: onnxfile.Float, Dims: []any{1}}, {Name: "times", Type: onnxfile.Int64, Dims: []any{}}},
		Outputs: []onnxfile.Port{{Name: "y", Type: onnxfile.Float, Dims: []any{1}}},
		Nodes:   []onnxfile.Node{{Op: "Loop", In: []string{"times", "", "x"}, Out: []string{"y"}, Graphs: map[string]onnxfile.Model{"body": body}}},
	}
}

func times(n int64) []tensor.Tensor {
	t := tensor.Tensor{}
	t.Reset(tensor.Int64)
	binary.LittleEndian.PutUint64(t.Data, uint64(n))
	return []tensor.Tensor{tensor.Float32s([]float32{1}, 1), t}
}

func TestEnginesAModelThatDoesNotEndIsLeftOrEnded(t *testing.T) {
	file := endless().Bytes()
	m, err := engine(t, onnx.Options{Lanes: 1, Limit: 300 * time.Millisecond}).Open(t.Context(), bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	out := make([]tensor.Tensor, 1)
	before := m.Pid()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := m.Run(ctx, times(1<<40), out, 1); !errs.Is(err, errs.Timeout) {
		t.Errorf("%v", err)
	}
	if err := m.Run(t.Context(), times(3), out, 1); err != nil || out[0].Float32s()[0] != 8 {
		t.Errorf("after a request that was left: %v, %v", out[0].Float32s(), err)
	}
	if m.Pid() != before {
		t.Error("a request that could be left cost the process")
	}
	if err := m.Run(t.Context(), times(1<<40), out, 1); !errs.Is(err, errs.Timeout) || !strings.Contains(err.Error(), "300ms") {
		t.Errorf("%v", err)
	}
	if err := m.Run(t.Context(), times(2), out, 1); err != nil || out[0].Float32s()[0] != 4 {
		t.Errorf("after its process was ended: %v, %v", out[0].Float32s(), err)
	}
}

func TestEnginesAModelGetsNoMoreMemoryThanItMay(t *testing.T) {
	n := onnxfile.Node{Op: "ConstantOfShape", In: []string{"shape"}, Out: []string{"y"}}
	m := one(n, []onnxfile.Port{{Name: "shape", Type: onnxfile.Int64, Dims: []any{1}}}, []onnxfile.Port{{Name: "y", Type: onnxfile.Float, Dims: []any{"n"}}})
	s, err := serveEngine(t, onnx.Options{Lanes: 1, Memory: 300 << 20}, m.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(n int64) error {
		in := tensor.Tensor{}
		in.Reset(tensor.Int64, 1)
		binary.LittleEndian.PutUint64(in.Data, uint64(n))
		return s.Run(t.Context(), &serve.Call{In: []tensor.Tensor{in}, Out: make([]tensor.Tensor, 1), Rows: 1})
	}
	for _, n := range []int64{200 << 20, 1 << 40, 100 << 20} {
		if err := ask(n); !errs.Is(err, errs.Exhausted) && !errs.Is(err, errs.Other) && !errs.Is(err, errs.Unavailable) {
			t.Errorf("%d numbers: %v (%v)", n, err, errs.KindOf(err))
		}
	}
	for err = ask(1000); err != nil; err = ask(1000) {
		if !errs.Is(err, errs.Unavailable) && !errs.Is(err, errs.Other) {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestEnginesTheCommandLineFindsWhatItInstalls(t *testing.T) {
	engine(t, onnx.Options{})
	cache, _ := os.UserCacheDir()
	found, err := onnx.Try(t.Context(), onnx.Options{Folder: filepath.Join(cache, "lineshaft-test", "runtimes")})
	if err != nil || found.Version != onnx.Release || found.Confined == "" || found.Memory <= 0 {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestEnginesAWorkerHasGivenUpItsRights(t *testing.T) {
	file := small()
	m, err := engine(t, onnx.Options{Lanes: 1}).Open(t.Context(), bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", m.Pid()))
	if err != nil || len(threads) < 2 {
		t.Fatalf("%v, %v", threads, err)
	}
	for _, path := range threads {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
			if !bytes.Contains(b, []byte(line)) {
				t.Errorf("%s: no %q", path, line)
			}
		}
	}
	if confined := m.About().Confined; !strings.Contains(confined, "no files") {
		t.Errorf("this kernel has Landlock, or the test is to say so: %q", confined)
	}
}

// TestEnginesRequestsUnderLoadGetTheirOwnAnswers asks magika from many clients through the queue, whose joined batches
// answer as Python does for each alone, while its process is killed twice.
func TestEnginesRequestsUnderLoadGetTheirOwnAnswers(t *testing.T) {
	p := newPython(t)
	files, paths := carried(t, p, "magika==1.0.3")
	s, err := serveEngine(t, onnx.Options{}, files["model.onnx"])
	if err != nil {
		t.Fatal(err)
	}
	const clients, each = 16, 25
	in, want := make([]tensor.Tensor, clients), make([][]value, clients)
	for i := range in {
		in[i] = features([]byte(strings.Repeat(fmt.Sprintf("line %d of a text\n", i), 40+i)))
		want[i] = p.answer(t, paths["model.onnx"], s.Signature(), in[i:i+1])
	}
	var all sync.WaitGroup
	var asked, failed atomic.Int64
	for i := range in {
		all.Go(func() {
			for range each {
				c := &serve.Call{In: in[i : i+1], Out: make([]tensor.Tensor, 1), Rows: 1}
				if n := asked.Add(1); n == clients*each/3 || n == clients*each*2/3 {
					killWorkers(t)
				}
				if err := s.Run(t.Context(), c); err != nil {
					if k := errs.KindOf(err); k != errs.Other && k != errs.Unavailable {
						t.Errorf("%v (%v)", err, k)
					}
					failed.Add(1)
					continue
				}
				for e, v := range c.Out[0].Float32s() {
					if w := math.Float32frombits(binary.LittleEndian.Uint32(want[i][0].Data[4*e:])); math.Abs(float64(v-w)) > 2e-3 { // for joined rows the kernels add in another order
						t.Errorf("client %d: %v at %d, want %v", i, v, e, w)
						return
					}
				}
			}
		})
	}
	all.Wait()
	// A kill costs what is being computed: at most what was asked at the time, twice.
	if n := failed.Load(); n > 2*clients {
		t.Errorf("%d of %d requests failed", n, asked.Load())
	}
	t.Logf("%d of %d requests failed", failed.Load(), asked.Load())
}

// killWorkers kills the workers of this process.
func killWorkers(t *testing.T) {
	found, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		t.Error(err)
	}
	for _, f := range found {
		b, _ := os.ReadFile(f)
		if pid := 0; bytes.Contains(b, fmt.Appendf(nil, "\nPPid:\t%d\n", os.Getpid())) && !bytes.HasPrefix(b, []byte("Name:\tpython")) {
			_, _ = fmt.Sscanf(filepath.Base(filepath.Dir(f)), "%d", &pid)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
