// Package sqlite opens the embedded database: SQLite in pure Go, in write-ahead-log mode with full synchronisation, so
// that what was answered survives a loss of power.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite" // and the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/store/migrate"
)

// connections is how many may be open at once, one of them to write.
const connections = 8

// Open opens or creates the database file, which only its owner may read, and brings its schema up to date. A file that
// is no database, or a damaged one, is errs.Corrupt.
func Open(ctx context.Context, path string) (*sql.DB, error) {
	const op = "sqlite.Open"
	// SQLite gives its log and its index the rights of the database.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case err == nil:
		f.Close()
	case !errors.Is(err, os.ErrExist):
		return nil, errs.Errorf(op, errs.Unavailable, "the database cannot be made: %v", err)
	}
	q := url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "busy_timeout(10000)"}, "_txlock": {"immediate"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections) // a new one sets its pragmas anew
	if err := migrate.Up(ctx, db, goose.DialectSQLite3); err != nil {
		db.Close()
		return nil, explain(op, path, err)
	}
	return db, nil
}

// explain gives what can be wrong with a file at its opening its kind.
func explain(op, path string, err error) error {
	var coded *sqlite.Error
	if !errors.As(err, &coded) {
		return err
	}
	switch code := coded.Code(); {
	case code&0xff == sqlite3.SQLITE_CORRUPT, code&0xff == sqlite3.SQLITE_NOTADB:
		return errs.Errorf(op, errs.Corrupt, "%s is no database, or is damaged (%v): restore it from a backup", path, err)
	case code&0xff == sqlite3.SQLITE_FULL, code == sqlite3.SQLITE_IOERR_SHMSIZE: // the file of shared memory cannot grow
		return errs.Errorf(op, errs.Full, "the disk of %s is full: free some space", path)
	case code&0xff == sqlite3.SQLITE_BUSY, code&0xff == sqlite3.SQLITE_LOCKED:
		return errs.Errorf(op, errs.Unavailable, "%s is locked by another program: close it first", path)
	}
	return err
}
