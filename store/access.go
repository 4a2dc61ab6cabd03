package store

import (
	"context"
	"database/sql"

	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/trust/access"
)

func (d *DB) accounts() table[access.Account] {
	return table[access.Account]{d, string(access.UserKind), "user"}
}

func (d *DB) tokens() table[access.StoredToken] {
	return table[access.StoredToken]{d, string(access.TokenKind), "token"}
}

func (d *DB) sessions() table[access.StoredSession] {
	return table[access.StoredSession]{d, string(access.SessionKind), "session"}
}

func (d *DB) links() table[access.StoredLink] {
	return table[access.StoredLink]{d, string(access.LinkKind), "sign-in link"}
}

func (d *DB) grants() table[access.Grant] {
	return table[access.Grant]{d, string(access.GrantKind), "grant"}
}

// ReadAccess reads accounts, tokens, sessions, links and grants.
func (d *DB) ReadAccess(ctx context.Context) (r access.Records, err error) {
	if r.Accounts, err = d.accounts().list(ctx); err != nil {
		return r, err
	}
	if r.Tokens, err = d.tokens().list(ctx); err != nil {
		return r, err
	}
	if r.Sessions, err = d.sessions().list(ctx); err != nil {
		return r, err
	}
	if r.Links, err = d.links().list(ctx); err != nil {
		return r, err
	}
	r.Grants, err = d.grants().list(ctx)
	return r, err
}

// WriteAccess makes a change in one transaction. A record in Take that is not there refuses it with errs.NotFound.
func (d *DB) WriteAccess(ctx context.Context, c access.Change, events ...event.Event) error {
	const op = "store.WriteAccess"
	return d.commit(ctx, op, events, func(tx *sql.Tx, _ []event.Event) error {
		for _, r := range c.Take {
			if gone, err := removeRecord(ctx, tx, string(r.Kind), r.ID); err != nil || !gone {
				return errors2(op, err, "no such %s", r.Kind)
			}
		}
		for _, r := range c.Drop {
			if _, err := removeRecord(ctx, tx, string(r.Kind), r.ID); err != nil {
				return err
			}
		}
		for _, a := range c.Accounts {
			if err := d.accounts().upsert(ctx, tx, a.Name, a); err != nil {
				return err
			}
		}
		for _, t := range c.Tokens {
			if err := d.tokens().upsert(ctx, tx, t.ID, t); err != nil {
				return err
			}
		}
		for _, s := range c.Sessions {
			if err := d.sessions().upsert(ctx, tx, s.Hash, s); err != nil {
				return err
			}
		}
		for _, l := range c.Links {
			if err := d.links().upsert(ctx, tx, l.Hash, l); err != nil {
				return err
			}
		}
		for _, g := range c.Grants {
			if err := d.grants().upsert(ctx, tx, g.ID, g); err != nil {
				return err
			}
		}
		return nil
	})
}

var _ access.Store = (*DB)(nil)
