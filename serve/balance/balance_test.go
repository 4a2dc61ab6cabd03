package balance_test

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/serve/balance"
)

// server is a simulated backend: it works on some requests at once, in order, and may fail.
type server struct {
	takes   time.Duration
	slots   []time.Time // when each is free
	failing bool
}

type ending struct {
	at     time.Time
	id     string
	began  time.Time
	failed bool
}

type endings []ending

func (e endings) Len() int           { return len(e) }
func (e endings) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e endings) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *endings) Push(x any)        { *e = append(*e, x.(ending)) }
func (e *endings) Pop() any {
	x := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return x
}

// world is a service behind a balancer, in virtual time.
type world struct {
	b       *balance.Balancer
	now     time.Time
	rng     *rand.Rand
	servers map[string]*server
	pending endings
	got     map[string]int
	failed  map[string]int
	waits   []time.Duration
	refused int
}

func newWorld(o balance.Options, servers map[string]*server, weights map[string]float64) *world {
	w := &world{
		b: balance.New(o), now: time.Unix(1000, 0), rng: rand.New(rand.NewPCG(7, 7)), servers: servers,
		got: map[string]int{}, failed: map[string]int{},
	}
	var all []balance.Backend
	for id := range servers {
		all = append(all, balance.Backend{ID: id, Weight: weights[id]})
	}
	w.b.Set(w.now, all)
	return w
}

// run sends requests at a rate, as chance has it.
func (w *world) run(n int, perSecond float64) {
	for range n {
		w.pass(w.now.Add(time.Duration(w.rng.ExpFloat64() / perSecond * float64(time.Second))))
		id, ok := w.b.Pick(w.now, "", nil)
		if !ok {
			w.refused++
			continue
		}
		w.send(id)
	}
}

func (w *world) send(id string) {
	s := w.servers[id]
	w.got[id]++
	if s.failing {
		heap.Push(&w.pending, ending{w.now.Add(time.Millisecond), id, w.now, true})
		return
	}
	i := 0
	for k := range s.slots {
		if s.slots[k].Before(s.slots[i]) {
			i = k
		}
	}
	from := w.now
	if s.slots[i].After(from) {
		from = s.slots[i]
	}
	s.slots[i] = from.Add(time.Duration((0.5 + w.rng.ExpFloat64()/2) * float64(s.takes)))
	heap.Push(&w.pending, ending{s.slots[i], id, w.now, false})
}

func (w *world) pass(to time.Time) {
	for len(w.pending) > 0 && w.pending[0].at.Before(to) {
		e := heap.Pop(&w.pending).(ending)
		w.now = e.at
		w.b.Done(e.at, e.id, balance.Outcome{Latency: e.at.Sub(e.began), Failed: e.failed})
		if e.failed {
			w.failed[e.id]++
			continue
		}
		w.waits = append(w.waits, e.at.Sub(e.began))
	}
	w.now = to
}

func (w *world) quantile(q float64) time.Duration {
	slices.Sort(w.waits)
	return w.waits[int(q*float64(len(w.waits)))]
}

func servers(n, slots int, takes time.Duration) map[string]*server {
	out := map[string]*server{}
	for i := range n {
		out["s"+strconv.Itoa(i)] = &server{takes: takes, slots: make([]time.Time, slots)}
	}
	return out
}

func TestEqualBackendsGetEqualShares(t *testing.T) {
	for _, p := range []balance.Policy{balance.P2C, balance.Least} {
		w := newWorld(balance.Options{Policy: p}, servers(5, 4, 10*time.Millisecond), nil)
		w.run(20_000, 800)
		for id, n := range w.got {
			if n < 3400 || n > 4600 {
				t.Errorf("%s: %s got %d of 20000, a fifth is 4000", p, id, n)
			}
		}
	}
}

func TestASlowBackendGetsLess(t *testing.T) {
	for p, most := range map[balance.Policy]int{balance.P2C: 1000, balance.Least: 2500} {
		all := servers(5, 4, 10*time.Millisecond)
		all["s3"].takes = 100 * time.Millisecond
		w := newWorld(balance.Options{Policy: p}, all, nil)
		w.run(20_000, 800)
		if w.got["s3"] > most || w.got["s3"] < 20 {
			t.Errorf("%s: the one that is ten times slower got %d of 20000", p, w.got["s3"])
		}
	}
}

