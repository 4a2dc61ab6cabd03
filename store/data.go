package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/lineshaft/lineshaft/data"
	"github.com/lineshaft/lineshaft/internal/event"
)

// setRow adds the files' wrapped keys, which the API never shows.
type setRow struct {
	data.Set
	Keys []string `json:"keys"`
}

func rowOf(s data.Set) setRow {
	r := setRow{Set: s}
	for _, f := range s.Files {
		r.Keys = append(r.Keys, f.Key)
	}
	return r
}

func (r setRow) set() data.Set {
	for i := range r.Files {
		if i < len(r.Keys) {
			r.Files[i].Key = r.Keys[i]
		}
	}
	return r.Set
}

// CreateSet gives the next version; a set equal to the newest is that one.
func (d *DB) CreateSet(ctx context.Context, s data.Set, events ...event.Event) (data.Set, error) {
	var known *data.Set
	err := d.commit(ctx, "store.CreateSet", events, func(tx *sql.Tx, events []event.Event) error {
		newest, err := scanAll[setRow](tx.QueryContext(ctx, `SELECT body FROM data_sets WHERE name = $1 ORDER BY version DESC LIMIT 1`, s.Name))
		if err != nil {
			return err
		}
		if len(newest) > 0 && newest[0].Digest == s.Digest {
			found := newest[0].set()
			known = &found
			return errReplayed
		}
		s.Version = 1
		if len(newest) > 0 {
			s.Version = newest[0].Version + 1
		}
		body, err := encode(rowOf(s))
		if err != nil {
			return err
		}
		shown, err := encode(s)
		if err != nil {
			return err
		}
		for i := range events {
			if events[i].Subject == "data/"+s.Name+"@" {
				events[i].Subject = fmt.Sprintf("data/%s@%d", s.Name, s.Version)
				events[i].Data = json.RawMessage(shown)
			}
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO data_sets (name, version, digest, body) VALUES ($1, $2, $3, $4)`, s.Name, s.Version, s.Digest, body)
		return err
	})
	if known != nil {
		return *known, nil
	}
	return s, err
}

// GetSet finds a version; 0 is the newest.
func (d *DB) GetSet(ctx context.Context, name string, version int64) (data.Set, error) {
	const op = "store.GetSet"
	list, err := scanAll[setRow](d.db.QueryContext(ctx,
		`SELECT body FROM data_sets WHERE name = $1 AND ($2 = 0 OR version = $2) ORDER BY version DESC LIMIT 1`, name, version))
	if err != nil || len(list) == 0 {
		return data.Set{}, errors2(op, err, "no data set %q; `lineshaft data list` lists them, `lineshaft data import` adds one", name)
	}
	return list[0].set(), nil
}

// ListSets lists the newest version of every set, by name.
func (d *DB) ListSets(ctx context.Context, after string, limit int) ([]data.Set, error) {
	rows, err := scanAll[setRow](d.db.QueryContext(ctx, `SELECT s.body FROM data_sets s WHERE s.name > $1
		AND s.version = (SELECT MAX(version) FROM data_sets WHERE name = s.name) ORDER BY s.name LIMIT $2`, after, limitOr(limit, 1000)))
	if err != nil {
		return nil, fault("store.ListSets", err)
	}
	out := make([]data.Set, len(rows))
	for i, r := range rows {
		out[i] = r.set()
	}
	return out, nil
}

var _ data.Store = (*DB)(nil)
