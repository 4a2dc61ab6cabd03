package serve

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/serve/release"
)

// This file leads a model from one version to another by a release (serve/release). The release is part of the model's
// record, so that it outlives the server; what the versions did under it is counted in memory and begins anew with it.

// rollout is a release under way: what the two versions did with the requests that were dealt out to them. Requests that
// name a version are not counted, for nobody dealt them.
type rollout struct {
	turn    atomic.Uint32
	arms    [2]stats // stable, candidate
	judge   *release.Judge
	changed time.Time
	seen    [2]totals // at the last look
	verdict *release.Verdict
	shadow  *shadow // of that mode
}

// split deals requests out. It is part of the routes.
type split struct {
	*rollout
	candidate *instance
	weight    uint64 // of 2³²
}

// golden is 2³² divided by the golden ratio: its multiples are spread so evenly that a share holds within any few requests.
const golden = 2654435769

// deal says whether the next request goes to the candidate.
func (s *split) deal() bool { return uint64(s.turn.Add(1)*golden) < s.weight }

func weight(percent float64) uint64 { return uint64(percent / 100 * (1 << 32)) }

// bucketEnds are where the buckets of latencies end.
func bucketEnds() []time.Duration {
	ends := make([]time.Duration, buckets)
	for b := range ends {
		ends[b] = bucketEnd(b)
	}
	return ends
}

// follow has a rollout ready for the release of the record; s.change is held.
func (m *Manager) follow(s *service) {
	r := s.record.Release
	s.mu.Lock()
	defer s.mu.Unlock()
	switch was := s.rollout; {
	case r == nil:
		was.stop()
		s.rollout, s.releasing = nil, release.Release{}
		return
	case was == nil || s.releasing.Candidate != r.Candidate || !s.releasing.Since.Equal(r.Since):
		was.stop()
		s.rollout = &rollout{changed: r.Changed}
		if r.Rule != nil {
			s.rollout.judge = release.NewJudge(*r.Rule, bucketEnds(), m.o.Clock.Now())
		}
	case was.judge != nil && !was.changed.Equal(r.Changed):
		was.judge.Step(m.o.Clock.Now())
		was.changed, was.verdict = r.Changed, nil
	}
	s.releasing = *r
	if candidate := s.live[r.Candidate]; r.Mode == release.Shadow && candidate != nil {
		if o := s.rollout; o.shadow == nil || o.shadow.candidate != candidate {
			o.stop()
			o.shadow = m.newShadow(candidate)
		}
		s.rollout.shadow.weight.Store(weight(r.Percent))
	}
}

// stop ends what works for the release.
func (o *rollout) stop() {
	if o != nil && o.shadow != nil {
		o.shadow.end()
	}
}

// lead makes the routes of a release; s.change is held.
func (s *service) lead(next *routes) {
	r := s.record.Release
	if r == nil {
		return
	}
	if i := s.live[r.Stable]; i != nil {
		next.fallback = i
	}
	candidate := s.live[r.Candidate]
	if candidate == nil || r.Mode == release.Shadow || r.Percent == 0 || next.fallback == candidate {
		return
	}
	next.split = &split{rollout: s.rollout, candidate: candidate, weight: weight(r.Percent)}
}

// judge looks at what the versions of a release did since the last look.
func (m *Manager) judge(s *service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, r := s.rollout, &s.releasing
	if o == nil || o.judge == nil {
		return
	}
	var window [2]release.Counts
	for arm := range o.arms {
		var t totals
		t.add(&o.arms[arm])
		window[arm] = t.window(&o.seen[arm])
		o.seen[arm] = t
	}
	o.judge.Observe(window[0], window[1])
	if o.verdict != nil && (o.verdict.Call == release.Promote || o.verdict.Call == release.Advance) {
		if !o.judge.Worse() {
			return // it is said once, and stands until it is done
		}
	}
	next, more := r.Next()
	v := o.judge.Look(m.o.Clock.Now(), next, more)
	o.verdict = &v
}

