// Package sqlite opens the embedded database: SQLite in pure Go, in write-ahead-log mode with full synchronisation, so
// that what was answered survives a loss of power.
package sqlite

import (
	"context"
	"database/sql"
	"net/url"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/store/migrate"
)

// Open opens or creates the database file and brings its schema up to date.
func Open(ctx context.Context, path string) (*sql.DB, error) {
	const op = "sqlite.Open"
	q := url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "busy_timeout(10000)"}, "_txlock": {"immediate"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	db.SetMaxOpenConns(8)
	if err := migrate.Up(ctx, db, goose.DialectSQLite3); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}
