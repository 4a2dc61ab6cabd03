package store

import (
	"context"

	"github.com/lineshaft/lineshaft/sched/queue"
)

func (d *DB) past() table[queue.Past] { return table[queue.Past]{d, "past", "past use"} }

// pastID is the one record of past use.
const pastID = "hall"

// PutPast writes what was used lately. It comes with no event: nothing has happened.
func (d *DB) PutPast(ctx context.Context, p queue.Past) error { return d.past().put(ctx, pastID, p) }

// Past is what was used lately; nothing when it was never written.
func (d *DB) Past(ctx context.Context) (queue.Past, error) {
	list, err := d.past().list(ctx)
	if err != nil || len(list) == 0 {
		return queue.Past{}, err
	}
	return list[0], nil
}
