// Package upstream puts servers that are not ours behind the serving port: the replicas of a service (a job with `serve`),
// and servers elsewhere that the configuration names. It is the runtime `process`: whatever a model's own server can do,
// it does, and Lineshaft runs, checks, balances, scales and guards it.
//
//	/v1/models/NAME…  /v2/models/NAME…            reach a server that speaks TensorFlow Serving's or KServe's protocol
//	/v1/chat/completions  /v1/completions  …      reach the server that the field "model" of the body names
//	/services/NAME/REST                           reaches any server, at /REST
//
// A request goes to one of the replicas that are well (serve/balance). Where none is, it is held until one is, within
// bounds of number and time: a service without replicas gets one that way, for what waits is what control/scale sees.
// What may be sent twice is sent again, within a budget, when a replica dies under it; what may not is sent again only when
// it cannot have arrived. Answers that are whole within a megabyte are kept until they are, so that a replica that dies
// half-way through one is no loss; others, streams among them, are passed on as they come.
//
// A model of the registry that is in service goes before a server of the same name. The caller's credentials end here:
// no server sees them.
package upstream

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/id"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/serve/balance"
	"github.com/lineshaft/lineshaft/serve/scale"
)

// Jobs is what is needed of the owner of jobs; *job.Runner is one.
type Jobs interface {
	// Active lists the jobs that have not ended, by ID.
	Active(ctx context.Context) ([]job.Job, error)
	// Changed is closed when a job is next written.
	Changed() <-chan struct{}
}

// External is a service of servers elsewhere, as the configuration has it.
type External struct {
	Name        string       `yaml:"name"`
	Servers     []Server     `yaml:"servers"`
	Health      string       `yaml:"health,omitempty"` // path that answers 2xx; none: only what fails tells
	Balance     string       `yaml:"balance,omitempty"`
	Concurrency int          `yaml:"concurrency,omitempty"` // requests that a server gets at once; no bound when 0
	Timeout     job.Duration `yaml:"timeout,omitempty"`     // until an answer begins; 5m
	Wait        job.Duration `yaml:"wait,omitempty"`        // that a request is held while no server is well; 10s
	Idempotent  bool         `yaml:"idempotent,omitempty"`  // a request of any method may be sent twice
}

// Server is one of them.
type Server struct {
	URL    string  `yaml:"url"`
	Weight float64 `yaml:"weight,omitempty"` // 1
}

// Validate says what is wrong with it.
func (e External) Validate() error {
	const op = "upstream.Validate"
	if err := id.CheckName("upstream", e.Name); err != nil {
		return err
	}
	if len(e.Servers) == 0 {
		return errs.Errorf(op, errs.Invalid, "%s has no servers: give their URLs", e.Name)
	}
	for _, s := range e.Servers {
		u, err := url.Parse(s.URL)
		switch {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
			return errs.Errorf(op, errs.Invalid, "%s: %q is no server: write http://HOST:PORT or https://HOST, with a path where it has one", e.Name, s.URL)
		case !(s.Weight >= 0) || s.Weight > 1e6:
			return errs.Errorf(op, errs.Invalid, "%s: the weight %v of %s: give 0 to 1000000", e.Name, s.Weight, s.URL)
		}
	}
	switch {
	case e.Health != "" && !strings.HasPrefix(e.Health, "/"):
		return errs.Errorf(op, errs.Invalid, "%s: health is %q: give a path such as /health", e.Name, e.Health)
	case !slices.Contains([]string{"", "p2c", "least", "ring"}, e.Balance):
		return errs.Errorf(op, errs.Invalid, "%s: balance is %q: give p2c, least or ring", e.Name, e.Balance)
	case e.Concurrency < 0 || e.Timeout < 0 || e.Wait < 0:
		return errs.Errorf(op, errs.Invalid, "%s: concurrency, timeout and wait must not be negative", e.Name)
	}
	return nil
}

