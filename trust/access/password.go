package access

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Params is what hashing a password costs: argon2id with Time passes over Memory KiB in Threads lanes.
type Params struct {
	Memory  uint32
	Time    uint32
	Threads uint8
}

// DefaultHash is the second recommended option of RFC 9106, section 4: 64 MiB, 3 passes, 4 lanes.
func DefaultHash() Params { return Params{Memory: 64 << 10, Time: 3, Threads: 4} }

// hashing bounds what all sign-ins together use: at most hashSlots × 64 MiB, and a short queue.
const (
	hashSlots = 2
	hashQueue = 16
	keyLen    = 32
)

type hasher struct {
	p     Params
	slots chan struct{}
	queue atomic.Int32
	runs  atomic.Int64 // hashes made, for tests
	none  string       // what is compared with where there is no password
}

func newHasher(p Params) *hasher {
	h := &hasher{p: p, slots: make(chan struct{}, hashSlots)}
	h.none = encode(p, make([]byte, 16), make([]byte, keyLen)) // no password gives 32 zero bytes, as far as is known
	return h
}

// enter takes a slot; leave gives it back.
func (h *hasher) enter(ctx context.Context) error {
	if h.queue.Add(1) > hashQueue {
		h.queue.Add(-1)
		return errs.Errorf("access.hash", errs.Exhausted, "too many sign-ins at once: try again in a few seconds")
	}
	defer h.queue.Add(-1)
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return errs.E("access.hash", errs.Other, ctx.Err())
	}
}

// leave gives the slot back. The last one out returns the memory to the system: the next sign-in may be hours away, and
// until then the runtime would keep 64 MiB for each hash that was made at once.
func (h *hasher) leave() {
	<-h.slots
	if len(h.slots) == 0 && h.p.Memory >= 16<<10 {
		debug.FreeOSMemory()
	}
}

func (h *hasher) key(p Params, password string, salt []byte) []byte {
	h.runs.Add(1)
	return argon2.IDKey([]byte(password), salt, p.Time, p.Memory, p.Threads, keyLen)
}

// hash is the PHC string of a new password.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	if err := h.enter(ctx); err != nil {
		return "", err
	}
	defer h.leave()
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	return encode(h.p, salt, h.key(h.p, password, salt)), nil
}

func encode(p Params, salt, key []byte) string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.Memory, p.Time, p.Threads, b64(salt), b64(key))
}

// check compares a password with a PHC string. The empty string, which no password fits, costs the same work.
func (h *hasher) check(ctx context.Context, phc, password string) (bool, error) {
	const op = "access.check"
	if len(password) > maxPassword {
		password = "" // it fits nothing, and its length must not cost more
		phc = ""
	}
	against := phc
	if against == "" {
		against = h.none
	}
	var p Params
	var version int
	parts := strings.Split(against, "$")
	if len(parts) != 6 || parts[1] != "argon2id" {
		return false, errs.Errorf(op, errs.Corrupt, "a stored password hash does not parse: set the password anew")
	}
	_, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &p.Memory, &p.Time, &p.Threads)
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	want, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil || err1 != nil || err2 != nil || version != argon2.Version || p.Memory > 1<<20 || p.Time < 1 || p.Time > 16 || p.Threads < 1 {
		return false, errs.Errorf(op, errs.Corrupt, "a stored password hash does not parse: set the password anew")
	}
	if err := h.enter(ctx); err != nil {
		return false, err
	}
	defer h.leave()
	same := subtle.ConstantTimeCompare(h.key(p, password, salt), want) == 1
	return same && phc != "", nil
}

// guess is how often signing in with a name has failed in a row.
type guess struct {
	failed int
	last   time.Time
}

// guesses slows down who tries passwords. An attempt counts as failed from its beginning, so that many at once gain
// nothing; a good one clears the name.
type guesses struct {
	mu sync.Mutex
	by map[string]guess
}

const (
	freeGuesses = 5                // before the first wait
	maxWait     = time.Minute      // more would let anyone lock out anyone
	guessMemory = 15 * time.Minute // after the last failure
	maxGuesses  = 10_000           // names kept
)

// wait is how long after the last failure the next attempt is let through: 1 s, doubling up to a minute.
func (g guess) wait() time.Duration {
	if g.failed < freeGuesses {
		return 0
	}
	return min(time.Second<<min(g.failed-freeGuesses, 10), maxWait)
}

// begin counts an attempt, or says how long to wait.
func (g *guesses) begin(name string, now time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	old, ok := g.by[name]
	if wait := old.last.Add(old.wait()).Sub(now); ok && old.wait() > 0 && wait > 0 {
		return wait
	}
	if !ok && len(g.by) >= maxGuesses {
		g.shrink(now)
	}
	g.by[name] = guess{old.failed + 1, now}
	return 0
}

// shrink forgets the names that failed long ago, and at least the one that failed first.
func (g *guesses) shrink(now time.Time) {
	oldest := ""
	for name, v := range g.by {
		if now.Sub(v.last) >= guessMemory {
			delete(g.by, name)
		} else if o, ok := g.by[oldest]; !ok || v.last.Before(o.last) {
			oldest = name
		}
	}
	if len(g.by) >= maxGuesses {
		delete(g.by, oldest)
	}
}

// undo takes back an attempt that was not made.
func (g *guesses) undo(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if v, ok := g.by[name]; ok {
		v.failed--
		g.by[name] = v
	}
}

func (g *guesses) forget(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.by, name)
}
