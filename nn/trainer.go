package nn

import (
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn/kernel"
)

// Fill writes rows lo to hi-1 of the coming batch to x and y, which begin at row lo. Several calls run at once.
type Fill func(x, y []float32, lo, hi int)

// Trainer makes steps on a network. It owns its workers' buffers and, until Sync, the newest weights; Close lets the
// workers go.
type Trainer struct {
	Net  *Network
	Loss *Loss
	Opt  *Optimizer

	set     *kernel.Set
	fused   bool
	first   int // the first layer that learns: no gradient is needed before it
	batch   int
	widths  []int
	acts    [][]float32 // input and every layer's output, whole batch
	grads   [][]float32 // gradient at the output of every layer
	target  []float32
	workers []worker
	team    *team
}

type worker struct {
	ctx     []Context
	loss    float64
	correct int
}

// NewTrainer prepares training in batches of up to batch rows by threads workers. set may be nil for the best kernels.
func NewTrainer(net *Network, loss *Loss, opt *Optimizer, batch, threads int, set *kernel.Set) (*Trainer, error) {
	const op = "nn.NewTrainer"
	if batch < 1 || threads < 1 {
		return nil, errs.Errorf(op, errs.Invalid, "training needs a batch and threads of at least 1, has %d and %d", batch, threads)
	}
	if set == nil {
		set = kernel.Best()
	}
	t := &Trainer{Net: net, Loss: loss, Opt: opt, set: set, batch: batch, widths: net.widths(), first: -1}
	for i, l := range net.Layers {
		if _, ok := l.(Trainable); !ok {
			return nil, errs.Errorf(op, errs.Unsupported, "layer %q (%s) can answer but not be trained here", l.Name(), l.Kind())
		}
		if t.first < 0 && slices.ContainsFunc(l.Params(), func(p *Param) bool { return p.Trainable }) {
			t.first = i
		}
		if d, ok := l.(*Dense); ok {
			d.learn(set, t.first < i)
		}
	}
	if t.first < 0 {
		return nil, errs.Errorf(op, errs.Invalid, "the network %q has nothing to learn: no layer has weights", net.Name)
	}
	opt.learn()
	t.fused = !loss.FromLogits && loss.fuses != "" && lastActivation(net) == loss.fuses
	for i, w := range t.widths {
		t.acts = append(t.acts, make([]float32, batch*w))
		if i > 0 {
			t.grads = append(t.grads, make([]float32, batch*w))
		}
	}
	t.target = make([]float32, batch*loss.Width(t.widths[len(t.widths)-1]))
	for range threads {
		w := worker{ctx: make([]Context, len(net.Layers))}
		scratch := &kernel.Scratch{}
		for i := range w.ctx {
			w.ctx[i] = Context{Kernels: set, Scratch: scratch, Fused: t.fused && i == len(net.Layers)-1}
		}
		t.workers = append(t.workers, w)
	}
	t.team = newTeam(threads)
	return t, nil
}

func lastActivation(net *Network) string {
	switch l := net.Layers[len(net.Layers)-1].(type) {
	case *Dense:
		return l.Config.Activation
	case *Activation:
		return l.Function
	}
	return ""
}

// Close ends the workers.
func (t *Trainer) Close() { t.team.close() }

// Set is the kernel set in use.
func (t *Trainer) Set() *kernel.Set { return t.set }

// Seed begins the random numbers of the layers anew, for an epoch say, so that a resumed run draws what the
// uninterrupted one would have.
func (t *Trainer) Seed(seed, epoch uint64) {
	for w := range t.workers {
		for l := range t.workers[w].ctx {
			r := rand.New(rand.NewPCG(seed, epoch<<32|uint64(w)<<16|uint64(l)))
			for i := range t.workers[w].ctx[l].random {
				t.workers[w].ctx[l].random[i] = r.Uint64()
			}
		}
	}
}

