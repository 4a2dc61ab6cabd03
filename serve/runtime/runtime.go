// Package runtime answers with the networks of nn: the runtime inside the server process.
//
// Every version has a few predictors, at most one for each core, each with its own buffers over the same weights. A
// request that finds one free computes at once. Requests of a few rows that come while others wait are joined into one
// batch, because the product of a few rows with a matrix costs little more than that of one: the weights are read from
// memory once. Joining never waits for more requests to come, it only takes those that are there.
//
// Rows are independent of each other, so that an answer does not depend on what it was joined with, except for the
// last bits of its sums: the kernels add in another order for one row than for many.
package runtime

import (
	"context"
	"fmt"
	"io"
	goruntime "runtime"
	"slices"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/keras"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// Options says how much runs at once.
type Options struct {
	Workers int // predictors of a version; 0: one for each core
	Batch   int // rows of the largest batch; 0: 48
}

// Runtime loads Keras files.
type Runtime struct{ o Options }

// New makes a runtime.
func New(o Options) *Runtime {
	if o.Workers <= 0 {
		o.Workers = goruntime.GOMAXPROCS(0)
	}
	if o.Batch <= 0 {
		o.Batch = 48
	}
	return &Runtime{o}
}

// Check says what is wrong with a file that cannot be served; it is the registry's check of an upload.
func Check(_ model.Format, r io.ReaderAt, size int64) error {
	_, err := keras.Read(r, size)
	return err
}

// Load reads a network and prepares it for this processor.
func (rt *Runtime) Load(ctx context.Context, _ model.Format, r io.ReaderAt, size int64) (serve.Servable, error) {
	net, err := keras.Read(stoppable{ctx, r}, size)
	if err != nil {
		return nil, err
	}
	return rt.Serve(net)
}

// stoppable ends a long read when the server stops.
type stoppable struct {
	ctx context.Context
	r   io.ReaderAt
}

func (s stoppable) ReadAt(p []byte, off int64) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.ReadAt(p, off)
}

// Serve answers with a network that is in memory. The network is the runtime's from then on.
func (rt *Runtime) Serve(net *nn.Network) (*Network, error) {
	n := &Network{net: net, batch: rt.o.Batch, workers: rt.o.Workers}
	n.sig = signature(net)
	n.in, n.out = n.sig.Inputs[0].RowSize(), n.sig.Outputs[0].RowSize()
	n.memory = int64(net.Size()) * 4
	w, err := n.newWorker()
	if err != nil {
		return nil, err
	}
	n.free = append(n.free, w)
	// From here on the layers read the packed form of their kernels, which all predictors share: the other goes.
	for _, l := range net.Layers {
		if d, ok := l.(*nn.Dense); ok {
			d.Params()[0].Value = nil
		}
	}
	return n, nil
}

// signature names the tensors as Keras names them in a SavedModel: the input after the first layer, the output after
// the last.
func signature(net *nn.Network) serve.Signature {
	return serve.Signature{
		Inputs:  []tensor.Spec{rows(net.Layers[0].Name()+"_input", net.Input)},
		Outputs: []tensor.Spec{rows(net.Layers[len(net.Layers)-1].Name(), net.OutputShape())},
		Batched: true,
	}
}

func rows(name string, shape []int) tensor.Spec {
	return tensor.Spec{Name: name, Type: tensor.Float32, Shape: slices.Concat([]int{tensor.Any}, shape)}
}

// worker is a predictor with room for a joined batch.
type worker struct {
	p      *nn.Predictor
	x, y   []float32
	joined []*call
}

func (n *Network) newWorker() (*worker, error) {
	p, err := nn.NewPredictor(n.net, n.batch)
	if err != nil {
		return nil, err
	}
	return &worker{p: p, x: make([]float32, n.batch*n.in), y: make([]float32, n.batch*n.out)}, nil
}

// predict computes, and turns a fault in a kernel into an error: one bad version must not end the server.
func (w *worker) predict(dst, x []float32, rows int) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errs.E("runtime.Predict", errs.Other, fmt.Errorf("the network failed while computing: %v", p))
		}
	}()
	return w.p.Predict(dst, x, rows)
}
