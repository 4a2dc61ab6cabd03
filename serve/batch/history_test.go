package batch

import (
	"container/heap"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// A history plays the batchers of some models in virtual time: requests come, clients leave, batches end. It does what
// Run does with goroutines, one step at a time, and holds after each step what must always hold.
type history struct {
	t       *testing.T
	seed    uint64
	rng     *rand.Rand
	now     int64
	events  events
	n       int // of events so far: ties are played in the order in which they were made
	cores   *Cores
	models  []*simulated
	all     []*request
	waiting []*request
	woken   bool // somebody may have been
	failed  bool
}

type event struct {
	at int64
	n  int
	do func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].n < e[j].n
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func newHistory(t *testing.T, seed uint64, cores int) *history {
	return &history{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), cores: NewCores(cores)}
}

func (h *history) errorf(format string, args ...any) {
	h.t.Helper()
	h.failed = true
	h.t.Errorf("seed %d, at %v: %s", h.seed, time.Duration(h.now), fmt.Sprintf(format, args...))
}

func (h *history) after(d int64, do func()) {
	h.n++
	heap.Push(&h.events, event{h.now + max(d, 0), h.n, do})
}

// run plays everything to its end.
func (h *history) run() {
	for len(h.events) > 0 && !h.failed {
		e := heap.Pop(&h.events).(event)
		h.now = e.at
		e.do()
		h.settle()
	}
	for _, r := range h.all {
		if !h.failed && r.outcome == "" {
			h.errorf("request %d was lost", r.id)
		}
	}
	for _, m := range h.models {
		if m.b.q.calls != 0 || m.b.q.rows != 0 || len(m.b.q.levels) != 0 || m.b.running != 0 || h.cores.running != 0 || len(h.cores.active) != 0 {
			h.errorf("in the end model %d has %d calls of %d rows, %d batches, %d cores taken, %d models active",
				m.id, m.b.q.calls, m.b.q.rows, m.b.running, h.cores.running, len(h.cores.active))
		}
	}
}

// simulated is a model whose batches take a known time.
type simulated struct {
	h            *history
	id           int
	b            *Batcher
	first, each  int64 // time of a batch, and of each of its rows
	noise        float64
	parallel     int
	open         bool // requests choose the row's size
	steady       bool // nobody leaves and all have one priority
	running      int
	served       int64 // time of all its batches
	good, late   int   // rows
	waitedLong   int64
	lastLed      int64 // when the last leader that waited had come
	alone        bool  // its requests are refused only when they must be
	refusedEarly int
}

func (m *simulated) Signature() serve.Signature {
	size := 2
	if m.open {
		size = tensor.Any
	}
	spec := []tensor.Spec{{Name: "x", Type: tensor.Float32, Shape: []int{tensor.Any, size}}}
	return serve.Signature{Inputs: spec, Outputs: spec, Batched: true}
}
func (m *simulated) Parallel() int      { return m.parallel }
func (m *simulated) MemoryBytes() int64 { return 0 }
func (m *simulated) Close()             {}

func (m *simulated) Run(_ context.Context, in, out []tensor.Tensor, rows int) error {
	if in[0].Shape[0] != rows {
		m.h.errorf("a batch of %d rows has the shape %v", rows, in[0].Shape)
	}
	out[0].Reset(tensor.Float32, in[0].Shape...)
	for i, v := range in[0].Float32s() {
		out[0].Float32s()[i] = v + 0.25
	}
	return nil
}

func (h *history) model(m *simulated, set serve.Batching, most int) *simulated {
	b, err := New(m, Options{Cores: h.cores, MaxRows: most, Batching: set})
	if err != nil {
		h.t.Fatal(err)
	}
	m.h, m.id, m.b = h, len(h.models), b
	h.models = append(h.models, m)
	return m
}

func (m *simulated) time(rows int) int64 {
	t := float64(m.first + int64(rows)*m.each)
	return int64(t * (1 + m.noise*m.h.rng.Float64()))
}

// request is one request with its client.
type request struct {
	context.Context
	h        *history
	m        *simulated
	c        *call
	id       int
	due      int64 // 0: none
	gone     error // why the client left
	computed bool
	outcome  string
	then     func() // when it has ended
}

func (r *request) Deadline() (time.Time, bool) {
	return r.m.b.base.Add(time.Duration(r.due)), r.due != 0
}
func (r *request) Err() error { return r.gone }

