// Package lasting logs a trouble that lasts, such as a full disk that is met at every tick: when it begins, once a
// minute while it goes on, and when it is over.
//
//	writes := lasting.New(log, clock, "jobs: what was decided could not be written")
//	…
//	writes.Met(err, "job", id) // as often as it happens
//	…
//	writes.Over()
package lasting

import (
	"log/slog"
	"time"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
)

// Every is how often a trouble that goes on is said again.
const Every = time.Minute

// Trouble is one kind of trouble. It belongs to one goroutine.
type Trouble struct {
	log   *slog.Logger
	clock clock.Clock
	what  string
	last  error
	said  time.Time
	times int
}

// New makes one that is not met yet; what says it in words.
func New(log *slog.Logger, c clock.Clock, what string) *Trouble {
	return &Trouble{log: log, clock: c, what: what}
}

// Met notes that it happened again.
func (t *Trouble) Met(err error, attrs ...any) {
	t.times++
	now := t.clock.Now()
	if t.last == nil || now.Sub(t.said) >= Every {
		t.log.Error(t.what, append(attrs, "times", t.times, "err", errs.Trace(err))...)
		t.said = now
	}
	t.last = err
}

// Err is what callers are told while it lasts: the trouble itself where that is in words for them, else that trying again
// may help.
func (t *Trouble) Err(op string) error {
	if t.last != nil && errs.KindOf(t.last) != errs.Other {
		return errs.E(op, errs.Other, t.last)
	}
	return errs.Errorf(op, errs.Unavailable, "the server cannot write to its data folder just now: try again shortly; its log says more")
}

// Over notes that the same went well.
func (t *Trouble) Over() {
	if t.last != nil {
		t.log.Info(t.what+": no longer", "times", t.times)
	}
	t.last, t.times = nil, 0
}
