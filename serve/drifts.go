package serve

import (
	"context"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve/drift"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// This file watches versions for drift (serve/drift), tells when a version's state changes, and takes references.

// References keeps how the data of versions was distributed.
type References interface {
	// Reference of a version that has none is errs.NotFound.
	Reference(ctx context.Context, v model.Version) (*drift.Reference, error)
	PutReference(ctx context.Context, actor string, v model.Version, r *drift.Reference) error
}

// reportEvery is how often versions are compared with their references.
const reportEvery = 30 * time.Second

// watch begins to watch a version that was loaded.
func (m *Manager) watch(i *instance) {
	if m.o.References == nil {
		return
	}
	ref, err := m.o.References.Reference(m.ctx, i.version)
	if err != nil && !errs.Is(err, errs.NotFound) {
		m.o.Log.Warn("how the data of a version was distributed cannot be read: its drift is not watched", "version", i.version.Subject(), "error", errs.Trace(err))
		return
	}
	sig := i.serves().Signature()
	i.watch.Store(drift.NewWatch(ref, names(sig.Inputs), names(sig.Outputs)))
}

func names(specs []tensor.Spec) (all []string) {
	for _, s := range specs {
		all = append(all, s.Name)
	}
	return all
}

// drifts compares the versions of a service with their references, when that is due.
func (m *Manager) drifts(s *service) {
	now := m.o.Clock.Now()
	s.mu.Lock()
	if now.Sub(s.compared) < reportEvery {
		s.mu.Unlock()
		return
	}
	s.compared = now
	var all []*instance
	for _, i := range s.live {
		all = append(all, i)
	}
	s.mu.Unlock()
	for _, i := range all {
		w := i.watch.Load()
		if w == nil {
			continue
		}
		r := w.Report(time.Now()) // the clock of requests
		if r == nil {
			continue
		}
		i.drift.Store(r)
		if r.State == drift.TooFew {
			continue // nobody asks: that is no end of it
		}
		if is := r.State == drift.Drifted; is != i.drifting {
			i.drifting = is
			m.tellDrift(i, r, is)
		}
	}
}

// tellDrift records that a version has begun or ceased to drift.
func (m *Manager) tellDrift(i *instance, r *drift.Report, is bool) {
	kind := "service.drift_ended"
	if is {
		kind = "service.drift"
		m.o.Log.Warn("what a version is asked or answers is no longer distributed as its reference", "version", i.version.Subject(), "feature", r.Worst[0].Name, "psi", r.Worst[0].PSI)
	}
	detail := map[string]any{"model": i.version.Model, "version": i.version.Version, "drift": r}
	m.emit(event.New("services", kind, "service/"+i.version.Model, "system", detail))
}

// TakeReference makes the requests that a version was lately asked its reference; version 0 is the one that answers who
// names none.
func (m *Manager) TakeReference(ctx context.Context, actor, name string, version int64) (*drift.Reference, error) {
	const op = "serve.TakeReference"
	l, err := m.Acquire(name, version, "")
	if err != nil {
		return nil, err
	}
	defer l.Release()
	w := l.i.watch.Load()
	if w == nil {
		return nil, errs.Errorf(op, errs.Unsupported, "drift is not watched on this server")
	}
	ref, err := w.Take()
	if err != nil {
		return nil, err
	}
	return ref, m.o.References.PutReference(ctx, actor, l.i.version, ref)
}
