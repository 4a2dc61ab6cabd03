package store_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/calendar"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/sched/queue"
)

func TestReservationsAndPastUseComeBackAsTheyWere(t *testing.T) {
	db, ctx := fresh(t), t.Context()
	at := time.Date(2026, 12, 7, 9, 0, 0, 0, time.UTC)
	r := calendar.Reservation{
		Name: "course", User: "alice", From: at, To: at.Add(time.Hour), Owner: "admin", Created: at,
		Room: []calendar.Room{{Node: "n1"}, {Node: "n2", Accelerators: []string{"0", "3"}}},
	}
	if err := db.PutReservation(ctx, r, event.New("fleet", "reservation.added", "reservation/course", "user/admin", r)); err != nil {
		t.Fatal(err)
	}
	if list, err := db.ListReservations(ctx); err != nil || len(list) != 1 || !reflect.DeepEqual(list[0], r) {
		t.Fatalf("%+v, %v", list, err)
	}
	if err := db.DeleteReservation(ctx, "course"); err != nil {
		t.Fatal(err)
	}
	if err := db.DeleteReservation(ctx, "course"); !errs.Is(err, errs.NotFound) {
		t.Fatal(err)
	}

	if p, err := db.Past(ctx); err != nil || !p.At.IsZero() {
		t.Fatalf("before any: %+v, %v", p, err)
	}
	p := queue.Past{At: at, Half: time.Hour, Uses: []queue.Use{{Queue: "vision", User: "alice", Amount: queue.Amount{CPU: 1.25, Accelerators: 0.5}}}}
	for range 2 {
		if err := db.PutPast(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := db.Past(ctx); err != nil || !reflect.DeepEqual(got, p) {
		t.Fatalf("%+v, %v", got, err)
	}
}
