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

// create refuses an id that is taken.
func (t table[T]) create(ctx context.Context, id string, v T, events ...event.Event) error {
	return t.write(ctx, "store.create", id, v, false, events)
}

// put writes whether or not the id is there.
func (t table[T]) put(ctx context.Context, id string, v T, events ...event.Event) error {
	return t.write(ctx, "store.put", id, v, true, events)
}

func (t table[T]) write(ctx context.Context, op, id string, v T, replace bool, events []event.Event) error {
	body, err := encode(v)
	if err != nil {
		return errs.E(op, errs.Other, err)
	}
	return t.db.commit(ctx, op, events, func(tx *sql.Tx, _ []event.Event) error {
		query := `INSERT INTO records (kind, id, body) VALUES ($1, $2, $3) ON CONFLICT (kind, id) DO `
		if replace {
			query += `UPDATE SET body = excluded.body`
		} else {
			query += `NOTHING`
		}
		res, err := tx.ExecContext(ctx, query, t.kind, id, body)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err == nil && n == 0 {
			return errs.Errorf(op, errs.Exists, "there is already a %s %q", t.what, id)
		}
		return nil
	})
}

func (t table[T]) get(ctx context.Context, id string) (T, error) {
	return t.read(ctx, t.db.db, id)
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func (t table[T]) read(ctx context.Context, q querier, id string) (T, error) {
	list, err := scanAll[T](q.QueryContext(ctx, `SELECT body FROM records WHERE kind = $1 AND id = $2`, t.kind, id))
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
		res, err := tx.ExecContext(ctx, `DELETE FROM records WHERE kind = $1 AND id = $2`, t.kind, id)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors2(op, err, "no %s %q", t.what, id)
		}
		return nil
	})
}

// take reads and deletes in one transaction, so that a one-time link works once.
func (t table[T]) take(ctx context.Context, id string, events ...event.Event) (T, error) {
	var v T
	err := t.db.commit(ctx, "store.take", events, func(tx *sql.Tx, _ []event.Event) (err error) {
		if v, err = t.read(ctx, tx, id); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM records WHERE kind = $1 AND id = $2`, t.kind, id)
		return err
	})
	return v, err
}

// Setting reads a single value; "" when it was never set.
func (d *DB) Setting(ctx context.Context, name string) (string, error) {
	var v string
	err := d.db.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = $1`, name).Scan(&v)
	if err == sql.ErrNoRows { //nolint:errorlint // Scan returns it bare
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
