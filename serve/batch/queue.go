package batch

import (
	"context"
	"math"
	"slices"

	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// never is a deadline that does not come.
const never = math.MaxInt64

// lowest is the priority of calls that waited longer than they may.
const lowest = math.MinInt

// call is one request in a queue, or the one that leads a batch.
type call struct {
	ctx      context.Context
	in, out  []tensor.Tensor
	rows     int
	priority int
	came     int64 // nanoseconds on the batcher's clock
	due      int64 // when its answer is of no use any more; never where it has no deadline
	delayed  bool  // it waited longer than it may, and goes last
	alone    bool  // it found a worker free
	err      error
	// woken gets a slot with which to lead a batch, or nil when the call was answered by another or shed.
	woken chan *slot

	level      *level
	prev, next *call
}

// level is the calls of one priority, in the order in which they came.
type level struct {
	priority   int
	head, tail *call
	rows       int
}

// queue is what waits before one model: calls by priority, then in the order in which they came. It reads no clock and
// starts nothing; the batcher's lock guards it.
type queue struct {
	levels []*level // highest priority first, none empty
	spare  []*level
	calls  int
	rows   int
}

// push puts a call at the end of its priority.
func (q *queue) push(c *call) {
	i := 0
	for i < len(q.levels) && q.levels[i].priority > c.priority {
		i++
	}
	if i == len(q.levels) || q.levels[i].priority != c.priority {
		q.levels = slices.Insert(q.levels, i, q.newLevel(c.priority))
	}
	l := q.levels[i]
	c.level, c.prev, c.next = l, l.tail, nil
	if l.tail != nil {
		l.tail.next = c
	} else {
		l.head = c
	}
	l.tail = c
	l.rows += c.rows
	q.calls++
	q.rows += c.rows
}

func (q *queue) newLevel(priority int) *level {
	if k := len(q.spare); k > 0 {
		l := q.spare[k-1]
		q.spare = q.spare[:k-1]
		l.priority = priority
		return l
	}
	return &level{priority: priority}
}

// remove takes a call out; false when it is there no more.
func (q *queue) remove(c *call) bool {
	l := c.level
	if l == nil {
		return false
	}
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.head = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		l.tail = c.prev
	}
	c.level, c.prev, c.next = nil, nil, nil
	l.rows -= c.rows
	q.calls--
	q.rows -= c.rows
	if l.head == nil {
		q.levels = slices.DeleteFunc(q.levels, func(o *level) bool { return o == l })
		q.spare = append(q.spare, l)
	}
	return true
}

// first is the call whose turn it is, or nil.
func (q *queue) first() *call {
	if len(q.levels) == 0 {
		return nil
	}
	return q.levels[0].head
}

// after is the call behind c.
func (q *queue) after(c *call) *call {
	if c.next != nil {
		return c.next
	}
	i := slices.Index(q.levels, c.level)
	if i+1 < len(q.levels) {
		return q.levels[i+1].head
	}
	return nil
}

// last is the call that came last of the lowest priority, or nil.
func (q *queue) last() *call {
	if len(q.levels) == 0 {
		return nil
	}
	return q.levels[len(q.levels)-1].tail
}

// ahead is how many rows go before a call of that priority that comes now.
func (q *queue) ahead(priority int) (rows int) {
	for _, l := range q.levels {
		if l.priority < priority {
			break
		}
		rows += l.rows
	}
	return rows
}

// plan is how batches of one model are put together: serve.Batching with its defaults filled in.
type plan struct {
	serve.Batching
	max   int   // rows of the largest batch
	queue int   // rows that may wait
	slo   int64 // 0: none
	wait  int64 // 0: any
}

// padded is how many rows the model is given for so many.
func (p *plan) padded(rows int) int {
	for _, size := range p.Sizes {
		if size >= rows {
			return size
		}
	}
	return rows
}

// choose says how many of the calls that wait, in their order, are computed together with lead (nil: none), and appends them to
// joined: as many as give the most rows a second by what was learned, and so few that each is answered before its
// deadline. Calls that may not be joined with the first are passed over; they keep their turn.
func (q *queue) choose(p *plan, l *latency, now int64, lead *call, may func(a, b *call) bool, joined []*call) []*call {
	rows, due, first := 0, int64(never), lead
	if lead != nil {
		rows, due = lead.rows, lead.due
	}
	base := len(joined)
	best, keep := 0.0, base
	whole := rows >= p.max
	consider := func() {
		rate := math.Inf(1) // of a preferred size: only a larger one that is preferred too goes beyond it
		if !p.prefers(rows) {
			rate = float64(rows) / max(l.predict(p.padded(rows)), 1)
		}
		if rate >= best {
			best, keep = rate, len(joined)
		}
	}
	if lead != nil {
		consider()
	}
	for c := q.first(); c != nil && !whole; c = q.after(c) {
		if first != nil && !may(first, c) {
			continue
		}
		if rows+c.rows > p.max && rows > 0 {
			break
		}
		if d := min(due, c.due); d != never && rows > 0 && float64(now)+l.late(p.padded(rows+c.rows)) > float64(d) {
			break
		}
		if first == nil {
			first = c
		}
		rows, due = rows+c.rows, min(due, c.due)
		joined = append(joined, c)
		consider()
		whole = rows >= p.max
	}
	return joined[:keep]
}

// prefers says whether batches of so many rows are preferred.
func (p *plan) prefers(rows int) bool {
	return len(p.Preferred) > 0 && slices.Contains(p.Preferred, rows)
}
