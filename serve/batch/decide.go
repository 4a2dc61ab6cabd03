package batch

import (
	"context"
	"math"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// This file is what a batcher decides: each method takes the time, changes its state under the lock and never waits.
// Who calls them is Run, or a test in virtual time.

// slot is a worker's place: the batch that it computes, and the memory for that.
type slot struct {
	b       *Batcher
	core    grant
	lead    *call // who computes; nil when its own request was refused meanwhile
	gathers bool
	calls   []*call // that are computed together
	failed  bool
	refused []*call
	rows    int
	padded  int
	began   int64
	end     int64 // predicted
	in, out []tensor.Tensor
	shape   []int
}

// late is why a call is refused that waited and cannot be answered in time.
const late = "this model is too busy to answer in time (%v after the request came, which allows %v): try again later, or allow more time"

// admit takes a call in. It leads a batch where a slot is returned, and waits where none is; an error refuses it.
func (b *Batcher) admit(now int64, c *call) (*slot, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.came, c.due, c.err, c.alone, c.delayed = now, never, nil, false, false
	if t, ok := c.ctx.Deadline(); ok {
		c.due = int64(t.Sub(b.base))
	}
	if b.p.slo > 0 {
		c.due = min(c.due, now+b.p.slo)
	}
	if c.priority == 0 {
		c.priority = b.p.Priority
	}
	if b.gathering > 0 && b.gathering+b.q.rows+c.rows <= b.p.max {
		b.q.push(c)
		return nil, nil
	}
	if b.running < b.parallel && (b.q.calls == 0 || b.gathering > 0) {
		if core, ok := b.o.Cores.take(&b.share); ok {
			c.alone = true
			s := b.slot(c, core)
			if b.gathering == 0 && c.rows < b.p.max {
				b.gathering, s.gathers = c.rows, true
			}
			return s, nil
		}
		b.waits = true
	}
	if err := b.refuse(now, c); err != nil {
		return nil, err
	}
	b.q.push(c)
	b.crowded.Store(true)
	return nil, nil
}

// Admit says why a request of one row would be refused now. While nothing waits it costs one load.
func (b *Batcher) Admit(ctx context.Context) error {
	if !b.crowded.Load() {
		return nil
	}
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	c := call{rows: 1, due: never, priority: math.MaxInt}
	if t, ok := ctx.Deadline(); ok {
		c.due = int64(t.Sub(b.base))
	}
	if b.p.slo > 0 {
		c.due = min(c.due, now+b.p.slo)
	}
	if b.q.calls == 0 {
		return nil
	}
	// A priority is not known yet: who has a high one goes before those that wait, and is not refused here.
	if len(b.q.levels) == 1 && b.q.levels[0].priority >= b.p.Priority {
		c.priority = b.p.Priority
	}
	return b.inTime(now, &c)
}

// slot gives a worker's place to a leader; b.mu is held.
func (b *Batcher) slot(lead *call, core grant) *slot {
	var s *slot
	if k := len(b.free); k > 0 {
		s, b.free = b.free[k-1], b.free[:k-1]
	} else {
		s = &slot{b: b, in: make([]tensor.Tensor, len(b.sig.Inputs)), out: make([]tensor.Tensor, len(b.sig.Outputs))}
	}
	s.lead, s.core, s.end, s.failed = lead, core, 0, false
	b.running++
	b.busy = append(b.busy, s)
	return s
}

// refuse says why a call is not taken into the queue, or makes room for it; b.mu is held.
func (b *Batcher) refuse(now int64, c *call) error {
	if err := b.inTime(now, c); err != nil {
		return err
	}
	for b.q.calls > 0 && b.q.rows+c.rows > b.p.queue {
		last := b.q.last()
		if last.priority >= c.priority {
			b.stats.full++
			return b.full()
		}
		b.q.remove(last)
		last.err = b.full()
		b.stats.full++
		last.woken <- nil
	}
	return nil
}

// inTime refuses a call that will not be answered in time; b.mu is held.
func (b *Batcher) inTime(now int64, c *call) error {
	if c.due == never {
		return nil
	}
	// Room for one more batch, or a quarter of what is allowed: who comes to the front with no time to spare forces a
	// small batch, and small batches make all others late.
	wait, allowed := b.wait(now, c), float64(c.due-now)
	if wait+min(b.lat.predict(b.p.padded(b.p.max)), allowed/4) <= allowed {
		return nil
	}
	b.stats.late++
	err := errs.Errorf("batch.admit", errs.Exhausted, "this model is too busy to answer in time (about %v, and %v are allowed): try again later, or allow more time",
		round(wait), round(allowed))
	return errs.RetryAfter(err, b.drained())
}

func (b *Batcher) full() error {
	err := errs.Errorf("batch.admit", errs.Unavailable, "%d rows wait for this model, as many as may: try again later", b.q.rows)
	return errs.RetryAfter(err, b.drained())
}

func round(nanos float64) time.Duration {
	d := time.Duration(nanos)
	if d > time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}

// wait predicts after which time a call that comes now is answered; b.mu is held.
func (b *Batcher) wait(now int64, c *call) float64 {
	ahead := b.q.ahead(c.priority)
	first := int64(never) // when the first worker is free
	for _, s := range b.busy {
		first = min(first, max(s.end, now))
	}
	before := 0.0
	if first != never {
		before = float64(first - now)
	}
	whole := (ahead + c.rows - 1) / b.p.max * b.p.max // rows in whole batches before its own
	return before + float64(whole)*b.paced() + b.lat.late(b.p.padded(min(b.p.max, ahead+c.rows)))
}

// paced is the time a row takes while others wait; b.mu is held.
func (b *Batcher) paced() float64 {
	if row := b.pace.row(); row > 0 {
		return row
	}
	return b.lat.predict(b.p.padded(b.p.max)) / float64(b.p.max*b.parallel)
}

// drained is when what waits now will have been computed; b.mu is held.
func (b *Batcher) drained() time.Duration {
	return time.Duration(float64(b.q.rows)*b.paced() + b.lat.predict(b.p.max))
}

// leave takes a call off the queue whose client has left; false when it is there no more.
func (b *Batcher) leave(c *call) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.q.remove(c) {
		return false
	}
	b.stats.left++
	b.quiet()
	return true
}

