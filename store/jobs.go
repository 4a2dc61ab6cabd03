package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/job"
)

// CreateJobs gives the jobs their numbers, in a row; the event is told of each, with its number and its record.
func (d *DB) CreateJobs(ctx context.Context, jobs []job.Job, e event.Event) ([]job.Job, error) {
	jobs = slices.Clone(jobs)
	err := d.commit(ctx, "store.CreateJobs", slices.Repeat([]event.Event{e}, len(jobs)), func(tx *sql.Tx, events []event.Event) error {
		var last sql.NullInt64
		if err := tx.QueryRowContext(ctx, `SELECT MAX(id) FROM jobs`).Scan(&last); err != nil {
			return err
		}
		job.Number(jobs, job.ID(last.Int64+1))
		insert, err := tx.PrepareContext(ctx, `INSERT INTO jobs (id, owner, state, body, array_id) VALUES ($1, $2, $3, $4, $5)`)
		if err != nil {
			return err
		}
		defer insert.Close()
		for i, j := range jobs {
			body, err := encode(j)
			if err != nil {
				return err
			}
			events[i].Subject, events[i].Data = "job/"+j.ID.String(), json.RawMessage(body)
			if _, err := insert.ExecContext(ctx, int64(j.ID), j.Owner, string(j.State), body, arrayOf(j)); err != nil {
				return err
			}
		}
		return nil
	})
	return jobs, err
}

// arrayOf is the number of the job's array, 0 of one that is in none.
func arrayOf(j job.Job) int64 {
	if j.Array == nil {
		return 0
	}
	return int64(j.Array.ID)
}

// UpdateJobs writes the whole records.
func (d *DB) UpdateJobs(ctx context.Context, jobs []job.Job, events ...event.Event) error {
	const op = "store.UpdateJobs"
	return d.commit(ctx, op, events, func(tx *sql.Tx, _ []event.Event) error {
		update, err := tx.PrepareContext(ctx, `UPDATE jobs SET owner = $1, state = $2, body = $3 WHERE id = $4`)
		if err != nil {
			return err
		}
		defer update.Close()
		for _, j := range jobs {
			body, err := encode(j)
			if err != nil {
				return err
			}
			res, err := update.ExecContext(ctx, j.Owner, string(j.State), body, int64(j.ID))
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil || n == 0 {
				return errors2(op, err, "no job %d", j.ID)
			}
		}
		return nil
	})
}

// errors2 is err, or errs.NotFound with the message where err is nil.
func errors2(op string, err error, format string, args ...any) error {
	if err != nil {
		return fault(op, err)
	}
	return errs.Errorf(op, errs.NotFound, format, args...)
}

// GetJob finds one job.
func (d *DB) GetJob(ctx context.Context, id job.ID) (job.Job, error) {
	const op = "store.GetJob"
	list, err := scanAll[job.Job](d.db.QueryContext(ctx, `SELECT body FROM jobs WHERE id = $1`, int64(id)))
	if err != nil || len(list) == 0 {
		return job.Job{}, errors2(op, err, "no job %d; `lineshaft jobs` lists them", id)
	}
	return list[0], nil
}

// ListJobs lists newest first.
func (d *DB) ListJobs(ctx context.Context, f job.Filter) ([]job.Job, error) {
	const op = "store.ListJobs"
	fold := 0
	if f.Fold {
		fold = 1
	}
	list, err := scanAll[job.Job](d.db.QueryContext(ctx,
		`SELECT body FROM jobs WHERE ($1 = '' OR state = $1) AND ($2 = '' OR owner = $2) AND ($3 = 0 OR id < $3) AND ($5 = 0 OR array_id = $5)
			AND ($6 = 0 OR array_id = 0 OR NOT EXISTS (
				SELECT 1 FROM jobs AS other WHERE other.array_id = jobs.array_id AND other.id < jobs.id AND ($1 = '' OR other.state = $1)))
			ORDER BY id DESC LIMIT $4`,
		string(f.State), f.Owner, int64(f.After), limitOr(f.Limit, 10_000), int64(f.Array), fold))
	if err != nil {
		return nil, fault(op, err)
	}
	for i := range list {
		if m := list[i].Array; m != nil && f.Fold {
			if m.Members, err = countStates(d.db.QueryContext(ctx, `SELECT state, COUNT(*) FROM jobs WHERE array_id = $1 GROUP BY state`, int64(m.ID))); err != nil {
				return nil, fault(op, err)
			}
		}
	}
	return list, nil
}

