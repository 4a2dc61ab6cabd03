package api

import (
	"sync"
	"time"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
)

// How many sign-ins from one address may fail in a window before the next has to wait. Many people may sit behind one
// address; the guesses at one name are bounded by trust/access.
const (
	attemptWindow = time.Minute
	maxFailures   = 60
	maxAddresses  = 10_000 // that are remembered
)

// attempts counts sign-ins that failed, by address.
type attempts struct {
	clock clock.Clock
	mu    sync.Mutex
	seen  map[string]*failures
}

type failures struct {
	since time.Time
	n     int
}

func newAttempts(c clock.Clock) *attempts { return &attempts{clock: c, seen: map[string]*failures{}} }

// begin counts an attempt as failed beforehand, so that many at once do not slip through; done takes it back when it
// was a good one.
func (a *attempts) begin(address string) (done func(good bool), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock.Now()
	f := a.seen[address]
	if f == nil || now.Sub(f.since) >= attemptWindow {
		a.forget(now)
		f = &failures{since: now}
		a.seen[address] = f
	}
	if f.n >= maxFailures {
		wait := max(f.since.Add(attemptWindow).Sub(now).Round(time.Second), time.Second)
		return nil, errs.Errorf("api.signIn", errs.Exhausted, "too many sign-ins from %s have failed: try again in %v", address, wait)
	}
	f.n++
	return func(good bool) {
		if good {
			a.mu.Lock()
			f.n--
			a.mu.Unlock()
		}
	}, nil
}

// forget makes room: what is over first, then everything.
func (a *attempts) forget(now time.Time) {
	if len(a.seen) < maxAddresses {
		return
	}
	for address, f := range a.seen {
		if now.Sub(f.since) >= attemptWindow {
			delete(a.seen, address)
		}
	}
	if len(a.seen) >= maxAddresses {
		clear(a.seen)
	}
}
