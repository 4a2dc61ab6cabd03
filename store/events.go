package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"sync"

	"github.com/lineshaft/lineshaft/internal/event"
)

// record numbers the events, appends them to the outbox and, unless quiet, to the audit chain. Quiet events go to the
// listeners alone: who was away does not need them.
func (d *DB) record(ctx context.Context, tx *sql.Tx, events []event.Event) error {
	now := d.clock.Now()
	var last sql.NullInt64
	loud := slices.ContainsFunc(events, func(e event.Event) bool { return !e.Quiet })
	if loud {
		if err := tx.QueryRowContext(ctx, `SELECT MAX(seq) FROM outbox`).Scan(&last); err != nil {
			return err
		}
	}
	for i := range events {
		e := &events[i]
		e.Time = now
		if e.Quiet {
			continue
		}
		last.Int64++
		e.Seq = last.Int64
		body, err := encode(e)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO outbox (seq, topic, body) VALUES ($1, $2, $3)`, e.Seq, e.Topic, body); err != nil {
			return err
		}
		if e.Seq%1000 == 0 {
			if _, err := tx.ExecContext(ctx, `DELETE FROM outbox WHERE seq <= $1`, e.Seq-outboxKeep); err != nil {
				return err
			}
		}
	}
	if !loud {
		return nil
	}
	return d.chain(ctx, tx, events)
}

// Emit records events that belong to no row: refusals, sign-ins, progress.
func (d *DB) Emit(ctx context.Context, events ...event.Event) error {
	if !slices.ContainsFunc(events, func(e event.Event) bool { return !e.Quiet }) {
		events = slices.Clone(events)
		for i := range events {
			events[i].Time = d.clock.Now()
		}
		d.publish(events)
		return nil
	}
	return d.commit(ctx, "store.Emit", events, nil)
}

// Since lists recorded events after seq, oldest first; no topics means all. Numbers have no gaps: where the first event
// of all topics is not seq+1, what lies between is not kept any more, and the listener must read everything anew.
func (d *DB) Since(ctx context.Context, seq int64, topics []string, limit int) ([]event.Event, error) {
	const op = "store.Since"
	rows, err := d.db.QueryContext(ctx, `SELECT topic, body FROM outbox WHERE seq > $1 ORDER BY seq`, seq)
	if err != nil {
		return nil, fault(op, err)
	}
	defer rows.Close()
	out := []event.Event{}
	for rows.Next() && len(out) < limitOr(limit, 1000) {
		var topic, body string
		if err := rows.Scan(&topic, &body); err != nil {
			return nil, fault(op, err)
		}
		if len(topics) > 0 && !slices.Contains(topics, topic) {
			continue
		}
		var e event.Event
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			return nil, fault(op, err)
		}
		out = append(out, e)
	}
	return out, fault2(op, rows.Err())
}

// Recent lists the newest recorded events, newest first.
func (d *DB) Recent(ctx context.Context, limit int) ([]event.Event, error) {
	out, err := scanAll[event.Event](d.db.QueryContext(ctx, `SELECT body FROM outbox ORDER BY seq DESC LIMIT $1`, limitOr(limit, 20)))
	return out, fault2("store.Recent", err)
}

// listenerBuffer is how far a listener may lag before it is cut off; it resumes from the outbox.
const listenerBuffer = 1024

type listener struct {
	topics []string
	ch     chan event.Event
	once   sync.Once
}

func (l *listener) close() { l.once.Do(func() { close(l.ch) }) }

// Subscribe sends every later event of the topics (none means all) until cancel is called. The channel is closed when
// the listener lags too far behind or the store closes.
func (d *DB) Subscribe(topics []string) (events <-chan event.Event, cancel func()) {
	l := &listener{topics: topics, ch: make(chan event.Event, listenerBuffer)}
	d.listen.Lock()
	d.listeners[l] = struct{}{}
	d.listen.Unlock()
	return l.ch, func() {
		d.listen.Lock()
		defer d.listen.Unlock()
		delete(d.listeners, l)
		l.close()
	}
}

func (d *DB) publish(events []event.Event) {
	d.listen.Lock()
	defer d.listen.Unlock()
	for l := range d.listeners {
		for _, e := range events {
			if len(l.topics) > 0 && !slices.Contains(l.topics, e.Topic) {
				continue
			}
			select {
			case l.ch <- e:
			default:
				delete(d.listeners, l)
				l.close()
			}
			if _, ok := d.listeners[l]; !ok {
				break
			}
		}
	}
}