// Options of New.
type Options struct {
	Jobs     Jobs
	External []External
	Clock    clock.Clock
	Log      *slog.Logger
	Shadowed func(name string) bool // a model of ours answers under the name; nil: none does
	Seed     uint64                 // of the balancers
	Tick     time.Duration          // between looks at load and at who is not well; 0: 250 ms
	Waiting  int                    // requests of one service that may be held; 0: 1000
	Scale    func(*scale.Options)   // changes how services are scaled, for tests; may be nil
	Whole    int64                  // bytes of a body or an answer that is kept whole; 0: 1 MiB
}

// Upstreams are the services. Its methods may be called from any goroutine.
type Upstreams struct {
	o         Options
	transport *http.Transport

	mu       sync.RWMutex
	services map[string]*service
	owners   map[job.ID]*service
	warned   map[job.ID]bool // used by sync alone
}

// New makes what answers for the external servers at once, and for jobs while Run runs.
func New(o Options) *Upstreams {
	if o.Tick == 0 {
		o.Tick = 250 * time.Millisecond
	}
	if o.Waiting == 0 {
		o.Waiting = 1000
	}
	if o.Whole == 0 {
		o.Whole = 1 << 20
	}
	if o.Shadowed == nil {
		o.Shadowed = func(string) bool { return false }
	}
	u := &Upstreams{o: o, services: map[string]*service{}, owners: map[job.ID]*service{}, warned: map[job.ID]bool{}}
	u.transport = newTransport()
	for i, e := range o.External {
		s := newService(u, e.Name, settings{
			balance: balance.Policy(e.Balance), health: e.Health, concurrency: e.Concurrency, idempotent: e.Idempotent,
			timeout: or(time.Duration(e.Timeout), 5*time.Minute), wait: or(time.Duration(e.Wait), 10*time.Second),
		}, o.Seed+uint64(i))
		var all []target
		for k, server := range e.Servers {
			base, err := url.Parse(server.URL)
			if err != nil {
				continue // Validate has looked at it
			}
			all = append(all, target{id: fmt.Sprint(k), base: base, weight: server.Weight})
		}
		s.set(o.Clock.Now(), all)
		u.services[e.Name] = s
	}
	return u
}

func or(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// Run follows the jobs, probes and looks at the load until ctx ends.
func (u *Upstreams) Run(ctx context.Context) error {
	defer u.transport.CloseIdleConnections()
	var probes sync.WaitGroup
	defer probes.Wait()
	tick := time.NewTicker(u.o.Tick)
	defer tick.Stop()
	var changed <-chan struct{}
	for {
		next := u.o.Jobs.Changed()
		if changed != next {
			jobs, err := u.o.Jobs.Active(ctx)
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil:
				u.o.Log.Warn("upstream: jobs could not be looked at", "err", errs.Trace(err))
			default:
				changed = next
				u.sync(jobs)
			}
		}
		for _, s := range u.all() {
			s.sample(u.o.Clock.Now())
			s.probe(ctx, &probes)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-tick.C:
		}
	}
}

func (u *Upstreams) all() []*service {
	u.mu.RLock()
	defer u.mu.RUnlock()
	out := slices.Collect(maps.Values(u.services))
	slices.SortFunc(out, func(a, b *service) int { return strings.Compare(a.name, b.name) })
	return out
}

