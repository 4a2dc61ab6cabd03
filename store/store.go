// Package store keeps Lineshaft's records in a relational database: it implements the Store interfaces that the domain
// packages declare. The SQL is the subset that SQLite and PostgreSQL share; store/sqlite opens the embedded database.
//
// A write carries its events. The row, the audit entry of every event that is not quiet, and the outbox entry from
// which the console's stream is fed are committed in one transaction; listeners hear of it after the commit. Writes
// are serialised: one at a time, in the order in which their events are numbered.
package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"syscall"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
)

// outboxKeep is how many events a listener that was away can catch up on.
const outboxKeep = 20_000

// DB is the store. Its methods may be called from any goroutine.
type DB struct {
	db     *sql.DB
	clock  clock.Clock
	sealer Sealer

	write sync.Mutex // one writer: the order of commits is the order of event numbers

	listen    sync.Mutex
	listeners map[*listener]struct{}
}

// Sealer makes the keyed seal over the audit chain's head, so that a tail that was cut off is missed.
type Sealer interface {
	SealHead(seq int64, hash string) string
}

// New makes a store over an open, migrated database.
func New(db *sql.DB, c clock.Clock, s Sealer) *DB {
	return &DB{db: db, clock: c, sealer: s, listeners: map[*listener]struct{}{}}
}

// Close ends the subscriptions and closes the database.
func (d *DB) Close() error {
	d.listen.Lock()
	for l := range d.listeners {
		l.close()
	}
	clear(d.listeners)
	d.listen.Unlock()
	return d.db.Close()
}

// commit runs fn and records the events in one transaction, then tells the listeners. fn may fill in what the events
// could not know (the number of a new job).
func (d *DB) commit(ctx context.Context, op string, events []event.Event, fn func(tx *sql.Tx, events []event.Event) error) error {
	d.write.Lock()
	defer d.write.Unlock()
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return fault(op, err)
	}
	defer tx.Rollback() //nolint:errcheck // a no-op after Commit
	events = append([]event.Event(nil), events...)
	if fn != nil {
		if err := fn(tx, events); err != nil {
			return fault(op, err)
		}
	}
	if err := d.record(ctx, tx, events); err != nil {
		return fault(op, err)
	}
	if err := tx.Commit(); err != nil {
		return fault(op, err)
	}
	d.publish(events)
	return nil
}

// Result codes of SQLite (https://sqlite.org/rescode.html), the low byte of what the driver gives.
const (
	sqliteBusy     = 5
	sqliteLocked   = 6
	sqliteCorrupt  = 11
	sqliteFull     = 13
	sqliteNotADB   = 26
	sqliteReadOnly = 8
)

// fault gives a database error its kind: what the operator can mend is said in words.
func fault(op string, err error) error {
	var e *errs.Error
	var coded interface{ Code() int }
	code := 0
	if errors.As(err, &coded) {
		code = coded.Code() & 0xff
	}
	switch {
	case errors.As(err, &e):
		return err
	case errors.Is(err, sql.ErrNoRows):
		return errs.E(op, errs.NotFound, err)
	case code == sqliteFull, errors.Is(err, syscall.ENOSPC), strings.Contains(err.Error(), "no space left"):
		return errs.Errorf(op, errs.Full, "the disk of the data folder is full: free some space; nothing was changed")
	case code == sqliteBusy, code == sqliteLocked:
		return errs.Errorf(op, errs.Unavailable, "the database is locked by another program: close it, or try again shortly")
	case code == sqliteReadOnly:
		return errs.Errorf(op, errs.Unavailable, "the database can only be read: look at the rights of the data folder and at its disk; nothing was changed")
	case code == sqliteCorrupt, code == sqliteNotADB:
		return errs.Errorf(op, errs.Corrupt, "the database of the data folder is damaged (%v): restore it from a backup", err)
	}
	return errs.E(op, errs.KindOf(err), err)
}

func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

// scanAll reads every row's JSON body.
func scanAll[T any](rows *sql.Rows, err error) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := []T{}
	for rows.Next() {
		var body string
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		var v T
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			return nil, errs.Errorf("store.scan", errs.Corrupt, "a stored record does not parse: %v", err)
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

func limitOr(n, def int) int {
	if n <= 0 || n > 10_000 {
		return def
	}
	return n
}
