package store

import (
	"context"
	"database/sql"

	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/serve"
)

// PutService writes what is wanted of a model.
func (d *DB) PutService(ctx context.Context, r serve.Record, events ...event.Event) error {
	const op = "store.PutService"
	body, err := encode(r)
	if err != nil {
		return fault(op, err)
	}
	return d.commit(ctx, op, events, func(tx *sql.Tx, _ []event.Event) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO services (name, body) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET body = excluded.body`, r.Model, body)
		return err
	})
}

// DeleteService takes a model out of service.
func (d *DB) DeleteService(ctx context.Context, model string, events ...event.Event) error {
	return d.commit(ctx, "store.DeleteService", events, func(tx *sql.Tx, _ []event.Event) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM services WHERE name = $1`, model)
		return err
	})
}

// Services lists what is wanted, by name.
func (d *DB) Services(ctx context.Context) ([]serve.Record, error) {
	out, err := scanAll[serve.Record](d.db.QueryContext(ctx, `SELECT body FROM services ORDER BY name`))
	return out, fault2("store.Services", err)
}

var _ serve.Store = (*DB)(nil)
