package store

import (
	"context"
	"database/sql"
	"math"

	"github.com/lineshaft/lineshaft/control"
	"github.com/lineshaft/lineshaft/internal/event"
)

// actionsKeep is how many actions stay listed: grants follow need, which makes some every minute, for ever. Open ones stay
// anyway, and the audit log has all.
const actionsKeep = 10_000

// PutAction writes the action under its ID, over an older state of it.
func (d *DB) PutAction(ctx context.Context, a control.Action, events ...event.Event) error {
	return d.commit(ctx, "store.PutAction", events, func(tx *sql.Tx, _ []event.Event) error {
		body, err := encode(a)
		if err != nil {
			return err
		}
		live := 0
		if a.State.Open() {
			live = 1
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO actions (id, at, changed, live, body) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (id) DO UPDATE SET at = excluded.at, changed = excluded.changed, live = excluded.live, body = excluded.body`,
			a.ID, a.Time.UnixNano(), a.Changed.UnixNano(), live, body)
		if err != nil || live > 0 {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM actions WHERE live = 0 AND at < (SELECT at FROM actions ORDER BY at DESC, id DESC LIMIT 1 OFFSET $1)`, actionsKeep-1)
		return err
	})
}

// ListActions lists newest first; without a limit it lists all, because the loop must not forget one.
func (d *DB) ListActions(ctx context.Context, f control.Filter) ([]control.Action, error) {
	open, since := 0, int64(math.MinInt64)
	if f.Open {
		open = 1
	}
	if !f.Since.IsZero() {
		since = f.Since.UnixNano()
	}
	limit := f.Limit
	if limit <= 0 {
		limit = math.MaxInt32
	}
	out, err := scanAll[control.Action](d.db.QueryContext(ctx,
		`SELECT body FROM actions WHERE live >= $1 AND changed >= $2 ORDER BY at DESC, id DESC LIMIT $3`, open, since, limit))
	return out, fault2("store.ListActions", err)
}

// policyMode is the mode that was set for a policy.
type policyMode struct {
	Policy string       `json:"policy"`
	Mode   control.Mode `json:"mode"`
}

func (d *DB) modes() table[policyMode] { return table[policyMode]{d, "mode", "mode of policy"} }

// PutMode writes how far a policy may go.
func (d *DB) PutMode(ctx context.Context, policy string, m control.Mode, events ...event.Event) error {
	return d.modes().put(ctx, policy, policyMode{policy, m}, events...)
}

// Modes are the modes that were ever set.
func (d *DB) Modes(ctx context.Context) (map[string]control.Mode, error) {
	list, err := d.modes().list(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[string]control.Mode, len(list))
	for _, m := range list {
		out[m.Policy] = m.Mode
	}
	return out, nil
}

var _ control.Store = (*DB)(nil)
