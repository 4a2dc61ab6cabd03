package serve

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve/drift"
)

// instance is one life of one version, from START to END.
type instance struct {
	version  model.Version
	servable atomic.Pointer[Servable] // set before the state is AVAILABLE; later exchanged by sleep.go alone
	stats    stats
	taps     atomic.Pointer[taps]         // nil where nobody looks
	watch    atomic.Pointer[drift.Watch]  // for drift; nil where that is not watched
	drift    atomic.Pointer[drift.Report] // the last one
	drifting bool                         // as was told last; the manager's loop alone uses it
	wakes    atomic.Int64                 // how often it came back into memory
	asked    int64                        // requests when it was last seen to be asked, and
	since    time.Time                    // when that was; the service's lock guards both

	// refs counts the requests in flight and one for the manager. At zero nobody may take it any more.
	refs atomic.Int64
	idle chan struct{} // closed when refs is zero

	mu     sync.Mutex
	state  State
	err    string
	loaded time.Time

	left int64 // in which turn it left; the service's lock guards it
}

func newInstance(v model.Version) *instance {
	i := &instance{version: v, state: Start, idle: make(chan struct{})}
	i.refs.Store(1)
	return i
}

// serves is what computes; nil before it is loaded.
func (i *instance) serves() Servable {
	if s := i.servable.Load(); s != nil {
		return *s
	}
	return nil
}

func (i *instance) hold(s Servable) { i.servable.Store(&s) }

// move makes a change of state that the table has; another is a fault of ours, and stops here rather than spread.
func (i *instance) move(on Cause) {
	i.mu.Lock()
	defer i.mu.Unlock()
	to, ok := i.state.After(on)
	if !ok {
		panic("serve: version " + i.version.Subject() + " cannot go on from " + string(i.state) + " by " + string(on))
	}
	i.state = to
}

func (i *instance) status() VersionStatus {
	i.mu.Lock()
	defer i.mu.Unlock()
	v := VersionStatus{
		Version: i.version.Version, State: i.state, Error: i.err, Loaded: i.loaded,
		Requests: i.stats.requests.Load(), Errors: i.stats.errors.Load(),
	}
	if i.state == Available || i.state == Unloading {
		v.MemoryBytes, v.Work = i.serves().MemoryBytes(), i.work()
		sig := i.serves().Signature()
		v.Inputs, v.Outputs = sig.Inputs, sig.Outputs
		_, v.Asleep = i.serves().(*asleep)
		v.Wakes, v.Drift = i.wakes.Load(), i.drift.Load()
	}
	return v
}

// loadedYet says whether it was ever in memory, so that servable may be read.
func (i *instance) loadedYet() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return !i.loaded.IsZero()
}

// acquire takes the instance for one request; false when it is being freed.
func (i *instance) acquire() bool {
	for {
		n := i.refs.Load()
		if n == 0 {
			return false
		}
		if i.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (i *instance) release() {
	if i.refs.Add(-1) == 0 {
		close(i.idle)
	}
}

// drain waits for the requests in flight and frees the version.
func (i *instance) drain() {
	i.release()
	<-i.idle
	i.serves().Close()
	i.move(Free)
}

// Lease is a version held for one request: it is not freed before Release.
type Lease struct {
	i     *instance
	arm   *stats // of a release, where the request was dealt out; else nil
	begun time.Time
}

// Version is the version that answers.
func (l Lease) Version() int64 { return l.i.version.Version }

// Format is that of the version's file.
func (l Lease) Format() model.Format { return l.i.version.Format }

// Signature is what the version takes and gives.
func (l Lease) Signature() Signature { return l.i.serves().Signature() }

// Admit refuses a request that could not be answered in time. A protocol asks before it takes a body apart: under load
// that is most of what a refused request costs.
func (l Lease) Admit(ctx context.Context) error {
	if b, ok := l.i.serves().(Batched); ok {
		return b.Admit(ctx)
	}
	return nil
}

// Observe counts a request that took d.
func (l Lease) Observe(d time.Duration, failed bool) {
	l.i.stats.observe(d, failed)
	if !failed {
		l.i.stats.last.Store(l.begun.Add(d).UnixNano())
	}
	if l.arm != nil {
		l.arm.observe(d, failed)
	}
}

// Release gives the version back.
func (l Lease) Release() { l.i.release() }
