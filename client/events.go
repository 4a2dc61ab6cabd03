package client

import (
	"bufio"
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/trust/audit"
)

// Audit lists entries of the audit log, newest first: at most the filter's limit, or all with 0.
func (c *Client) Audit(ctx context.Context, f audit.Filter) ([]audit.Entry, error) {
	q := url.Values{}
	if f.Actor != "" {
		q.Set("actor", f.Actor)
	}
	if f.Action != "" {
		q.Set("action", f.Action)
	}
	l := List{Limit: f.Limit}
	if f.Before > 0 {
		l.After = itoa(f.Before)
	}
	entries, _, err := all[audit.Entry](ctx, c, base+"/audit", q, l)
	return entries, err
}

// VerifyAudit has the server walk its whole audit log.
func (c *Client) VerifyAudit(ctx context.Context) (audit.Report, error) {
	return get[audit.Report](ctx, c, base+"/audit/verify", nil)
}

// silence is how long a stream that sends something every 15 s may say nothing before it is dead.
const silence = time.Minute

// maxEvent is the longest line of a stream.
const maxEvent = 16 << 20

// Events are what happens on the topics (none means all) from now on, or after the event with the number. The sequence
// ends with an error when the stream breaks; whoever wants more asks again after the last number.
func (c *Client) Events(ctx context.Context, topics []string, after int64) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		const op = "client.Events"
		q := url.Values{}
		if len(topics) > 0 {
			q.Set("topics", strings.Join(topics, ","))
		}
		if after > 0 {
			q.Set("after", itoa(after))
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		resp, err := c.send(ctx, request{method: http.MethodGet, path: base + "/events", query: q, accept: "text/event-stream"})
		if err != nil {
			yield(event.Event{}, err)
			return
		}
		defer resp.Body.Close()
		dead := time.AfterFunc(silence, func() { resp.Body.Close() })
		defer dead.Stop()
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(make([]byte, 64<<10), maxEvent)
		for lines.Scan() {
			dead.Reset(silence)
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue
			}
			var e event.Event
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				yield(e, errs.Errorf(op, errs.Corrupt, "an event of the stream is no JSON: %v", err))
				return
			}
			if e.Topic != "" && !yield(e, nil) { // a reset has none
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(event.Event{}, errs.E(op, errs.Other, err))
			return
		}
		yield(event.Event{}, errs.Errorf(op, errs.Unavailable, "the stream of the server at %s broke off", c.where))
	}
}
