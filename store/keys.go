package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lineshaft/lineshaft/internal/artifact"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/store/blob"
	"github.com/lineshaft/lineshaft/trust/seal"
	"github.com/lineshaft/lineshaft/trust/secret"
)

// Settings that hold wrapped keys, by the beginning of their names: the data key of a job, in the context that is the
// setting's name, and the description of an uploaded code folder.
const (
	JobKeys = "job-key/"
	Codes   = "code/"
)

// holder reads and changes the wrapped keys in one sort of record. keys and put work on a record's body.
type holder struct {
	kind string
	list string // SQL giving id and body of every record
	get  string // SQL giving the body of one
	set  string // SQL writing the body of one
	keys func(id, body string) (context string, wrapped []string, err error)
	put  func(body string, next []string) (string, error)
}

// holders is everything in the database that holds wrapped keys. A new sort of record that does belongs here.
func holders() []holder {
	return []holder{
		{
			kind: "version", list: `SELECT model || '/' || version, body FROM model_versions ORDER BY model, version`,
			get:  `SELECT body FROM model_versions WHERE model = $1 AND version = $2`,
			set:  `UPDATE model_versions SET body = $1 WHERE model = $2 AND version = $3`,
			keys: inBody(func(r versionRow) []string { return []string{r.Key} }),
			put:  intoBody(func(r *versionRow, next []string) { r.Key = next[0] }),
		},
		{
			kind: "data", list: `SELECT name || '/' || version, body FROM data_sets ORDER BY name, version`,
			get:  `SELECT body FROM data_sets WHERE name = $1 AND version = $2`,
			set:  `UPDATE data_sets SET body = $1 WHERE name = $2 AND version = $3`,
			keys: inBody(func(r setRow) []string { return r.Keys }),
			put:  intoBody(func(r *setRow, next []string) { r.Keys = next }),
		},
		{
			kind: "secret", list: `SELECT id, body FROM records WHERE kind = 'secret' ORDER BY id`,
			get: `SELECT body FROM records WHERE kind = 'secret' AND id = $1`,
			set: `UPDATE records SET body = $1 WHERE kind = 'secret' AND id = $2`,
			keys: func(id, body string) (string, []string, error) {
				_, wrapped, err := inBody(func(s secret.Stored) []string { return []string{s.Sealed} })(id, body)
				for i, w := range wrapped {
					wrapped[i], _, _ = strings.Cut(w, " ") // the sealed value stays where it is
				}
				return secret.Context(id), wrapped, err
			},
			put: intoBody(func(s *secret.Stored, next []string) {
				_, sealed, _ := strings.Cut(s.Sealed, " ")
				s.Sealed = next[0] + " " + sealed
			}),
		},
		{
			kind: "attachment", list: `SELECT id, body FROM records WHERE kind = 'attachment' ORDER BY id`,
			get: `SELECT body FROM records WHERE kind = 'attachment' AND id = $1`,
			set: `UPDATE records SET body = $1 WHERE kind = 'attachment' AND id = $2`,
			keys: func(id, body string) (string, []string, error) {
				_, wrapped, err := inBody(func(a model.SealedAttachment) []string { return []string{a.Sealed} })(id, body)
				for i, w := range wrapped {
					wrapped[i], _, _ = strings.Cut(w, " ")
				}
				return model.AttachmentContext(id), wrapped, err
			},
			put: intoBody(func(a *model.SealedAttachment, next []string) {
				_, sealed, _ := strings.Cut(a.Sealed, " ")
				a.Sealed = next[0] + " " + sealed
			}),
		},
		{
			kind: "job-key", list: `SELECT name, value FROM settings WHERE substr(name, 1, 8) = '` + JobKeys + `' ORDER BY name`,
			get:  `SELECT value FROM settings WHERE name = $1`,
			set:  `UPDATE settings SET value = $1 WHERE name = $2`,
			keys: func(id, body string) (string, []string, error) { return id, []string{body}, nil },
			put:  func(_ string, next []string) (string, error) { return next[0], nil },
		},
		{
			kind: "code", list: `SELECT name, value FROM settings WHERE substr(name, 1, 5) = '` + Codes + `' ORDER BY name`,
			get:  `SELECT value FROM settings WHERE name = $1`,
			set:  `UPDATE settings SET value = $1 WHERE name = $2`,
			keys: inBody(func(i artifact.Info) []string { return []string{i.Key} }),
			put:  intoBody(func(i *artifact.Info, next []string) { i.Key = next[0] }),
		},
	}
}