func TestTwoChoicesWaitLessThanTheRing(t *testing.T) {
	wait := func(p balance.Policy) time.Duration {
		w := newWorld(balance.Options{Policy: p, Bound: 100}, servers(10, 1, 10*time.Millisecond), nil)
		for i := range 20_000 {
			w.pass(w.now.Add(time.Duration(w.rng.ExpFloat64() / 700 * float64(time.Second))))
			id, _ := w.b.Pick(w.now, strconv.Itoa(i), nil)
			w.send(id)
		}
		return w.quantile(0.99)
	}
	if two, ring := wait(balance.P2C), wait(balance.Ring); two > ring*2/3 {
		t.Fatalf("99 of 100 begin within %v by two choices, %v by a ring that is as good as chance", two, ring)
	}
}

func TestSharesFollowWeights(t *testing.T) {
	for _, p := range []balance.Policy{balance.P2C, balance.Least} {
		all := servers(2, 100, 10*time.Millisecond)
		w := newWorld(balance.Options{Policy: p}, all, map[string]float64{"s0": 3, "s1": 1})
		w.run(20_000, 4000)
		if part := float64(w.got["s0"]) / 20_000; part < 0.68 || part > 0.82 {
			t.Errorf("%s: weight 3 of 4 got %.2f", p, part)
		}
	}
}

func TestANewBackendGetsItsShareSlowly(t *testing.T) {
	w := newWorld(balance.Options{SlowStart: 20 * time.Second}, servers(3, 8, 10*time.Millisecond), nil)
	w.run(30_000, 500)
	w.servers["new"] = &server{takes: 10 * time.Millisecond, slots: make([]time.Time, 8)}
	w.b.Set(w.now, []balance.Backend{{ID: "s0"}, {ID: "s1"}, {ID: "s2"}, {ID: "new"}})
	w.run(1000, 500) // 2 s
	early := w.got["new"]
	w.run(20_000, 500)
	before := w.got["new"]
	w.run(4000, 500)
	if late := w.got["new"] - before; early > 150 || late < 800 {
		t.Fatalf("a quarter is 250 of 1000: new it got %d, later %d of 4000", early, late)
	}
}

func TestWhoFailsIsEjectedAndComesBack(t *testing.T) {
	w := newWorld(balance.Options{Eject: 5 * time.Second}, servers(4, 4, 10*time.Millisecond), nil)
	w.run(1000, 200)
	w.servers["s2"].failing = true
	w.run(6000, 200) // 30 s
	if w.failed["s2"] > 12 {
		t.Fatalf("in 30 s %d requests failed at a backend that always fails: five eject it, then one is tried at a time", w.failed["s2"])
	}
	w.servers["s2"].failing = false
	before := w.got["s2"]
	w.run(20_000, 200)
	if got := w.got["s2"] - before; got < 2000 {
		t.Fatalf("well again for 100 s it got %d of 20000, a quarter is 5000", got)
	}
}

func TestNotAllAreEjected(t *testing.T) {
	w := newWorld(balance.Options{}, servers(4, 4, 10*time.Millisecond), nil)
	for _, s := range w.servers {
		s.failing = true
	}
	w.run(2000, 200)
	out := 0
	for _, s := range w.b.Stats(w.now) {
		if s.State == "ejected" || s.State == "trying" {
			out++
		}
	}
	if out != 2 || w.refused > 0 {
		t.Fatalf("all four fail: %d are ejected, half may be; %d requests found nobody", out, w.refused)
	}
}

func TestRetriesDoNotMultiplyTrouble(t *testing.T) {
	b := balance.New(balance.Options{RetryRatio: 0.2, RetryMin: 3})
	now := time.Unix(1000, 0)
	b.Set(now, []balance.Backend{{ID: "a"}, {ID: "b"}})
	retries := 0
	for i := range 100_000 { // 1000 a second, all of them failing
		now = now.Add(time.Millisecond)
		id, ok := b.Pick(now, "", nil)
		if !ok {
			t.Fatalf("request %d found nobody", i)
		}
		b.Done(now, id, balance.Outcome{Failed: true})
		if b.Retry(now) {
			retries++
		}
	}
	if retries > 20_000+3*100+50 || retries < 15_000 {
		t.Fatalf("of 100000 requests in 100 s %d were sent again: a fifth, and 3 a second, are paid for", retries)
	}
}

func TestTheRingMovesAnNthOfTheKeys(t *testing.T) {
	now := time.Unix(1000, 0)
	b := balance.New(balance.Options{Policy: balance.Ring})
	where := func(n int) map[string]string {
		var all []balance.Backend
		for i := range n {
			all = append(all, balance.Backend{ID: fmt.Sprint("node-", i)})
		}
		b.Set(now, all)
		out := map[string]string{}
		for k := range 10_000 {
			key := fmt.Sprint("user-", k)
			id, _ := b.Pick(now, key, nil)
			b.Done(now, id, balance.Outcome{Left: true})
			out[key] = id
		}
		return out
	}
	before, after := where(9), where(10)
	moved := 0
	for key, id := range after {
		if id != before[key] {
			if moved++; id != "node-9" {
				t.Fatalf("%s moved from %s to %s, both of which were there before", key, before[key], id)
			}
		}
	}
	if moved < 600 || moved > 1500 {
		t.Fatalf("with a tenth node %d of 10000 keys moved, a tenth is 1000", moved)
	}
}