// ask lets a request come now.
func (h *history) ask(m *simulated, rows, size, priority int, within int64) *request {
	r := &request{Context: context.Background(), h: h, m: m, id: len(h.all)}
	if within > 0 {
		r.due = h.now + within
	}
	x := make([]float32, rows*size)
	for i := range x {
		x[i] = float32(r.id*64 + i%64)
	}
	r.c = &call{ctx: r, rows: rows, priority: priority, woken: make(chan *slot, 1), out: make([]tensor.Tensor, 1), in: []tensor.Tensor{tensor.Float32s(x, rows, size)}}
	h.all = append(h.all, r)
	idle := m.b.q.calls == 0 && m.b.running < m.b.parallel && h.cores.running < h.cores.n
	room := m.b.q.rows+rows <= m.b.p.queue || m.b.q.calls == 0
	first, ahead := m.b.busyUntil(h.now), m.b.q.ahead(priority)
	full := m.b.stats.full
	s, err := m.b.admit(h.now, r.c)
	h.woken = h.woken || full != m.b.stats.full
	switch {
	case err != nil:
		r.outcome = "refused"
		_, told := errs.Retry(err)
		full := errs.Is(err, errs.Unavailable)
		switch {
		case idle || !told:
			h.errorf("an idle model refuses, or does not say until when: %v", err)
		case full && room:
			h.errorf("there is room for %d rows beside %d, and: %v", rows, m.b.q.rows, err)
		case !full && r.c.due == never:
			h.errorf("a request that may take any time is late: %v", err)
		case !full && m.alone && m.b.stats.batches > 50:
			// By the true times, with full batches on all workers and the worst luck of noise.
			worst := float64(first-h.now) + float64(ahead+rows)/float64(m.b.p.max)/float64(m.parallel)*float64(m.first+int64(m.b.p.max)*m.each) + 2*float64(m.first+int64(m.b.p.max)*m.each)
			if worst*(1+m.noise) < 0.5*float64(r.c.due-h.now) {
				m.refusedEarly++
			}
		}
	case s != nil && s.gathers:
		h.after(0, func() { h.lead(s) }) // whoever comes at the same moment comes before it
	case s != nil:
		h.lead(s)
	default:
		h.waiting = append(h.waiting, r)
	}
	return r
}

// busyUntil is when the first worker is free as far as is known.
func (b *Batcher) busyUntil(now int64) int64 {
	first := int64(never)
	for _, s := range b.busy {
		first = min(first, max(s.end, now))
	}
	if first == never {
		return now
	}
	return first
}

// lead is what a leader does, but for the time that it takes.
func (h *history) lead(s *slot) {
	m := s.b.model.(*simulated)
	h.woken = true
	if !s.b.gather(h.now, s) {
		h.answered(s.lead)
		s.b.finish(h.now, s)
		return
	}
	if m.running++; m.running > m.parallel {
		h.errorf("model %d computes %d batches at once", m.id, m.running)
	}
	rows := 0
	for _, c := range s.calls {
		r := c.ctx.(*request)
		if rows += c.rows; r.computed || r.outcome != "" || r.gone != nil {
			h.errorf("request %d is computed again, or after its end (%s) or its client's (%v)", r.id, r.outcome, r.gone)
		}
		r.computed = true
		m.waitedLong = max(m.waitedLong, h.now-c.came)
	}
	if rows != s.rows || rows > m.b.p.max || s.padded < rows || len(m.b.p.Sizes) > 0 && !slices.Contains(m.b.p.Sizes, s.padded) {
		h.errorf("a batch of %d rows is given as %d", rows, s.padded)
	}
	took := m.time(s.padded)
	m.served += took
	h.after(took, func() {
		m.running--
		h.woken = true
		lead := s.lead
		together := slices.Clone(s.calls)
		s.b.compute(s)
		s.b.finish(h.now, s)
		for _, c := range together {
			if c != lead {
				<-c.woken
			}
			h.answered(c)
		}
		if !slices.Contains(together, lead) {
			h.answered(lead)
		}
	})
}

// answered notes how a request ended.
func (h *history) answered(c *call) {
	r := c.ctx.(*request)
	if r.outcome != "" || len(c.woken) > 0 {
		h.errorf("request %d ends a second time, after %s", r.id, r.outcome)
	}
	if r.then != nil {
		h.after(0, r.then)
	}
	if c.err != nil {
		r.outcome = "refused"
		if c.due == never && r.gone == nil && r.m.b.p.wait == 0 && !errs.Is(c.err, errs.Unavailable) {
			h.errorf("request %d may take any time and is refused: %v", r.id, c.err)
		}
		return
	}
	r.outcome = "answered"
	in, out := c.in[0], c.out[0]
	if out.Shape[0] != c.rows {
		h.errorf("request %d of %d rows is answered with %v", r.id, c.rows, out.Shape)
		return
	}
	for row := range c.rows {
		for k := range in.Shape[1] {
			if got, want := out.Float32s()[row*out.Shape[1]+k], in.Float32s()[row*in.Shape[1]+k]+0.25; got != want {
				h.errorf("request %d gets %v for %v", r.id, got, want)
				return
			}
		}
	}
	if c.due == never || h.now <= c.due {
		r.m.good += c.rows
	} else {
		r.m.late += c.rows
	}
}

