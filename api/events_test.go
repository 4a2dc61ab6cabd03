package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/job"
)

// listener reads a stream of events as a browser does.
type listener struct {
	t     *testing.T
	body  io.ReadCloser
	lines *bufio.Reader
	last  string
}

// said is one message of the stream.
type said struct {
	id, topic, comment string
	e                  event.Event
}

func (h *hall) listenTo(who, query, last string) *listener {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, h.url+"/api/v1/events"+query, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+h.tokens[who])
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	resp, err := h.caller().Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		h.t.Fatalf("%s %v", resp.Status, resp.Header)
	}
	h.t.Cleanup(func() { resp.Body.Close() })
	return &listener{t: h.t, body: resp.Body, lines: bufio.NewReader(resp.Body), last: last}
}

// caller is a client whose connections hold little where the hall's are narrow.
func (h *hall) caller() *http.Client {
	if !h.narrow.Load() {
		return http.DefaultClient
	}
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetReadBuffer(128 << 10) // a wish
		}
		return c, err
	}}}
}

// next is the next message, comments included.
func (l *listener) next() said {
	l.t.Helper()
	var s said
	for {
		line, err := l.lines.ReadString('\n')
		if err != nil {
			l.t.Fatalf("after %q: %v", l.last, err)
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "\n":
			return s
		case field == "":
			s.comment = ":" + value
		case field == "id":
			s.id, l.last = value, value
		case field == "event":
			s.topic = value
		case field == "data":
			if err := json.Unmarshal([]byte(value), &s.e); err != nil {
				l.t.Fatal(err)
			}
		}
	}
}

// event is the next message that is no comment.
func (l *listener) event() said {
	l.t.Helper()
	for {
		if s := l.next(); s.topic != "" {
			return s
		}
	}
}

func TestAListenerThatComesBackMissesNothingAndHearsNothingTwice(t *testing.T) {
	h := newHall(t)
	const n = 300
	first := h.listenTo("ann", "?topics=data", "")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range n {
			e := event.New("data", "data.imported", "data/d@1", "user/dan", i)
			other := event.New("fleet", "node.cordoned", "node/here", "user/dan", i) // of another topic, in between
			if err := h.Store.Emit(h.t.Context(), e, other); err != nil {
				t.Error(err)
			}
		}
	}()
	l, heard := first, 0
	for heard < n {
		s := l.event()
		if string(s.e.Data) != fmt.Sprint(heard) || s.topic != "data" || s.id != fmt.Sprint(s.e.Seq) {
			t.Fatalf("heard %+v, want number %d", s, heard)
		}
		if heard++; heard%23 == 0 {
			l.body.Close()
			l = h.listenTo("ann", "?topics=data", l.last)
		}
	}
	<-done
}

func TestASlowListenerIsCaughtUp(t *testing.T) {
	var rows *counting
	h := newHall(t, func(o *api.Options) { rows = &counting{Rows: o.Rows}; o.Rows = rows })
	h.narrow.Store(true)
	l := h.listenTo("ann", "?topics=data", "")
	const n = 2500 // more than its place in the fan-out and the system's buffers hold
	padding := strings.Repeat("x", 1000)
	var all []event.Event
	for i := range n {
		all = append(all, event.New("data", "data.imported", "data/d@1", "user/dan", fmt.Sprint(i, " ", padding)))
		if len(all) == 500 {
			if err := h.Store.Emit(t.Context(), all...); err != nil {
				t.Fatal(err)
			}
			all = nil
		}
	}
	for i := range n {
		if s := l.event(); !strings.HasPrefix(string(s.e.Data), fmt.Sprintf("\"%d ", i)) {
			t.Fatalf("heard %.40s, want number %d", s.e.Data, i)
		}
	}
	if rows.subscribed.Load() < 2 {
		t.Error("the listener never lost its place: the test shows nothing")
	}
}

// counting counts how often a listener took its place.
type counting struct {
	api.Rows
	subscribed atomic.Int64
}

func (c *counting) Subscribe(topics []string) (<-chan event.Event, func()) {
	c.subscribed.Add(1)
	return c.Rows.Subscribe(topics)
}

func TestAListenerHearsWhatItMayRead(t *testing.T) {
	h := newHall(t)
	vic, ann := h.listenTo("vic", "", ""), h.listenTo("ann", "", "")
	if a := h.as("dan", "PUT", "/api/v1/secrets/hub", `{"value":"the very secret value"}`); a.code != 200 {
		t.Fatal(a.body)
	}
	h.submit("dan", sleeper)
	if s := ann.event(); s.e.Kind != "secret.created" || strings.Contains(string(s.e.Data), "very") {
		t.Errorf("%+v", s)
	}
	if s := vic.event(); s.e.Kind != "job.submitted" || s.e.Subject != "job/1" {
		t.Errorf("a viewer hears %+v", s)
	}
}

func TestProgressHasNoNumber(t *testing.T) {
	h := newHall(t)
	l := h.listenTo("vic", "?topics=jobs", "")
	j := job.Job{ID: 7, Owner: "dan", State: job.Running, Progress: &job.Progress{Epoch: 3}}
	if err := h.Store.Emit(t.Context(), event.Progress("jobs", "job.progress", "job/7", "service/job", j)); err != nil {
		t.Fatal(err)
	}
	s := l.event()
	var got job.Job
	if err := json.Unmarshal(s.e.Data, &got); err != nil || s.id != "" || s.e.Kind != "job.progress" || got.Progress.Epoch != 3 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestAListenerWhoseEventsAreGoneIsToldToReadAnew(t *testing.T) {
	h := newHall(t)
	if s := h.listenTo("vic", "?topics=jobs", "1000000").event(); s.topic != "reset" {
		t.Errorf("a number of another data folder: %+v", s)
	}
	var all []event.Event
	for range 22_000 {
		all = append(all, event.Event{Topic: "data", Kind: "data.imported", Subject: "data/d@1"})
		if len(all) == 1000 {
			if err := h.Store.Emit(t.Context(), all...); err != nil {
				t.Fatal(err)
			}
			all = nil
		}
	}
	if s := h.listenTo("vic", "?topics=data", "1").event(); s.topic != "reset" {
		t.Errorf("a number that is no longer kept: %+v", s)
	}
	recent, err := h.Store.Recent(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if s := h.listenTo("vic", fmt.Sprintf("?topics=data&after=%d", recent[1].Seq), "").event(); s.e.Seq != recent[0].Seq {
		t.Errorf("?after= resumes too: %+v", s)
	}
}

func TestASilentStreamHasAHeartbeatAndEndsWithTheServer(t *testing.T) {
	closing, stop := context.WithCancel(t.Context())
	h := newHall(t, func(o *api.Options) { o.Heartbeat, o.Closing = time.Millisecond, closing })
	l := h.listenTo("vic", "", "")
	for l.next().comment != ":" {
	}
	stop()
	if _, err := io.Copy(io.Discard, l.lines); err != nil {
		t.Errorf("the stream should end well: %v", err)
	}
}
