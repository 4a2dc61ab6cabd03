// Package calendar keeps reservations: room of the hall that from one moment to another only some may use.
//
// What is reserved is resolved to nodes and devices when the reservation is made, so that one knows what one has, and no
// two reservations of one time share any. The scheduler starts nobody else there who is not sure to be gone by then, and
// stops what may be stopped when it begins; what runs there already and may not be stopped is in the way, and is told.
// Reservations that are over are removed.
//
//	c, err := calendar.Open(ctx, calendar.Options{Store: db, Clock: clock, Nodes: fleet.Nodes})
//	r, err := c.Add(ctx, "user/admin", "admin", calendar.Request{Name: "course", User: "alice", From: monday, To: friday, Accelerators: 8}, false)
package calendar

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/internal/id"
	"github.com/lineshaft/lineshaft/sched"
)

// Reservation is room that is kept for somebody.
type Reservation struct {
	Name    string    `json:"name"`
	User    string    `json:"user,omitempty"`  // whose jobs may use it
	Queue   string    `json:"queue,omitempty"` // of which queue; with User, both must be right
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	Room    []Room    `json:"room"`
	Reason  string    `json:"reason,omitempty"`
	Owner   string    `json:"owner"` // who made it
	Created time.Time `json:"created"`
}

// Room is a node, whole or some of its accelerators with their part of the rest.
type Room struct {
	Node         string   `json:"node"`
	Accelerators []string `json:"accelerators,omitempty"` // the whole node when empty
}

// Request is what a reservation is made from. What is reserved is one of Nodes, Count and Accelerators.
type Request struct {
	Name   string    `json:"name"`
	User   string    `json:"user,omitempty"`
	Queue  string    `json:"queue,omitempty"`
	From   time.Time `json:"from,omitzero"` // now when absent
	To     time.Time `json:"to"`
	Reason string    `json:"reason,omitempty"`

	Nodes        []string `json:"nodes,omitempty"`        // these, whole
	Count        int      `json:"count,omitempty"`        // so many nodes, whole
	Accelerators int      `json:"accelerators,omitempty"` // so many accelerators, on as few nodes as can be
	Model        string   `json:"model,omitempty"`        // of the accelerators, with Count and Accelerators
}

// Store keeps reservations.
type Store interface {
	PutReservation(ctx context.Context, r Reservation, events ...event.Event) error
	// DeleteReservation of one that is not there is errs.NotFound.
	DeleteReservation(ctx context.Context, name string, events ...event.Event) error
	ListReservations(ctx context.Context) ([]Reservation, error)
}

// Options are what a Calendar works with.
type Options struct {
	Store Store
	Clock clock.Clock
	Log   *slog.Logger
	Nodes func() []fleet.Node
	Queue func(name string) error                      // refuses a queue that jobs may not name; nil refuses none
	User  func(ctx context.Context, name string) error // refuses a user who has no account; nil refuses none
}

// Calendar is the reservations that are not over. Its methods may be called from any goroutine.
type Calendar struct {
	o Options

	mu   sync.Mutex
	list []Reservation // by begin, then name
}

// Open reads the reservations.
func Open(ctx context.Context, o Options) (*Calendar, error) {
	list, err := o.Store.ListReservations(ctx)
	if err != nil {
		return nil, errs.E("calendar.Open", errs.Other, err)
	}
	c := &Calendar{o: o, list: list}
	c.sort()
	return c, nil
}

func (c *Calendar) sort() {
	slices.SortFunc(c.list, func(a, b Reservation) int {
		if n := a.From.Compare(b.From); n != 0 {
			return n
		}
		return strings.Compare(a.Name, b.Name)
	})
}

// List are the reservations that are not over, by their begin.
func (c *Calendar) List() []Reservation {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current()
}

func (c *Calendar) current() []Reservation {
	now := c.o.Clock.Now()
	return slices.DeleteFunc(slices.Clone(c.list), func(r Reservation) bool { return !r.To.After(now) })
}

// Get finds a reservation.
func (c *Calendar) Get(name string) (Reservation, error) {
	for _, r := range c.List() {
		if r.Name == name {
			return r, nil
		}
	}
	return Reservation{Name: name}, errs.Errorf("calendar.Get", errs.NotFound, "no reservation %q; `lineshaft reservations` lists them", name)
}

// Add makes a reservation; a dry run only says what it would be.
func (c *Calendar) Add(ctx context.Context, actor, owner string, q Request, dry bool) (Reservation, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.o.Clock.Now()
	if q.From.IsZero() {
		q.From = now
	}
	if err := q.validate(now); err != nil {
		return Reservation{}, err
	}
	if q.Queue != "" && c.o.Queue != nil {
		if err := c.o.Queue(q.Queue); err != nil {
			return Reservation{}, err
		}
	}
	if q.User != "" && c.o.User != nil {
		if err := c.o.User(ctx, q.User); err != nil {
			return Reservation{}, err
		}
	}
	others := c.current()
	if slices.ContainsFunc(others, func(o Reservation) bool { return o.Name == q.Name }) {
		return Reservation{}, errs.Errorf("calendar.Add", errs.Exists, "there is a reservation %q: choose another name, or remove it with `lineshaft reservations delete %s`", q.Name, q.Name)
	}
	if len(others) >= maxReservations {
		return Reservation{}, errs.Errorf("calendar.Add", errs.Exhausted, "there are %d reservations, the most that are kept: remove one with `lineshaft reservations delete NAME`", len(others))
	}
	room, err := q.resolve(c.o.Nodes(), others)
	if err != nil {
		return Reservation{}, err
	}
	r := Reservation{
		Name: q.Name, User: q.User, Queue: q.Queue, From: q.From.UTC(), To: q.To.UTC(), Room: room, Reason: q.Reason,
		Owner: owner, Created: now,
	}
	if dry {
		return r, nil
	}
	if i := slices.IndexFunc(c.list, func(o Reservation) bool { return o.Name == q.Name }); i >= 0 { // over, and not removed yet
		if err := c.remove(ctx, self, "reservation.ended", c.list[i]); err != nil {
			return Reservation{}, err
		}
	}
	if err := c.o.Store.PutReservation(ctx, r, event.New("fleet", "reservation.added", "reservation/"+r.Name, actor, r)); err != nil {
		return Reservation{}, errs.E("calendar.Add", errs.Other, err)
	}
	c.list = append(c.list, r)
	c.sort()
	return r, nil
}

