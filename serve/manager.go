package serve

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve/release"
	"github.com/lineshaft/lineshaft/serve/requestlog"
)

const (
	defaultKeep = 2                // versions added beside the deployed one
	endedKeep   = 4                // ended versions that the status still shows
	drainGrace  = 10 * time.Second // for requests in flight when the server stops
	tickEvery   = 5 * time.Second
	samples     = 13 // so that the oldest is a minute old
	loadsAtOnce = 2
	retries     = 6 // of a version that was in service and could not be loaded again, 5 s to 160 s apart
)

// Options is what a Manager works with.
type Options struct {
	Store   Store
	Models  Models
	Runtime Runtime
	Clock   clock.Clock
	Log     *slog.Logger // nil: none
	// Keep is how many versions that were added stay beside the deployed one, the newest; 0 means 2.
	Keep int
	// MemoryLimit refuses to load what would take all versions together over it; 0 means no limit.
	MemoryLimit units.Bytes
	// Advice is what puts a model in service that is not; "`lineshaft deploy NAME` puts it there" where empty.
	Advice string
	// Warm has a version that was just loaded answer the requests that are stored with it, before it answers others. An
	// error says that it does not answer them, and it is not served. Nil: none.
	Warm func(ctx context.Context, v model.Version, l Lease) error
	// References keeps how the data of versions was distributed, to watch for drift from it. Nil watches for none.
	References References
	// Requests keeps a sample of what is asked and answered. Nil keeps none.
	Requests *requestlog.Log
	// Tick is how often rates are sampled and failed loads looked at; 0 means 5 s.
	Tick time.Duration
}

// Manager keeps models in service. Its methods may be called from any goroutine.
type Manager struct {
	o        Options
	loads    chan struct{} // a place for each load at once
	work     sync.WaitGroup
	ctx      context.Context // of loads and drains: ends with Run
	stop     context.CancelFunc
	restored chan struct{}
	once     sync.Once

	// Requests read services without a lock; it is replaced whole under mu.
	services atomic.Pointer[map[string]*service]
	mu       sync.Mutex
	closed   atomic.Bool // set under mu
}

// New makes a manager with nothing in service.
func New(o Options) *Manager {
	if o.Keep <= 0 {
		o.Keep = defaultKeep
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Tick <= 0 {
		o.Tick = tickEvery
	}
	m := &Manager{o: o, loads: make(chan struct{}, loadsAtOnce), restored: make(chan struct{})}
	m.ctx, m.stop = context.WithCancel(context.Background())
	m.services.Store(&map[string]*service{})
	return m
}

// service is one model in service.
type service struct {
	name   string
	routes atomic.Pointer[routes] // what requests read

	change chan struct{} // held by whoever changes the service, one at a time

	// Written with change and mu held, so that either is enough to read.
	record Record
	live   map[int64]*instance // from START to AVAILABLE

	mu        sync.Mutex  // also over what follows
	leaving   []*instance // UNLOADING
	ended     []*instance // newest last
	left      int64       // how many have left
	past      totals      // of ended versions that are shown no longer
	pastQueue Queue
	sampled   []totals  // oldest first
	tried     int       // retries of versions that are wanted and not there
	due       time.Time // of the next

	compared  time.Time       // when versions were last compared with their references
	rollout   *rollout        // of the record's release; replaced with change held
	releasing release.Release // that the rollout follows
}

// routes is how requests find a version. It is never changed, only replaced.
type routes struct {
	fallback *instance            // for a caller who names neither version nor label
	split    *split               // deals such callers out to fallback and a candidate; else nil
	versions map[int64]*instance  // AVAILABLE ones
	labels   map[string]*instance // by alias
	why      string               // why nothing is there, where nothing is
}

func newService(r Record) *service {
	s := &service{name: r.Model, change: make(chan struct{}, 1), record: r, live: map[int64]*instance{}}
	s.routes.Store(&routes{})
	return s
}

// Run loads what was in service before, and keeps the manager until ctx ends; then requests in flight end and
// everything is freed.
func (m *Manager) Run(ctx context.Context) error {
	const op = "serve.Run"
	defer m.close()
	records, err := m.o.Store.Services(ctx)
	if err != nil {
		return errs.E(op, errs.Other, err)
	}
	m.restore(ctx, records)
	m.once.Do(func() { close(m.restored) })
	tick := time.NewTicker(m.o.Tick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			m.sample()
			m.retry()
		}
	}
}

// Restored is closed when everything that was in service before answers again, or has said why not.
func (m *Manager) Restored() <-chan struct{} { return m.restored }

func (m *Manager) restore(ctx context.Context, records []Record) {
	var all sync.WaitGroup
	for _, r := range records {
		s, err := m.hold(ctx, r.Model, &r)
		if err != nil {
			return // ctx ended
		}
		all.Go(func() {
			defer s.done()
			m.reload(s)
			s.mu.Lock()
			s.due = m.o.Clock.Now().Add(tickEvery)
			s.mu.Unlock()
		})
	}
	all.Wait()
}

// close frees everything. Requests that still run after the grace are left to the end of the process.
func (m *Manager) close() {
	m.mu.Lock()
	m.closed.Store(true)
	old := *m.services.Load()
	m.services.Store(&map[string]*service{})
	m.mu.Unlock()
	m.stop()
	for _, s := range old {
		m.work.Go(func() {
			s.change <- struct{}{} // a change under way ends first, its loads being canceled
			s.retire(m, nil)
		})
	}
	done := make(chan struct{})
	go func() {
		m.work.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(drainGrace):
		m.o.Log.Warn("requests still run after the time allowed; the server stops without them", "after", drainGrace)
	}
}

