package runtime

import (
	"context"
	"sync"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/serve"
)

// Network is a network in service. The rules of joining:
//
//   - A call that finds a worker free takes it, and with it every call that waits, up to a batch.
//   - A call that finds none waits in the queue. Who ends its batch hands its worker to the first that waits.
//   - A call that is canceled leaves the queue; one that is being computed is computed to its end.
type Network struct {
	net            *nn.Network
	sig            serve.Signature
	in, out        int
	batch, workers int
	memory         int64

	mu    sync.Mutex
	busy  int
	free  []*worker
	queue []*call
}

// call is one request in the queue.
type call struct {
	dst, x []float32
	rows   int
	err    error
	// woken gets a worker with which to compute, or nil when another has computed the answer.
	woken chan *worker
}

var calls = sync.Pool{New: func() any { return &call{woken: make(chan *worker, 1)} }}

// Signature is what the network takes and gives.
func (n *Network) Signature() serve.Signature { return n.sig }

// MemoryBytes is what the weights take.
func (n *Network) MemoryBytes() int64 { return n.memory }

// Close lets the weights go.
func (n *Network) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.net, n.free = nil, nil
}

// Predict writes the answers for rows rows of x to dst.
func (n *Network) Predict(ctx context.Context, dst, x []float32, rows int) error {
	if len(x) != rows*n.in || len(dst) != rows*n.out {
		return errs.Errorf("runtime.Predict", errs.Invalid, "%d rows need %d inputs and %d outputs, got %d and %d", rows, rows*n.in, rows*n.out, len(x), len(dst))
	}
	for rows > 0 {
		k := min(rows, n.batch)
		if err := n.predict(ctx, dst[:k*n.out], x[:k*n.in], k); err != nil {
			return err
		}
		dst, x, rows = dst[k*n.out:], x[k*n.in:], rows-k
	}
	return nil
}

// predict answers at most one batch.
func (n *Network) predict(ctx context.Context, dst, x []float32, rows int) error {
	if err := ctx.Err(); err != nil {
		return errs.E("runtime.Predict", errs.KindOf(err), err)
	}
	n.mu.Lock()
	if n.busy < n.workers {
		n.busy++
		w, err := n.take()
		n.mu.Unlock()
		if err == nil {
			err = w.predict(dst, x, rows)
		}
		n.pass(w)
		return err
	}
	c := calls.Get().(*call)
	c.dst, c.x, c.rows, c.err = dst, x, rows, nil
	n.queue = append(n.queue, c)
	n.mu.Unlock()
	return n.wait(ctx, c)
}

// take gives a worker; n.mu is held.
func (n *Network) take() (*worker, error) {
	if k := len(n.free); k > 0 {
		w := n.free[k-1]
		n.free = n.free[:k-1]
		return w, nil
	}
	return n.newWorker()
}

// pass hands the worker to the first call that waits, or puts it down. A worker that could not be made is nil, and the
// next call tries again.
func (n *Network) pass(w *worker) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.queue) > 0 {
		if w == nil {
			var err error
			if w, err = n.newWorker(); err != nil {
				for _, c := range n.queue {
					c.err = err
					c.woken <- nil
				}
				n.queue = n.queue[:0]
			}
		}
		if len(n.queue) > 0 {
			c := n.queue[0]
			n.shift(1)
			c.woken <- w
			return
		}
	}
	n.busy--
	if w != nil && n.net != nil {
		n.free = append(n.free, w)
	}
}

func (n *Network) shift(k int) {
	left := copy(n.queue, n.queue[k:])
	clear(n.queue[left:])
	n.queue = n.queue[:left]
}

// wait stays in the queue until another has computed the answer, or it is c's turn to compute.
func (n *Network) wait(ctx context.Context, c *call) error {
	var w *worker
	select {
	case w = <-c.woken:
	case <-ctx.Done():
		if n.leave(c) {
			calls.Put(c)
			return errs.E("runtime.Predict", errs.KindOf(ctx.Err()), ctx.Err())
		}
		w = <-c.woken // its answer is being computed, or it is asked to compute
	}
	if w != nil {
		c.err = n.lead(w, c)
	}
	err := c.err
	c.dst, c.x = nil, nil
	calls.Put(c)
	return err
}

func (n *Network) leave(c *call) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, other := range n.queue {
		if other == c {
			left := append(n.queue[:i], n.queue[i+1:]...)
			n.queue[len(left)] = nil
			n.queue = left
			return true
		}
	}
	return false
}

// lead computes c together with what else waits, and passes the worker on.
func (n *Network) lead(w *worker, c *call) error {
	var joined [64]*call
	rows, k := c.rows, 0
	n.mu.Lock()
	for k < len(n.queue) && k < len(joined) && rows+n.queue[k].rows <= n.batch {
		joined[k] = n.queue[k]
		rows += n.queue[k].rows
		k++
	}
	n.shift(k)
	n.mu.Unlock()
	if k == 0 {
		err := w.predict(c.dst, c.x, c.rows)
		n.pass(w)
		return err
	}
	at := copy(w.x, c.x)
	for _, o := range joined[:k] {
		at += copy(w.x[at:], o.x)
	}
	err := w.predict(w.y[:rows*n.out], w.x[:at], rows)
	at = copy(c.dst, w.y)
	for _, o := range joined[:k] {
		at += copy(o.dst, w.y[at:])
		o.err = err
	}
	n.pass(w)
	for _, o := range joined[:k] {
		o.woken <- nil
	}
	return err
}

var _ serve.Servable = (*Network)(nil)
