package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/batch"
	"github.com/lineshaft/lineshaft/serve/onnx"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

//go:embed direct/direct.c
var directSource []byte

func start(ctx context.Context, dir, library, path string, file []byte) ([]named, error) {
	d, err := startDirect(ctx, dir, library, path)
	if err != nil {
		return nil, err
	}
	rt := onnx.New(onnx.Options{Library: library, Lanes: 2, Batch: batch.Options{MaxRows: 64}})
	m, err := rt.Open(ctx, bytes.NewReader(file), int64(len(file)))
	if err != nil {
		d.close()
		return nil, err
	}
	s, err := rt.Load(ctx, model.ONNX, bytes.NewReader(file), int64(len(file)))
	if err != nil {
		d.close()
		m.Close()
		return nil, err
	}
	bare := &ours{run: func(ctx context.Context, c *serve.Call) error { return m.Run(ctx, c.In, c.Out, c.Rows) }, end: m.Close, workers: children()}
	return []named{{name: "direct", system: d}, {name: "lineshaft", system: bare}, {name: "queue", system: &ours{run: s.Run, end: s.Close, workers: children()}}}, nil
}

// direct is the program in C.
type direct struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func startDirect(ctx context.Context, dir, library, path string) (*direct, error) {
	header, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/yalue/onnxruntime_go").Output()
	if err != nil {
		return nil, fmt.Errorf("the header of ONNX Runtime: %w", err)
	}
	source, program := filepath.Join(dir, "direct.c"), filepath.Join(dir, "direct")
	if err := os.WriteFile(source, directSource, 0o600); err != nil {
		return nil, err
	}
	if text, err := exec.CommandContext(ctx, "gcc", "-O2", "-I", strings.TrimSpace(string(header)), "-o", program, source, "-ldl", "-lpthread").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("gcc: %w: %s", err, text)
	}
	d := &direct{cmd: exec.CommandContext(ctx, program, library, path, strconv.Itoa(inputs), strconv.Itoa(outputs))}
	d.cmd.Stderr = os.Stderr
	if d.in, err = d.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	d.out = bufio.NewScanner(out)
	return d, d.cmd.Start()
}

func (d *direct) turn(_ context.Context, rows, callers int, length time.Duration) (t turn, err error) {
	fmt.Fprintln(d.in, rows, callers, length.Seconds())
	if !d.out.Scan() {
		return t, errors.Join(errors.New("the program in C ended"), d.out.Err())
	}
	var wall, used float64
	_, err = fmt.Sscan(d.out.Text(), &t.calls, &wall, &used, &t.sum)
	t.wall, t.used = time.Duration(wall*1e9), time.Duration(used*1e9)
	return t, err
}

func (d *direct) close() {
	d.in.Close()
	d.cmd.Wait()
}

// ours is the product's runtime.
type ours struct {
	run     func(context.Context, *serve.Call) error
	end     func()
	workers []string
}

func (o *ours) close() { o.end() }

func (o *ours) turn(ctx context.Context, rows, callers int, length time.Duration) (turn, error) {
	calls := make([]*serve.Call, callers)
	for i := range calls {
		x := make([]float32, rows*inputs)
		for j := range x {
			x[j] = float32((j*7919)%256) / 255
		}
		calls[i] = &serve.Call{In: []tensor.Tensor{tensor.Float32s(x, rows, inputs)}, Out: make([]tensor.Tensor, 1), Rows: rows}
		if err := o.run(ctx, calls[i]); err != nil {
			return turn{}, err
		}
	}
	var done atomic.Int64
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	used := o.processor()
	begun := time.Now()
	for _, c := range calls {
		all.Go(func() {
			for time.Since(begun) < length {
				for range 16 {
					if err := o.run(ctx, c); err != nil {
						failed.Store(&err)
						return
					}
				}
				done.Add(16)
			}
		})
	}
	all.Wait()
	t := turn{calls: float64(done.Load()), wall: time.Since(begun), used: o.processor() - used}
	for i, v := range calls[0].Out[0].Float32s() {
		t.sum += float64(v) * float64(i%outputs)
	}
	if err := failed.Load(); err != nil {
		return t, *err
	}
	return t, nil
}

// children are the processes that this one has started, but the program in C.
func children() (pids []string) {
	self := strconv.Itoa(os.Getpid())
	found, _ := filepath.Glob("/proc/[0-9]*/status")
	for _, f := range found {
		status, _ := os.ReadFile(f)
		if bytes.Contains(status, []byte("\nPPid:\t"+self+"\n")) && !bytes.HasPrefix(status, []byte("Name:\tdirect\n")) {
			pids = append(pids, filepath.Base(filepath.Dir(f)))
		}
	}
	return pids
}

// processor is the processor time of this process and of the workers.
func (o *ours) processor() time.Duration {
	var d time.Duration
	for _, pid := range o.workers {
		tasks, _ := filepath.Glob("/proc/" + pid + "/task/*/schedstat")
		for _, s := range tasks {
			var ns int64
			text, _ := os.ReadFile(s)
			_, _ = fmt.Sscan(string(text), &ns)
			d += time.Duration(ns)
		}
	}
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return d + time.Duration(u.Utime.Nano()+u.Stime.Nano())
}
