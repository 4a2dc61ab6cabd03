package serve

import "time"

// Work is what a version did since it was loaded, and where the time of its requests went. Times are sums over requests
// that were answered, except Failed.
type Work struct {
	Rows       int64         // that were answered
	Executions int64         // batches that were computed
	Waiting    int           // requests, now
	Last       time.Time     // when the last request was answered
	Total      time.Duration // of all requests, refused ones too
	Failed     time.Duration // of those that were refused or failed
	Input      time.Duration // reading requests
	Queue      time.Duration // waiting
	Compute    time.Duration
	Output     time.Duration // writing answers
}

// work adds up what the version did. The counters are read one after another while requests go on, so that figures may
// be a request apart; none is below zero.
func (i *instance) work() Work {
	s := &i.stats
	w := Work{
		Rows: s.rows.Load(), Executions: s.requests.Load() - s.errors.Load(),
		Total: time.Duration(s.nanos.Load()), Failed: time.Duration(s.failedNanos.Load()),
		Input: time.Duration(s.input.Load()), Compute: time.Duration(s.run.Load()),
	}
	w.Output = max(0, w.Total-w.Failed-w.Input-w.Compute)
	if last := s.last.Load(); last != 0 {
		w.Last = time.Unix(0, last)
	}
	if b, ok := i.serves().(Batched); ok {
		q := b.Queue()
		w.Executions, w.Waiting = q.Batches, q.Waiting
		w.Queue = min(time.Duration(q.Waits.Nanos), w.Compute)
		w.Compute -= w.Queue
	}
	return w
}
