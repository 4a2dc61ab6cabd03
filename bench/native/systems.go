package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/lineshaft/lineshaft/internal/pyenv"
	"github.com/lineshaft/lineshaft/nn"
)

//go:embed peer/ort.c
var program string

//go:embed peer/model.py
var script string

const (
	runtimeVersion = "1.32.0" // of ONNX Runtime
	headers        = "github.com/yalue/onnxruntime_go@v1.27.0"
)

// answer is what a turn came to.
type answer struct {
	Wall float64 `json:"wall"`
	CPU  float64 `json:"cpu"`
	Sum  float64 `json:"sum"`
}

// system is a process that runs as often as each line says.
type system struct {
	name      string
	cmd       *exec.Cmd
	in        io.WriteCloser
	out       *bufio.Reader
	faults    *strings.Builder
	sum       float64
	wall, cpu []float64
}

// peer builds what drives ONNX Runtime and writes its models.
func peer(ctx context.Context, dir string, log io.Writer) error {
	fmt.Fprintln(log, "making a Python environment with ONNX Runtime, if there is none")
	python, err := pyenv.Make(ctx, "onnxruntime=="+runtimeVersion, "onnx==1.23.2", "numpy==2.4.6")
	if err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, python, "-c", script, dir, widths(",")).CombinedOutput(); err != nil {
		return fmt.Errorf("writing the ONNX file: %w\n%s", err, out)
	}
	lib, err := exec.CommandContext(ctx, python, "-c", "import onnxruntime,glob,os;print(glob.glob(os.path.dirname(onnxruntime.__file__)+'/capi/libonnxruntime.so*')[0])").Output()
	if err != nil {
		return fmt.Errorf("no library in the package onnxruntime: %w", err)
	}
	if err := os.Symlink(strings.TrimSpace(string(lib)), filepath.Join(dir, "lib.so")); err != nil {
		return err
	}
	found, err := exec.CommandContext(ctx, "go", "mod", "download", "-json", headers).Output()
	var module struct{ Dir string }
	if err == nil {
		err = json.Unmarshal(found, &module)
	}
	if err != nil {
		return fmt.Errorf("no header of ONNX Runtime's C API from %s: %w", headers, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ort.c"), []byte(program), 0o600); err != nil {
		return err
	}
	gcc := exec.CommandContext(ctx, "gcc", "-O2", "-o", filepath.Join(dir, "ort"), "-I", module.Dir, filepath.Join(dir, "ort.c"), "-ldl")
	if out, err := gcc.CombinedOutput(); err != nil {
		return fmt.Errorf("gcc: %w\n%s", err, out)
	}
	return nil
}

func start(ctx context.Context, dir, name, input string) (*system, error) {
	x := filepath.Join(dir, input+".f32")
	ort := func(model string) []string {
		return []string{filepath.Join(dir, "ort"), filepath.Join(dir, "lib.so"), filepath.Join(dir, model), x, fmt.Sprint(pixels), fmt.Sprint(classes)}
	}
	argv, ok := map[string][]string{
		"onnxruntime":      ort("model.onnx"),
		"onnxruntime-int8": ort("int8.onnx"),
		"lineshaft":        {os.Args[0], "child", dir, x, "float32"},
		"lineshaft-int8":   {os.Args[0], "child", dir, x, "int8"},
		"lineshaft-bf16":   {os.Args[0], "child", dir, x, "bf16"},
	}[name]
	if !ok {
		return nil, fmt.Errorf("--systems: %q is not known", name)
	}
	s := &system{name: name, cmd: exec.CommandContext(ctx, argv[0], argv[1:]...), faults: &strings.Builder{}}
	s.cmd.Stderr = s.faults
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = bufio.NewReader(out)
	return s, s.cmd.Start()
}

func (s *system) turn(rows, times int) (a answer, err error) {
	line := ""
	if _, err = fmt.Fprintf(s.in, "%d %d\n", rows, times); err == nil {
		if line, err = s.out.ReadString('\n'); err == nil {
			return a, json.Unmarshal([]byte(line), &a)
		}
	}
	s.close()
	return a, fmt.Errorf("%s: %w: %s", s.name, err, s.faults)
}

// close ends the process: it sees the end of its input.
func (s *system) close() {
	s.in.Close()
	s.cmd.Wait() // it was asked to end; how it does is no figure
}

// child answers as ort.c does, with a network of ours.
func child(args []string, in io.Reader, out io.Writer) error {
	runtime.GOMAXPROCS(1)
	runtime.LockOSThread()
	net, err := network(args[0])
	if err != nil {
		return err
	}
	if form, ok := map[string]nn.Form{"bf16": nn.BFloat16, "int8": nn.Int8}[args[2]]; ok {
		if err := net.Shrink(form); err != nil {
			return err
		}
	}
	x, err := floats(args[1])
	if err != nil {
		return err
	}
	p, err := nn.NewPredictor(net, asked)
	if err != nil {
		return err
	}
	y := make([]float32, asked*classes)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var rows, times int
		if _, err := fmt.Sscan(lines.Text(), &rows, &times); err != nil {
			return err
		}
		blocks := len(x) / pixels / rows
		call := func(i int) error {
			i %= blocks
			return p.Predict(y[i*rows*classes:(i+1)*rows*classes], x[i*rows*pixels:(i+1)*rows*pixels], rows)
		}
		for i := range 8 {
			if err := call(i); err != nil {
				return err
			}
		}
		began, used := time.Now(), cpu()
		for i := range times {
			if err := call(i); err != nil {
				return err
			}
		}
		a := answer{CPU: cpu() - used, Wall: time.Since(began).Seconds()}
		for i, v := range y[:rows*classes] {
			a.Sum += float64(v) * float64(i%7+1)
		}
		if err := json.NewEncoder(out).Encode(a); err != nil {
			return err
		}
	}
	return nil
}

func cpu() float64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return float64(r.Utime.Sec+r.Stime.Sec) + float64(r.Utime.Usec+r.Stime.Usec)/1e6
}