// Delete removes a reservation.
func (c *Calendar) Delete(ctx context.Context, actor, name string) error {
	r, err := c.Get(name)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.remove(ctx, actor, "reservation.deleted", r)
}

func (c *Calendar) remove(ctx context.Context, actor, kind string, r Reservation) error {
	err := c.o.Store.DeleteReservation(ctx, r.Name, event.New("fleet", kind, "reservation/"+r.Name, actor, r))
	if err != nil && !errs.Is(err, errs.NotFound) {
		return errs.E("calendar.remove", errs.Other, err)
	}
	c.list = slices.DeleteFunc(c.list, func(o Reservation) bool { return o.Name == r.Name })
	return nil
}

// self is who removes what is over.
const self = "service/calendar"

// Prune removes what is over.
func (c *Calendar) Prune(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.o.Clock.Now()
	for _, r := range slices.Clone(c.list) {
		if r.To.After(now) {
			continue
		}
		if err := c.remove(ctx, self, "reservation.ended", r); err != nil {
			return err
		}
	}
	return nil
}

// pruneEvery is how often what is over is removed.
const pruneEvery = 30 * time.Second

// Run removes what is over until ctx ends.
func (c *Calendar) Run(ctx context.Context) error {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		if err := c.Prune(ctx); err != nil && ctx.Err() == nil {
			c.o.Log.Warn("calendar: reservations that are over could not be removed", "err", errs.Trace(err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (q *Request) validate(now time.Time) error {
	const op = "calendar.Add"
	if err := id.CheckName("reservation", q.Name); err != nil {
		return err
	}
	ways := 0
	for _, given := range []bool{len(q.Nodes) > 0, q.Count != 0, q.Accelerators != 0} {
		if given {
			ways++
		}
	}
	switch {
	case q.User == "" && q.Queue == "":
		return errs.Errorf(op, errs.Invalid, "say who the room is for: a user, a queue, or both")
	case q.To.IsZero():
		return errs.Errorf(op, errs.Invalid, "say until when: `to` as a time such as 2026-12-24T18:00:00Z")
	case !q.From.Before(q.To):
		return errs.Errorf(op, errs.Invalid, "it ends %s, which is not after its begin %s", q.To.UTC().Format(time.RFC3339), q.From.UTC().Format(time.RFC3339))
	case !q.To.After(now):
		return errs.Errorf(op, errs.Invalid, "it ends %s, which is over", q.To.UTC().Format(time.RFC3339))
	case q.To.Sub(q.From) > maxSpan:
		return errs.Errorf(op, errs.Invalid, "it lasts %v: reserve at most a year", q.To.Sub(q.From))
	case ways != 1:
		return errs.Errorf(op, errs.Invalid, "say what to reserve, in one way: nodes by name, a count of nodes, or a number of accelerators")
	case q.Count < 0 || q.Accelerators < 0 || q.Count > maxRoom || q.Accelerators > maxRoom:
		return errs.Errorf(op, errs.Invalid, "%d nodes, %d accelerators: give 1 to %d", q.Count, q.Accelerators, maxRoom)
	case q.Model != "" && len(q.Nodes) > 0:
		return errs.Errorf(op, errs.Invalid, "a model goes with a count of nodes or of accelerators; nodes by name have what they have")
	case len(q.Reason) > 1000 || len(q.User) > 128:
		return errs.Errorf(op, errs.Invalid, "a reason has at most 1000 bytes, a user's name at most 128")
	}
	return nil
}

const (
	maxSpan = 366 * 24 * time.Hour
	maxRoom = 100_000

	maxReservations = 1000 // each is looked at in every plan
)

// Reserved is the calendar for the scheduler: what is not over, in parts of the nodes as they are.
func (c *Calendar) Reserved() []sched.Reservation {
	list := c.List()
	if len(list) == 0 {
		return nil
	}
	nodes := map[string]fleet.Node{}
	for _, n := range c.o.Nodes() {
		nodes[n.Name] = n
	}
	out := make([]sched.Reservation, 0, len(list))
	for _, r := range list {
		s := sched.Reservation{Name: r.Name, Queue: r.Queue, User: r.User, Span: sched.Span{From: r.From, To: r.To}}
		for _, room := range r.Room {
			if n, ok := nodes[room.Node]; ok {
				s.Room = append(s.Room, room.places(n)...)
			}
		}
		out = append(out, s)
	}
	return out
}
