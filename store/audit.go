package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/trust/audit"
)

// headName is the setting that holds the audit log's head: its number, hash and keyed seal.
const headName = "audit.head"

type auditHead struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
	Seal string `json:"seal"`
}

// chain appends the events that are not quiet to the audit log, in the caller's transaction.
func (d *DB) chain(ctx context.Context, tx *sql.Tx, events []event.Event) error {
	head, err := readHead(ctx, tx)
	if err != nil {
		return err
	}
	for _, e := range events {
		if e.Quiet {
			continue
		}
		outcome := "ok"
		if strings.HasSuffix(e.Kind, ".denied") {
			outcome = "denied"
		}
		entry := audit.Chain(head.Seq, head.Hash, audit.Entry{
			Time: e.Time, Actor: e.Actor, Action: e.Kind, Subject: e.Subject, Outcome: outcome, Detail: e.Data,
		})
		body, err := encode(entry)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO audit (seq, at, actor, action, subject, body) VALUES ($1, $2, $3, $4, $5, $6)`,
			entry.Seq, entry.Time.UnixNano(), entry.Actor, entry.Action, entry.Subject, body); err != nil {
			return err
		}
		head.Seq, head.Hash = entry.Seq, entry.Hash
	}
	if d.sealer != nil {
		head.Seal = d.sealer.SealHead(head.Seq, head.Hash)
	}
	text, err := encode(head)
	if err != nil {
		return err
	}
	return setSetting(ctx, tx, headName, text)
}

func readHead(ctx context.Context, q rower) (head auditHead, err error) {
	var text string
	err = q.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = $1`, headName).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return head, nil
	}
	if err != nil {
		return head, err
	}
	if err := json.Unmarshal([]byte(text), &head); err != nil {
		return head, fmt.Errorf("read the audit log's head: %w", err)
	}
	return head, nil
}

// ListAudit lists entries, newest first.
func (d *DB) ListAudit(ctx context.Context, f audit.Filter) ([]audit.Entry, error) {
	out, err := scanAll[audit.Entry](d.db.QueryContext(ctx, `SELECT body FROM audit WHERE ($1 = 0 OR seq < $1)
		AND ($2 = '' OR actor = $2) AND ($3 = '' OR substr(action, 1, length($3)) = $3) ORDER BY seq DESC LIMIT $4`,
		f.Before, f.Actor, f.Action, limitOr(f.Limit, 200)))
	return out, fault2("store.ListAudit", err)
}

// VerifyAudit walks the whole log.
func (d *DB) VerifyAudit(ctx context.Context) (audit.Report, error) {
	const op = "store.VerifyAudit"
	tx, err := d.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return audit.Report{}, fault(op, err)
	}
	defer tx.Rollback() //nolint:errcheck // it only reads
	head, err := readHead(ctx, tx)
	if err != nil {
		return audit.Report{}, fault(op, err)
	}
	var seal func(int64, string) string
	if d.sealer != nil {
		seal = d.sealer.SealHead
	}
	report, err := audit.Verify(auditEntries(ctx, tx), head.Seal, seal)
	if err != nil || !report.OK {
		return report, fault2(op, err)
	}
	// Every event that is kept for listeners is in the log too: one that was emptied, head and all, shows by them.
	var events sql.NullInt64
	if err := tx.QueryRowContext(ctx, `SELECT MAX(seq) FROM outbox`).Scan(&events); err != nil {
		return audit.Report{}, fault(op, err)
	}
	if n := max(events.Int64, head.Seq); n > report.Entries {
		return audit.Report{
			Entries: report.Entries, Broken: report.Entries + 1,
			Message: fmt.Sprintf("the log ends at entry %d and %d were written: its tail was removed", report.Entries, n),
		}, nil
	}
	return report, nil
}

// auditEntries reads the log from its first entry. The columns that can be searched must agree with the body that the
// hash covers.
func auditEntries(ctx context.Context, tx *sql.Tx) iter.Seq2[audit.Entry, error] {
	return func(yield func(audit.Entry, error) bool) {
		rows, err := tx.QueryContext(ctx, `SELECT seq, at, actor, action, subject, body FROM audit ORDER BY seq`)
		if err != nil {
			yield(audit.Entry{}, err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			var e, columns audit.Entry
			var at int64
			var body string
			if err := rows.Scan(&columns.Seq, &at, &columns.Actor, &columns.Action, &columns.Subject, &body); err != nil {
				yield(audit.Entry{}, err)
				return
			}
			if err := json.Unmarshal([]byte(body), &e); err != nil || e.Seq != columns.Seq || e.Time.UnixNano() != at ||
				e.Actor != columns.Actor || e.Action != columns.Action || e.Subject != columns.Subject {
				e.Seq, e.Hash = columns.Seq, "" // the verification names it as changed
			}
			if !yield(e, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(audit.Entry{}, err)
		}
	}
}