// sync brings the services up to the jobs. Of two that want one name the older has it, and the configuration's before.
func (u *Upstreams) sync(jobs []job.Job) {
	now := u.o.Clock.Now()
	seen := map[job.ID]bool{}
	for _, j := range jobs {
		v := j.Spec.Serve
		if v == nil {
			continue
		}
		u.mu.Lock()
		s := u.owners[j.ID]
		if s == nil && u.services[v.Model] == nil && j.State != job.Stopping {
			s = newService(u, v.Model, settings{
				job: j.ID, balance: balance.Policy(v.Balance), health: v.Health, checked: true, concurrency: v.Concurrency, idempotent: v.Idempotent,
				timeout: time.Duration(v.Timeout), wait: time.Duration(v.Wait), owner: j.Owner, created: j.Created,
			}, u.o.Seed+uint64(j.ID))
			if c := j.Spec.Scale; c != nil {
				capacity := float64(v.Concurrency)
				o := scale.Options{Min: c.Min, Max: c.Max, Capacity: capacity, Target: c.TargetConcurrency, SLO: time.Duration(c.SLO), Start: time.Duration(c.Start)}
				if u.o.Scale != nil {
					u.o.Scale(&o)
				}
				s.policy = scale.New(o)
			}
			u.owners[j.ID], u.services[v.Model] = s, s
		}
		u.mu.Unlock()
		if s == nil {
			if !u.warned[j.ID] && j.State != job.Stopping {
				u.warned[j.ID] = true
				u.o.Log.Warn("upstream: the name of a service is taken, so nobody asks it", "service", v.Model, "job", j.ID)
			}
			continue
		}
		seen[j.ID] = true
		var all []target
		for _, t := range j.Tasks {
			if t.Port != 0 && (t.State == job.Running || t.State == job.Stopping) {
				all = append(all, target{
					id: fmt.Sprintf("%d#%d", t.Index, t.Attempt), base: &url.URL{Scheme: "http", Host: t.Address()}, draining: t.State == job.Stopping,
				})
			}
		}
		s.wanted(j.Spec.Tasks)
		s.set(now, all)
		if j.State == job.Stopping {
			s.end() // what is under way may end
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for id, s := range u.owners {
		if !seen[id] {
			delete(u.owners, id)
			delete(u.services, s.name)
			s.end()
		}
	}
}

// find is the service that answers under a name; nil where none does.
func (u *Upstreams) find(name string) *service {
	u.mu.RLock()
	s := u.services[name]
	u.mu.RUnlock()
	if s == nil || u.o.Shadowed(name) {
		return nil
	}
	return s
}

// Serves says whether replicas of a job are asked here.
func (u *Upstreams) Serves(id job.ID) bool {
	u.mu.RLock()
	defer u.mu.RUnlock()
	return u.owners[id] != nil
}

// Drain lets a replica get no more requests, and returns when it has none under way or ctx ends.
func (u *Upstreams) Drain(ctx context.Context, id job.ID, index, attempt int) {
	u.mu.RLock()
	s := u.owners[id]
	u.mu.RUnlock()
	if s == nil {
		return
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for s.drain(fmt.Sprintf("%d#%d", index, attempt)) > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Wish is how many replicas a service should have.
type Wish struct {
	Job      job.ID         `json:"job"`
	Service  string         `json:"service"`
	Replicas int            `json:"replicas"` // that it is to have now
	Decision scale.Decision `json:"decision"`
	Time     time.Time      `json:"time"`
}

// Wishes are those of all services that follow their load, by job.
func (u *Upstreams) Wishes() (out []Wish) {
	for _, s := range u.all() {
		if w, ok := s.wish(); ok {
			out = append(out, w)
		}
	}
	slices.SortFunc(out, func(a, b Wish) int { return int(a.Job - b.Job) })
	return out
}

// Status is a service as it is now.
type Status struct {
	Name     string         `json:"name"`
	Job      job.ID         `json:"job,omitempty"`
	Servers  []balance.Stat `json:"servers"`
	InFlight int            `json:"in_flight"` // at servers
	Waiting  int            `json:"waiting"`   // for one
	Requests int64          `json:"requests"`
	Errors   int64          `json:"errors"`
	Retries  int64          `json:"retries"`
	Wish     *Wish          `json:"wish,omitempty"`
}

// List shows every service, by name.
func (u *Upstreams) List() (out []Status) {
	for _, s := range u.all() {
		out = append(out, s.status())
	}
	return out
}
