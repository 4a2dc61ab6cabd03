package store

import (
	"context"

	"github.com/lineshaft/lineshaft/calendar"
	"github.com/lineshaft/lineshaft/internal/event"
)

func (d *DB) reservations() table[calendar.Reservation] {
	return table[calendar.Reservation]{d, "reservation", "reservation"}
}

// PutReservation writes a reservation under its name.
func (d *DB) PutReservation(ctx context.Context, r calendar.Reservation, events ...event.Event) error {
	return d.reservations().put(ctx, r.Name, r, events...)
}

// DeleteReservation of one that is not there is errs.NotFound.
func (d *DB) DeleteReservation(ctx context.Context, name string, events ...event.Event) error {
	return d.reservations().remove(ctx, name, events...)
}

// ListReservations lists by name.
func (d *DB) ListReservations(ctx context.Context) ([]calendar.Reservation, error) {
	return d.reservations().list(ctx)
}

var _ calendar.Store = (*DB)(nil)
