// Package balance chooses which of several backends answers a request. It sends nothing, reads no clock and starts no
// goroutine: the time is handed in, chance comes from a seed, and the caller, who holds the lock, says how each request
// went.
//
//	b := balance.New(balance.Options{Seed: 1})
//	b.Set(now, []balance.Backend{{ID: "a"}, {ID: "b", Weight: 2}})
//	id, ok := b.Pick(now, "", nil)
//	… send …
//	b.Done(now, id, balance.Outcome{Latency: 12 * time.Millisecond})
//
// Who is chosen: of two that are drawn by weight, the one with the lower peak-EWMA latency × requests under way (P2C); the
// one with the fewest requests under way (Least); the one that a key hashes to, and the next on the ring where it has more
// than its share (Ring, bounded load). A backend that is new gets its share slowly.
//
// Who is not: what an active probe found ill; what failed several times in a row is ejected for a time that doubles, then
// tried with one request at a time (outlier ejection, a circuit breaker for each backend), though never more than a part
// of all at once; what has as many requests as it may have; what drains. Retries and hedges are paid from a budget, so
// that trouble is not multiplied.
package balance

import (
	"cmp"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"
	"time"
)

// Policy is how a backend is chosen.
type Policy string

// The policies.
const (
	P2C   Policy = "p2c"   // power of two choices by peak-EWMA
	Least Policy = "least" // fewest under way
	Ring  Policy = "ring"  // by the request's key
)

// Options of a balancer. A zero field takes the default.
type Options struct {
	Policy      Policy        // P2C
	Seed        uint64        // of what is left to chance
	Decay       time.Duration // in which a latency counts by 1/e; 10 s
	SlowStart   time.Duration // until a new backend has its whole share; 10 s, negative: at once
	MaxInFlight int           // of one backend; 0: no bound
	Bound       float64       // of Ring: at most so many times the mean under way; 1.25
	Probed      bool          // a backend gets requests only after a probe found it well

	Failures int           // in a row, after which a backend is ejected; 5
	Eject    time.Duration // the first time; 5 s, doubling up to MaxEject
	MaxEject time.Duration // 2 min
	Part     float64       // of all backends that may be ejected at once; 0.5, one at the least
	Rise     int           // probes in a row that find it well; 1
	Fall     int           // probes in a row that find it ill; 3

	RetryRatio float64 // retries and hedges for each request; 0.2
	RetryMin   float64 // of them a second, whatever comes; 3
	HedgeAt    float64 // the part of requests that are faster than the wait before a hedge; 0.95
}

// Defaults fills in what is absent.
func (o Options) Defaults() Options {
	o.Policy = cmp.Or(o.Policy, P2C)
	o.Decay = cmp.Or(o.Decay, 10*time.Second)
	o.SlowStart = cmp.Or(o.SlowStart, 10*time.Second)
	o.Bound = max(1, cmp.Or(o.Bound, 1.25))
	o.Failures = cmp.Or(o.Failures, 5)
	o.Eject = cmp.Or(o.Eject, 5*time.Second)
	o.MaxEject = cmp.Or(o.MaxEject, 2*time.Minute)
	o.Part = cmp.Or(o.Part, 0.5)
	o.Rise = cmp.Or(o.Rise, 1)
	o.Fall = cmp.Or(o.Fall, 3)
	o.RetryRatio = cmp.Or(o.RetryRatio, 0.2)
	o.RetryMin = cmp.Or(o.RetryMin, 3)
	o.HedgeAt = cmp.Or(o.HedgeAt, 0.95)
	return o
}

// Backend is one that may answer.
type Backend struct {
	ID     string
	Weight float64 // of its share; 0: 1
}

// Outcome is how a request went.
type Outcome struct {
	Latency time.Duration // until the answer began
	Failed  bool          // by the backend's fault
	Gone    bool          // it failed since nobody listens there: where backends are probed, the next probe says when it is back
	Left    bool          // the caller went away, or another was faster: it says nothing of the backend
}

// state is what is known of a backend.
type state struct {
	Backend
	inFlight int
	ewma     float64 // seconds; 0: unknown
	measured time.Time
	since    time.Time // of its slow start

	well     bool
	rise     int
	fall     int
	draining bool

	failures int // in a row
	ejected  time.Time
	until    time.Time
	times    int  // ejected so often without being well for long between
	trying   bool // one request is to show whether it is well again

	requests, failed int64
}

// Balancer keeps what is known of the backends. It is used by one goroutine at a time.
type Balancer struct {
	o      Options
	rng    *rand.Rand
	all    []*state // by ID
	ring   []point
	budget budget
	times  times
}

// New makes a balancer without backends; the options get their defaults.
func New(o Options) *Balancer {
	o = o.Defaults()
	return &Balancer{o: o, rng: rand.New(rand.NewPCG(o.Seed, 0x62616c)), budget: budget{ratio: o.RetryRatio, least: o.RetryMin}}
}

