package client

import (
	"context"
	"net/http"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/calendar"
)

// Reservations lists the reservations that are not over.
func (c *Client) Reservations(ctx context.Context) ([]calendar.Reservation, error) {
	page, err := get[api.Page[calendar.Reservation]](ctx, c, base+"/reservations", nil)
	return page.Items, err
}

// Reserve makes a reservation.
func (c *Client) Reserve(ctx context.Context, q calendar.Request, dryRun bool) (api.Reserved, error) {
	return change[api.Reserved](ctx, c, http.MethodPost, base+"/reservations", dry(dryRun), q)
}

// DeleteReservation gives reserved room back.
func (c *Client) DeleteReservation(ctx context.Context, name string, dryRun bool) error {
	return c.call(ctx, http.MethodDelete, base+"/reservations/"+seg(name), dry(dryRun), nil, nil)
}