// quiet tells the cores when nothing waits any more; b.mu is held.
func (b *Batcher) quiet() {
	if b.q.calls == 0 && b.crowded.Load() {
		b.crowded.Store(false)
	}
	if b.waits && b.q.calls == 0 {
		b.waits = false
		b.o.Cores.leave(&b.share)
	}
}

// gather puts the batch of a slot together; false when there is nothing to compute.
func (b *Batcher) gather(now int64, s *slot) bool {
	b.mu.Lock()
	if s.gathers {
		b.gathering, s.gathers = 0, false
	}
	s.calls, s.refused = s.calls[:0], s.refused[:0]
	lead := s.lead
	if b.hopeless(now, lead) {
		lead = nil
	} else {
		s.calls = append(s.calls, lead)
	}
	b.sweep(now, s)
	s.calls = b.q.choose(&b.p, &b.lat, now, lead, b.may, s.calls)
	s.rows = 0
	for _, c := range s.calls {
		if c != lead {
			b.q.remove(c)
		}
		s.rows += c.rows
		b.stats.waits.Observe(time.Duration(now - c.came))
	}
	s.padded, s.began = b.p.padded(s.rows), now
	s.end = now + int64(b.lat.predict(s.padded))
	b.spread()
	b.quiet()
	b.mu.Unlock()
	for _, c := range s.refused {
		c.woken <- nil
	}
	return len(s.calls) > 0
}

