package upstream

import (
	"context"
	"net/url"
	"sync"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/serve/balance"
	"github.com/lineshaft/lineshaft/serve/scale"
)

type settings struct {
	job         job.ID // 0: of the configuration
	owner       string
	created     time.Time
	balance     balance.Policy
	health      string
	checked     bool // nobody is asked before a probe
	concurrency int
	idempotent  bool
	timeout     time.Duration
	wait        time.Duration
}

// target is a server.
type target struct {
	id     string
	base   *url.URL
	weight float64

	draining bool // what is under way may end, nothing new comes
}

// service is one name with its servers.
type service struct {
	settings
	u    *Upstreams
	name string

	mu      sync.Mutex
	b       *balance.Balancer
	targets map[string]target
	probing map[string]bool
	probed  map[string]time.Time
	changed chan struct{} // closed and replaced when somebody who waits may have a server
	ended   bool

	waiting, inFlight int
	replicas          int // that are wanted
	counts            counts

	// Since the last sample.
	policy         *scale.Policy // nil: the number is not ours
	decision       scale.Decision
	sampled        time.Time
	at             time.Time // until when busy is summed up
	busy           float64
	arrivals, done int
}

type counts struct {
	requests, errors, retries, hedges, refused int64
	codes                                      map[[2]string]int64 // by server and class of status
	seconds                                    map[string]float64  // by server
}

func newService(u *Upstreams, name string, s settings, seed uint64) *service {
	return &service{
		settings: s, u: u, name: name, targets: map[string]target{}, probing: map[string]bool{}, probed: map[string]time.Time{}, changed: make(chan struct{}),
		b:      balance.New(balance.Options{Policy: s.balance, Seed: seed, MaxInFlight: s.concurrency, Probed: s.checked || s.health != "", SlowStart: 2 * time.Second}),
		counts: counts{codes: map[[2]string]int64{}, seconds: map[string]float64{}},
	}
}

// set says which servers there are.
func (s *service) set(now time.Time, all []target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	targets := map[string]target{}
	var backends []balance.Backend
	for _, t := range all {
		targets[t.id] = t
		backends = append(backends, balance.Backend{ID: t.id, Weight: t.weight})
	}
	for k := range s.counts.codes {
		if _, there := targets[k[0]]; !there {
			delete(s.counts.codes, k)
			delete(s.counts.seconds, k[0])
			delete(s.probed, k[0])
		}
	}
	s.targets = targets
	s.b.Set(now, backends)
	for _, t := range all {
		if t.draining {
			s.b.Drain(t.id)
		}
	}
	s.tell()
}

func (s *service) wanted(n int) {
	s.mu.Lock()
	s.replicas = n
	s.mu.Unlock()
}

func (s *service) end() {
	s.mu.Lock()
	s.ended = true
	s.tell()
	s.mu.Unlock()
}

// tell wakes who waits; s.mu is held.
func (s *service) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// pass sums up what is under way; s.mu is held.
func (s *service) pass(now time.Time) {
	if !s.at.IsZero() {
		s.busy += now.Sub(s.at).Seconds() * float64(s.inFlight)
	}
	s.at = now
}

// acquire takes a server for a request, and waits for one where none may be asked: none is there, none is well, or all
// have as many requests as they may have.
func (s *service) acquire(ctx context.Context, key string, tried []string) (target, error) {
	const op = "upstream.acquire"
	deadline := time.NewTimer(s.wait)
	defer deadline.Stop()
	queued := false
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(tried) == 0 {
		s.arrivals++
	}
	defer func() {
		if queued {
			s.waiting--
		}
	}()
	for {
		if s.ended {
			return target{}, errs.Errorf(op, errs.NotFound, "the service %q has ended", s.name)
		}
		now := s.u.o.Clock.Now()
		if id, ok := s.b.Pick(now, key, tried); ok {
			s.pass(now)
			s.inFlight++
			return s.targets[id], nil
		}
		if !queued {
			if s.waiting >= s.u.o.Waiting {
				s.counts.refused++
				return target{}, errs.RetryAfter(errs.Errorf(op, errs.Exhausted, "%d requests wait for a replica of %q, as many as may: try again later", s.waiting, s.name), 2*time.Second)
			}
			queued = true
			s.waiting++
		}
		changed := s.changed
		s.mu.Unlock()
		var err error
		select {
		case <-changed:
		case <-ctx.Done():
			err = errs.E(op, errs.Other, ctx.Err())
		case <-deadline.C:
			err = errs.RetryAfter(errs.Errorf(op, errs.Unavailable, "no replica of %q became ready within %v: try again later; its owner sees why with `lineshaft why`", s.name, s.wait), 5*time.Second)
		}
		s.mu.Lock()
		if err != nil {
			s.counts.refused++
			return target{}, err
		}
	}
}

// release says how a request went.
func (s *service) release(id string, o balance.Outcome, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.u.o.Clock.Now()
	s.pass(now)
	s.inFlight--
	s.done++
	s.b.Done(now, id, o)
	if _, there := s.targets[id]; there {
		s.counts.codes[[2]string{id, code}]++
		s.counts.seconds[id] += o.Latency.Seconds()
	}
	if s.waiting > 0 {
		s.tell()
	}
}

// again says whether a request may be sent once more, and pays for it.
func (s *service) again(hedge bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.b.Retry(s.u.o.Clock.Now()) {
		return false
	}
	if hedge {
		s.counts.hedges++
	} else {
		s.counts.retries++
	}
	return true
}

// hedge is how long to wait before another server is asked as well; false where there is none to be asked.
func (s *service) hedge() (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting > 0 || s.b.Well(s.u.o.Clock.Now()) < 2 {
		return 0, false
	}
	return s.b.HedgeAfter()
}

func (s *service) count(failed bool) {
	s.mu.Lock()
	s.counts.requests++
	if failed {
		s.counts.errors++
	}
	s.mu.Unlock()
}

func (s *service) drain(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.Drain(id)
	return s.b.InFlight(id)
}

// sampleEvery is how often the policy is asked.
const sampleEvery = time.Second

// sample lets the policy see what was.
func (s *service) sample(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting > 0 {
		s.tell() // who was ejected may be tried again
	}
	span := now.Sub(s.sampled)
	if s.policy == nil || !s.sampled.IsZero() && span < sampleEvery && s.waiting == 0 {
		return
	}
	s.pass(now)
	busy := 0.0
	if !s.sampled.IsZero() && span > 0 {
		busy = s.busy / span.Seconds()
	}
	s.decision = s.policy.Step(scale.Observation{
		Now: now, Arrivals: s.arrivals, Done: s.done, Busy: busy, Waiting: float64(s.waiting), Ready: s.b.Well(now), Replicas: s.replicas,
	}, nil)
	s.sampled, s.busy, s.arrivals, s.done = now, 0, 0, 0
}

func (s *service) wish() (Wish, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.policy == nil || s.sampled.IsZero() {
		return Wish{}, false
	}
	return Wish{Job: s.job, Service: s.name, Replicas: s.replicas, Decision: s.decision, Time: s.sampled}, true
}

func (s *service) status() Status {
	w, scaled := s.wish()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Status{
		Name: s.name, Job: s.job, Servers: s.b.Stats(s.u.o.Clock.Now()), InFlight: s.inFlight, Waiting: s.waiting,
		Requests: s.counts.requests, Errors: s.counts.errors, Retries: s.counts.retries,
	}
	if scaled {
		out.Wish = &w
	}
	return out
}
