// Package onnx serves ONNX models with ONNX Runtime, each model in a process of its own, so that one that crashes, hangs
// or takes too much memory costs its own requests and nothing else.
//
// The process is a small C program (worker/), which `make build` compiles where gcc is installed and embeds; the server
// starts it from memory and stays a static binary. ONNX Runtime itself is a shared library that is not part of Lineshaft:
// Install takes it from a pinned package, or a path names it. Only the worker loads it.
//
// A worker has lanes, threads that each compute one request at a time over the same session. To a lane belong a socket
// and a piece of shared memory: the server copies the inputs there, sends a message of where they lie, and reads the
// outputs from there. A request of many rows costs the same two messages as one of one row. Before it reads the model a
// worker gives up files, sockets and programs (Landlock, seccomp), and what it answers is checked before it is believed.
//
// When a worker ends, requests that it computed get an error that says why, those that wait wait on, and it is started
// anew, after 0.1 s, then twice as long each time, up to 30 s. A request that is canceled is left by the runtime
// between two operators; a worker that does not leave it within 5 s, or computes longer than Limit, is ended.
//
//	rt := onnx.New(onnx.Options{Folder: "…/runtimes"})
//	s, err := rt.Load(ctx, model.ONNX, file, size)
//	defer s.Close()
//	err = s.Run(ctx, call)
package onnx

import (
	"embed"
	"io"
	"log/slog"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/batch"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// build has the worker when `make` put it there.
//
//go:embed all:build
var build embed.FS

// Built says whether the binary carries the program that runs ONNX models.
func Built() bool {
	f, err := build.Open("build/worker")
	if err != nil {
		return false
	}
	f.Close()
	return true
}

const (
	defaultRegion    = 1 << 30
	defaultLimit     = time.Minute
	defaultLoadLimit = 5 * time.Minute
	defaultWait      = 100 * time.Millisecond
)

// Options says which library is used and how much a model may take.
type Options struct {
	Library string // path of the shared library; empty: the one that Install put into Folder
	Folder  string // where Install keeps libraries

	Batch     batch.Options // of the queue before each model
	Lanes     int           // batches of a model that compute at a time; 0: one for each core
	Threads   int           // threads of one request; 0: 1
	Memory    units.Bytes   // the most that a worker may take beside its lanes' memory; 0: no limit
	Region    int           // bytes of tensors of one request, its answer's too; 0: 1 GiB, taken only as it is used
	Limit     time.Duration // the longest computation; 0: 1 min
	LoadLimit time.Duration // the longest loading; 0: 5 min
	Log       *slog.Logger  // nil: none

	wait time.Duration // before a worker that ended is started anew; doubled each time it ends soon
}

// Found is an ONNX Runtime that has loaded a model.
type Found struct {
	Version  string      `json:"version"`
	Library  string      `json:"library"`
	Confined string      `json:"confined"` // what its process has given up
	Memory   units.Bytes `json:"memory"`
}

// Check says what is wrong with a file that cannot be served; it is the registry's check of an upload. It needs no
// library.
func Check(_ model.Format, r io.ReaderAt, size int64) error {
	_, err := Read(r, size)
	return err
}

// sameSymbol tells whether the first dimensions of all inputs and outputs have one name.
func sameSymbol(g greeting) bool {
	name := ""
	for i, p := range append(g.inputs[:len(g.inputs):len(g.inputs)], g.outputs...) {
		if len(p.symbols) == 0 || p.symbols[0] == "" || i > 0 && p.symbols[0] != name {
			return false
		}
		name = p.symbols[0]
	}
	return true
}

// signature is what a loaded model takes and gives, by what ONNX Runtime found out about it.
func signature(g greeting) (serve.Signature, error) {
	const op = "onnx.signature"
	var s serve.Signature
	batched := len(g.inputs) > 0
	for i, p := range append(g.inputs[:len(g.inputs):len(g.inputs)], g.outputs...) {
		what := "input"
		if i >= len(g.inputs) {
			what = "output"
		}
		typ, ok := typeOf(p.typ)
		if !ok {
			return s, errs.Errorf(op, errs.Unsupported, "the %s %q of the model is no tensor of numbers or strings; export the model without it", what, p.name)
		}
		spec := tensor.Spec{Name: p.name, Type: typ, Shape: make([]int, len(p.dims))}
		for j, d := range p.dims {
			if spec.Shape[j] = int(d); d < 0 {
				spec.Shape[j] = tensor.Any
			}
		}
		batched = batched && len(spec.Shape) > 0 && spec.Shape[0] == tensor.Any
		if what == "input" {
			s.Inputs = append(s.Inputs, spec)
		} else {
			s.Outputs = append(s.Outputs, spec)
		}
	}
	s.Batched = batched
	return s, nil
}
