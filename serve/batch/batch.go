// Package batch queues the requests to a model and computes them together: it makes a serve.Servable of what a runtime
// loaded.
//
//	s, err := batch.New(network, batch.Options{Cores: cores, MaxRows: 48})
//
// The rules:
//
//   - No worker waits for requests. A call that finds one free leads a batch; before it computes it lets whatever else can
//     run on this core run once, so that requests that have arrived are read and queue up behind it (docs/adr/0010). A call
//     that finds none free waits, and who has computed hands its worker to the first that waits.
//   - A leader takes with it what waits: as many rows as give the most rows a second, by what was learned of the model's
//     times, and so few that each is answered before its deadline.
//   - Models share the cores by their weights (Cores). Within a model a higher priority goes first, then who came first.
//   - A call whose client has left is not computed. One that cannot be answered in time, or finds the queue full, is
//     refused when it comes, with the time after which trying again makes sense. An idle model refuses nothing.
//
// What decides is a queue, the learned times and the cores, which read no clock and start nothing: goroutines are in
// Run, and everything else takes the time as an argument. A property test plays random histories in virtual time.
package batch

import (
	"context"
	"fmt"
	goruntime "runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// Model computes; a runtime makes it.
type Model interface {
	Signature() serve.Signature
	// Run computes out from in, which fit the signature and have rows rows. It makes the outputs as large as they must be
	// (tensor.Tensor.Reset) and keeps neither. The bytes of strings in out are not written to again. At most Parallel calls
	// run at once; ctx ends when nobody waits for the answer any more, where that is known.
	Run(ctx context.Context, in, out []tensor.Tensor, rows int) error
	// Parallel is how many batches can be computed at once.
	Parallel() int
	MemoryBytes() int64
	// Close frees the memory; no Run runs or follows.
	Close()
}

// Options is how batches are made.
type Options struct {
	// Cores are shared with other models; nil where the model computes elsewhere and shares nothing.
	Cores *Cores
	// MaxRows is the largest batch where the settings say nothing; 0: 32.
	MaxRows int
	// Batching are the settings to begin with; SetBatching changes them.
	Batching serve.Batching
}

// queueBatches is how many of the largest batches may wait where the settings say nothing.
const queueBatches = 100

// Batcher is a model with its queue.
type Batcher struct {
	model Model
	sig   serve.Signature
	o     Options
	may   func(a, b *call) bool // whether two calls may be joined
	base  time.Time             // its clock's zero
	most  atomic.Int64          // rows of the largest batch
	slo   atomic.Int64
	// crowded says that calls wait that found no worker.
	crowded atomic.Bool

	mu       sync.Mutex
	p        plan
	q        queue
	lat      latency
	share    share
	parallel int
	running  int
	busy     []*slot // that compute
	free     []*slot
	// gathering is the rows of a leader that lets others run before it begins, or 0.
	gathering int
	waits     bool // the cores know that it waits
	pace      pace
	stats     stats
}

// New puts a queue before a model, which is the batcher's from then on.
func New(m Model, o Options) (*Batcher, error) {
	b := &Batcher{model: m, sig: m.Signature(), o: o, base: time.Now()}
	b.share.b, b.share.weight = b, 1
	b.may = func(_, _ *call) bool { return true }
	if err := b.SetBatching(&o.Batching); err != nil {
		return nil, err
	}
	return b, nil
}

// SetBatching changes the settings, from the next batch on; nil: those it was made with.
func (b *Batcher) SetBatching(to *serve.Batching) error {
	set := b.o.Batching
	if to != nil {
		set = *to
	}
	if err := set.Check(); err != nil {
		return err
	}
	p := plan{Batching: set, max: b.o.MaxRows, slo: int64(set.SLO), wait: int64(set.Wait)}
	if p.max <= 0 {
		p.max = 32
	}
	if set.MaxRows > 0 {
		p.max = set.MaxRows
	}
	if k := len(set.Sizes); k > 0 {
		p.max = set.Sizes[k-1]
	}
	if !b.sig.Batched {
		p.max, p.Sizes, p.Preferred = 1, nil, nil
	}
	if p.queue = set.MaxQueue; p.queue == 0 {
		p.queue = queueBatches * p.max
	}
	weight := set.Weight
	if weight == 0 {
		weight = 1
	}
	parallel := max(1, b.model.Parallel())
	if set.Workers > 0 {
		parallel = min(parallel, set.Workers)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if sizes := slices.Concat(p.Sizes, p.Preferred); !slices.Equal(sizes, b.lat.sizes) {
		b.lat.few(sizes)
	}
	b.p, b.parallel = p, parallel
	b.most.Store(int64(p.max))
	b.slo.Store(p.slo)
	if variable(b.sig) && !set.PadVariable {
		b.may = alike
	} else {
		b.may = func(_, _ *call) bool { return true }
	}
	b.o.Cores.weigh(&b.share, weight)
	return nil
}

// variable says whether requests choose a dimension besides the rows.
func variable(sig serve.Signature) bool {
	return slices.ContainsFunc(sig.Inputs, func(s tensor.Spec) bool { return slices.Contains(s.RowShape(), tensor.Any) })
}

// Signature is what the model takes and gives.
func (b *Batcher) Signature() serve.Signature { return b.sig }

// MemoryBytes is the model's.
func (b *Batcher) MemoryBytes() int64 { return b.model.MemoryBytes() }

// Close frees the model and the memory of batches; the counters stay.
func (b *Batcher) Close() {
	b.mu.Lock()
	b.free = nil
	b.mu.Unlock()
	b.model.Close()
}

// now is the batcher's clock.
func (b *Batcher) now() int64 { return int64(time.Since(b.base)) }

var calls = sync.Pool{New: func() any { return &call{woken: make(chan *slot, 1)} }}

// Run answers a call: computes it in this goroutine, alone or with others, or waits for another that does.
func (b *Batcher) Run(ctx context.Context, sc *serve.Call) error {
	const op = "batch.Run"
	if err := ctx.Err(); err != nil {
		return errs.E(op, errs.KindOf(err), err)
	}
	if most := int(b.most.Load()); b.sig.Batched && sc.Rows > most {
		return b.pieces(ctx, sc, most)
	}
	c := calls.Get().(*call)
	c.ctx, c.in, c.out, c.rows, c.priority = ctx, sc.In, sc.Out, sc.Rows, sc.Priority
	if !b.sig.Batched {
		c.rows = 1
	}
	err := b.run(c)
	c.ctx, c.in, c.out, c.err = nil, nil, nil, nil
	calls.Put(c)
	return err
}

func (b *Batcher) run(c *call) error {
	s, err := b.admit(b.now(), c)
	switch {
	case err != nil:
		return err
	case s == nil:
		if s = b.await(c); s == nil {
			return c.err
		}
	case s.gathers:
		goruntime.Gosched()
	}
	if b.gather(b.now(), s) {
		b.compute(s)
	}
	b.finish(b.now(), s)
	return c.err
}

// await stays in the queue until the call is answered (nil) or is to lead a batch.
func (b *Batcher) await(c *call) *slot {
	select {
	case s := <-c.woken:
		return s
	case <-c.ctx.Done():
		if b.leave(c) {
			c.err = errs.E("batch.Run", errs.KindOf(c.ctx.Err()), c.ctx.Err())
			return nil
		}
		return <-c.woken // it is being computed, or asked to lead
	}
}

// compute runs the model once for the slot's calls.
func (b *Batcher) compute(s *slot) {
	first := s.calls[0]
	var err error
	if len(s.calls) == 1 && s.padded == first.rows {
		err = b.ask(first.ctx, first.in, first.out, first.rows)
	} else {
		if err = s.join(); err == nil {
			err = b.ask(context.Background(), s.in, s.out, s.padded)
		}
		if err == nil {
			err = s.split()
		}
	}
	s.failed = err != nil
	for _, c := range s.calls {
		c.err = err
		if c != s.lead {
			c.woken <- nil
		}
	}
}

// ask runs the model, and turns a fault in it into an error: one bad version must not end the server.
func (b *Batcher) ask(ctx context.Context, in, out []tensor.Tensor, rows int) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errs.E("batch.Run", errs.Other, fmt.Errorf("the model failed while computing: %v", p))
		}
	}()
	return b.model.Run(ctx, in, out, rows)
}

