package queue_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/sched/queue"
)

var start = time.Unix(1_000_000, 0)

func gpus(n float64) queue.Amount { return queue.Amount{Accelerators: n} }

func item(id, in string, priority, age int, need queue.Amount) queue.Item {
	return queue.Item{ID: id, Queue: in, Priority: priority, Since: start.Add(-time.Duration(age) * time.Minute), Need: need}
}

func tree(t *testing.T, queues ...queue.Queue) *queue.Tree {
	t.Helper()
	tr, err := queue.New(queues)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// order takes the turns and counts every item as started, unless a quota keeps it: "a b(speech) …".
func order(l *queue.Line, items []queue.Item) string {
	var out []string
	for turn, ok := l.Next(); ok; turn, ok = l.Next() {
		s := items[turn.Item].ID
		if over := l.Over(turn); over != nil {
			s += "(" + over.Queue + ")"
		} else {
			l.Take(turn)
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func TestOneQueueGoesByPriorityThenAgeThenName(t *testing.T) {
	items := []queue.Item{item("job/10", "", 0, 5, gpus(1)), item("job/9", "default", 0, 5, gpus(1)), item("old", "", 0, 9, gpus(1)), item("high", "", 3, 0, gpus(1))}
	l := tree(t).Line(queue.State{Now: start, Capacity: gpus(4)}, items, queue.Rules{})
	if got, want := order(l, items), "high old job/9 job/10"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestQueuesShareByTheirWeight(t *testing.T) {
	tr := tree(t, queue.Queue{Name: "big", Weight: 3}, queue.Queue{Name: "small"})
	var items []queue.Item
	for i := range 8 {
		items = append(items, item(fmt.Sprintf("b%d", i), "big", 0, 100-i, gpus(1)), item(fmt.Sprintf("s%d", i), "small", 0, 200-i, gpus(1)))
	}
	l := tr.Line(queue.State{Now: start, Capacity: gpus(8)}, items, queue.Rules{})
	if got, want := order(l, items)[:23], "s0 b0 b1 b2 s1 b3 b4 b5"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestTheDominantResourceCounts(t *testing.T) {
	tr := tree(t, queue.Queue{Name: "a"}, queue.Queue{Name: "b"})
	// As in the paper: 9 CPU and 18 GB; a's tasks take 1 CPU and 4 GB, b's 3 CPU and 1 GB. a gets 3, b 2.
	a, b := queue.Amount{CPU: 1, Memory: 4}, queue.Amount{CPU: 3, Memory: 1}
	var items []queue.Item
	for i := range 5 {
		items = append(items, item(fmt.Sprintf("a%d", i), "a", 0, 0, a), item(fmt.Sprintf("b%d", i), "b", 0, 0, b))
	}
	l := tr.Line(queue.State{Now: start, Capacity: queue.Amount{CPU: 9, Memory: 18}}, items, queue.Rules{})
	got := strings.Fields(order(l, items))[:5]
	if n := strings.Count(strings.Join(got, " "), "a"); n != 3 {
		t.Fatalf("a has %d of the first 5 places: %v", n, got)
	}
}

func TestWhoHoldsLessThanGuaranteedGoesFirst(t *testing.T) {
	tr := tree(t, queue.Queue{Name: "owner", Guaranteed: gpus(4)}, queue.Queue{Name: "guest"})
	items := []queue.Item{item("g", "guest", 9, 99, gpus(1)), item("o1", "owner", 0, 1, gpus(2)), item("o2", "owner", 0, 0, gpus(2))}
	l := tr.Line(queue.State{Now: start, Capacity: gpus(8), Held: []queue.Use{{Queue: "owner", Amount: gpus(1)}}}, items, queue.Rules{})
	if got, want := order(l, items), "o1 o2 g"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestALimitHoldsWhateverIsFreeAndSaysSo(t *testing.T) {
	tr := tree(t, queue.Queue{Name: "lab", Limit: gpus(4)}, queue.Queue{Name: "x", Parent: "lab"}, queue.Queue{Name: "y", Parent: "lab"})
	items := []queue.Item{item("x1", "x", 0, 9, gpus(3)), item("y1", "y", 0, 8, gpus(2)), item("y2", "y", 0, 7, gpus(1))}
	l := tr.Line(queue.State{Now: start, Capacity: gpus(64)}, items, queue.Rules{})
	if got, want := order(l, items), "x1 y1(lab) y2"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	l = tr.Line(queue.State{Now: start, Capacity: gpus(64), Held: []queue.Use{{Queue: "x", Amount: gpus(3)}}}, items[1:], queue.Rules{})
	turn, _ := l.Next()
	if turn.Queue != "lab/y" || turn.Position != 1 {
		t.Fatalf("turn %+v", turn)
	}
	if s := l.Over(turn).String(); s != "queue lab is limited to 4 of accelerators, which leaves 1" {
		t.Fatalf("%s", s)
	}
}

func TestPastUseAddsUpHoweverOftenWhatIsHeldChanges(t *testing.T) {
	held := []queue.Use{{Queue: "a", User: "ann", Amount: queue.Amount{CPU: 1, Memory: 1 << 30, Accelerators: 1}}}
	whole := queue.Past{At: start, Half: 7 * 24 * time.Hour}
	pieces := whole
	for at := start; at.Before(start.Add(time.Hour)); {
		at = at.Add(time.Second)
		pieces = pieces.Until(at, held)
	}
	whole = whole.Until(start.Add(time.Hour), held)
	if len(pieces.Uses) != 1 || len(whole.Uses) != 1 {
		t.Fatalf("in pieces %+v, whole %+v", pieces, whole)
	}
	if got, want := pieces.Uses[0].Amount, whole.Uses[0].Amount; math.Abs(got.Accelerators/want.Accelerators-1) > 1e-6 || math.Abs(float64(got.Memory)/float64(want.Memory)-1) > 1e-3 {
		t.Errorf("in pieces %+v, whole %+v", got, want)
	}
}

func TestPastUseCountsAndFades(t *testing.T) {
	tr := tree(t, queue.Queue{Name: "a"}, queue.Queue{Name: "b"})
	items := []queue.Item{item("a1", "a", 0, 9, gpus(1)), item("b1", "b", 0, 1, gpus(1))}
	past := queue.Past{At: start, Half: time.Hour}
	past = past.Until(start.Add(time.Hour), []queue.Use{{Queue: "a", Amount: gpus(4)}})
	if got := past.Uses[0].Amount.Accelerators; math.Abs(got-2) > 1e-9 {
		t.Fatalf("after one half-life of 4 the mean is %v", got)
	}
	line := func(p queue.Past) string {
		return order(tr.Line(queue.State{Now: start, Capacity: gpus(8), Past: p}, items, queue.Rules{}), items)
	}
	if got := line(past); got != "b1 a1" {
		t.Fatalf("a, which used 4 of 8 for an hour, goes first: %q", got)
	}
	if faded := past.Until(start.Add(1000*time.Hour), nil); len(faded.Uses) != 0 || line(faded) != "a1 b1" {
		t.Fatalf("after 1000 hours: %+v", faded)
	}
	if back := past.Until(start, nil); back.At != past.At {
		t.Fatal("a clock that went back changed the past")
	}
}

func TestUsersOfAQueueShareItWhereItSaysSo(t *testing.T) {
	tr := tree(t, queue.Queue{Name: "default", Users: true})
	var items []queue.Item
	for i := range 3 {
		it := item(fmt.Sprintf("a%d", i), "", 0, 100-i, gpus(1))
		it.User = "alice"
		items = append(items, it)
	}
	bob := item("b", "", 0, 1, gpus(1))
	bob.User = "bob"
	items = append(items, bob)
	l := tr.Line(queue.State{Now: start, Capacity: gpus(8)}, items, queue.Rules{})
	if got, want := order(l, items), "a0 b a1 a2"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestAgeingDeadlinesAndOverdueRaise(t *testing.T) {
	aged := item("aged", "", 0, 180, gpus(1))
	near := item("near", "", 0, 1, gpus(1))
	near.Duration, near.Deadline = time.Hour, start.Add(90*time.Minute)
	hopeless := item("hopeless", "", 0, 0, gpus(1))
	hopeless.Duration, hopeless.Deadline = 2*time.Hour, start.Add(time.Hour)
	short := item("short", "", 0, 0, gpus(1))
	short.Index = -5
	overdue := item("overdue", "", 0, 1000, gpus(1))
	overdue.Overdue, overdue.Index = true, 99
	items := []queue.Item{hopeless, overdue, near, short, aged, item("high", "", 2, 0, gpus(1))}
	l := tree(t).Line(queue.State{Now: start, Capacity: gpus(8)}, items, queue.Rules{})
	if got, want := order(l, items), "high near overdue short aged hopeless"; got != want {
		t.Fatalf("without ageing: got %q, want %q", got, want)
	}
	l = tree(t).Line(queue.State{Now: start, Capacity: gpus(8)}, items, queue.Rules{Ageing: time.Hour, Raise: 3})
	if got, want := order(l, items), "overdue aged high near short hopeless"; got != want {
		t.Fatalf("with ageing: got %q, want %q", got, want)
	}
}

func TestReclaimTakesBackOnlyWhatIsBorrowed(t *testing.T) {
	tr := tree(t, queue.Queue{Name: "owner", Guaranteed: gpus(4)}, queue.Queue{Name: "guest", Guaranteed: gpus(2)}, queue.Queue{Name: "stray"})
	held := []queue.Use{{Queue: "guest", Amount: gpus(6)}, {Queue: "owner", Amount: gpus(2)}}
	items := []queue.Item{item("o", "owner", 0, 0, gpus(2)), item("big", "owner", 0, 0, gpus(3)), item("s", "stray", 0, 0, gpus(1))}
	l := tr.Line(queue.State{Now: start, Capacity: gpus(8), Held: held}, items, queue.Rules{})
	turns := map[string]*queue.Turn{}
	for turn, ok := l.Next(); ok; turn, ok = l.Next() {
		turns[items[turn.Item].ID] = &turn
	}
	for _, c := range []struct {
		who   string
		whose queue.Use
		may   bool
	}{
		{"o", queue.Use{Queue: "guest", Amount: gpus(4)}, true},
		{"o", queue.Use{Queue: "guest", Amount: gpus(5)}, false}, // would leave the guest less than it is guaranteed
		{"o", queue.Use{Queue: "owner", Amount: gpus(2)}, false},
		{"big", queue.Use{Queue: "guest", Amount: gpus(4)}, false}, // more than the owner is guaranteed
		{"s", queue.Use{Queue: "guest", Amount: gpus(1)}, false},
		{"o", queue.Use{Queue: "gone", Amount: gpus(1)}, false},
	} {
		if got := l.Reclaim(turns[c.who], tr.Claim(c.whose)); got != c.may {
			t.Errorf("%s reclaims %v of %s: %v", c.who, c.whose.Amount.Accelerators, c.whose.Queue, got)
		}
	}
	l.Release(tr.Claim(queue.Use{Queue: "guest", Amount: gpus(4)}))
	if l.Reclaim(turns["o"], tr.Claim(queue.Use{Queue: "guest", Amount: gpus(2)})) {
		t.Error("what is within the guest's guarantee is reclaimed")
	}
}

func TestWrongTreesAreRefusedInWords(t *testing.T) {
	deep := []queue.Queue{{Name: "q0"}}
	for i := range 20 {
		deep = append(deep, queue.Queue{Name: fmt.Sprintf("q%d", i+1), Parent: fmt.Sprintf("q%d", i)})
	}
	for says, queues := range map[string][]queue.Queue{
		"which is not there":       {{Name: "a", Parent: "nobody"}},
		"is above itself":          {{Name: "a", Parent: "b"}, {Name: "b", Parent: "a"}},
		"a under a":                {{Name: "a", Parent: "a"}},
		"is there twice":           {{Name: "a"}, {Name: "a"}},
		"more than the 4 of":       {{Name: "a", Limit: gpus(4)}, {Name: "b", Parent: "a", Limit: gpus(5)}},
		"are guaranteed 6":         {{Name: "a", Guaranteed: gpus(4)}, {Name: "b", Parent: "a", Guaranteed: gpus(3)}, {Name: "c", Parent: "a", Guaranteed: gpus(3)}},
		"must not be below":        {{Name: "a", Guaranteed: gpus(4), Limit: gpus(2)}},
		"must be a number that is": {{Name: "a", Guaranteed: gpus(math.NaN())}},
		"that is not negative":     {{Name: "a", Limit: gpus(-1)}},
		"has the weight":           {{Name: "a", Weight: math.Inf(1)}},
		"give a name":              {{Name: " a"}},
		"queues deep":              deep,
	} {
		_, err := queue.New(queues)
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
	tr := tree(t, queue.Queue{Name: "lab"}, queue.Queue{Name: "x", Parent: "lab"})
	if err := tr.Check("lab"); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "name one of x") {
		t.Errorf("a queue of queues: %v", err)
	}
	if err := tr.Check("y"); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "there are x") {
		t.Errorf("an unknown queue: %v", err)
	}
	if err := tr.Check(""); err != nil {
		t.Errorf("no queue at all: %v", err)
	}
}

func TestNoLineGoesOverALimitAndEachItemHasOneTurn(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		queues := []queue.Queue{{Name: "top", Limit: gpus(float64(r.IntN(12)))}}
		for i := range 1 + r.IntN(4) {
			q := queue.Queue{Name: fmt.Sprintf("q%d", i), Weight: r.Float64() * 3, Users: r.IntN(2) == 0}
			if r.IntN(2) == 0 {
				q.Parent = "top"
			} else {
				q.Limit, q.Guaranteed = gpus(float64(4+r.IntN(5))), gpus(float64(r.IntN(4)))
			}
			queues = append(queues, q)
		}
		tr := tree(t, queues...)
		var items []queue.Item
		for i := range r.IntN(30) {
			it := item(fmt.Sprintf("g%d", i), fmt.Sprintf("q%d", r.IntN(len(queues)-1)), r.IntN(3), r.IntN(500), gpus(float64(1+r.IntN(4))))
			it.User = string(rune('a' + r.IntN(3)))
			items = append(items, it)
		}
		held := map[string]float64{}
		l := tr.Line(queue.State{Now: start, Capacity: gpus(16)}, items, queue.Rules{Ageing: time.Hour})
		seen := map[int]bool{}
		for turn, ok := l.Next(); ok; turn, ok = l.Next() {
			if seen[turn.Item] || turn.Position != len(seen)+1 {
				t.Fatalf("seed %d: %+v has two turns or a wrong position", seed, turn)
			}
			seen[turn.Item] = true
			if l.Over(turn) == nil {
				l.Take(turn)
				for part := range strings.SplitSeq(turn.Queue, "/") {
					held[part] += items[turn.Item].Need.Accelerators
				}
			}
		}
		if tr.Has("top") {
			continue
		}
		if len(seen) != len(items) {
			t.Fatalf("seed %d: %d of %d items had a turn", seed, len(seen), len(items))
		}
		for _, q := range queues {
			if q.Limit.Accelerators > 0 && held[q.Name] > q.Limit.Accelerators {
				t.Fatalf("seed %d: %s holds %v of %v", seed, q.Name, held[q.Name], q.Limit.Accelerators)
			}
		}
	}
}

func TestStandingsAddUpFromTheLeavesToTheTop(t *testing.T) {
	tree, err := queue.New([]queue.Queue{{Name: "research"}, {Name: "vision", Parent: "research"}, {Name: "speech", Parent: "research"}, {Name: "ops"}})
	if err != nil {
		t.Fatal(err)
	}
	state := queue.State{
		Capacity: queue.Amount{CPU: 10, Accelerators: 4},
		Held: []queue.Use{
			{Queue: "vision", Amount: queue.Amount{CPU: 1, Accelerators: 2}},
			{Queue: "speech", Amount: queue.Amount{CPU: 4, Accelerators: 1}},
			{Queue: "nowhere", Amount: queue.Amount{CPU: 4}},
		},
	}
	got := tree.Standings(state, []queue.Item{{Queue: "ops"}, {Queue: "speech"}, {Queue: "research"}})
	for i, want := range []queue.Standing{
		{Held: queue.Amount{CPU: 5, Accelerators: 3}, Share: 0.75, Resource: "accelerators", Running: 2, Waiting: 1},
		{Held: queue.Amount{CPU: 1, Accelerators: 2}, Share: 0.5, Resource: "accelerators", Running: 1},
		{Held: queue.Amount{CPU: 4, Accelerators: 1}, Share: 0.4, Resource: "cpu", Running: 1, Waiting: 1},
		{Resource: "cpu", Waiting: 1},
	} {
		want.Queue = got[i].Queue
		if !reflect.DeepEqual(got[i], want) {
			t.Errorf("%s stands as %+v, want %+v", got[i].Name, got[i], want)
		}
	}
	if p := tree.Path("vision"); p != "research/vision" || tree.Path("nowhere") != "" {
		t.Errorf("paths %q, %q", p, tree.Path("nowhere"))
	}
}
