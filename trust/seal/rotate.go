package seal

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
)

// Holding is one record that holds wrapped data keys.
type Holding struct {
	ID      string // of the record, for whoever keeps it and for messages
	Context string
	Wrapped []string
}

// Holder keeps wrapped keys; the store is one.
type Holder interface {
	// WrappedKeys lists every record that holds wrapped keys.
	WrappedKeys(ctx context.Context) ([]Holding, error)
	// SwapKeys puts next in the place of h.Wrapped, if that is still what the record holds, and reports whether it was.
	SwapKeys(ctx context.Context, h Holding, next []string) (bool, error)
	// Mentions reports whether any record at all holds something that is wrapped under the key-encryption key.
	Mentions(ctx context.Context, kek string) (bool, error)
	Emit(ctx context.Context, events ...event.Event) error
}

// RetireAfter is how long a key-encryption key is kept after the next one took its place: what was wrapped under it and
// was on its way into a record has arrived by then.
const RetireAfter = 24 * time.Hour

// Rotator changes the key-encryption key of everything that is kept.
//
// A rotation is three steps, each of which leaves everything readable and can be begun again: a new key is added to the
// keyring; every data key is wrapped anew under it, record by record; keys that were replaced a day ago and that no
// record speaks of are dropped. The sealed bytes are not touched. A server that crashed in between finishes at its start.
type Rotator struct {
	Keys   *Keyring
	Holder Holder
	Clock  clock.Clock

	mu sync.Mutex // one at a time
}

// Rotation says what a rotation did.
type Rotation struct {
	Keys      []KeyInfo `json:"keys"`      // after it, oldest first
	Rewrapped int       `json:"rewrapped"` // data keys
	Retired   []string  `json:"retired"`   // key-encryption keys
	Damaged   []string  `json:"damaged"`   // records whose keys do not open; nothing they need is retired
}

// Rotate begins to wrap under a new key and finishes what can be finished now.
func (r *Rotator) Rotate(ctx context.Context, actor string) (Rotation, error) {
	const op = "seal.Rotate"
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.Keys.Rotate(r.Clock.Now()); err != nil {
		return Rotation{}, err
	}
	primary := r.Keys.Primary()
	if err := r.Holder.Emit(ctx, event.New("audit", "key.rotated", "key/"+primary, actor, nil)); err != nil {
		return Rotation{}, errs.E(op, errs.Other, err)
	}
	return r.finish(ctx, actor)
}

// Finish does what an interrupted rotation left to do, and retires keys whose time has come. The server calls it when
// it starts.
func (r *Rotator) Finish(ctx context.Context) (Rotation, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.Keys.Keys()) == 1 {
		return Rotation{Keys: r.Keys.Keys(), Retired: []string{}, Damaged: []string{}}, nil
	}
	return r.finish(ctx, "service/keys")
}

func (r *Rotator) finish(ctx context.Context, actor string) (Rotation, error) {
	const op = "seal.finish"
	out := Rotation{Retired: []string{}, Damaged: []string{}}
	all, err := r.Holder.WrappedKeys(ctx)
	if err != nil {
		return out, errs.E(op, errs.Other, err)
	}
	for _, h := range all {
		n, damaged, err := r.rewrap(ctx, h)
		if err != nil {
			return out, errs.E(op, errs.Other, err)
		}
		out.Rewrapped += n
		if damaged {
			out.Damaged = append(out.Damaged, h.ID)
		}
	}
	if out.Retired, err = r.retire(ctx, actor); err != nil {
		return out, errs.E(op, errs.Other, err)
	}
	out.Keys = r.Keys.Keys()
	return out, nil
}

// rewrap brings one record's keys under the primary key. Keys that do not open stay as they are.
func (r *Rotator) rewrap(ctx context.Context, h Holding) (n int, damaged bool, err error) {
	next := slices.Clone(h.Wrapped)
	for i, w := range h.Wrapped {
		again, err := r.Keys.Rewrap(w, h.Context)
		switch {
		case err != nil:
			damaged = true
		case again != w:
			next[i] = again
			n++
		}
	}
	if n == 0 {
		return 0, damaged, nil
	}
	swapped, err := r.Holder.SwapKeys(ctx, h, next)
	if err != nil || !swapped { // somebody wrote the record meanwhile: under the primary key
		n = 0
	}
	return n, damaged, err
}

// retire drops the keys that were replaced long enough ago and that nothing needs. The event comes first: what cannot be
// written down is not done.
func (r *Rotator) retire(ctx context.Context, actor string) ([]string, error) {
	retired := []string{}
	keys := r.Keys.Keys()
	for i, k := range keys[:len(keys)-1] {
		if r.Clock.Now().Sub(keys[i+1].Created) < RetireAfter {
			continue
		}
		needed, err := r.Holder.Mentions(ctx, k.ID)
		if err != nil {
			return retired, err
		}
		if needed {
			continue
		}
		if err := r.Holder.Emit(ctx, event.New("audit", "key.retired", "key/"+k.ID, actor, nil)); err != nil {
			return retired, err
		}
		if err := r.Keys.Retire(k.ID); err != nil {
			return retired, err
		}
		retired = append(retired, k.ID)
	}
	return retired, nil
}