// JournalOffset is how many bytes of the attempt's journal have been taken.
func (d *DB) JournalOffset(ctx context.Context, id job.ID, task, attempt int) (int64, error) {
	return journalOffset(ctx, d.db, id, task, attempt)
}

type rower interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func journalOffset(ctx context.Context, q rower, id job.ID, task, attempt int) (int64, error) {
	var taken int64
	err := q.QueryRowContext(ctx, `SELECT taken FROM journals WHERE job = $1 AND task = $2 AND attempt = $3`, int64(id), task, attempt).Scan(&taken)
	if err != nil && err != sql.ErrNoRows {
		return 0, fault("store.JournalOffset", err)
	}
	return taken, nil
}

// AppendMetrics takes a piece of a journal once.
func (d *DB) AppendMetrics(ctx context.Context, id job.ID, task, attempt int, from, to int64, points []job.Metric) error {
	return d.commit(ctx, "store.AppendMetrics", nil, func(tx *sql.Tx, _ []event.Event) error {
		taken, err := journalOffset(ctx, tx, id, task, attempt)
		if err != nil || from < taken {
			return err
		}
		var last sql.NullInt64
		if err := tx.QueryRowContext(ctx, `SELECT MAX(seq) FROM metrics WHERE job = $1`, int64(id)).Scan(&last); err != nil {
			return err
		}
		for i, p := range points {
			if _, err := tx.ExecContext(ctx, `INSERT INTO metrics (job, seq, at, step, epoch, name, value) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
				int64(id), last.Int64+int64(i)+1, p.Time.UnixNano(), p.Step, p.Epoch, p.Name, p.Value); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO journals (job, task, attempt, taken) VALUES ($1, $2, $3, $4)
			ON CONFLICT (job, task, attempt) DO UPDATE SET taken = excluded.taken`, int64(id), task, attempt, to)
		return err
	})
}

// ListMetrics lists a job's points in the order in which they were taken.
func (d *DB) ListMetrics(ctx context.Context, id job.ID, after int64, limit int) ([]job.Metric, error) {
	const op = "store.ListMetrics"
	rows, err := d.db.QueryContext(ctx, `SELECT seq, at, step, epoch, name, value FROM metrics WHERE job = $1 AND seq > $2 ORDER BY seq LIMIT $3`,
		int64(id), after, limitOr(limit, 10_000))
	if err != nil {
		return nil, fault(op, err)
	}
	defer rows.Close()
	out := []job.Metric{}
	for rows.Next() {
		var m job.Metric
		var at int64
		if err := rows.Scan(&m.Seq, &at, &m.Step, &m.Epoch, &m.Name, &m.Value); err != nil {
			return nil, fault(op, err)
		}
		m.Time = time.Unix(0, at).UTC()
		out = append(out, m)
	}
	return out, fault2(op, rows.Err())
}

func fault2(op string, err error) error {
	if err == nil {
		return nil
	}
	return fault(op, err)
}

var _ job.Store = (*DB)(nil)

// CountJobs counts all jobs by state; states that no job is in are absent.
func (d *DB) CountJobs(ctx context.Context) (map[job.State]int, error) {
	out, err := countStates(d.db.QueryContext(ctx, `SELECT state, COUNT(*) FROM jobs GROUP BY state`))
	return out, fault2("store.CountJobs", err)
}

// countStates reads rows of a state and a number.
func countStates(rows *sql.Rows, err error) (map[job.State]int, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[job.State]int{}
	for rows.Next() {
		var state string
		var n int
		if err := rows.Scan(&state, &n); err != nil {
			return nil, err
		}
		out[job.State(state)] = n
	}
	return out, rows.Err()
}
