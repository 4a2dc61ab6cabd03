package calendar_test

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/calendar"
	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/internal/units"
)

var noon = time.Date(2026, 12, 7, 12, 0, 0, 0, time.UTC)

type memory struct {
	list   map[string]calendar.Reservation
	events []string
}

func (m *memory) PutReservation(_ context.Context, r calendar.Reservation, events ...event.Event) error {
	m.list[r.Name] = r
	return m.tell(events)
}

func (m *memory) DeleteReservation(_ context.Context, name string, events ...event.Event) error {
	delete(m.list, name)
	return m.tell(events)
}

func (m *memory) tell(events []event.Event) error {
	for _, e := range events {
		m.events = append(m.events, e.Actor+" "+e.Kind+" "+e.Subject)
	}
	return nil
}

func (m *memory) ListReservations(context.Context) (out []calendar.Reservation, err error) {
	for _, r := range m.list {
		out = append(out, r)
	}
	return out, nil
}

func hall() []fleet.Node {
	nodes := []fleet.Node{{Name: "cpu", CPU: 32, Memory: units.TiB}}
	for _, n := range []struct {
		name, model string
		devices     int
	}{{"a1", "A100", 4}, {"h1", "H100", 8}, {"h2", "H100", 8}} {
		f := fleet.Node{Name: n.name, CPU: 64, Memory: units.TiB}
		for i := range n.devices {
			f.Accelerators = append(f.Accelerators, fleet.Accelerator{ID: string(rune('0' + i)), Model: n.model})
		}
		nodes = append(nodes, f)
	}
	return nodes
}

