package runtime

import (
	"context"
	goruntime "runtime"
	"slices"
	"sync"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/serve"
)

// Network is a network in service. The rules of joining:
//
//   - A call that finds a worker free takes it, and leads. Before it computes it lets whatever else can run on this
//     core run once: requests that have arrived are read and queue up behind it. With nothing else to run it goes on at
//     once, so that no worker ever waits for a request.
//   - A call that finds a leader that has not begun, or no worker free, waits in the queue. A leader takes with it
//     what waits, up to a batch; who has computed hands its worker to the first that still waits.
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
	rows  int // in the queue
	// gathering is the rows of a leader that lets others run before it begins, or 0.
	gathering int
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

// Run answers a call, whose output is made as large as it must be.
func (n *Network) Run(ctx context.Context, c *serve.Call) error {
	out := n.sig.Outputs[0]
	var room [8]int
	shape := append(append(room[:0], c.Rows), out.RowShape()...)
	c.Out[0].Reset(out.Type, shape...)
	return n.Predict(ctx, c.Out[0].Float32s(), c.In[0].Float32s(), c.Rows)
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
	if n.busy == n.workers || n.gathering > 0 && n.gathering+n.rows+rows <= n.batch {
		c := calls.Get().(*call)
		c.dst, c.x, c.rows, c.err = dst, x, rows, nil
		n.queue = append(n.queue, c)
		n.rows += rows
		n.mu.Unlock()
		return n.wait(ctx, c)
	}
	w, err := n.take()
	if err != nil {
		n.mu.Unlock()
		return err
	}
	n.busy++
	if n.gathering == 0 && rows < n.batch {
		n.gathering = rows
		n.mu.Unlock()
		goruntime.Gosched()
		n.mu.Lock()
		n.gathering = 0
	}
	return n.lead(w, dst, x, rows)
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

// pass hands the worker to the first call that waits, or puts it down.
func (n *Network) pass(w *worker) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.queue) > 0 {
		c := n.queue[0]
		n.drop(1)
		c.woken <- w
		return
	}
	n.busy--
	n.free = append(n.free, w)
}

// drop takes the first k calls off the queue; n.mu is held.
func (n *Network) drop(k int) {
	for _, c := range n.queue[:k] {
		n.rows -= c.rows
	}
	left := copy(n.queue, n.queue[k:])
	clear(n.queue[left:])
	n.queue = n.queue[:left]
}

// wait stays in the queue until another has computed the answer, or it is c's turn to lead.
func (n *Network) wait(ctx context.Context, c *call) error {
	var w *worker
	select {
	case w = <-c.woken:
	case <-ctx.Done():
		if n.leave(c) {
			c.dst, c.x = nil, nil
			calls.Put(c)
			return errs.E("runtime.Predict", errs.KindOf(ctx.Err()), ctx.Err())
		}
		w = <-c.woken // its answer is being computed, or it is asked to lead
	}
	if w != nil {
		n.mu.Lock()
		c.err = n.lead(w, c.dst, c.x, c.rows)
	}
	err := c.err
	c.dst, c.x = nil, nil
	calls.Put(c)
	return err
}

// leave takes a call off the queue; false when it is there no more.
func (n *Network) leave(c *call) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := slices.Index(n.queue, c)
	if i < 0 {
		return false
	}
	n.queue = slices.Delete(n.queue, i, i+1)
	n.rows -= c.rows
	return true
}

// lead computes a call together with what else waits, and passes the worker on. n.mu is held, and let go.
func (n *Network) lead(w *worker, dst, x []float32, rows int) error {
	all, k := rows, 0
	w.joined = w.joined[:0]
	for k < len(n.queue) && all+n.queue[k].rows <= n.batch {
		w.joined = append(w.joined, n.queue[k])
		all += n.queue[k].rows
		k++
	}
	n.drop(k)
	n.mu.Unlock()
	if k == 0 {
		err := w.predict(dst, x, rows)
		n.pass(w)
		return err
	}
	at := copy(w.x, x)
	for _, c := range w.joined {
		at += copy(w.x[at:], c.x)
	}
	err := w.predict(w.y[:all*n.out], w.x[:at], all)
	at = copy(dst, w.y)
	for _, c := range w.joined {
		at += copy(c.dst, w.y[at:])
		c.err = err
		c.woken <- nil
	}
	clear(w.joined)
	n.pass(w)
	return err
}

var _ serve.Servable = (*Network)(nil)
