package serve

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve/release"
)

// This file changes what is in service. The rules:
//
//   - Changes of one model come one after another; those of different models run beside each other.
//   - New versions are loaded before anything is recorded, recorded before requests are led to them, and old ones are
//     retired last. A crash in between leaves what was recorded, and a failure what answered.
//   - A change that has begun is carried to its end although its caller goes away.

// Deploy makes a version the one that is wanted of a model, replacing all others, and returns when it answers. Version
// 0 is the newest of the registry.
func (m *Manager) Deploy(ctx context.Context, actor, name string, version int64) (Service, error) {
	v, err := m.o.Models.Resolve(ctx, name, version, "")
	if err != nil {
		return Service{}, err
	}
	return m.put(ctx, actor, "service.deployed", v, func(s *service, r *Record) {
		r.end(s, release.Replaced, nil, actor, m.o.Clock.Now())
		if r.Version != v.Version {
			r.Previous = r.Version
		}
		r.Version, r.Added = v.Version, nil
	})
}

// Add puts a version in service beside the others and returns when it answers. Of the versions that were added the
// newest few stay. It moves no alias.
func (m *Manager) Add(ctx context.Context, actor string, v model.Version) (Service, error) {
	return m.put(ctx, actor, "service.added", v, func(_ *service, r *Record) {
		if v.Version == r.Version {
			return
		}
		added := slices.DeleteFunc(slices.Clone(r.Added), func(n int64) bool { return n == v.Version })
		added = append(added, v.Version)
		slices.Sort(added)
		r.Added = added[max(0, len(added)-m.o.Keep):]
	})
}

// put changes the record of v's model and brings the service to it.
func (m *Manager) put(ctx context.Context, actor, kind string, v model.Version, edit func(*service, *Record)) (Service, error) {
	s, err := m.hold(ctx, v.Model, nil)
	if err != nil {
		return Service{}, err
	}
	return carry(ctx, m, func() (Service, error) {
		defer s.done()
		before := s.record // written under change only
		r, now := before, m.o.Clock.Now()
		if r.Model == "" {
			r.Model, r.Created = v.Model, now
		}
		r.Actor, r.Updated = actor, now
		edit(s, &r)
		if !slices.Contains(r.wanted(), v.Version) {
			return s.show(now), nil // newer ones were added while it came
		}
		if err := m.load(s, v); err != nil {
			m.failed(s, actor, v, err)
			return Service{}, err
		}
		if err := m.o.Store.PutService(m.ctx, r, event.New("services", kind, "service/"+v.Model, actor, r)); err != nil {
			m.settle(s)
			return Service{}, err
		}
		s.mu.Lock()
		s.record, s.tried = r, 0
		s.mu.Unlock()
		m.reconcile(s)
		return s.show(now), nil
	})
}

// failed says that v was to be served and could not be, and brings the service back to its record.
func (m *Manager) failed(s *service, actor string, v model.Version, err error) {
	m.tell(actor, v, err)
	m.settle(s)
}

// tell says that v was to be served and could not be.
func (m *Manager) tell(actor string, v model.Version, err error) {
	m.o.Log.Warn("a version could not be loaded", "version", v.Subject(), "error", errs.Trace(err))
	detail := map[string]any{"model": v.Model, "version": v.Version, "error": err.Error()}
	if err := m.o.Store.Emit(m.ctx, event.New("services", "service.failed", "service/"+v.Model, actor, detail)); err != nil {
		m.o.Log.Warn("the failure could not be recorded", "error", errs.Trace(err))
	}
}

// settle brings a service back to its record after a change that came to nothing.
func (m *Manager) settle(s *service) {
	if s.record.Model != "" {
		m.reconcile(s)
		return
	}
	m.forget(s) // the model was never in service
	s.retire(m, nil)
}