// Set says which backends there are. What was known of one that stays is kept, its requests under way too.
func (b *Balancer) Set(now time.Time, backends []Backend) {
	old := map[string]*state{}
	for _, s := range b.all {
		old[s.ID] = s
	}
	all := make([]*state, 0, len(backends))
	for _, x := range backends {
		if !(x.Weight > 0) || math.IsInf(x.Weight, 0) {
			x.Weight = 1
		}
		s := old[x.ID]
		if s == nil {
			s = &state{since: now, well: !b.o.Probed}
			old[x.ID] = s
		} else if slices.Contains(all, s) {
			continue
		}
		s.Backend = x
		all = append(all, s)
	}
	slices.SortFunc(all, func(x, y *state) int { return cmp.Compare(x.ID, y.ID) })
	b.all = all
	b.makeRing()
}

func (b *Balancer) find(id string) *state {
	i, ok := slices.BinarySearchFunc(b.all, id, func(s *state, id string) int { return cmp.Compare(s.ID, id) })
	if !ok {
		return nil
	}
	return b.all[i]
}

// Drain lets a backend get no more requests.
func (b *Balancer) Drain(id string) {
	if s := b.find(id); s != nil {
		s.draining = true
	}
}

// InFlight is how many requests a backend works on; 0 where it is not known.
func (b *Balancer) InFlight(id string) int {
	if s := b.find(id); s != nil {
		return s.inFlight
	}
	return 0
}

// weight is a backend's share now, less while it is new.
func (b *Balancer) weight(s *state, now time.Time) float64 {
	if b.o.SlowStart <= 0 {
		return s.Weight
	}
	return s.Weight * min(1, max(0.1, now.Sub(s.since).Seconds()/b.o.SlowStart.Seconds()))
}

// Pick chooses a backend and counts the request to it until Done. None of tried is chosen while there is another. It is
// false where nobody may be asked: no backend, none of them well, or all of them with as many requests as they may have.
func (b *Balancer) Pick(now time.Time, key string, tried []string) (id string, ok bool) {
	may, full := b.candidates(now, tried)
	if len(may) == 0 && !full {
		may, _ = b.candidates(now, nil)
	}
	if len(may) == 0 {
		return "", false
	}
	s := may[0]
	switch {
	case b.o.Policy == Ring && key != "":
		s = b.onRing(key, may)
	case b.o.Policy == Least:
		s = b.least(now, may)
	case len(may) > 1:
		s = b.twoChoices(now, may)
	}
	s.inFlight++
	s.requests++
	if !s.until.IsZero() {
		s.trying = true
	}
	if len(tried) == 0 {
		b.budget.earn(now)
	}
	return s.ID, true
}

// candidates are those that may get a request; full says that another may as soon as one that it has ends.
func (b *Balancer) candidates(now time.Time, tried []string) (may []*state, full bool) {
	for _, s := range b.all {
		switch {
		case !s.well || s.draining || slices.Contains(tried, s.ID):
		case !s.until.IsZero() && (now.Before(s.until) || s.trying): // ejected, or being tried
		case b.o.MaxInFlight > 0 && s.inFlight >= b.o.MaxInFlight:
			full = true
		default:
			may = append(may, s)
		}
	}
	return may, full
}

// draw takes one by weight.
func (b *Balancer) draw(now time.Time, from []*state, not *state) *state {
	var sum float64
	for _, s := range from {
		if s != not {
			sum += b.weight(s, now)
		}
	}
	at := b.rng.Float64() * sum
	var last *state
	for _, s := range from {
		if s == not {
			continue
		}
		last = s
		if at -= b.weight(s, now); at < 0 {
			break
		}
	}
	return last
}

// near is how much better the second of two must be: below it the draw, which is by weight, decides. Differences of less
// than a network's own are none.
const (
	near    = 1.25
	network = 1e-3 // seconds
)

func (b *Balancer) twoChoices(now time.Time, may []*state) *state {
	first := b.draw(now, may, nil)
	second := b.draw(now, may, first)
	if b.score(second, now)*near < b.score(first, now) {
		return second
	}
	return first
}

// score is what a request is expected to take there.
func (b *Balancer) score(s *state, now time.Time) float64 {
	return (b.latency(s, now) + network) * (1 + float64(s.inFlight)/b.weight(s, now))
}

// latency is the peak-EWMA of a backend: it rises at once to what was seen and falls slowly, unasked too. Of one that
// was not asked yet it is the mean of the others.
func (b *Balancer) latency(s *state, now time.Time) float64 {
	if s.ewma > 0 {
		return max(s.ewma*math.Exp(-now.Sub(s.measured).Seconds()/b.o.Decay.Seconds()), 1e-6)
	}
	sum, n := 0.0, 0
	for _, o := range b.all {
		if o.ewma > 0 {
			sum += o.ewma
			n++
		}
	}
	if n == 0 {
		return 1e-3
	}
	return sum / float64(n)
}

func (b *Balancer) least(now time.Time, may []*state) *state {
	best, ties := may[0], 1
	for _, s := range may[1:] {
		x, y := float64(s.inFlight)/b.weight(s, now), float64(best.inFlight)/b.weight(best, now)
		switch {
		case x < y:
			best, ties = s, 1
		case x == y: // one of all that tie, each as likely
			if ties++; b.rng.IntN(ties) == 0 {
				best = s
			}
		}
	}
	return best
}

