//go:build linux

package onnx

import (
	"context"
	"time"

	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// Fake has a runtime start another program as its worker, and wait so long before it starts it anew.
func (rt *Runtime) Fake(wait time.Duration, path string, env ...string) {
	rt.program = command{path: path, env: env}
	rt.o.wait = wait
}

// Pid is the worker's.
func (m *Model) Pid() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.p.cmd.Process.Pid
}

// Wheel is a package as the table has it.
func Wheel(file string, size int64, sum, lib string) wheel { return wheel{file, size, sum, lib} }

// InstallWheel is Install of a package that is not in the table.
func InstallWheel(ctx context.Context, folder string, s Source, w wheel) (string, error) {
	return install(ctx, folder, s, w)
}

// Greet reads a greeting; Answer the tensors of an answer.
func Greet(b []byte) (inputs, outputs int, err error) {
	g, err := parseGreeting(b)
	return len(g.inputs), len(g.outputs), err
}

// Answer reads the tensors of an answer.
func Answer(b, memory []byte, out []tensor.Tensor) error {
	d := decoder{b: b}
	_, err := d.answered(memory, out)
	return err
}

// Independent tries whether a model's rows are independent.
func Independent(sig serve.Signature, compute func(in, out []tensor.Tensor) error) (yes, known bool, why string) {
	return independent(sig, compute)
}
