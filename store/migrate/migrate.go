// Package migrate brings a database to the schema this program knows, by numbered steps, and refuses one from a newer
// program. The SQL stays in the subset that SQLite and PostgreSQL share.
package migrate

import (
	"context"
	"database/sql"
	"embed"
	"errors"

	"github.com/pressly/goose/v3"

	"github.com/lineshaft/lineshaft/internal/errs"
)

//go:embed *.sql
var steps embed.FS

// Up applies every step that is missing. A database whose version is above the newest step known here gives
// errs.Conflict and is left alone.
func Up(ctx context.Context, db *sql.DB, dialect goose.Dialect) error {
	const op = "migrate.Up"
	p, err := goose.NewProvider(dialect, db, steps)
	if err != nil {
		return errs.E(op, errs.Other, err)
	}
	sources := p.ListSources()
	newest := sources[len(sources)-1].Version
	current, err := p.GetDBVersion(ctx)
	if err != nil {
		return errs.E(op, errs.Other, err)
	}
	if current > newest {
		return errs.Errorf(op, errs.Conflict,
			"the data folder was written by a newer lineshaft (schema %d, this program knows %d): use that version or newer", current, newest)
	}
	if _, err := p.Up(ctx); err != nil && !errors.Is(err, goose.ErrNoNextVersion) {
		return errs.E(op, errs.Other, err)
	}
	return nil
}