func open(t *testing.T) (*calendar.Calendar, *memory, *clock.Fake) {
	t.Helper()
	m, c := &memory{list: map[string]calendar.Reservation{}}, clock.NewFake(noon)
	cal, err := calendar.Open(t.Context(), calendar.Options{
		Store: m, Clock: c, Log: slog.New(slog.DiscardHandler), Nodes: hall,
		Queue: func(name string) error {
			if name != "vision" {
				return errs.Errorf("test", errs.Invalid, "there is no queue %q", name)
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return cal, m, c
}

func hours(n int) time.Time { return noon.Add(time.Duration(n) * time.Hour) }

func text(r calendar.Reservation) string {
	var out []string
	for _, x := range r.Room {
		out = append(out, strings.TrimSuffix(x.Node+"/"+strings.Join(x.Accelerators, ""), "/"))
	}
	return strings.Join(out, " ")
}

func TestWhatIsReservedIsChosenWhenItIsMadeAndNobodyElsesInThatTime(t *testing.T) {
	c, m, now := open(t)
	add := func(name, want string, from, to int, q calendar.Request) {
		t.Helper()
		q.Name, q.User, q.From, q.To = name, "alice", hours(from), hours(to)
		if r, err := c.Add(t.Context(), "user/ann", "ann", q, false); err != nil && !strings.Contains(err.Error(), want) || err == nil && text(r) != want {
			t.Errorf("%s: %q, %v, want %q", name, text(r), err, want)
		}
	}
	add("four", "a1/0123", 1, 5, calendar.Request{Accelerators: 4}) // the node that it leaves the least of
	add("more", "h1/01234567 h2/0", 1, 5, calendar.Request{Accelerators: 9, Model: "H100"})
	add("node", `node "h2" is reserved by "more" in that time`, 4, 9, calendar.Request{Nodes: []string{"h2"}})
	add("after", "h2", 5, 9, calendar.Request{Nodes: []string{"h2"}})
	add("rest", "h2/1234", 0, 2, calendar.Request{Accelerators: 4, Model: "H100"})
	add("many", "there are 3 accelerators free to reserve beside what is reserved by four, more", 1, 2, calendar.Request{Accelerators: 12})
	add("two", "a1 cpu", 6, 7, calendar.Request{Count: 2})
	add("typo", `no node "h3"; did you mean "h`, 1, 2, calendar.Request{Nodes: []string{"h3"}})
	add("twice", "named twice", 11, 12, calendar.Request{Nodes: []string{"h1", "h1"}})
	add("four", `there is a reservation "four"`, 11, 12, calendar.Request{Count: 1})
	if err := c.Delete(t.Context(), "user/ann", "more"); err != nil {
		t.Fatal(err)
	}
	add("node", `reserved by "rest"`, 1, 5, calendar.Request{Nodes: []string{"h2"}})
	add("node", "h1", 1, 5, calendar.Request{Nodes: []string{"h1"}})

	now.Advance(2 * time.Hour)
	if err := c.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get("rest"); !errs.Is(err, errs.NotFound) || len(m.list) != 4 {
		t.Errorf("%v; left %v", err, m.list)
	}
	if !slices.Contains(m.events, "service/calendar reservation.ended reservation/rest") || !slices.Contains(m.events, "user/ann reservation.deleted reservation/more") {
		t.Errorf("%q", m.events)
	}
}

func TestAReservationThatIsNotInOrderIsRefusedInWords(t *testing.T) {
	c, m, _ := open(t)
	for says, change := range map[string]func(*calendar.Request){
		"name":                      func(q *calendar.Request) { q.Name = "a b" },
		"say who":                   func(q *calendar.Request) { q.User = "" },
		"there is no queue":         func(q *calendar.Request) { q.Queue = "visoin" },
		"say until when":            func(q *calendar.Request) { q.To = time.Time{} },
		"not after its begin":       func(q *calendar.Request) { q.To = q.From },
		"which is over":             func(q *calendar.Request) { q.From, q.To = hours(-2), hours(-1) },
		"at most a year":            func(q *calendar.Request) { q.To = hours(10_000) },
		"in one way":                func(q *calendar.Request) { q.Count = 1 },
		"a model goes with a count": func(q *calendar.Request) { q.Model = "H100" },
		"give 1 to":                 func(q *calendar.Request) { q.Nodes, q.Count = nil, -1 },
		"of model V100":             func(q *calendar.Request) { q.Nodes, q.Accelerators, q.Model = nil, 1, "V100" },
	} {
		q := calendar.Request{Name: "r", User: "alice", From: hours(1), To: hours(2), Nodes: []string{"h1"}}
		change(&q)
		if _, err := c.Add(t.Context(), "user/ann", "ann", q, false); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
	if _, err := c.Add(t.Context(), "user/ann", "ann", calendar.Request{Name: "r", User: "alice", To: hours(2), Count: 1}, true); err != nil || len(m.list)+len(m.events) > 0 {
		t.Errorf("a dry run: %v, %v", err, m)
	}
}

func TestNoTwoReservationsOfOneTimeShareADevice(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		c, _, _ := open(t)
		for i := range 12 {
			q := calendar.Request{Name: string(rune('a' + i)), User: "u", From: hours(r.IntN(10))}
			q.To = q.From.Add(time.Duration(1+r.IntN(8)) * time.Hour)
			switch r.IntN(3) {
			case 0:
				q.Nodes = []string{[]string{"a1", "cpu", "h1", "h2"}[r.IntN(4)]}
			case 1:
				q.Count = 1 + r.IntN(3)
			case 2:
				q.Accelerators, q.Model = 1+r.IntN(12), []string{"", "H100"}[r.IntN(2)]
			}
			made, err := c.Add(t.Context(), "user/ann", "ann", q, false)
			if err == nil && q.Accelerators > 0 && strings.Count(text(made), "") < q.Accelerators {
				t.Fatalf("seed %d: %+v made %s", seed, q, text(made))
			}
		}
		all := c.Reserved()
		for i, a := range all {
			for _, b := range all[:i] {
				if !a.Span.From.Before(b.Span.To) || !b.Span.From.Before(a.Span.To) {
					continue
				}
				for _, x := range a.Room {
					for _, y := range b.Room {
						if x.Node == y.Node && slices.Equal(x.Accelerators, y.Accelerators) {
							t.Fatalf("seed %d: %s and %s share %s %v", seed, a.Name, b.Name, x.Node, x.Accelerators)
						}
					}
				}
			}
		}
	}
}

func TestANameIsFreeAgainOnceItsReservationIsOver(t *testing.T) {
	cal, m, c := open(t)
	q := calendar.Request{Name: "course", User: "ann", To: noon.Add(time.Hour), Nodes: []string{"a1"}}
	if _, err := cal.Add(t.Context(), "user/admin", "admin", q, false); err != nil {
		t.Fatal(err)
	}
	c.Advance(time.Hour) // and nothing was removed yet
	q.To = noon.Add(3 * time.Hour)
	if _, err := cal.Add(t.Context(), "user/admin", "admin", q, false); err != nil {
		t.Fatal(err)
	}
	if err := cal.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	if list := cal.List(); len(list) != 1 || !list[0].To.Equal(q.To) || len(m.list) != 1 {
		t.Errorf("%+v, stored %+v", list, m.list)
	}
	if got := strings.Join(m.events, "; "); got != "user/admin reservation.added reservation/course; service/calendar reservation.ended reservation/course; user/admin reservation.added reservation/course" {
		t.Error(got)
	}
}

func TestThereAreNotMoreReservationsThanAPlanCanLookAt(t *testing.T) {
	cal, _, _ := open(t)
	add := func(i int) error {
		from := noon.Add(time.Duration(i) * time.Hour)
		q := calendar.Request{Name: "r" + strconv.Itoa(i), User: "ann", From: from, To: from.Add(time.Hour), Nodes: []string{"a1"}}
		_, err := cal.Add(t.Context(), "user/admin", "admin", q, i == 1000)
		return err
	}
	for i := range 1000 {
		if err := add(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := add(1000); !errs.Is(err, errs.Exhausted) {
		t.Errorf("one more: %v", err)
	}
}