// settle lets everyone who was woken go on, and looks at the whole.
func (h *history) settle() {
	for h.woken {
		h.woken = false
		waiting := h.waiting[:0]
		for _, r := range h.waiting {
			if r.outcome == "" && !r.computed {
				waiting = append(waiting, r)
			}
		}
		h.waiting = waiting
		for _, r := range slices.Clone(h.waiting) {
			if len(r.c.woken) == 0 {
				continue
			}
			if s := <-r.c.woken; s != nil {
				h.led(r, s)
				h.lead(s)
			} else {
				h.answered(r.c)
			}
		}
	}
	for _, m := range h.models {
		b := m.b
		if b.q.calls > 0 && b.gathering == 0 && b.running < b.parallel && h.cores.running < h.cores.n {
			h.errorf("model %d lets %d calls wait with %d of %d workers and %d of %d cores taken", m.id, b.q.calls, b.running, b.parallel, h.cores.running, h.cores.n)
		}
		if b.q.calls > 1 && b.q.rows > b.p.queue+b.p.max { // those that join a leader are not bounded
			h.errorf("%d rows wait, %d may", b.q.rows, b.p.queue)
		}
		if b.running > b.parallel {
			h.errorf("%d batches at once", b.running)
		}
	}
	if h.cores.running > h.cores.n+len(h.models) {
		h.errorf("%d batches on %d cores", h.cores.running, h.cores.n)
	}
}

// led holds that whoever is woken to lead goes before all others that wait.
func (h *history) led(r *request, s *slot) {
	if s.lead != r.c {
		h.errorf("request %d was woken for another", r.id)
	}
	for l := range r.m.b.q.levels {
		if r.m.b.q.levels[l].priority > r.c.priority {
			h.errorf("request %d of priority %d goes before one of %d", r.id, r.c.priority, r.m.b.q.levels[l].priority)
		}
	}
	if r.m.steady {
		if r.c.came < r.m.lastLed {
			h.errorf("request %d goes before one that came earlier", r.id)
		}
		r.m.lastLed = r.c.came
	}
}

// leave lets a client go.
func (h *history) leave(r *request) {
	if r.outcome != "" || r.gone != nil {
		return
	}
	r.gone = context.Canceled
	h.woken = true
	if r.m.b.leave(r.c) {
		r.outcome = "left"
	}
}

// playRandom is a history of random models under random load.
func playRandom(t *testing.T, seed uint64, requests int) *history {
	h := newHistory(t, seed, 1+int(seed%3))
	pick := h.rng.IntN
	for range 1 + pick(3) {
		m := &simulated{
			first: int64(20+pick(2000)) * 1000, each: int64(1+pick(100)) * 1000,
			noise: float64(pick(3)) / 4, parallel: 1 + pick(3), open: pick(3) == 0,
		}
		var set serve.Batching
		switch pick(4) {
		case 0:
			set.Sizes = []int{2, 8, 32}
		case 1:
			set.Preferred = []int{4, 16}
		}
		if pick(2) == 0 {
			set.SLO = job.Duration(2 + pick(40)*int(time.Millisecond))
		}
		if pick(3) == 0 {
			set.MaxQueue = 1 + pick(60)
		}
		if pick(4) == 0 {
			set.Wait, set.Late = job.Duration(pick(20)*int(time.Millisecond)), pick(2) == 0
		}
		set.Weight, set.PadVariable = float64(pick(3)), m.open && pick(2) == 0
		h.model(m, set, 1+pick(32))
	}
	at := int64(0)
	for range requests {
		if pick(3) > 0 {
			at += int64(pick(600)) * 1000
		}
		m := h.models[pick(len(h.models))]
		rows, size, priority, within := 1+pick(m.b.p.max), 2, pick(3)-1, int64(0)
		if pick(3) > 0 {
			rows = 1
		}
		if m.open {
			size = 1 + pick(3)
		}
		if pick(2) == 0 {
			within = int64(1+pick(60_000)) * 1000
		}
		leaves := int64(-1)
		if pick(4) == 0 {
			leaves = int64(pick(10_000)) * 1000
		}
		h.n++
		heap.Push(&h.events, event{at, h.n, func() {
			r := h.ask(m, rows, size, priority, within)
			if leaves >= 0 {
				h.after(leaves, func() { h.leave(r) })
			}
			if r.due != 0 {
				h.after(within, func() {
					if r.outcome == "" && r.gone == nil {
						h.leave(r)
					}
				})
			}
		}})
	}
	h.run()
	return h
}

