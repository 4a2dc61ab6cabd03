// Package runtime answers with the networks of nn: the runtime inside the server process.
//
// Every version has a few predictors, at most one for each core, each with its own buffers over the same weights, behind
// the queue of serve/batch. Requests of a few rows that come while others wait are joined into one batch, because the
// product of a few rows with a matrix costs little more than that of one: the weights are read from memory once.
//
// Rows are independent of each other, so that an answer does not depend on what it was joined with, except for the
// last bits of its sums: the kernels add in another order for one row than for many.
package runtime

import (
	"context"
	"io"
	goruntime "runtime"
	"slices"
	"sync"

	"github.com/lineshaft/lineshaft/internal/turn"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/keras"
	"github.com/lineshaft/lineshaft/nn/packed"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/batch"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// Options says how much runs at once.
type Options struct {
	Workers  int            // predictors of a version; 0: one for each core
	Batch    int            // rows of the largest batch; 0: 48
	Cores    *batch.Cores   // shared with other models; nil: with nobody
	Batching serve.Batching // of every version, until it is changed
}

// Runtime loads Keras files, and those of nn/packed.
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
	_, err := read(r, size)
	return err
}

// read reads a network of either kind.
func read(r io.ReaderAt, size int64) (*nn.Network, error) {
	if packed.Is(r) {
		return packed.Read(r, size)
	}
	return keras.Read(r, size)
}

// Load reads a network and prepares it for this processor.
func (rt *Runtime) Load(ctx context.Context, _ model.Format, r io.ReaderAt, size int64) (serve.Servable, error) {
	if tree, ok := r.(Tree); ok {
		return rt.savedModel(tree.FS())
	}
	net, err := read(stoppable{ctx, r}, size)
	if err != nil {
		return nil, err
	}
	return rt.Serve(net)
}

// stoppable ends a long read when the server stops, and lets requests go before.
type stoppable struct {
	ctx context.Context
	r   io.ReaderAt
}

func (s stoppable) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for {
		if err := s.ctx.Err(); err != nil {
			return n, err
		}
		k, err := s.r.ReadAt(p[n:min(len(p), n+turn.Bytes)], off+int64(n))
		if n += k; n == len(p) || err != nil {
			return n, err
		}
		turn.Pass()
	}
}

// Serve answers with a network that is in memory. The network is the runtime's from then on.
func (rt *Runtime) Serve(net *nn.Network) (*batch.Batcher, error) {
	return rt.serve(net, signature(net))
}

func (rt *Runtime) serve(net *nn.Network, sig serve.Signature) (*batch.Batcher, error) {
	n := &network{net: net, sig: sig, most: rt.o.Batch, parallel: rt.o.Workers}
	p, err := nn.NewPredictor(net, n.most)
	if err != nil {
		return nil, err
	}
	n.memory = p.Bytes()
	n.free = append(n.free, p)
	net.Settle()
	return batch.New(n, batch.Options{Cores: rt.o.Cores, MaxRows: rt.o.Batch, Batching: rt.o.Batching})
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

// network is a network in memory with its predictors.
type network struct {
	net            *nn.Network
	sig            serve.Signature
	most, parallel int
	memory         int64

	mu   sync.Mutex
	free []*nn.Predictor
}

func (n *network) Signature() serve.Signature { return n.sig }
func (n *network) Parallel() int              { return n.parallel }
func (n *network) MemoryBytes() int64         { return n.memory }

// Close lets the weights go.
func (n *network) Close() { n.net, n.free = nil, nil }

// Run computes rows rows.
func (n *network) Run(_ context.Context, in, out []tensor.Tensor, rows int) error {
	p, err := n.take()
	if err != nil {
		return err
	}
	var room [8]int
	shape := append(append(room[:0], rows), n.sig.Outputs[0].RowShape()...)
	out[0].Reset(tensor.Float32, shape...)
	err = p.Predict(out[0].Float32s(), in[0].Float32s(), rows)
	n.mu.Lock()
	n.free = append(n.free, p)
	n.mu.Unlock()
	return err
}

// take gives a predictor. One that fails while it computes is not given back.
func (n *network) take() (*nn.Predictor, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if k := len(n.free); k > 0 {
		p := n.free[k-1]
		n.free = n.free[:k-1]
		return p, nil
	}
	return nn.NewPredictor(n.net, n.most)
}

var _ batch.Model = (*network)(nil)