// Undeploy takes a model out of service and returns when no new request reaches it; those in flight end.
func (m *Manager) Undeploy(ctx context.Context, actor, name string) error {
	if _, ok := (*m.services.Load())[name]; !ok {
		return m.missing(name)
	}
	s, err := m.hold(ctx, name, nil)
	if err != nil {
		return err
	}
	_, err = carry(ctx, m, func() (struct{}, error) {
		defer s.done()
		if s.record.Model == "" {
			m.forget(s)
			return struct{}{}, m.missing(name)
		}
		e := event.New("services", "service.undeployed", "service/"+name, actor, s.record)
		if err := m.o.Store.DeleteService(m.ctx, name, e); err != nil {
			return struct{}{}, err
		}
		m.forget(s)
		s.retire(m, nil)
		return struct{}{}, nil
	})
	return err
}

// SyncAliases brings the labels of a model up to the registry's aliases. It is called when an alias has moved and
// returns when the label answers with the new version; where that cannot be loaded, the old one goes on answering and
// the new one's status says why.
func (m *Manager) SyncAliases(ctx context.Context, name string) {
	if _, ok := (*m.services.Load())[name]; !ok {
		return
	}
	s, err := m.hold(ctx, name, nil)
	if err != nil {
		return
	}
	_, _ = carry(ctx, m, func() (struct{}, error) {
		defer s.done()
		m.settle(s)
		return struct{}{}, nil
	})
}

// carry runs a change to its end although the caller may stop waiting for it.
func carry[T any](ctx context.Context, m *Manager, change func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	m.work.Go(func() {
		v, err := change()
		done <- result{v, err}
	})
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		var none T
		return none, errs.Errorf("serve.carry", errs.KindOf(ctx.Err()), "stopped waiting; the change goes on and `lineshaft services` shows its end")
	}
}

// hold finds or makes a service and takes the right to change it. r is the record of one that is being restored.
func (m *Manager) hold(ctx context.Context, name string, r *Record) (*service, error) {
	for {
		m.mu.Lock()
		if m.closed.Load() {
			m.mu.Unlock()
			return nil, errs.Errorf("serve.hold", errs.Unavailable, "the server is stopping")
		}
		all := *m.services.Load()
		s, ok := all[name]
		if !ok {
			s = newService(Record{})
			s.name = name
			if r != nil {
				s.record = *r
			}
			all = maps.Clone(all)
			all[name] = s
			m.services.Store(&all)
		}
		m.mu.Unlock()
		select {
		case s.change <- struct{}{}:
		case <-ctx.Done():
			return nil, errs.E("serve.hold", errs.KindOf(ctx.Err()), ctx.Err())
		}
		if (*m.services.Load())[name] == s {
			return s, nil
		}
		s.done() // it was taken out of service while we waited
	}
}

func (s *service) done() { <-s.change }

// forget takes a service off the list.
func (m *Manager) forget(s *service) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := maps.Clone(*m.services.Load())
	if all[s.name] == s {
		delete(all, s.name)
		m.services.Store(&all)
	}
	m.emit(event.Progress("services", "service.removed", "service/"+s.name, "system", map[string]string{"model": s.name}))
}

// reload brings back what a record wants after a start.
func (m *Manager) reload(s *service) {
	for _, n := range slices.Backward(s.record.wanted()) {
		v, err := m.o.Models.Resolve(m.ctx, s.name, n, "")
		if err != nil {
			v = model.Version{Model: s.name, Version: n}
			s.fail(newInstance(v), err)
		} else {
			err = m.load(s, v)
		}
		if err != nil {
			m.o.Log.Warn("a version that was in service could not be loaded again", "version", v.Subject(), "error", errs.Trace(err))
		}
	}
	m.reconcile(s)
}

