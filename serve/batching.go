package serve

import (
	"context"
	"slices"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/job"
)

// Batching says how requests to a model are queued and joined. The zero value fits most models: batches as large as the
// runtime likes, nothing filled up, no request refused before the queue is long.
type Batching struct {
	// MaxRows is the largest batch; 0: as the runtime says. A request of more rows is computed in pieces.
	MaxRows int `json:"max_rows,omitempty" yaml:"max_rows,omitempty"`
	// Sizes are the only batches that the model is given, smallest first; between them batches are filled up with copies of
	// their first row. For models that are compiled for a few sizes.
	Sizes []int `json:"sizes,omitempty" yaml:"sizes,omitempty"`
	// Preferred are sizes that are chosen where enough requests wait; nothing is filled up for them.
	Preferred []int `json:"preferred,omitempty" yaml:"preferred,omitempty"`
	// PadVariable joins requests whose inputs differ in a dimension that the signature leaves open, filled up to the longest
	// with their own first element. The outputs then have the longest's size. Without it only equal ones are joined.
	PadVariable bool `json:"pad_variable,omitempty" yaml:"pad_variable,omitempty"`
	// MaxQueue is how many rows may wait; 0: 100 of the largest batches. One request may wait however large it is.
	MaxQueue int `json:"max_queue,omitempty" yaml:"max_queue,omitempty"`
	// SLO is the time in which requests are to be answered that bring no shorter deadline. One that cannot be is refused
	// when it comes, not when it is late. 0: none.
	SLO job.Duration `json:"slo,omitempty" yaml:"slo,omitempty"`
	// Wait is the longest that a request may wait before it is computed; 0: any. It is refused then, or, with Late, goes
	// behind those that have not waited as long.
	Wait job.Duration `json:"wait,omitempty" yaml:"wait,omitempty"`
	Late bool         `json:"late,omitempty" yaml:"late,omitempty"`
	// Weight is the model's share of the cores beside other models that are busy; 0: 1.
	Weight float64 `json:"weight,omitempty" yaml:"weight,omitempty"`
	// Workers is how many batches are computed at once; 0: as the runtime says. It can only be less than that.
	Workers int `json:"workers,omitempty" yaml:"workers,omitempty"`
	// Priority is that of calls that bring none.
	Priority int `json:"priority,omitempty" yaml:"priority,omitempty"`
}

// Check refuses settings that mean nothing.
func (b Batching) Check() error {
	bad := func(what string) error {
		return errs.Errorf("serve.Batching", errs.Invalid, "batching: %s", what)
	}
	switch {
	case b.MaxRows < 0 || b.MaxQueue < 0 || b.SLO < 0 || b.Wait < 0 || b.Workers < 0:
		return bad("max_rows, max_queue, workers, slo and wait are 0 or more")
	case !(b.Weight >= 0 && b.Weight <= 1e6):
		return bad("weight is between 0 and a million; 0 means 1")
	case !rising(b.Sizes):
		return bad("sizes are whole numbers above 0, each larger than the one before")
	case !rising(b.Preferred):
		return bad("preferred sizes are whole numbers above 0, each larger than the one before")
	case len(b.Sizes) > 0 && b.MaxRows > 0 && b.Sizes[len(b.Sizes)-1] != b.MaxRows:
		return bad("the last of sizes is the largest batch: leave max_rows away, or make them equal")
	case len(b.Preferred) > 0 && b.MaxRows > 0 && b.Preferred[len(b.Preferred)-1] > b.MaxRows:
		return bad("no preferred size is above max_rows")
	}
	return nil
}

func rising(sizes []int) bool {
	return len(sizes) == 0 || sizes[0] > 0 && slices.IsSorted(sizes) && len(slices.Compact(slices.Clone(sizes))) == len(sizes)
}

// Batched is what a servable tells of its queue; implemented by those that serve/batch made.
type Batched interface {
	// Queue is its state now and its counters since it was loaded.
	Queue() Queue
	// Admit refuses a request that Run would refuse, before its body is read; nil says nothing of what comes until Run.
	Admit(ctx context.Context) error
	// SetBatching changes how it queues and joins, from the next batch on; nil: as it was loaded.
	SetBatching(b *Batching) error
}