// inBody finds the keys of blobs in a JSON body.
func inBody[T any](find func(T) []string) func(id, body string) (string, []string, error) {
	return func(_, body string) (string, []string, error) {
		var v T
		err := json.Unmarshal([]byte(body), &v)
		return blob.Context, find(v), err
	}
}

func intoBody[T any](put func(*T, []string)) func(body string, next []string) (string, error) {
	return func(body string, next []string) (string, error) {
		var v T
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			return "", err
		}
		put(&v, next)
		return encode(v)
	}
}

// WrappedKeys lists every record that holds wrapped data keys.
func (d *DB) WrappedKeys(ctx context.Context) ([]seal.Holding, error) {
	const op = "store.WrappedKeys"
	var out []seal.Holding
	for _, h := range holders() {
		held, err := d.held(ctx, h)
		if err != nil {
			return nil, fault(op, err)
		}
		out = append(out, held...)
	}
	return out, nil
}

// held lists the records of one sort.
func (d *DB) held(ctx context.Context, h holder) (out []seal.Holding, err error) {
	rows, err := d.db.QueryContext(ctx, h.list)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id, body string
		if err := rows.Scan(&id, &body); err != nil {
			return nil, err
		}
		held := seal.Holding{ID: h.kind + " " + id}
		if held.Context, held.Wrapped, err = h.keys(id, body); err != nil {
			return nil, errs.Errorf("store.held", errs.Corrupt, "the record of %s does not parse: restore the database from a backup", held.ID)
		}
		out = append(out, held)
	}
	return out, rows.Err()
}

// SwapKeys puts next in the place of the record's keys, if they are still those of held.
func (d *DB) SwapKeys(ctx context.Context, held seal.Holding, next []string) (swapped bool, err error) {
	const op = "store.SwapKeys"
	kind, id, _ := strings.Cut(held.ID, " ")
	list := holders()
	i := slices.IndexFunc(list, func(h holder) bool { return h.kind == kind })
	if i < 0 || len(next) != len(held.Wrapped) {
		return false, errs.Errorf(op, errs.Other, "no record %q with %d keys", held.ID, len(next))
	}
	h, key := list[i], []any{id}
	if kind == "version" || kind == "data" {
		name, version, _ := strings.Cut(id, "/")
		n, err := strconv.ParseInt(version, 10, 64)
		if err != nil {
			return false, errs.E(op, errs.Other, fmt.Errorf("record %q: %w", held.ID, err))
		}
		key = []any{name, n}
	}
	err = d.commit(ctx, op, nil, func(tx *sql.Tx, _ []event.Event) error {
		var body string
		if err := tx.QueryRowContext(ctx, h.get, key...).Scan(&body); err == sql.ErrNoRows {
			return nil
		} else if err != nil {
			return err
		}
		_, now, err := h.keys(id, body)
		if err != nil || !slices.Equal(now, held.Wrapped) {
			return err
		}
		if body, err = h.put(body, next); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, h.set, append([]any{body}, key...)...)
		swapped = err == nil
		return err
	})
	return swapped && err == nil, err
}

// Mentions reports whether any record, of whatever sort, holds something wrapped under a key-encryption key.
func (d *DB) Mentions(ctx context.Context, kek string) (bool, error) {
	const op = "store.Mentions"
	if strings.ContainsAny(kek, `%_\`) || kek == "" {
		return false, errs.Errorf(op, errs.Invalid, "%.20q is not the name of a key", kek)
	}
	for _, column := range []string{
		"model_versions WHERE body", "data_sets WHERE body", "records WHERE body", "settings WHERE value", "jobs WHERE body", "services WHERE body", "actions WHERE body",
	} {
		var n int
		if err := d.db.QueryRowContext(ctx, `SELECT COUNT(*) FROM `+column+` LIKE $1`, "%"+kek+":%").Scan(&n); err != nil {
			return false, fault(op, err)
		}
		if n > 0 {
			return true, nil
		}
	}
	return false, nil
}

var _ seal.Holder = (*DB)(nil)