// window is what happened since an earlier moment.
func (t *totals) window(before *totals) release.Counts {
	c := release.Counts{Requests: t.requests - before.requests, Errors: t.errors - before.errors, Latency: make([]int64, buckets)}
	for b := range c.Latency {
		c.Latency[b] = t.latency[b] - before.latency[b]
	}
	return c
}

// showRelease is the release with what is known of it; s.mu is held.
func (s *service) showRelease() *release.Release {
	if s.record.Release == nil {
		return nil
	}
	r := *s.record.Release
	if o := s.rollout; o != nil {
		r.Verdict, r.Copies = o.verdict, o.shadow.show()
	}
	return &r
}

// stable is the version that a release would lead away from.
func (s *service) stable() int64 {
	if i := s.routes.Load().fallback; i != nil {
		return i.version.Version
	}
	return s.record.Version
}

// PlanRelease says what a plan would make of the model's release, and changes nothing.
func (m *Manager) PlanRelease(ctx context.Context, actor, name string, p release.Plan) (Service, error) {
	s, ok := (*m.services.Load())[name]
	if !ok {
		return Service{}, m.missing(name)
	}
	r, _, err := m.planned(ctx, s, actor, p)
	if err != nil {
		return Service{}, err
	}
	out := s.show(m.o.Clock.Now())
	out.Release = &r
	return out, nil
}

// planned is the release that the plan asks for, and whether it begins.
func (m *Manager) planned(ctx context.Context, s *service, actor string, p release.Plan) (r release.Release, begins bool, err error) {
	s.mu.Lock()
	now, under := m.o.Clock.Now(), s.record.Release
	s.mu.Unlock()
	if under != nil {
		r, err = p.Change(*under, actor, now)
		return r, false, err
	}
	v, err := m.o.Models.Resolve(ctx, s.name, p.Candidate, "")
	if err != nil {
		return r, true, err
	}
	stable := s.stable()
	if stable == 0 {
		return r, true, errs.Errorf("serve.SetRelease", errs.Conflict, "model %q has no version that answers, so that there is nothing to lead away from: deploy one", s.name)
	}
	r, err = p.Begin(stable, v.Version, actor, now)
	return r, true, err
}

// SetRelease begins a release of the model, or moves the share of the one under way, and returns when that holds.
func (m *Manager) SetRelease(ctx context.Context, actor, name string, p release.Plan) (Service, error) {
	return m.change(ctx, actor, name, func(s *service, r *Record) (event.Event, error) {
		planned, begins, err := m.planned(m.ctx, s, actor, p)
		if err != nil {
			return event.Event{}, err
		}
		r.Release = &planned
		if !begins {
			return event.New("services", "service.release_changed", "service/"+name, actor, planned), nil
		}
		v, err := m.o.Models.Resolve(m.ctx, name, planned.Candidate, "")
		if err != nil {
			return event.Event{}, err
		}
		if err := m.load(s, v); err != nil {
			m.failed(s, actor, v, err)
			return event.Event{}, err
		}
		return event.New("services", "service.release_began", "service/"+name, actor, planned), nil
	})
}

// AdvanceRelease moves the share of a release from one step to another. Where it has moved already, nothing is done.
func (m *Manager) AdvanceRelease(ctx context.Context, actor, name string, candidate int64, from, to float64, reasons []string) error {
	const op = "serve.AdvanceRelease"
	s, ok := (*m.services.Load())[name]
	if !ok {
		return m.missing(name)
	}
	s.mu.Lock()
	now := s.record.Release
	s.mu.Unlock()
	if now != nil && now.Candidate == candidate && now.Percent == to {
		return nil
	}
	_, err := m.change(ctx, actor, name, func(_ *service, r *Record) (event.Event, error) {
		if r.Release == nil || r.Release.Candidate != candidate || r.Release.Percent != from {
			return event.Event{}, errs.Errorf(op, errs.Conflict, "the release of %s has changed since this was decided", name)
		}
		next, err := release.Plan{Percent: &to}.Change(*r.Release, actor, m.o.Clock.Now())
		if err != nil {
			return event.Event{}, err
		}
		r.Release = &next
		detail := map[string]any{"release": next, "reasons": reasons}
		return event.New("services", "service.release_changed", "service/"+name, actor, detail), nil
	})
	return err
}