// Step trains on one batch; it gives the summed loss before the step and the rows answered right.
func (t *Trainer) Step(rows int, fill Fill) (loss float64, correct int) {
	t.Opt.begin()
	for _, l := range t.Net.Layers {
		if d, ok := l.(*Dense); ok {
			d.begin(rows)
		}
	}
	t.team.run(func(w int) { t.rows(w, rows, fill, true) })
	t.team.run(func(w int) { t.share(w, rows) })
	return t.sum()
}

// Eval answers one batch without learning.
func (t *Trainer) Eval(rows int, fill Fill) (loss float64, correct int) {
	t.team.run(func(w int) { t.rows(w, rows, fill, false) })
	return t.sum()
}

func (t *Trainer) sum() (loss float64, correct int) {
	for i := range t.workers {
		loss += t.workers[i].loss
		correct += t.workers[i].correct
	}
	return loss, correct
}

// rows takes the worker's rows forward and, when learning, backward.
func (t *Trainer) rows(w, rows int, fill Fill, learn bool) {
	me := &t.workers[w]
	lo, hi := share(rows, 4, w, len(t.workers))
	me.loss, me.correct = 0, 0
	if lo == hi {
		return
	}
	m := hi - lo
	act := func(i int) []float32 { return t.acts[i][lo*t.widths[i] : hi*t.widths[i]] }
	grad := func(i int) []float32 { return t.grads[i][lo*t.widths[i+1] : hi*t.widths[i+1]] }
	tw := len(t.target) / t.batch
	target := t.target[lo*tw : hi*tw]
	fill(act(0), target, lo, hi)
	for i, l := range t.Net.Layers {
		me.ctx[i].Training, me.ctx[i].first = learn, lo
		l.Forward(&me.ctx[i], act(i+1), act(i), m)
	}
	last := len(t.Net.Layers) - 1
	me.correct = t.Loss.Correct(act(last+1), target, m)
	if !learn {
		me.loss = t.Loss.Eval(nil, act(last+1), target, m, rows, t.fused)
		return
	}
	me.loss = t.Loss.Eval(grad(last), act(last+1), target, m, rows, t.fused)
	for i := last; i >= t.first; i-- {
		var dx []float32
		if i > t.first {
			dx = grad(i - 1)
		}
		t.Net.Layers[i].(Trainable).Backward(&me.ctx[i], dx, grad(i), act(i), act(i+1), m)
	}
}

// share computes the worker's share of every parameter's gradient, updates it and prepares it for the next step.
func (t *Trainer) share(w, rows int) {
	me, n := &t.workers[w], len(t.workers)
	for i := t.first; i < len(t.Net.Layers); i++ {
		l := t.Net.Layers[i].(Trainable)
		l.Gradient(&me.ctx[i], w, n, t.grads[i][:rows*t.widths[i+1]], t.acts[i][:rows*t.widths[i]], rows,
			func(p *Param, lo int, g []float32) { t.Opt.update(t.set, p, lo, g) })
	}
}

// team is a fixed number of goroutines that run one function at a time together; the caller is the first of them.
type team struct {
	work []chan func(int)
	done sync.WaitGroup
	gone sync.WaitGroup
}

func newTeam(n int) *team {
	t := &team{}
	for i := 1; i < n; i++ {
		ch := make(chan func(int), 1)
		t.work = append(t.work, ch)
		t.gone.Go(func() {
			for f := range ch {
				f(i)
				t.done.Done()
			}
		})
	}
	return t
}

func (t *team) run(f func(worker int)) {
	t.done.Add(len(t.work))
	for _, ch := range t.work {
		ch <- f
	}
	f(0)
	t.done.Wait()
}

func (t *team) close() {
	for _, ch := range t.work {
		close(ch)
	}
	t.gone.Wait()
}

// Sync brings the values of the network's parameters and the optimiser's slots up to date: while it works, a trainer
// holds newer ones in an order of its own.
func (t *Trainer) Sync() { t.Opt.sync() }

// Refresh takes over values and slots that were changed from outside.
func (t *Trainer) Refresh() {
	for i, l := range t.Net.Layers {
		if d, ok := l.(*Dense); ok {
			d.learn(t.set, t.first < i)
		}
	}
	t.Opt.learn()
}
