package job

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
)

// Watching goes through one goroutine beside the loop, because asking an executor and reading journals takes time. The
// loop gives an order and later gets the report; a journal is read to its end before the end of its task is told, so
// that a job that has ended has its whole curve.

// maxPiece is how much of a journal one order reads.
const maxPiece = 4 << 20

// order is what to look at.
type order struct {
	heard   []exec.Status
	observe bool
	at      uint64 // the runner's count when the order was given
	live    map[exec.TaskRef]int64
}

// report is what was seen.
type report struct {
	pieces   []piece
	statuses []exec.Status
	complete bool // statuses are all that the executor knows
	at       uint64
	again    bool // some journal has more
}

// piece is a part of a journal.
type piece struct {
	ref      exec.TaskRef
	from, to int64
	points   []Metric
	progress *Progress
}

// watch gives an order when none is under way and there is something to look at.
func (l *loop) watch() {
	if l.watching || l.broken {
		return
	}
	heard := l.takeHeard()
	if len(heard) == 0 && !l.observe && !l.again {
		return
	}
	o := order{heard: heard, observe: l.observe, at: l.count, live: map[exec.TaskRef]int64{}}
	for _, ref := range l.core.live() {
		offset, ok := l.offsets[ref]
		if !ok {
			offset = -1
		}
		o.live[ref] = offset
	}
	maps.DeleteFunc(l.offsets, func(ref exec.TaskRef, _ int64) bool { _, ok := o.live[ref]; return !ok })
	l.observe, l.again, l.watching = false, false, true
	l.orders <- o
}

// take feeds a report to the core. Should a write fail, the rest is dropped: the core is loaded again and looks again.
func (l *loop) take(rep report) {
	l.watching = false
	l.again = rep.again
	for _, p := range rep.pieces {
		if l.ingest(p) != nil {
			l.observe = true
			return
		}
	}
	var inputs []Input
	if rep.complete {
		l.observed = l.o.Clock.Now()
		l.forget(rep.statuses)
		inputs = append(inputs, Observed{Statuses: rep.statuses, Fresh: func(id ID) bool {
			return l.hands[id] == nil && l.touched[id] <= rep.at
		}})
	} else {
		for _, st := range rep.statuses {
			inputs = append(inputs, TaskObserved{st})
		}
	}
	if len(inputs) > 0 {
		_ = l.step(inputs...) // a failed write is repeated after the reload
	}
}

// ingest writes a piece down: the job's progress first, then the points with the offset, so that a crash between the
// two reads the piece again and loses nothing.
func (l *loop) ingest(p piece) error {
	id, _ := parseRef(p.ref)
	if p.progress != nil || len(p.points) > 0 {
		if err := l.step(JournalRead{ID: id, Index: p.ref.Index, Attempt: p.ref.Attempt, Progress: p.progress, Metrics: p.points}); err != nil {
			return err
		}
	}
	if p.to > p.from {
		if err := l.o.Store.AppendMetrics(context.WithoutCancel(l.ctx), id, p.ref.Index, p.ref.Attempt, p.from, p.to, p.points); err != nil {
			l.writes.Met(err, "task", p.ref.String())
			l.broken = true
			return err
		}
	}
	l.offsets[p.ref] = p.to
	return nil
}

// forget has the files of the jobs removed that ended before the newest l.o.Keep ended. Their records stay.
func (l *loop) forget(all []exec.Status) {
	ended := map[ID]time.Time{}
	for _, st := range all {
		id, ok := parseRef(st.Ref)
		if _, active := l.core.Job(id); !ok || active || l.hands[id] != nil {
			continue
		}
		if at := ended[id]; !st.Ended.Before(at) {
			ended[id] = st.Ended
		}
	}
	if len(ended) <= l.o.Keep {
		return
	}
	ids := slices.SortedFunc(maps.Keys(ended), func(a, b ID) int {
		return cmp.Or(ended[b].Compare(ended[a]), cmp.Compare(b, a))
	})
	for _, id := range ids[l.o.Keep:] {
		l.enqueue(ForgetJob{id})
	}
}

// live are the attempts that may have a process.
func (c *Core) live() []exec.TaskRef {
	var out []exec.TaskRef
	for _, j := range c.jobs {
		for _, t := range j.Tasks {
			if t.State.Live() && t.Attempt > 0 {
				out = append(out, j.ref(t.Index, t.Attempt))
			}
		}
	}
	return out
}

// watcher carries orders out, one after the other.
type watcher struct {
	*Runner
	complained map[exec.TaskRef]bool // whose journal cannot be read
}

func (w *watcher) run(ctx context.Context, orders <-chan order, reports chan<- report) {
	w.complained = map[exec.TaskRef]bool{}
	for {
		select {
		case <-ctx.Done():
			return
		case o := <-orders:
			rep := w.look(ctx, o)
			select {
			case <-ctx.Done():
				return
			case reports <- rep:
			}
		}
	}
}

func (w *watcher) look(ctx context.Context, o order) report {
	rep := report{statuses: o.heard, at: o.at}
	if o.observe {
		all, err := w.o.Tasks.Observe(ctx)
		if err != nil {
			w.o.Log.Error("jobs: the executor does not answer", "err", errs.Trace(err))
		} else {
			// What was heard before is older than what was now seen, unless it is an end.
			rep.statuses, rep.complete = all, true
		}
	}
	ended := map[exec.TaskRef]bool{}
	for _, st := range rep.statuses {
		ended[st.Ref] = st.State == exec.Exited || st.State == exec.Lost
	}
	behind := map[exec.TaskRef]bool{}
	for _, ref := range slices.SortedFunc(maps.Keys(o.live), func(a, b exec.TaskRef) int {
		return cmp.Or(cmp.Compare(a.Job, b.Job), cmp.Compare(a.Index, b.Index), cmp.Compare(a.Attempt, b.Attempt))
	}) {
		p, more := w.read(ctx, ref, o.live[ref], ended[ref])
		if p != nil {
			rep.pieces = append(rep.pieces, *p)
		}
		if more {
			behind[ref], rep.again = true, true
		}
	}
	// An end is told when the journal is read; until then the attempt still counts as running.
	for i, st := range rep.statuses {
		if ended[st.Ref] && behind[st.Ref] {
			rep.statuses[i].State = exec.Running
		}
	}
	return rep
}

// read takes what is new of an attempt's journal; more says that it ended before the piece was at the end.
func (w *watcher) read(ctx context.Context, ref exec.TaskRef, from int64, ended bool) (p *piece, more bool) {
	if from < 0 {
		id, _ := parseRef(ref)
		var err error
		if from, err = w.o.Store.JournalOffset(ctx, id, ref.Index, ref.Attempt); err != nil {
			return nil, ended
		}
	}
	out := &piece{ref: ref, from: from, to: from}
	for out.to-out.from < maxPiece {
		b, next, err := w.o.Outputs.Journal(ctx, ref, out.to)
		if err != nil {
			if !errs.Is(err, errs.NotFound) && !w.complained[ref] && ctx.Err() == nil {
				w.complained[ref] = true
				w.o.Log.Warn("jobs: a journal cannot be read", "task", ref.String(), "err", errs.Trace(err))
			}
			return out, false
		}
		points, progress, taken := parseJournal(b, w.o.Clock.Now())
		if next > out.to+int64(len(b)) { // the executor passed something over
			taken = int(next - out.to)
		}
		out.points = append(out.points, points...)
		if progress != nil {
			out.progress = progress
		}
		if taken == 0 {
			return out, false
		}
		out.to += int64(taken)
	}
	return out, ended
}
