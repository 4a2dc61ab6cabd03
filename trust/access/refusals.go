package access

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/lineshaft/lineshaft/internal/event"
)

// refusal is what was refused to whom; equal ones are counted.
type refusal struct {
	Actor, Action, Subject, Via string
}

type count struct {
	n           int64
	first, last time.Time
}

// maxRefusals is how many different refusals one batch holds; further ones are counted without their details, so that
// whoever hammers at the door fills neither the memory nor the log.
const maxRefusals = 256

type refusals struct {
	mu   sync.Mutex
	by   map[refusal]*count
	rest count
}

func (r *refusals) note(what refusal, now time.Time) {
	what.Subject = what.Subject[:min(len(what.Subject), 200)]
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.by[what]
	switch {
	case ok:
	case len(r.by) < maxRefusals:
		c = &count{first: now}
		r.by[what] = c
	default:
		if c = &r.rest; c.n == 0 {
			c.first = now
		}
	}
	c.n++
	c.last = now
}

// take empties the batch.
func (r *refusals) take() (map[refusal]*count, count) {
	r.mu.Lock()
	defer r.mu.Unlock()
	by, rest := r.by, r.rest
	r.by, r.rest = map[refusal]*count{}, count{}
	return by, rest
}

// restore puts back what could not be written.
func (r *refusals) restore(by map[refusal]*count, rest count) {
	r.mu.Lock()
	defer r.mu.Unlock()
	add := func(to *count, c count) {
		if to.n == 0 || c.first.Before(to.first) {
			to.first = c.first
		}
		if c.last.After(to.last) {
			to.last = c.last
		}
		to.n += c.n
	}
	for what, c := range by {
		if have, ok := r.by[what]; ok {
			add(have, *c)
		} else if len(r.by) < maxRefusals {
			r.by[what] = c
		} else {
			add(&r.rest, *c)
		}
	}
	if rest.n > 0 {
		add(&r.rest, rest)
	}
}

type refusedData struct {
	Action string    `json:"action"`
	Via    string    `json:"via,omitempty"`
	Count  int64     `json:"count"`
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
}

// Flush writes the refusals since the last time to the audit log, and the times of use of tokens and sessions. It
// forgets sessions and links that are over.
func (s *Service) Flush(ctx context.Context) error {
	if err := s.flushRefusals(ctx); err != nil {
		return err
	}
	return s.flushUses(ctx)
}

func (s *Service) flushRefusals(ctx context.Context) error {
	by, rest := s.refusals.take()
	var events []event.Event
	for what, c := range by {
		events = append(events, event.New("audit", "access.denied", what.Subject, what.Actor, refusedData{what.Action, what.Via, c.n, c.first, c.last}))
	}
	slices.SortFunc(events, func(a, b event.Event) int {
		return cmp.Or(cmp.Compare(a.Actor, b.Actor), cmp.Compare(a.Subject, b.Subject), slices.Compare(a.Data, b.Data))
	})
	if rest.n > 0 {
		events = append(events, event.New("audit", "access.denied", "many", "many", refusedData{"various", "", rest.n, rest.first, rest.last}))
	}
	if len(events) == 0 {
		return nil
	}
	if err := s.o.Store.Emit(ctx, events...); err != nil {
		s.refusals.restore(by, rest)
		return err
	}
	return nil
}

// flushUses writes the times of use that are ahead of what is stored.
func (s *Service) flushUses(ctx context.Context) error {
	if s.state.Load() == nil {
		return nil
	}
	return s.alter(ctx, func(v *view, now time.Time) (c Change, _ []event.Event, _ error) {
		for _, t := range v.tokens {
			if used := t.used.Load(); used != 0 && (t.LastUsed == nil || t.LastUsed.Unix() != used) {
				row := t.StoredToken
				row.Token = t.shown()
				c.Tokens = append(c.Tokens, row)
			}
		}
		for hash, k := range v.sessions {
			if s.over(k, now) {
				c.Drop = append(c.Drop, Ref{SessionKind, hash})
			} else if used := k.used.Load(); k.Used.Unix() != used {
				row := k.StoredSession
				row.Used = time.Unix(used, 0).UTC()
				c.Sessions = append(c.Sessions, row)
			}
		}
		for hash, l := range v.links {
			if !now.Before(l.Expires) {
				c.Drop = append(c.Drop, Ref{LinkKind, hash})
			}
		}
		return c, nil, nil
	})
}

// Run flushes now and then until ctx ends, and once more.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(s.o.FlushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return s.Flush(context.WithoutCancel(ctx))
		case <-tick.C:
			_ = s.Flush(ctx) // what could not be written is kept for the next time
		}
	}
}
