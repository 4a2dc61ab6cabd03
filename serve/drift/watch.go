package drift

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

const (
	every   = 50 * time.Millisecond // between two requests that are looked at
	perCall = 4                     // rows of one request, at most
	span    = 10 * time.Minute      // of one window, of which
	spans   = 6                     // are kept
	recent  = 5000                  // rows that a watch without a reference remembers
)

// Watch counts what one version is asked and answers. Its methods may be called from any goroutine; a request costs one
// look at the clock that it brings, and every twentieth of a second a few rows.
type Watch struct {
	next     atomic.Int64 // when the next request is looked at
	names    [2][]string
	mu       sync.Mutex
	ref      *Reference
	windows  []window // oldest first
	sides    [2][]side
	gathered [2]*sample // without a reference: what was seen lately
}

// window is a while's counts, by feature and bin.
type window struct {
	begin  time.Time
	rows   int64
	counts [2][][]int64
}

// NewWatch watches for drift from a reference, or, with nil, gathers rows to make one of. The names are those of the
// tensors.
func NewWatch(ref *Reference, inputs, outputs []string) *Watch {
	return &Watch{ref: ref, names: [2][]string{inputs, outputs}}
}

// Add looks at a request and its answer, if it is time to.
func (w *Watch) Add(now time.Time, in, out []tensor.Tensor, rows int) {
	at, due := now.UnixNano(), w.next.Load()
	if at < due || !w.next.CompareAndSwap(due, at+int64(every)) {
		return
	}
	ins, err := sides(in, w.names[0], rows, false)
	if err != nil {
		return
	}
	outs, err := sides(out, w.names[1], rows, true)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var dst []float64
	both := [2][]side{ins, outs}
	for i := range min(rows, perCall) {
		row := i * rows / min(rows, perCall)
		for n, all := range [2][]tensor.Tensor{in, out} {
			s := both[n]
			dst = rowOf(dst[:0], s, all, row)
			w.count(now, n, s, dst)
		}
	}
}

func (w *Watch) count(now time.Time, n int, sides []side, row []float64) {
	if w.ref == nil {
		w.gather(n, sides, row)
		return
	}
	features := w.ref.Inputs
	if n == 1 {
		features = w.ref.Outputs
	}
	if len(features) != len(row) {
		return // another shape than the reference has
	}
	c := w.window(now)
	if n == 0 {
		c.rows++
	}
	for i, v := range row {
		c.counts[n][i][features[i].bin(v)]++
	}
}

// window is the one under way.
func (w *Watch) window(now time.Time) *window {
	if n := len(w.windows); n == 0 || now.Sub(w.windows[n-1].begin) >= span {
		next := window{begin: now}
		for n, features := range [2][]Feature{w.ref.Inputs, w.ref.Outputs} {
			for _, f := range features {
				next.counts[n] = append(next.counts[n], make([]int64, len(f.Counts)))
			}
		}
		w.windows = append(w.windows, next)
	}
	w.forget(now)
	return &w.windows[len(w.windows)-1]
}

func (w *Watch) forget(now time.Time) {
	w.windows = slices.DeleteFunc(w.windows, func(c window) bool { return now.Sub(c.begin) >= span*spans })
}

func (w *Watch) gather(n int, sides []side, row []float64) {
	if !slices.Equal(w.sides[n], sides) {
		w.sides[n], w.gathered[n] = sides, newSample(sides)
	}
	s := w.gathered[n]
	if len(row) > 0 && len(s.values[0]) >= recent { // the older half goes
		for i := range s.values {
			s.values[i] = slices.Clone(s.values[i][recent/2:])
		}
	}
	s.add(row)
}

// Report compares the last hour with the reference; nil where there is none.
func (w *Watch) Report(now time.Time) *Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ref == nil {
		return nil
	}
	w.forget(now)
	r := &Report{State: TooFew, Of: w.ref.Rows, Source: w.ref.Source}
	for _, c := range w.windows {
		r.Rows += c.rows
	}
	if len(w.windows) > 0 {
		r.Since = w.windows[0].begin
	}
	if r.Rows < MinRows {
		return r
	}
	r.State = Stable
	most := limit(float64(w.ref.Rows), float64(r.Rows), len(w.ref.Inputs)+len(w.ref.Outputs))
	var all []Score
	for n, features := range [2][]Feature{w.ref.Inputs, w.ref.Outputs} {
		var of []Score
		for i, f := range features {
			counts := make([]int64, len(f.Counts))
			for _, c := range w.windows {
				for b, k := range c.counts[n][i] {
					counts[b] += k
				}
			}
			of = append(of, compare(f, counts, most))
		}
		slices.SortFunc(of, byState)
		if len(of) > 0 {
			*[2]*Score{&r.Inputs, &r.Outputs}[n] = of[0]
		}
		all = append(all, of...)
	}
	slices.SortFunc(all, byState)
	if len(all) > 0 && all[0].State != Stable {
		r.State = all[0].State
	}
	r.Worst = all[:min(worst, len(all))]
	return r
}

// Take makes a reference of the requests that were seen lately, and watches for drift from it.
func (w *Watch) Take() (*Reference, error) {
	const op = "drift.Take"
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ref != nil {
		return nil, errs.Errorf(op, errs.Conflict, "the version has a reference of %s already", w.ref.Source)
	}
	rows := 0
	if g := w.gathered[0]; g != nil && len(g.values) > 0 {
		rows = len(g.values[0])
	}
	if rows < MinRows || w.gathered[1] == nil {
		return nil, errs.Errorf(op, errs.Conflict, "%d rows were seen since the version was loaded, and a reference needs %d: ask again later", rows, MinRows)
	}
	w.ref = &Reference{Source: "requests", Rows: int64(rows), Inputs: w.gathered[0].features(), Outputs: w.gathered[1].features()}
	w.gathered = [2]*sample{}
	return w.ref, nil
}
