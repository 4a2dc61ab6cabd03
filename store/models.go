package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/model"
)

// versionRow adds the wrapped key, which the API never shows, to what is stored.
type versionRow struct {
	model.Version
	Key string `json:"key"`
}

func (r versionRow) version() model.Version {
	v := r.Version
	v.Key = r.Key
	return v
}

// CreateVersion gives the next number; a replayed registration of a job's result returns the first one.
func (d *DB) CreateVersion(ctx context.Context, v model.Version, events ...event.Event) (model.Version, error) {
	var known *model.Version
	err := d.commit(ctx, "store.CreateVersion", events, func(tx *sql.Tx, events []event.Event) error {
		if strings.HasPrefix(v.Source, "job/") {
			list, err := scanAll[versionRow](tx.QueryContext(ctx,
				`SELECT body FROM model_versions WHERE model = $1 AND source = $2 AND digest = $3`, v.Model, v.Source, v.Digest))
			if err != nil {
				return err
			}
			if len(list) > 0 {
				found := list[0].version()
				known = &found
				return errReplayed
			}
		}
		var last sql.NullInt64
		if err := tx.QueryRowContext(ctx, `SELECT MAX(version) FROM model_versions WHERE model = $1`, v.Model).Scan(&last); err != nil {
			return err
		}
		v.Version = last.Int64 + 1
		at := v.Created.UnixNano()
		if _, err := tx.ExecContext(ctx, `INSERT INTO models (name, created, updated) VALUES ($1, $2, $2)
			ON CONFLICT (name) DO UPDATE SET updated = excluded.updated`, v.Model, at); err != nil {
			return err
		}
		body, err := encode(versionRow{Version: v, Key: v.Key})
		if err != nil {
			return err
		}
		shown, err := encode(v)
		if err != nil {
			return err
		}
		for i := range events {
			if events[i].Subject == "model/"+v.Model+":" {
				events[i].Subject = fmt.Sprintf("model/%s:%d", v.Model, v.Version)
				events[i].Data = json.RawMessage(shown)
			}
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO model_versions (model, version, source, digest, body) VALUES ($1, $2, $3, $4, $5)`,
			v.Model, v.Version, v.Source, v.Digest, body)
		return err
	})
	if known != nil {
		return *known, nil
	}
	return v, err
}

// errReplayed leaves a transaction that has nothing to write.
var errReplayed = errs.Errorf("store", errs.Exists, "already there")

// GetModel finds a model by name.
func (d *DB) GetModel(ctx context.Context, name string) (model.Model, error) {
	const op = "store.GetModel"
	list, err := d.models(ctx, `m.name = $1`, name, 1)
	if err != nil || len(list) == 0 {
		return model.Model{}, errors2(op, err, "no model %q; `lineshaft models list` lists them", name)
	}
	return list[0], nil
}

// ListModels lists by name.
func (d *DB) ListModels(ctx context.Context, after string, limit int) ([]model.Model, error) {
	return d.models(ctx, `m.name > $1`, after, limitOr(limit, 1000))
}

func (d *DB) models(ctx context.Context, where string, arg any, limit int) ([]model.Model, error) {
	const op = "store.models"
	rows, err := d.db.QueryContext(ctx, `SELECT m.name, m.created, m.updated, COUNT(v.version), COALESCE(MAX(v.version), 0)
		FROM models m LEFT JOIN model_versions v ON v.model = m.name WHERE `+where+` GROUP BY m.name, m.created, m.updated ORDER BY m.name LIMIT $2`, arg, limit)
	if err != nil {
		return nil, fault(op, err)
	}
	defer rows.Close()
	out := []model.Model{}
	at := map[string]int{}
	for rows.Next() {
		var m model.Model
		var created, updated int64
		if err := rows.Scan(&m.Name, &created, &updated, &m.Versions, &m.Latest); err != nil {
			return nil, fault(op, err)
		}
		m.Created, m.Updated, m.Aliases = time.Unix(0, created).UTC(), time.Unix(0, updated).UTC(), map[string]int64{}
		at[m.Name] = len(out)
		out = append(out, m)
	}
	if err := rows.Err(); err != nil {
		return nil, fault(op, err)
	}
	aliases, err := d.db.QueryContext(ctx, `SELECT m.model, m.alias, m.version FROM model_aliases m`)
	if err != nil {
		return nil, fault(op, err)
	}
	defer aliases.Close()
	for aliases.Next() {
		var name, alias string
		var version int64
		if err := aliases.Scan(&name, &alias, &version); err != nil {
			return nil, fault(op, err)
		}
		if i, ok := at[name]; ok {
			out[i].Aliases[alias] = version
		}
	}
	return out, fault2(op, aliases.Err())
}

// GetVersion finds one version.
func (d *DB) GetVersion(ctx context.Context, name string, version int64) (model.Version, error) {
	const op = "store.GetVersion"
	list, err := scanAll[versionRow](d.db.QueryContext(ctx, `SELECT body FROM model_versions WHERE model = $1 AND version = $2`, name, version))
	if err != nil || len(list) == 0 {
		return model.Version{}, errors2(op, err, "model %q has no version %d; `lineshaft models show %s` lists them", name, version, name)
	}
	return list[0].version(), nil
}

// ListVersions lists newest first.
func (d *DB) ListVersions(ctx context.Context, name string) ([]model.Version, error) {
	rows, err := scanAll[versionRow](d.db.QueryContext(ctx, `SELECT body FROM model_versions WHERE model = $1 ORDER BY version DESC`, name))
	if err != nil {
		return nil, fault("store.ListVersions", err)
	}
	out := make([]model.Version, len(rows))
	for i, r := range rows {
		out[i] = r.version()
	}
	return out, nil
}

// SetAlias moves or, with version 0, removes an alias.
func (d *DB) SetAlias(ctx context.Context, name, alias string, version int64, events ...event.Event) error {
	const op = "store.SetAlias"
	return d.commit(ctx, op, events, func(tx *sql.Tx, _ []event.Event) error {
		if version == 0 {
			res, err := tx.ExecContext(ctx, `DELETE FROM model_aliases WHERE model = $1 AND alias = $2`, name, alias)
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil || n == 0 {
				return errors2(op, err, "model %q has no alias %q; `lineshaft models show %s` lists them", name, alias, name)
			}
			return nil
		}
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM model_versions WHERE model = $1 AND version = $2`, name, version).Scan(&n); err != nil || n == 0 {
			return errors2(op, err, "model %q has no version %d", name, version)
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO model_aliases (model, alias, version) VALUES ($1, $2, $3)
			ON CONFLICT (model, alias) DO UPDATE SET version = excluded.version`, name, alias, version)
		return err
	})
}

var _ model.Store = (*DB)(nil)

// CountModels counts the models.
func (d *DB) CountModels(ctx context.Context) (n int, err error) {
	err = d.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM models`).Scan(&n)
	return n, fault2("store.CountModels", err)
}