// Acquire finds the version that is to answer: by number, by label, or with neither the highest that is AVAILABLE.
func (m *Manager) Acquire(name string, version int64, label string) (Lease, error) {
	for {
		s, ok := (*m.services.Load())[name]
		if !ok {
			return Lease{}, m.missing(name)
		}
		l, err := s.routes.Load().find(name, version, label)
		if err != nil {
			return Lease{}, err
		}
		if l.i.acquire() {
			l.begun = time.Now()
			return l, nil
		}
		// It was retired since the routes were read, and routes are replaced before that: read them again.
	}
}

// missing says why there is no such service: before everything is back after a start, and when the server stops, it is
// no answer that the model is not there.
func (m *Manager) missing(name string) error {
	const op = "serve.Acquire"
	select {
	case <-m.restored:
	default:
		return errs.Errorf(op, errs.Unavailable, "models are still being brought back into service: try again")
	}
	if m.closed.Load() {
		return errs.Errorf(op, errs.Unavailable, "the server is stopping")
	}
	advice := m.o.Advice
	if advice == "" {
		advice = "`lineshaft deploy " + errs.Clip(name) + "` puts it there"
	}
	return errs.Errorf(op, errs.NotFound, "no model %q is in service; %s", errs.Clip(name), advice)
}

func (r *routes) find(name string, version int64, label string) (Lease, error) {
	const op = "serve.Acquire"
	switch {
	case label != "":
		if i, ok := r.labels[label]; ok {
			return Lease{i: i}, nil
		}
		return Lease{}, errs.Errorf(op, errs.Invalid, "model %q has no version with the label %q in service; labels: %s",
			name, errs.Clip(label), listed(slices.Sorted(maps.Keys(r.labels))))
	case version != 0:
		if i, ok := r.versions[version]; ok {
			return Lease{i: i}, nil
		}
		return Lease{}, errs.Errorf(op, errs.NotFound, "model %q has no version %d in service; versions: %s",
			name, version, listed(slices.Sorted(maps.Keys(r.versions))))
	case r.split != nil:
		if r.split.deal() {
			return Lease{i: r.split.candidate, arm: &r.split.arms[1]}, nil
		}
		return Lease{i: r.fallback, arm: &r.split.arms[0]}, nil
	case r.fallback != nil:
		return Lease{i: r.fallback}, nil
	}
	why := r.why
	if why == "" {
		why = "it is still being loaded: try again"
	}
	return Lease{}, errs.Errorf(op, errs.Unavailable, "model %q has no version that answers: %s", name, why)
}

func listed[T any](all []T) string {
	if len(all) == 0 {
		return "none"
	}
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(all), " ", ", "), "[]")
}

// List shows every service, by name.
func (m *Manager) List() []Service {
	all := *m.services.Load()
	out := make([]Service, 0, len(all))
	for _, s := range all {
		out = append(out, s.show(m.o.Clock.Now()))
	}
	slices.SortFunc(out, func(a, b Service) int { return cmp.Compare(a.Model, b.Model) })
	return out
}

// Get shows one service.
func (m *Manager) Get(name string) (Service, error) {
	s, ok := (*m.services.Load())[name]
	if !ok {
		return Service{}, m.missing(name)
	}
	return s.show(m.o.Clock.Now()), nil
}

func (s *service) show(now time.Time) Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Service{
		Model: s.name, Version: s.record.Version, Versions: []VersionStatus{},
		Actor: s.record.Actor, Created: s.record.Created, Updated: s.record.Updated,
		Idle: s.record.Idle, Batching: s.record.Batching, Queue: s.queue(),
		Release: s.showRelease(), Last: s.record.Last, Previous: s.record.Previous,
	}
	r := s.routes.Load()
	if r.fallback != nil {
		out.Default = r.fallback.version.Version
	}
	seen := map[int64]bool{}
	for _, i := range s.instances() {
		v := i.status()
		if seen[v.Version] {
			continue // an earlier life of a version that is back
		}
		seen[v.Version] = true
		for label, to := range r.labels {
			if to == i {
				v.Labels = append(v.Labels, label)
			}
		}
		slices.Sort(v.Labels)
		out.Versions = append(out.Versions, v)
	}
	slices.SortFunc(out.Versions, func(a, b VersionStatus) int { return cmp.Compare(b.Version, a.Version) })
	t := s.totals(now)
	out.Requests, out.Errors = t.requests, t.errors
	before := &totals{at: s.record.Created}
	if len(s.sampled) > 0 {
		before = &s.sampled[0]
	}
	out.RPS, out.P50Ms, out.P99Ms = t.since(before)
	return out
}

// instances lists live ones first, then leaving ones, then ended ones, newest first; s.mu is held.
func (s *service) instances() []*instance {
	all := append(slices.Collect(maps.Values(s.live)), s.leaving...)
	for _, i := range slices.Backward(s.ended) {
		all = append(all, i)
	}
	return all
}

// totals sums over all versions that ever were; s.mu is held.
func (s *service) totals(now time.Time) totals {
	t := s.past
	t.at = now
	for _, i := range s.instances() {
		t.add(&i.stats)
	}
	return t
}

func (m *Manager) sample() {
	now := m.o.Clock.Now()
	for _, s := range *m.services.Load() {
		s.mu.Lock()
		if len(s.sampled) == samples {
			s.sampled = s.sampled[1:]
		}
		s.sampled = append(s.sampled, s.totals(now))
		s.mu.Unlock()
		m.judge(s)
		m.rest(s)
		m.drifts(s)
	}
}
