package folder

import (
	"context"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/config"
)

// actor is who changes what is in service, in events.
const actor = "folder"

// pending is how often an unfinished copy is looked at where the folders are looked at once only.
const pending = time.Second

// Run looks at the folders and tells m, until ctx ends.
func (r *Registry) Run(ctx context.Context, m *serve.Manager) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case <-timer.C:
		}
		unrested := r.Look(ctx, m)
		r.once.Do(func() { close(r.up) })
		switch {
		case r.o.Poll > 0:
			timer.Reset(r.o.Poll)
		case unrested:
			timer.Reset(pending)
		}
	}
}

// Up is closed when every folder was looked at once, and what could be loaded answers.
func (r *Registry) Up() <-chan struct{} { return r.up }

// Look looks at every folder once and brings what is in service up to it. It says whether something there is not
// finished: a copy under way, or a version to be tried again.
func (r *Registry) Look(ctx context.Context, m *serve.Manager) (unfinished bool) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return true
	}
	r.mu.Lock()
	left := r.left
	r.left = nil
	models := maps.Clone(r.models)
	r.mu.Unlock()
	for _, name := range left {
		if err := m.Undeploy(ctx, actor, name); err != nil && !errs.Is(err, errs.NotFound) {
			r.o.Log.Warn("a model could not be taken out of service", "model", name, "error", errs.Trace(err))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(models)) {
		if ctx.Err() != nil {
			return true
		}
		if r.follow(ctx, m, name, models[name]) {
			unfinished = true
		}
	}
	return unfinished
}

// follow brings one model up to its folder. The turn is held.
func (r *Registry) follow(ctx context.Context, m *serve.Manager, name string, e *entry) (unfinished bool) {
	now := r.o.Clock.Now()
	r.mu.Lock()
	err := e.look(now)
	before := maps.Clone(e.serving)
	r.mu.Unlock()
	for err == nil || !e.asked { // where the folder cannot be read, what answers goes on answering
		r.mu.Lock()
		want, why := e.wanted(now), e.why
		same := e.same(want, now)
		r.mu.Unlock()
		if same {
			break
		}
		failed, err := m.Want(ctx, actor, name, want, why)
		if err != nil {
			r.o.Log.Warn("a model could not be brought up to its folder", "model", name, "error", errs.Trace(err))
			return true
		}
		r.mu.Lock()
		e.took(want, failed, m, now, r.o.Retries)
		e.given = why
		r.mu.Unlock()
		if len(failed) == 0 {
			break
		}
	}
	r.mu.Lock()
	r.tell(name, e, err)
	if !maps.Equal(before, e.serving) {
		r.o.Log.Info("in service", "model", name, "versions", slices.Sorted(maps.Keys(e.serving)))
	}
	labels := e.ready()
	moved := !maps.Equal(labels, e.labels)
	e.labels = labels
	for _, f := range e.found {
		unfinished = unfinished || f.fault == nil && (!f.rested || !f.due.IsZero() && f.tries <= r.o.Retries)
	}
	r.mu.Unlock()
	if moved {
		m.SyncAliases(ctx, name)
	}
	return unfinished
}

// same says that the manager has nothing to do; r.mu is held.
func (e *entry) same(want []int64, now time.Time) bool {
	for _, n := range want {
		if f, u := e.source(n, now); f != nil && u != nil {
			return false // the folder's takes the place of an upload
		}
	}
	return e.asked && slices.Equal(want, slices.Sorted(maps.Keys(e.serving))) && (len(want) > 0 || e.given == e.why)
}

// wanted applies the policy to what can be served, lowest first; r.mu is held.
func (e *entry) wanted(now time.Time) (want []int64) {
	for _, n := range e.numbers() {
		if f, _ := e.source(n, now); f == nil {
			continue
		}
		switch p := e.Policy; {
		case p.All != nil:
			want = append(want, n)
		case p.Specific != nil:
			if slices.Contains(p.Specific.Versions, n) {
				want = append(want, n)
			}
		case p.Latest == nil && len(want) == 0, p.Latest != nil && int64(len(want)) < max(1, p.Latest.Versions):
			want = append(want, n)
		}
	}
	for n := range e.uploads {
		want = append(want, n)
	}
	slices.Sort(want)
	return slices.Compact(want)
}

