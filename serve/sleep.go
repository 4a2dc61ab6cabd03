package serve

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/job"
)

// This file lets versions that nobody asks go out of memory and come back: scale to zero within the process. A version
// that is asleep stays AVAILABLE; the first request wakes it, and those that come meanwhile wait with it, as many as
// sleepQueue and as long as their deadlines allow.

const (
	sleepQueue = 256              // requests that wait for one version
	sleepWait  = 30 * time.Second // of those that bring no deadline
	wakePause  = 2 * time.Second  // after a version could not be loaded, before it is tried again
)

// asleep stands in the place of a version that is out of memory.
type asleep struct {
	m       *Manager
	s       *service
	i       *instance
	sig     Signature
	waiting atomic.Int64

	mu  sync.Mutex
	now *waking // the one under way, or the last
}

// waking is one attempt to bring a version back.
type waking struct {
	done     chan struct{} // closed when what follows is set
	servable Servable
	err      error
	at       time.Time
}

func (a *asleep) Signature() Signature { return a.sig }
func (a *asleep) MemoryBytes() int64   { return 0 }

// Close has nothing to free: what a wake-up brings takes the sleeper's place.
func (a *asleep) Close() {}

// Run wakes the version, and computes. Whoever calls holds the version, so that it stays awake.
func (a *asleep) Run(ctx context.Context, c *Call) error {
	const op = "serve.wake"
	if a.waiting.Add(1) > sleepQueue {
		a.waiting.Add(-1)
		return errs.Errorf(op, errs.Exhausted, "%s is being brought back into memory, and %d requests wait for it already: try again in a moment", a.i.version.Subject(), sleepQueue)
	}
	w := a.wake()
	patience, cancel := context.WithTimeout(ctx, sleepWait)
	defer cancel()
	select {
	case <-w.done:
		a.waiting.Add(-1)
	case <-patience.Done():
		a.waiting.Add(-1)
		return errs.Errorf(op, errs.KindOf(patience.Err()), "%s is still being brought back into memory: try again in a moment", a.i.version.Subject())
	}
	if w.err != nil {
		return w.err
	}
	return w.servable.Run(ctx, c)
}

// wake begins to bring the version back, unless that is under way, is done, or has just failed.
func (a *asleep) wake() *waking {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w := a.now; w != nil {
		select {
		case <-w.done:
			if w.err == nil || a.m.o.Clock.Now().Sub(w.at) < wakePause {
				return w
			}
		default:
			return w
		}
	}
	w := &waking{done: make(chan struct{})}
	a.now = w
	a.i.acquire() // not freed before it is awake
	a.m.work.Go(func() {
		defer a.i.release()
		begin := time.Now()
		w.servable, w.err = a.m.fetch(a.m.ctx, a.i.version, func() {})
		if w.err == nil {
			if w.err = a.m.warm(a.i, w.servable); w.err != nil {
				w.servable.Close()
			}
		}
		w.at = a.m.o.Clock.Now()
		if w.err == nil {
			a.i.hold(w.servable)
			a.i.wakes.Add(1)
			a.s.mu.Lock()
			a.s.tune(a.m, a.i)
			a.s.mu.Unlock()
			a.m.o.Log.Info("a version is back in memory", "version", a.i.version.Subject(), "took", time.Since(begin).Round(time.Millisecond))
		} else {
			a.m.o.Log.Warn("a version could not be brought back into memory", "version", a.i.version.Subject(), "error", errs.Trace(w.err))
		}
		close(w.done)
		a.m.changed(a.s)
	})
	return w
}

// rest puts versions to sleep that nobody has asked for as long as the service allows.
func (m *Manager) rest(s *service) {
	now := m.o.Clock.Now()
	s.mu.Lock()
	after := time.Duration(s.record.Idle)
	var tired []*instance
	for _, i := range s.live {
		n := i.stats.requests.Load()
		if i.since.IsZero() || n != i.asked {
			i.asked, i.since = n, now
		}
		if after > 0 && s.record.Release == nil && i.refs.Load() == 1 && now.Sub(i.since) >= after && i.awake() {
			tired = append(tired, i)
		}
	}
	s.mu.Unlock()
	if len(tired) == 0 {
		return
	}
	select {
	case s.change <- struct{}{}:
		defer s.done()
	default:
		return // the service is being changed
	}
	for _, i := range tired {
		if s.live[i.version.Version] != i {
			continue
		}
		if m.park(s, i) {
			m.o.Log.Info("a version that nobody asks is out of memory", "version", i.version.Subject(), "after", after)
			m.changed(s)
		}
	}
}

// awake says whether the version is in memory and answers.
func (i *instance) awake() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.state != Available {
		return false
	}
	_, sleeps := i.serves().(*asleep)
	return !sleeps
}

// park takes a version out of memory; s.change is held. Requests that come after the exchange find the sleeper. Where
// nobody holds the version after it, nobody has the servable, and it is freed; else it stays.
func (m *Manager) park(s *service, i *instance) bool {
	was := i.serves()
	a := &asleep{m: m, s: s, i: i, sig: was.Signature()}
	a.mu.Lock()
	i.hold(a)
	if i.refs.Load() != 1 {
		i.hold(was)
		a.now = &waking{done: make(chan struct{}), servable: was} // for those who found the sleeper meanwhile
		close(a.now.done)
		a.mu.Unlock()
		return false
	}
	a.mu.Unlock()
	if q, ok := queueOf(was); ok {
		s.mu.Lock()
		s.pastQueue.Add(q)
		s.mu.Unlock()
	}
	was.Close()
	return true
}

// SetIdle says after how long without a request the versions of a model leave memory; 0 is never.
func (m *Manager) SetIdle(ctx context.Context, actor, name string, after time.Duration) (Service, error) {
	if err := CheckIdle(after); err != nil {
		return Service{}, err
	}
	return m.change(ctx, actor, name, func(_ *service, r *Record) (event.Event, error) {
		r.Idle = job.Duration(after)
		return event.New("services", "service.idle", "service/"+name, actor, *r), nil
	})
}

// CheckIdle refuses times that mean nothing.
func CheckIdle(after time.Duration) error {
	if after < 0 || after > 0 && after < time.Second {
		return errs.Errorf("serve.SetIdle", errs.Invalid, "%v without a request: write at least 1s, or 0s for never", after)
	}
	return nil
}