// pieces answers a call of more rows than a batch, one piece after the other.
func (b *Batcher) pieces(ctx context.Context, sc *serve.Call, most int) error {
	if slo := time.Duration(b.slo.Load()); slo > 0 { // for the whole, not for each piece
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, slo)
		defer cancel()
	}
	piece := serve.Call{In: make([]tensor.Tensor, len(sc.In)), Out: make([]tensor.Tensor, len(sc.Out)), Priority: sc.Priority}
	for at := 0; at < sc.Rows; at += piece.Rows {
		piece.Rows = min(most, sc.Rows-at)
		for i := range sc.In {
			piece.In[i] = rowsOf(&sc.In[i], at, piece.Rows)
		}
		if err := b.Run(ctx, &piece); err != nil {
			return err
		}
		for i := range sc.Out {
			from, to := &piece.Out[i], &sc.Out[i]
			if len(from.Shape) == 0 || from.Shape[0] != piece.Rows || at > 0 && !slices.Equal(from.Shape[1:], to.Shape[1:]) {
				return errs.Errorf("batch.Run", errs.TooLarge, "%d rows are more than a batch of %d, and the answers of its pieces do not fit together in %q: send at most %d rows",
					sc.Rows, most, b.sig.Outputs[i].Name, most)
			}
			if at == 0 {
				to.Reset(from.Type, append([]int{sc.Rows}, from.Shape[1:]...)...)
			}
			n := perRow(from)
			if from.Type == tensor.Bytes {
				copy(to.Strings[at*n:], from.Strings)
			} else {
				copy(to.Data[at*n*from.Type.Size():], from.Data)
			}
		}
	}
	return nil
}

// rowsOf is n rows of t from row at on, in the same memory.
func rowsOf(t *tensor.Tensor, at, n int) tensor.Tensor {
	size := perRow(t)
	out := tensor.Tensor{Type: t.Type, Shape: slices.Clone(t.Shape)}
	out.Shape[0] = n
	if t.Type == tensor.Bytes {
		out.Strings = t.Strings[at*size : (at+n)*size]
	} else {
		size *= t.Type.Size()
		out.Data = t.Data[at*size : (at+n)*size]
	}
	return out
}

var (
	_ serve.Servable = (*Batcher)(nil)
	_ serve.Batched  = (*Batcher)(nil)
)
