package store

import (
	"context"
	"database/sql"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
)

// Records are small things that are read whole: one JSON body under a kind and an id. table gives them their type.
type table[T any] struct {
	db   *DB
	kind string
	what string // for the error: "user"
}

// put writes whether or not the id is there.
func (t table[T]) put(ctx context.Context, id string, v T, events ...event.Event) error {
	return t.db.commit(ctx, "store.put", events, func(tx *sql.Tx, _ []event.Event) error { return t.upsert(ctx, tx, id, v) })
}

// upsert is put in the caller's transaction.
func (t table[T]) upsert(ctx context.Context, tx *sql.Tx, id string, v T) error {
	body, err := encode(v)
	if err != nil {
		return errs.E("store.upsert", errs.Other, err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO records (kind, id, body) VALUES ($1, $2, $3)
		ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body`, t.kind, id, body)
	return err
}

func removeRecord(ctx context.Context, tx *sql.Tx, kind, id string) (bool, error) {
	res, err := tx.ExecContext(ctx, `DELETE FROM records WHERE kind = $1 AND id = $2`, kind, id)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

func (t table[T]) get(ctx context.Context, id string) (T, error) {
	list, err := scanAll[T](t.db.db.QueryContext(ctx, `SELECT body FROM records WHERE kind = $1 AND id = $2`, t.kind, id))
	if err != nil || len(list) == 0 {
		var none T
		return none, errors2("store.get", err, "no %s %q", t.what, id)
	}
	return list[0], nil
}

func (t table[T]) list(ctx context.Context) ([]T, error) {
	out, err := scanAll[T](t.db.db.QueryContext(ctx, `SELECT body FROM records WHERE kind = $1 ORDER BY id`, t.kind))
	return out, fault2("store.list", err)
}

// remove deletes; an id that is not there is errs.NotFound.
func (t table[T]) remove(ctx context.Context, id string, events ...event.Event) error {
	const op = "store.remove"
	return t.db.commit(ctx, op, events, func(tx *sql.Tx, _ []event.Event) error {
		if gone, err := removeRecord(ctx, tx, t.kind, id); err != nil || !gone {
			return errors2(op, err, "no %s %q", t.what, id)
		}
		return nil
	})
}

// Setting reads a single value; "" when it was never set.
func (d *DB) Setting(ctx context.Context, name string) (string, error) {
	var v string
	err := d.db.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = $1`, name).Scan(&v)
	if err == sql.ErrNoRows {
		return "", nil
	}
	return v, fault2("store.Setting", err)
}

// SetSetting writes a single value.
func (d *DB) SetSetting(ctx context.Context, name, value string, events ...event.Event) error {
	return d.commit(ctx, "store.SetSetting", events, func(tx *sql.Tx, _ []event.Event) error {
		return setSetting(ctx, tx, name, value)
	})
}

func setSetting(ctx context.Context, tx *sql.Tx, name, value string) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}