func TestNoHistoryLosesMixesOrAnswersTwice(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(100) {
		h := playRandom(t, seed, 400)
		for _, r := range h.all {
			seen[r.outcome]++
		}
		if h.failed {
			return
		}
	}
	for _, outcome := range []string{"answered", "refused", "left"} {
		if seen[outcome] < 500 {
			t.Errorf("the histories saw too little: %v", seen)
		}
	}
}

// overload is one model under a load of so many times what it can do, for a while, with a time to answer in.
func overload(t *testing.T, seed uint64, times float64, noise float64) (good float64, m *simulated) {
	h := newHistory(t, seed, 2)
	m = h.model(&simulated{first: 1_000_000, each: 100_000, noise: noise, parallel: 2, alone: true, steady: true}, serve.Batching{SLO: job.Duration(50 * time.Millisecond)}, 16)
	capacity := 2 * 16 / float64(m.first+16*m.each) / (1 + noise/2) // rows a nanosecond
	const length = int64(time.Second)
	for at := 0.0; int64(at) < length; at += h.rng.ExpFloat64() / (capacity * times) {
		h.n++
		heap.Push(&h.events, event{int64(at), h.n, func() { h.ask(m, 1, 2, 0, 0) }})
	}
	h.run()
	return float64(m.good) / (capacity * float64(length)), m
}

func TestUnderOverloadWhatIsAnsweredIsInTimeAndNothingIsWasted(t *testing.T) {
	for _, noise := range []float64{0, 0.5} {
		for _, times := range []float64{0.7, 2, 10} {
			good, m := overload(t, 7, times, noise)
			if want := min(0.97*times, 0.9); good < want || float64(m.late) > 0.02*float64(m.good) || float64(m.refusedEarly) > 0.001*float64(m.good) {
				t.Errorf("at %v times the capacity, noise %v: %.3f of it in time, %d rows late of %d, %d refused too early",
					times, noise, good, m.late, m.good+m.late, m.refusedEarly)
			}
		}
	}
}

// keepBusy has so many requests of a model under way always, until a time.
func (h *history) keepBusy(m *simulated, n int, until int64) {
	var again func()
	again = func() {
		if h.now < until {
			h.ask(m, 1, 2, 0, 0).then = again
		}
	}
	for range n {
		h.after(0, again)
	}
}

func TestBusyModelsShareTheCoresByTheirWeights(t *testing.T) {
	for _, cores := range []int{1, 2} {
		for _, weight := range []float64{1, 3} {
			h := newHistory(t, 1, cores)
			a := h.model(&simulated{first: 5_000_000, each: 100_000, parallel: 2}, serve.Batching{Weight: weight}, 16)
			b := h.model(&simulated{first: 200_000, each: 50_000, parallel: 2}, serve.Batching{}, 16)
			const until = int64(2 * time.Second)
			h.keepBusy(a, 64, until)
			h.keepBusy(b, 64, until)
			h.run()
			if ratio := float64(a.served) / float64(b.served); ratio < 0.7*weight || ratio > 1.4*weight {
				t.Errorf("%d cores, weight %v to 1: the models had %v and %v", cores, weight, time.Duration(a.served), time.Duration(b.served))
			}
		}
	}
}

func TestAModelOfShortBatchesDoesNotWaitBehindLongOnes(t *testing.T) {
	h := newHistory(t, 1, 2)
	long := h.model(&simulated{first: 100_000_000, each: 100_000, parallel: 2}, serve.Batching{}, 16)
	short := h.model(&simulated{first: 100_000, each: 10_000, parallel: 2}, serve.Batching{}, 16)
	const until = int64(3 * time.Second)
	h.keepBusy(long, 64, until)
	for at := int64(0); at < until; at += 5_000_000 {
		h.n++
		heap.Push(&h.events, event{at, h.n, func() { h.ask(short, 1, 2, 0, 0) }})
	}
	h.run()
	if short.waitedLong > int64(time.Millisecond) || long.served < until {
		t.Errorf("the short ones waited up to %v, the long one had %v", time.Duration(short.waitedLong), time.Duration(long.served))
	}
}