// Done says how a request went that was picked.
func (b *Balancer) Done(now time.Time, id string, o Outcome) {
	s := b.find(id)
	if s == nil {
		return
	}
	s.inFlight = max(0, s.inFlight-1)
	trial := s.trying
	s.trying = false
	if o.Left {
		return
	}
	if o.Failed {
		s.failed++
		s.failures++
		if o.Gone && b.o.Probed {
			s.well, s.rise = false, 0
			return
		}
		if trial || s.failures >= b.o.Failures {
			b.eject(s, now)
		}
		return
	}
	s.failures = 0
	if trial {
		s.until, s.since = time.Time{}, now // back, with a small share at first
	} else if s.times > 0 && now.Sub(s.ejected) > 2*b.o.MaxEject {
		s.times = 0
	}
	l := o.Latency.Seconds()
	b.times.add(now, o.Latency)
	if w := math.Exp(-now.Sub(s.measured).Seconds() / b.o.Decay.Seconds()); s.ewma == 0 || l > s.ewma*w {
		s.ewma = l
	} else {
		s.ewma = s.ewma*w + l*(1-w)
	}
	s.measured = now
}

// eject takes a backend out for a while, unless too many are out.
func (b *Balancer) eject(s *state, now time.Time) {
	out := 0
	for _, o := range b.all {
		if o != s && !o.until.IsZero() {
			out++
		}
	}
	if s.until.IsZero() && out+1 > max(1, int(b.o.Part*float64(len(b.all)))) {
		return
	}
	s.failures, s.ejected = 0, now
	s.until = now.Add(min(b.o.MaxEject, b.o.Eject<<min(s.times, 20)))
	s.times++
}

// Probe says what an active health check found.
func (b *Balancer) Probe(now time.Time, id string, well bool) {
	s := b.find(id)
	if s == nil {
		return
	}
	if well {
		s.fall = 0
		if s.rise++; s.rise >= b.o.Rise && !s.well {
			s.well, s.since = true, now
		}
		return
	}
	s.rise = 0
	if s.fall++; s.fall >= b.o.Fall {
		s.well = false
	}
}

// Well is how many backends may get requests, were they to have room.
func (b *Balancer) Well(now time.Time) (n int) {
	for _, s := range b.all {
		if s.well && !s.draining && !now.Before(s.until) {
			n++
		}
	}
	return n
}

// Stat is a backend as it is now.
type Stat struct {
	ID       string        `json:"id"`
	Weight   float64       `json:"weight"`
	State    string        `json:"state"` // well, ill (by probes), ejected, trying, draining
	InFlight int           `json:"in_flight"`
	Latency  time.Duration `json:"latency_ns"` // peak-EWMA
	Requests int64         `json:"requests"`
	Failed   int64         `json:"failed"`
}

// Stats are the backends, by ID.
func (b *Balancer) Stats(now time.Time) []Stat {
	out := make([]Stat, 0, len(b.all))
	for _, s := range b.all {
		x := Stat{ID: s.ID, Weight: s.Weight, State: "well", InFlight: s.inFlight, Requests: s.requests, Failed: s.failed}
		if s.ewma > 0 {
			x.Latency = time.Duration(b.latency(s, now) * float64(time.Second))
		}
		switch {
		case s.draining:
			x.State = "draining"
		case !s.well:
			x.State = "ill"
		case now.Before(s.until):
			x.State = "ejected"
		case !s.until.IsZero():
			x.State = "trying"
		}
		out = append(out, x)
	}
	return out
}

// point is a place on the ring.
type point struct {
	hash uint64
	s    *state
}

// points is how many places a backend of weight 1 has on the ring.
const points = 160

func (b *Balancer) makeRing() {
	if b.ring = b.ring[:0]; b.o.Policy != Ring {
		return
	}
	for _, s := range b.all {
		for i := range min(10*points, max(1, int(math.Round(points*s.Weight)))) {
			b.ring = append(b.ring, point{hash(s.ID + "#" + strconv.Itoa(i)), s})
		}
	}
	slices.SortFunc(b.ring, func(x, y point) int { return cmp.Or(cmp.Compare(x.hash, y.hash), cmp.Compare(x.s.ID, y.s.ID)) })
}

// hash is FNV-1a with its bits mixed once more: of short texts alone it fills the ring unevenly.
func hash(text string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text)) // never fails
	x := h.Sum64()
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// onRing walks from the key's place to the first that may be asked and has not more than its bounded share (Mirrokni,
// Thorup and Zadimoghaddam, 2016).
func (b *Balancer) onRing(key string, may []*state) *state {
	total, weights := 1, 0.0
	for _, s := range may {
		total += s.inFlight
		weights += s.Weight
	}
	at := hash(key)
	i := sort.Search(len(b.ring), func(i int) bool { return b.ring[i].hash >= at })
	for k := range b.ring {
		s := b.ring[(i+k)%len(b.ring)].s
		if slices.Contains(may, s) && float64(s.inFlight) < math.Ceil(b.o.Bound*float64(total)*s.Weight/weights) {
			return s
		}
	}
	return may[0]
}
