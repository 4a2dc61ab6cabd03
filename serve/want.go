package serve

import (
	"context"
	"slices"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/model"
)

// Want makes a set of versions the ones that are wanted of a model and returns when those that can be loaded answer and
// the others have been taken out. failed has each version that could not be loaded, with why; where that is all of
// them, what answered goes on answering. A version that is there already under another digest is loaded anew and takes
// over. With an empty set the model stays in service without a version, and why says to callers what is missing.
//
// It is how a folder of versions is followed (serve/folder): nobody deploys there, what is in service is what is there.
func (m *Manager) Want(ctx context.Context, actor, name string, versions []int64, why string) (failed map[int64]error, err error) {
	s, err := m.hold(ctx, name, nil)
	if err != nil {
		return nil, err
	}
	return carry(ctx, m, func() (map[int64]error, error) {
		defer s.done()
		w := &wanting{m: m, s: s, actor: actor, failed: map[int64]error{}}
		for _, n := range slices.Backward(sorted(versions)) { // the highest answers first
			w.add(n)
		}
		err := w.record(len(versions) > 0)
		m.reconcile(s)
		w.retire()
		if len(versions) == 0 {
			next := *s.routes.Load()
			next.why = why
			s.routes.Store(&next)
		}
		return w.failed, err
	})
}

// wanting is one call of Want.
type wanting struct {
	m        *Manager
	s        *service
	actor    string
	there    []int64
	replaced []*instance // under the number of one that is there now
	failed   map[int64]error
}

// add brings one version into memory. One that has its number and another digest answers until then.
func (w *wanting) add(n int64) {
	s := w.s
	v, err := w.m.o.Models.Resolve(w.m.ctx, s.name, n, "")
	old := s.live[n]
	if err == nil {
		if old != nil && old.version.Digest != v.Digest {
			s.mu.Lock()
			delete(s.live, n)
			s.mu.Unlock()
		}
		err = w.m.load(s, v)
	} else {
		v = model.Version{Model: s.name, Version: n}
	}
	switch {
	case err != nil:
		w.failed[n] = err
		w.m.tell(w.actor, v, err)
		if old != nil {
			s.mu.Lock()
			s.live[n] = old
			s.mu.Unlock()
		}
	case old != nil && s.live[n] != old:
		w.replaced = append(w.replaced, old)
	}
	if s.live[n] != nil {
		w.there = append(w.there, n)
	}
}

// record writes down what is wanted now, or, where nothing of it could be loaded, leaves what was.
func (w *wanting) record(some bool) error {
	s, m := w.s, w.m
	r, now := s.record, m.o.Clock.Now()
	fresh := r.Model == ""
	if fresh {
		r.Model, r.Created = s.name, now
	}
	if some && len(w.there) == 0 && !fresh {
		return nil
	}
	r.Version, r.Added, r.Actor, r.Updated = 0, sorted(w.there), w.actor, now
	if err := m.o.Store.PutService(m.ctx, r, event.New("services", "service.wanted", "service/"+s.name, w.actor, r)); err != nil {
		return errs.E("serve.Want", errs.Other, err)
	}
	s.mu.Lock()
	s.record, s.tried = r, 0
	s.mu.Unlock()
	return nil
}

// retire frees what was replaced; the routes lead to it no longer.
func (w *wanting) retire() {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	for _, i := range w.replaced {
		w.s.drop(w.m, i)
	}
}

func sorted(all []int64) []int64 {
	all = slices.Clone(all)
	slices.Sort(all)
	return slices.Compact(all)
}
