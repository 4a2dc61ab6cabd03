package store

import (
	"context"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/event"
)

func (d *DB) cordons() table[fleet.Cordon] { return table[fleet.Cordon]{d, "cordon", "cordon of node"} }

// PutCordon writes the intent, over an older one for the node.
func (d *DB) PutCordon(ctx context.Context, c fleet.Cordon, events ...event.Event) error {
	return d.cordons().put(ctx, c.Node, c, events...)
}

// DeleteCordon of a node that has none is errs.NotFound.
func (d *DB) DeleteCordon(ctx context.Context, node string, events ...event.Event) error {
	return d.cordons().remove(ctx, node, events...)
}

// ListCordons lists by node.
func (d *DB) ListCordons(ctx context.Context) ([]fleet.Cordon, error) { return d.cordons().list(ctx) }

var _ fleet.Store = (*DB)(nil)