// retry loads again, later and later, what a record wants and could not be had after a start: the disk or the memory
// may have been short.
func (m *Manager) retry() {
	now := m.o.Clock.Now()
	for name, s := range *m.services.Load() {
		s.mu.Lock()
		there := !slices.ContainsFunc(s.record.wanted(), func(n int64) bool { return s.live[n] == nil })
		due := !there && s.tried < retries && !now.Before(s.due)
		if due {
			s.tried++
			s.due = now.Add(tickEvery << s.tried)
		}
		s.mu.Unlock()
		if !due {
			continue
		}
		m.work.Go(func() {
			if held, err := m.hold(m.ctx, name, nil); err == nil {
				defer held.done()
				if held.record.Model == "" {
					m.settle(held)
					return
				}
				m.reload(held)
			}
		})
	}
}

// wanted lists the versions of the record, lowest first.
func (r Record) wanted() []int64 {
	all := slices.Clone(r.Added)
	if r.Version != 0 {
		all = append(all, r.Version)
	}
	if r.Release != nil {
		all = append(all, r.Release.Stable, r.Release.Candidate)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// reconcile loads the versions that aliases point to, leads requests by the record and the aliases, and retires what
// is wanted by neither. The versions of the record are loaded before.
func (m *Manager) reconcile(s *service) {
	old := s.routes.Load()
	next := &routes{versions: map[int64]*instance{}, labels: map[string]*instance{}}
	keep := map[int64]bool{}
	for _, n := range s.record.wanted() {
		keep[n] = true
		if i := s.live[n]; i != nil {
			if r := s.record.Release; r == nil || r.Candidate != n || next.fallback == nil && r.Mode != release.Shadow {
				next.fallback = i // the highest comes last
			}
		}
	}
	m.follow(s)
	s.lead(next)
	for label, n := range m.aliases(s, old) {
		i := s.live[n]
		if i == nil {
			if i = m.loadAlias(s, label, n); i == nil {
				i = old.labels[label] // the label goes on answering as it did
			}
		}
		if i != nil {
			next.labels[label], keep[i.version.Version] = i, true
		}
	}
	for n, i := range s.live {
		if keep[n] {
			next.versions[n] = i
		}
	}
	if next.fallback == nil {
		next.why = s.reason()
	}
	s.routes.Store(next)
	s.tap(m.o.Requests)
	s.retire(m, keep)
	m.changed(s)
}

// aliases asks the registry; where it cannot say, the labels stay as they are.
func (m *Manager) aliases(s *service, old *routes) map[string]int64 {
	reg, err := m.o.Models.Model(m.ctx, s.name)
	if err == nil {
		return reg.Aliases
	}
	m.o.Log.Warn("the aliases of a model could not be read", "model", s.name, "error", errs.Trace(err))
	same := map[string]int64{}
	for label, i := range old.labels {
		same[label] = i.version.Version
	}
	return same
}

func (m *Manager) loadAlias(s *service, label string, n int64) *instance {
	v, err := m.o.Models.Resolve(m.ctx, s.name, n, "")
	if err == nil {
		err = m.load(s, v)
	}
	if err != nil {
		m.o.Log.Warn("the version of a label could not be loaded", "model", s.name, "label", label, "version", n, "error", errs.Trace(err))
	}
	return s.live[n]
}

// load reads v into memory beside what is there; one that is there already is enough.
func (m *Manager) load(s *service, v model.Version) error {
	if s.live[v.Version] != nil {
		return nil
	}
	i := newInstance(v)
	s.mu.Lock()
	s.live[v.Version] = i
	s.mu.Unlock()
	m.changed(s)
	servable, err := m.fetch(m.ctx, v, func() { i.move(Begin) })
	if err == nil {
		if err = m.warm(i, servable); err != nil {
			servable.Close()
		}
	}
	if err != nil {
		s.fail(i, err)
		return err
	}
	i.hold(servable)
	m.watch(i)
	if s.record.Batching != nil {
		s.tune(m, i)
	}
	i.mu.Lock()
	i.loaded = m.o.Clock.Now()
	i.mu.Unlock()
	i.move(Loaded)
	return nil
}

// fetch waits for its turn, says so, and reads the version. A fault in a reader ends that load and nothing else.
func (m *Manager) fetch(ctx context.Context, v model.Version, begun func()) (servable Servable, err error) {
	const op = "serve.load"
	select {
	case m.loads <- struct{}{}:
		defer func() { <-m.loads }()
	case <-ctx.Done():
		return nil, errs.Errorf(op, errs.Unavailable, "the server is stopping")
	}
	begun()
	defer func() {
		if p := recover(); p != nil {
			servable, err = nil, errs.Errorf(op, errs.Corrupt, "reading %s failed unexpectedly: %v", v.Subject(), p)
		}
	}()
	if err := m.room(v); err != nil {
		return nil, err
	}
	at, err := m.o.Models.Open(ctx, v)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	return m.o.Runtime.Load(ctx, v.Format, at, v.Size)
}

// room refuses what would go over the limit, before it is read.
func (m *Manager) room(v model.Version) error {
	if m.o.MemoryLimit == 0 {
		return nil
	}
	used := int64(0)
	for _, s := range m.List() {
		for _, i := range s.Versions {
			used += i.MemoryBytes
		}
	}
	if used+v.Size > int64(m.o.MemoryLimit) {
		return errs.Errorf("serve.load", errs.Exhausted, "%s needs about %s and models in service hold %s of %s: take one out with `lineshaft undeploy`",
			v.Subject(), units.Bytes(v.Size), units.Bytes(used), m.o.MemoryLimit)
	}
	return nil
}

// fail ends an instance that could not be loaded.
func (s *service) fail(i *instance, err error) {
	i.mu.Lock()
	i.err = err.Error()
	i.mu.Unlock()
	i.move(Fail)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, i.version.Version)
	s.leave(i)
	s.bury(i)
}

// leave numbers an instance that goes, in the order in which they go; s.mu is held.
func (s *service) leave(i *instance) {
	s.left++
	i.left = s.left
}

// bury shows an ended instance a while longer; s.mu is held. Which ones are shown goes by when they left, not by whose
// last request ended last.
func (s *service) bury(i *instance) {
	s.ended = append(s.ended, i)
	slices.SortFunc(s.ended, func(a, b *instance) int { return cmp.Compare(a.left, b.left) })
	if len(s.ended) > endedKeep {
		s.past.add(&s.ended[0].stats)
		if q, ok := s.ended[0].queue(); ok {
			s.pastQueue.Add(q)
		}
		s.ended = s.ended[1:]
	}
}

// reason is why the newest version failed.
func (s *service) reason() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range slices.Backward(s.ended) {
		if i.err != "" {
			return i.version.Subject() + " could not be loaded: " + i.err
		}
	}
	return ""
}

// retire frees the live versions that are not to be kept, each when its requests have ended. No route leads to them.
func (s *service) retire(m *Manager, keep map[int64]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, i := range s.live {
		if keep[n] {
			continue
		}
		delete(s.live, n)
		s.drop(m, i)
	}
}

// drop frees an instance that is live no longer, when its requests have ended; s.mu is held.
func (s *service) drop(m *Manager, i *instance) {
	s.leave(i)
	s.leaving = append(s.leaving, i)
	i.move(Drop)
	m.work.Go(func() {
		i.drain()
		s.mu.Lock()
		s.leaving = slices.DeleteFunc(s.leaving, func(other *instance) bool { return other == i })
		s.bury(i)
		s.mu.Unlock()
		m.changed(s)
	})
}

// changed tells the console.
func (m *Manager) changed(s *service) {
	m.emit(event.Progress("services", "service.changed", "service/"+s.name, "system", s.show(m.o.Clock.Now())))
}

func (m *Manager) emit(e event.Event) {
	if err := m.o.Store.Emit(context.WithoutCancel(m.ctx), e); err != nil {
		m.o.Log.Warn("listeners could not be told", "error", errs.Trace(err))
	}
}