func TestTheRingHoldsABoundOnOnesShare(t *testing.T) {
	now := time.Unix(1000, 0)
	b := balance.New(balance.Options{Policy: balance.Ring, Bound: 1.25})
	b.Set(now, []balance.Backend{{ID: "a"}, {ID: "b"}, {ID: "c"}, {ID: "d"}})
	got := map[string]int{}
	for range 400 { // all of one key, none of them ending
		id, ok := b.Pick(now, "the one user", nil)
		if !ok {
			t.Fatal("nobody")
		}
		got[id]++
	}
	for id, n := range got {
		if n > int(math.Ceil(1.25*400/4))+1 {
			t.Errorf("%s has %d of 400 under way, 1.25 × the mean is 125", id, n)
		}
	}
}

func TestABackendHasAsManyRequestsAsItMayHave(t *testing.T) {
	now := time.Unix(1000, 0)
	b := balance.New(balance.Options{MaxInFlight: 2})
	b.Set(now, []balance.Backend{{ID: "a"}, {ID: "b"}})
	for range 4 {
		if _, ok := b.Pick(now, "", nil); !ok {
			t.Fatal("refused although there is room")
		}
	}
	if id, ok := b.Pick(now, "", nil); ok {
		t.Fatalf("a fifth went to %s", id)
	}
	b.Done(now, "a", balance.Outcome{Latency: time.Millisecond})
	if id, ok := b.Pick(now, "", nil); !ok || id != "a" {
		t.Fatalf("after one ended: %q, %v", id, ok)
	}
}

func TestProbesSayWhoIsWell(t *testing.T) {
	now := time.Unix(1000, 0)
	b := balance.New(balance.Options{Probed: true, Fall: 2})
	b.Set(now, []balance.Backend{{ID: "a"}, {ID: "b"}})
	if id, ok := b.Pick(now, "", nil); ok {
		t.Fatalf("%s was asked before any probe", id)
	}
	b.Probe(now, "b", true)
	for range 10 {
		if id, ok := b.Pick(now, "", nil); !ok || id != "b" {
			t.Fatalf("only b is well: %q, %v", id, ok)
		}
	}
	b.Probe(now, "b", false)
	if b.Well(now) != 1 {
		t.Fatal("one failed probe of two made it ill")
	}
	if b.Probe(now, "b", false); b.Well(now) != 0 {
		t.Fatal("two failed probes did not make it ill")
	}
}

func TestWhatWasTriedIsNotTriedAgainWhileThereIsAnother(t *testing.T) {
	now := time.Unix(1000, 0)
	b := balance.New(balance.Options{})
	b.Set(now, []balance.Backend{{ID: "a"}, {ID: "b"}, {ID: "c"}})
	for range 50 {
		if id, _ := b.Pick(now, "", []string{"a", "c"}); id != "b" {
			t.Fatalf("%q after a and c", id)
		}
	}
	b.Drain("b")
	if id, ok := b.Pick(now, "", []string{"a", "b", "c"}); !ok || id == "b" {
		t.Fatalf("all tried, b draining: %q, %v", id, ok)
	}
}

func TestAHedgeWaitsForWhatIsUsual(t *testing.T) {
	w := newWorld(balance.Options{}, servers(3, 100, 20*time.Millisecond), nil)
	if d, ok := w.b.HedgeAfter(); ok {
		t.Fatalf("a hedge after %v with nothing known", d)
	}
	w.run(5000, 100)
	d, ok := w.b.HedgeAfter()
	if p95 := w.quantile(0.95); !ok || d < p95*4/5 || d > p95*3/2 {
		t.Fatalf("a hedge after %v, %v: 95 of 100 answer within %v", d, ok, p95)
	}
}

func TestTheSameSeedGivesTheSameChoices(t *testing.T) {
	choices := func() (out []string) {
		w := newWorld(balance.Options{Seed: 42}, servers(7, 2, 10*time.Millisecond), nil)
		for range 1000 {
			w.pass(w.now.Add(3 * time.Millisecond))
			id, _ := w.b.Pick(w.now, "", nil)
			out = append(out, id)
			w.send(id)
		}
		return out
	}
	if !slices.Equal(choices(), choices()) {
		t.Fatal("two runs differ")
	}
}