// Queue is what waits before a model, and what was joined.
type Queue struct {
	Waiting     int     `json:"waiting"` // requests, now
	WaitingRows int     `json:"waiting_rows"`
	Running     int     `json:"running"` // batches, now
	Batches     int64   `json:"batches"` // computed since it came into service
	Rows        int64   `json:"rows"`    // in them
	Padding     int64   `json:"padding"` // rows that only filled batches up
	MeanRows    float64 `json:"mean_rows"`
	// Sizes counts batches by their rows: of 1, 2, 3 to 4, 5 to 8, and so on.
	Sizes     []int64 `json:"sizes"`
	WaitP50Ms float64 `json:"wait_p50_ms"` // of the times that requests waited before they were computed
	WaitP99Ms float64 `json:"wait_p99_ms"`
	ShedFull  int64   `json:"shed_full"` // refused because the queue was full
	ShedLate  int64   `json:"shed_late"` // refused because they could not be answered in time
	Left      int64   `json:"left"`      // whose client left before they were computed

	Waits Histogram `json:"-"`
}

// Add joins what two queues did.
func (q *Queue) Add(o Queue) {
	q.Waiting += o.Waiting
	q.WaitingRows += o.WaitingRows
	q.Running += o.Running
	q.Batches += o.Batches
	q.Rows += o.Rows
	q.Padding += o.Padding
	q.ShedFull += o.ShedFull
	q.ShedLate += o.ShedLate
	q.Left += o.Left
	q.Waits.Add(&o.Waits)
	sizes := make([]int64, max(len(q.Sizes), len(o.Sizes)))
	for i := range sizes {
		if i < len(q.Sizes) {
			sizes[i] = q.Sizes[i]
		}
		if i < len(o.Sizes) {
			sizes[i] += o.Sizes[i]
		}
	}
	q.Sizes = sizes
	q.MeanRows = float64(q.Rows) / float64(max(q.Batches, 1))
	q.WaitP50Ms, q.WaitP99Ms = q.Waits.PercentileMs(0.50), q.Waits.PercentileMs(0.99)
}

// queue is what a version's queue did, where it has one.
func (i *instance) queue() (q Queue, ok bool) {
	return queueOf(i.serves())
}

func queueOf(s Servable) (q Queue, ok bool) {
	b, ok := s.(Batched)
	if !ok {
		return Queue{}, false
	}
	return b.Queue(), true
}

// queue sums over all versions that ever were; nil where none has a queue. s.mu is held.
func (s *service) queue() *Queue {
	sum, some := s.pastQueue, s.pastQueue.Batches > 0
	for _, i := range s.instances() {
		if i.loadedYet() {
			if q, ok := i.queue(); ok {
				sum.Add(q)
				some = true
			}
		}
	}
	if !some {
		return nil
	}
	return &sum
}

// SetBatching changes how the requests to a model are queued and joined, for the versions that answer now and those to
// come; nil leaves it to the runtime.
func (m *Manager) SetBatching(ctx context.Context, actor, name string, b *Batching) (Service, error) {
	if b != nil {
		if err := b.Check(); err != nil {
			return Service{}, err
		}
	}
	return m.changeTo(ctx, actor, name, func(_ *service, r *Record) (event.Event, error) {
		r.Batching = b
		return event.New("services", "service.batching", "service/"+name, actor, *r), nil
	}, func(s *service) {
		for _, i := range s.live {
			s.tune(m, i)
		}
		m.changed(s)
	})
}

// tune gives a version the settings of its service; s.change or s.mu is held.
func (s *service) tune(m *Manager, i *instance) {
	b, ok := i.serves().(Batched)
	if !ok {
		return
	}
	if err := b.SetBatching(s.record.Batching); err != nil {
		m.o.Log.Warn("a version does not take the service's settings of batching", "version", i.version.Subject(), "error", errs.Trace(err))
	}
}