// EndRelease promotes the candidate or rolls it back. Candidate 0 is whichever is under way; where a release of the
// candidate has ended so already, nothing is done.
func (m *Manager) EndRelease(ctx context.Context, actor, name string, candidate int64, o release.Outcome, reasons []string) (Service, error) {
	const op = "serve.EndRelease"
	if o != release.Promoted && o != release.RolledBack {
		return Service{}, errs.Errorf(op, errs.Invalid, "a release ends as promoted or rolled_back, not as %.40q", string(o))
	}
	if s, ok := (*m.services.Load())[name]; ok {
		s.mu.Lock()
		done := s.record.Release == nil && s.record.Last != nil && candidate != 0 && s.record.Last.Release.Candidate == candidate && s.record.Last.Outcome == o
		s.mu.Unlock()
		if done {
			return s.show(m.o.Clock.Now()), nil
		}
	}
	return m.change(ctx, actor, name, func(s *service, r *Record) (event.Event, error) {
		switch {
		case r.Release == nil:
			return event.Event{}, errs.Errorf(op, errs.NotFound, "no release of %s is under way; `lineshaft deploy %[1]s:VERSION --canary 10%%` begins one", name)
		case candidate != 0 && r.Release.Candidate != candidate:
			return event.Event{}, errs.Errorf(op, errs.Conflict, "a release of version %d is under way by now, not of %d", r.Release.Candidate, candidate)
		case o == release.Promoted && s.live[r.Release.Candidate] == nil:
			return event.Event{}, errs.Errorf(op, errs.Conflict, "version %d is not loaded and cannot take over; `lineshaft services show %s` says why", r.Release.Candidate, name)
		}
		r.end(s, o, reasons, actor, m.o.Clock.Now())
		return event.New("services", "service.release_ended", "service/"+name, actor, r.Last), nil
	})
}

// end takes the release out of the record.
func (r *Record) end(s *service, o release.Outcome, reasons []string, actor string, now time.Time) {
	if r.Release == nil {
		return
	}
	s.mu.Lock()
	last := release.Ended{Release: *s.showRelease(), Outcome: o, Reasons: reasons, Actor: actor, Time: now}
	s.mu.Unlock()
	r.Last, r.Release = &last, nil
	switch stable, candidate := last.Release.Stable, last.Release.Candidate; o {
	case release.Promoted:
		r.Previous, r.Version, r.Added = stable, candidate, nil
	case release.RolledBack:
		// Without a release the highest version answers: what was added beside must not outrank the stable one.
		kept := r.Added[:0:0]
		for _, n := range r.Added {
			if n <= stable {
				kept = append(kept, n)
			}
		}
		r.Added = kept
		if r.Version != stable && r.Version > stable {
			r.Version = stable
		}
	}
}

// change edits the record of a model in service and brings the service to it.
func (m *Manager) change(ctx context.Context, actor, name string, edit func(*service, *Record) (event.Event, error)) (Service, error) {
	return m.changeTo(ctx, actor, name, edit, m.reconcile)
}

// changeTo edits the record of a model in service and, once that is written, has bring bring the service to it.
func (m *Manager) changeTo(ctx context.Context, actor, name string, edit func(*service, *Record) (event.Event, error), bring func(*service)) (Service, error) {
	if _, ok := (*m.services.Load())[name]; !ok {
		return Service{}, m.missing(name)
	}
	s, err := m.hold(ctx, name, nil)
	if err != nil {
		return Service{}, err
	}
	return carry(ctx, m, func() (Service, error) {
		defer s.done()
		if s.record.Model == "" {
			m.forget(s)
			return Service{}, m.missing(name)
		}
		r := s.record
		r.Actor, r.Updated = actor, m.o.Clock.Now()
		e, err := edit(s, &r)
		if err == nil {
			err = m.o.Store.PutService(m.ctx, r, e)
		}
		if err != nil {
			m.settle(s)
			return Service{}, err
		}
		s.mu.Lock()
		s.record = r
		s.mu.Unlock()
		bring(s)
		return s.show(m.o.Clock.Now()), nil
	})
}
