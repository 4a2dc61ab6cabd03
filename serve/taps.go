package serve

import (
	"context"
	"time"

	"github.com/lineshaft/lineshaft/serve/drift"
	"github.com/lineshaft/lineshaft/serve/requestlog"
)

// taps see what a version was asked and what it answered, each by its own sample. They are called where the request is
// answered, so they copy what they want and leave; a version without taps costs a request one look.
type taps struct {
	shadow *shadow
	watch  *drift.Watch
	log    *requestlog.Log
	i      *instance
}

// any reports whether somebody looks.
func (t *taps) any() bool { return t.shadow != nil || t.watch != nil || t.log != nil }

// Run holds a call against the signature and computes it.
func (l Lease) Run(ctx context.Context, c *Call) error {
	start := time.Now()
	err := l.compute(ctx, c)
	took := time.Since(start)
	if err == nil {
		l.i.stats.computed(start.Sub(l.begun), took, c.Rows)
	}
	if t := l.i.taps.Load(); t != nil {
		t.see(c, start, took, err)
	}
	return err
}

func (l Lease) compute(ctx context.Context, c *Call) error {
	s := l.i.serves()
	if err := s.Signature().Check(c); err != nil {
		return err
	}
	return s.Run(ctx, c)
}

func (t *taps) see(c *Call, start time.Time, took time.Duration, err error) {
	if t.shadow != nil && err == nil {
		t.shadow.see(c, took)
	}
	if t.watch != nil && err == nil {
		t.watch.Add(start.Add(took), c.In, c.Out, c.Rows)
	}
	if t.log != nil && t.log.Take() {
		t.keep(c, start, took, err)
	}
}

// keep copies a request for the log.
func (t *taps) keep(c *Call, start time.Time, took time.Duration, err error) {
	sig := t.i.serves().Signature()
	in, ok := t.log.Copy(c.In, names(sig.Inputs))
	if !ok {
		return
	}
	e := requestlog.Entry{Time: start, Model: t.i.version.Model, Version: t.i.version.Version, TookMs: took.Seconds() * 1e3, In: in}
	if err != nil {
		e.Error = err.Error()
	} else if e.Out, ok = t.log.Copy(c.Out, names(sig.Outputs)); !ok {
		return
	}
	t.log.Add(e)
}

// tap has each live version seen by those who are to see it; s.change is held.
func (s *service) tap(log *requestlog.Log) {
	for n, i := range s.live {
		t := &taps{watch: i.watch.Load(), log: log, i: i}
		if r := s.record.Release; r != nil && s.rollout != nil && n == r.Stable {
			t.shadow = s.rollout.shadow
		}
		if !t.any() {
			t = nil
		}
		i.taps.Store(t)
	}
}