// took notes what became of a change; r.mu is held.
func (e *entry) took(want []int64, failed map[int64]error, m *serve.Manager, now time.Time, retries int) {
	e.asked = true
	live := map[int64]bool{}
	if s, err := m.Get(e.Name); err == nil {
		for _, v := range s.Versions {
			live[v.Version] = v.State == serve.Available
		}
	}
	for n, err := range failed {
		f := e.found[n]
		if f == nil {
			continue
		}
		f.tries++
		f.due = now.Add(min(retryFirst<<min(f.tries, 20), retryMost))
		if f.tries > retries {
			f.due = now.AddDate(100, 0, 0) // until the file changes
		}
		if errs.Is(err, errs.Unavailable) { // it is being written: wait for it to rest
			f.rested, f.since = false, now
		}
	}
	serving := map[int64]string{}
	if len(want) > 0 && !slices.ContainsFunc(want, func(n int64) bool { return live[n] }) {
		for n, digest := range e.serving {
			if live[n] {
				serving[n] = digest // nothing of what was wanted came: the old ones stay
			}
		}
	}
	for _, n := range want {
		f, u := e.source(n, now)
		switch {
		case !live[n]:
		case failed[n] != nil, f != nil && u == nil && e.serving[n] != "":
			serving[n] = e.serving[n]
		case f != nil:
			serving[n] = f.print
			f.tries, f.due = 0, time.Time{}
			delete(e.uploads, n) // the folder has that number itself now
		case u != nil:
			serving[n] = u.digest
			u.bytes = nil // in memory as a network is enough
		}
	}
	e.serving = serving
}

// tell logs what keeps versions from being served, once.
func (r *Registry) tell(name string, e *entry, err error) {
	for n, f := range e.found {
		if was := e.serving[n]; was != "" && e.uploads[n] == nil && f.fault == nil && f.print != was && !f.warned {
			f.warned = true
			r.o.Log.Warn("the file of a version in service changed; what was loaded goes on answering: give the new file a number of its own", "model", name, "version", n, "file", f.path)
		}
	}
	text := e.why
	switch {
	case err != nil:
		text = err.Error()
	case len(e.serving) > 0 && !e.waits:
		text = ""
	}
	if text != "" && text != e.told {
		r.o.Log.Info("waiting for a version", "model", name, "why", text)
	}
	e.told = text
}

// Reload replaces the models and returns when those that are new answer; the error says which do not, and why.
func (r *Registry) Reload(ctx context.Context, m *serve.Manager, models []config.Model) error {
	if err := r.Configure(models); err != nil {
		return err
	}
	r.Look(ctx, m)
	var waits []string
	for _, c := range models {
		if lease, err := m.Acquire(c.Name, 0, ""); err != nil {
			waits = append(waits, err.Error())
		} else {
			lease.Release()
		}
	}
	if len(waits) > 0 {
		return errs.Errorf("folder.Reload", errs.Unavailable, "the configuration is in force, and not every model answers: %s", strings.Join(waits, "; "))
	}
	return nil
}

// Runtime is rt, which does not serve a file that changed while it was read.
func (r *Registry) Runtime(rt serve.Runtime) serve.Runtime { return careful{rt} }

type careful struct{ serve.Runtime }

func (c careful) Load(ctx context.Context, format model.Format, at io.ReaderAt, size int64) (serve.Servable, error) {
	file, ok := at.(*lying)
	if !ok {
		return c.Runtime.Load(ctx, format, at, size)
	}
	s, err := c.Runtime.Load(ctx, format, file.ReaderAt, size)
	if changed := file.check(); changed != nil {
		if err == nil {
			s.Close()
		}
		return nil, changed
	}
	return s, err
}