// hopeless refuses a call whose client has left, or that cannot be answered in time although it is computed now; b.mu is
// held. One that did not wait is computed all the same: the model may be faster than was learned.
func (b *Batcher) hopeless(now int64, c *call) bool {
	if err := c.ctx.Err(); err != nil {
		c.err = errs.E("batch.Run", errs.KindOf(err), err)
		b.stats.left++
		return true
	}
	waited := now - c.came
	tooLong := b.p.wait > 0 && waited > b.p.wait && !b.p.Late
	if !tooLong && (c.due == never || c.alone || float64(now)+b.lat.late(b.p.padded(c.rows)) <= float64(c.due)) {
		return false
	}
	b.stats.late++
	allowed := float64(c.due - c.came)
	if tooLong {
		allowed = float64(b.p.wait)
	}
	c.err = errs.RetryAfter(errs.Errorf("batch.Run", errs.Exhausted, late, round(float64(waited)), round(allowed)), b.drained())
	return true
}

// sweep takes hopeless calls off the front of the queue, and sends those that waited too long to its end; b.mu is held.
func (b *Batcher) sweep(now int64, s *slot) {
	rows := 0
	for c := b.q.first(); c != nil && rows < b.p.max; {
		next := b.q.after(c)
		switch {
		case b.hopeless(now, c):
			b.q.remove(c)
			s.refused = append(s.refused, c)
		case b.p.Late && b.p.wait > 0 && now-c.came > b.p.wait && !c.delayed:
			b.q.remove(c)
			c.delayed, c.priority = true, lowest
			b.q.push(c)
			if next == nil {
				next = c
			}
		default:
			rows += c.rows
		}
		c = next
	}
}

// spread lets free workers begin with what is still waiting; b.mu is held.
func (b *Batcher) spread() {
	for b.q.calls > 0 && b.running < b.parallel {
		core, ok := b.o.Cores.take(&b.share)
		if !ok {
			b.waits = true
			return
		}
		b.hand(core)
	}
}

// hand lets the first that waits lead a batch; false when nobody does. b.mu is held.
func (b *Batcher) hand(core grant) bool {
	c := b.q.first()
	if c == nil || b.running >= b.parallel {
		return false
	}
	b.waits = false
	b.q.remove(c)
	c.woken <- b.slot(c, core)
	return true
}

// finish ends a batch, learns from it, and hands the core on.
func (b *Batcher) finish(now int64, s *slot) {
	b.mu.Lock()
	took := int64(0)
	if len(s.calls) > 0 {
		took = now - s.began
		b.learn(now, s, took)
	}
	clear(s.calls)
	clear(s.refused)
	s.calls, s.refused, s.lead = s.calls[:0], s.refused[:0], nil
	b.running--
	for i, o := range b.busy {
		if o == s {
			last := len(b.busy) - 1
			b.busy[i] = b.busy[last]
			b.busy = b.busy[:last]
			break
		}
	}
	b.free = append(b.free, s)
	wants := b.q.calls > 0 && b.running < b.parallel
	core, ok := b.o.Cores.give(s.core, float64(took), wants)
	b.waits = b.waits || wants
	if ok && core.to == &b.share && b.hand(core) {
		ok = false
	}
	b.mu.Unlock()
	if ok {
		accept(core)
	}
}

// accept hands a core to the model that it was given to, and on to others while nobody there waits any more.
func accept(core grant) {
	for ok := true; ok; {
		b := core.to.b
		b.mu.Lock()
		if b.hand(core) {
			b.mu.Unlock()
			return
		}
		b.waits = false
		core, ok = b.o.Cores.give(core, 0, false)
		b.mu.Unlock()
	}
}

// learn counts a batch that was computed; b.mu is held.
func (b *Batcher) learn(now int64, s *slot, took int64) {
	b.stats.count(s)
	if s.failed { // how fast it fails says nothing
		b.pace.behind = false
		return
	}
	b.lat.observe(s.padded, took)
	b.pace.observe(now, s.rows, b.q.calls > 0)
}

// Queue is the state now and the counters.
func (b *Batcher) Queue() serve.Queue {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stats.show(b)
}
