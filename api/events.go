package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/trust/access"
)

// This file is the stream of what happens: one for everything a page shows, in the form of server-sent events (HTML
// standard, 9.2). Its rules:
//
//   - An event's id is its number; `event` is its topic, `data` the event as JSON. Quiet events (progress) have no
//     number and no id: who was away does not need them.
//   - A listener says which number it had last, in Last-Event-ID or ?after=, and gets every recorded event after it,
//     once. Without one the stream begins now.
//   - Where what lies between is no longer kept, an event `reset` comes first: read everything anew.
//   - Only what the listener may read is sent. A comment comes every so often, so that both ends see a dead line.
//   - A listener that reads too slowly loses its place in the store's fan-out and is caught up from the store.

// EventRows keeps what happened; *store.DB does.
type EventRows interface {
	// Since lists recorded events after a number, oldest first; no topics means all.
	Since(ctx context.Context, seq int64, topics []string, limit int) ([]event.Event, error)
	Recent(ctx context.Context, limit int) ([]event.Event, error)
	// Subscribe sends later events until cancel is called; the channel is closed when the listener lags or the store ends.
	Subscribe(topics []string) (events <-chan event.Event, cancel func())
	// Emit records an event that belongs to no row, such as an export.
	Emit(ctx context.Context, events ...event.Event) error
}

// replayPage is how many events are read from the store at once.
const replayPage = 500

func topics() []string {
	return []string{"jobs", "models", "services", "data", "audit", "fleet", "actions"}
}

type eventQuery struct {
	Topics []string `query:"topics" doc:"which topics, separated by commas; all without" example:"jobs,models"`
	After  int64    `query:"after" minimum:"0" doc:"as Last-Event-ID, for clients that cannot set it"`
	Last   string   `header:"Last-Event-ID" doc:"the number of the last event that was received"`
}

func (s *server) eventRoutes() {
	stream(s, route{
		method: http.MethodGet, path: "/events", summary: "The stream of what happens, as server-sent events", slow: true, gives: "text/event-stream",
	}, s.events)
}

func (s *server) events(w http.ResponseWriter, r *http.Request, in *eventQuery) error {
	const op = "api.events"
	if err := s.allow(r.Context(), "read", access.Resource{Type: "events"}); err != nil {
		return err
	}
	for _, t := range in.Topics {
		if !slices.Contains(topics(), t) {
			return errs.Errorf(op, errs.Invalid, "there is no topic %q; the topics are %s", t, strings.Join(topics(), ", "))
		}
	}
	last := in.After
	if in.Last != "" {
		n, err := strconv.ParseInt(in.Last, 10, 64)
		if err != nil || n < 0 {
			return errs.Errorf(op, errs.Invalid, "Last-Event-ID %q is not the number of an event", in.Last)
		}
		last = n
	}
	f := &feed{s: s, w: w, c: http.NewResponseController(w), topics: in.Topics, last: last, resumes: in.Last != "" || in.After > 0}
	if err := f.place(r.Context()); err != nil {
		return err
	}
	return f.run(r.Context())
}

// feed is one listener.
type feed struct {
	s       *server
	w       http.ResponseWriter
	c       *http.ResponseController
	topics  []string
	last    int64 // everything up to it has been looked at
	resumes bool
	reset   bool
	buf     bytes.Buffer
}

// place finds where the stream begins, and whether all of what lies between is still there.
func (f *feed) place(ctx context.Context) error {
	recent, err := f.s.o.Rows.Recent(ctx, 1)
	if err != nil {
		return err
	}
	newest := int64(0)
	if len(recent) > 0 {
		newest = recent[0].Seq
	}
	if !f.resumes {
		f.last = newest
		return nil
	}
	if f.last > newest { // a number of another data folder
		f.last, f.reset = newest, true
		return nil
	}
	next, err := f.s.o.Rows.Since(ctx, f.last, nil, 1)
	if err != nil {
		return err
	}
	f.reset = len(next) > 0 && next[0].Seq != f.last+1
	return nil
}

// run sends until the listener goes. It has its place before the answer begins: who has read the header misses nothing.
func (f *feed) run(ctx context.Context) error {
	f.w.Header().Set("Content-Type", "text/event-stream")
	f.w.Header().Set("X-Accel-Buffering", "no") // a proxy in front must not hold it back
	f.buf.WriteString("retry: 1000\n: the stream begins after " + itoa(f.last) + "\n\n")
	if f.reset {
		f.buf.WriteString("event: reset\ndata: {}\n\n")
	}
	for {
		events, cancel := f.s.o.Rows.Subscribe(f.topics)
		again, err := f.listen(ctx, events)
		cancel()
		if ctx.Err() != nil {
			return nil // only whole events were sent, and whoever comes back goes on after the last
		}
		if err != nil || !again {
			return err
		}
	}
}

// listen catches up from the store, and then passes on what comes. It returns true when the listener lost its place and
// is to take it again.
func (f *feed) listen(ctx context.Context, events <-chan event.Event) (again bool, err error) {
	if err := f.flush(); err != nil {
		return false, err
	}
	if err := f.catchUp(ctx); err != nil {
		return false, err
	}
	beat := time.NewTicker(f.s.o.Heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, nil
		case <-beat.C:
			f.buf.WriteString(": \n\n")
		case e, ok := <-events:
			if !ok {
				return true, nil
			}
			if err := f.take(ctx, e); err != nil {
				return false, err
			}
			for range len(events) { // what else is there goes out in one piece
				if e, ok := <-events; ok {
					if err := f.take(ctx, e); err != nil {
						return false, err
					}
				}
			}
		}
		if err := f.flush(); err != nil {
			return false, err
		}
	}
}

// catchUp sends what was recorded after the last event. What is recorded meanwhile comes by the subscription too; take
// passes over what has been sent.
func (f *feed) catchUp(ctx context.Context) error {
	for {
		page, err := f.s.o.Rows.Since(ctx, f.last, f.topics, replayPage)
		if err != nil {
			return err
		}
		for _, e := range page {
			if err := f.take(ctx, e); err != nil {
				return err
			}
		}
		if err := f.flush(); err != nil || len(page) < replayPage {
			return err
		}
	}
}

// take puts an event into the buffer if it is new and the listener may read it.
func (f *feed) take(ctx context.Context, e event.Event) error {
	if e.Seq > 0 {
		if e.Seq <= f.last {
			return nil
		}
		f.last = e.Seq
	}
	ok, err := f.s.visible(ctx, eventResource(e))
	if err != nil || !ok {
		return err
	}
	body, err := json.Marshal(e)
	if err != nil {
		return errs.E("api.events", errs.Other, err)
	}
	if e.Seq > 0 {
		f.buf.WriteString("id: " + itoa(e.Seq) + "\n")
	}
	f.buf.WriteString("event: " + e.Topic + "\ndata: ")
	f.buf.Write(body)
	f.buf.WriteString("\n\n")
	return nil
}

func (f *feed) flush() error {
	if f.buf.Len() == 0 {
		return nil
	}
	_, err := f.w.Write(f.buf.Bytes())
	if err == nil {
		err = f.c.Flush()
	}
	f.buf.Reset()
	return errs.E("api.events", errs.Canceled, err)
}

// eventResource is the thing that an event tells about, whose readers may hear of it.
func eventResource(e event.Event) access.Resource {
	kind, name, _ := strings.Cut(e.Subject, "/")
	switch e.Topic {
	case "audit":
		return access.Resource{Type: "audit"}
	case "models":
		name, _, _ = strings.Cut(name, ":")
		kind = "model"
	case "data":
		name, _, _ = strings.Cut(name, "@")
		kind = "data"
	case "services":
		name, _, _ = strings.Cut(name, ":")
		kind = "service"
	case "fleet":
		kind = "node"
	}
	var owned struct {
		Owner string `json:"owner"`
	}
	_ = json.Unmarshal(e.Data, &owned) // what has no owner is nobody's
	return access.Resource{Type: kind, Name: name, Owner: owned.Owner}
}
