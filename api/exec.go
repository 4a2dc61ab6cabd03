package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
)

// This file is a program beside a task, over a websocket. The protocol (subprotocol "lineshaft.exec.v1"):
//
//   - A binary message's first byte says which stream the rest belongs to: 0 is standard input (from the client), 1
//     standard output, 2 standard error (from the server). A message with nothing after the 0 ends standard input.
//   - A text message is JSON. From the client: {"resize":{"rows":24,"cols":80}}. From the server, as its last:
//     {"exit":0}, the program's exit code, or {"error":{"status":…,"kind":…,"message":…}}.
//   - Then the server closes with status 1000. A client that goes away ends the program.
//
// A terminal (?tty=true, with ?term=, ?rows= and ?cols= as it is) has no standard error of its own. ?argv= may be given
// many times: the program and its arguments; without, a shell. What cannot be done is refused before the upgrade where
// it is known then.

// Shells runs programs beside tasks; *local.Local does.
type Shells = exec.Shells

const (
	execProtocol = "lineshaft.exec.v1"
	execMessage  = 32 << 10 // bytes of the largest message either way, the first included
	execGoodbye  = 5 * time.Second
)

// The streams of a binary message.
const (
	streamIn byte = iota
	streamOut
	streamErr
)

// ExecControl is a text message of the exec protocol; one field is set.
type ExecControl struct {
	Resize *ExecSize `json:"resize,omitempty"`
	Exit   *int      `json:"exit,omitempty"`
	Error  *Error    `json:"error,omitempty"`
}

// ExecSize is a terminal's size.
type ExecSize struct {
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}

type execQuery struct {
	JobPath
	Task int      `query:"task" minimum:"0"`
	Argv []string `query:"argv,explode" doc:"the program and its arguments, one parameter each; a shell without"`
	TTY  bool     `query:"tty"`
	Term string   `query:"term" maxLength:"64" pattern:"^[A-Za-z0-9._+-]*$"`
	Rows int      `query:"rows" minimum:"0" maximum:"10000"`
	Cols int      `query:"cols" minimum:"0" maximum:"10000"`
}

func (s *server) execRoutes() {
	stream(s, route{
		method: http.MethodGet, path: "/jobs/{id}/exec", summary: "A program inside a task's sandbox, over a websocket", slow: true,
		gives: "application/octet-stream",
	}, s.exec)
}

func (s *server) exec(w http.ResponseWriter, r *http.Request, in *execQuery) error {
	const op = "api.exec"
	ctx := r.Context()
	if _, err := s.job(ctx, in.ID, "exec"); err != nil {
		return err
	}
	if s.o.Shells == nil {
		return errs.Errorf(op, errs.Unsupported, "this server runs no programs beside tasks")
	}
	ref, err := s.o.Jobs.Attempt(ctx, in.ID, in.Task)
	if err != nil {
		return err
	}
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || r.Header.Get("Sec-WebSocket-Version") != "13" {
		return errs.Errorf(op, errs.Invalid, "this call is a websocket (RFC 6455, version 13): `lineshaft exec job/%d` speaks it", in.ID)
	}
	// The guard has compared the Origin already.
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{execProtocol}, InsecureSkipVerify: true})
	if err != nil {
		s.o.Log.Debug("no websocket came about", "request", callOf(ctx).id, "error", err)
		return nil // it has been answered
	}
	defer conn.CloseNow() //nolint:errcheck // a no-op after Close
	conn.SetReadLimit(execMessage)
	s.o.Log.Info("a program is run beside a task", "request", callOf(ctx).id, "job", in.ID, "task", in.Task, "who", callOf(ctx).who.Actor())
	s.bridge(ctx, conn, ref, in)
	return nil
}

// bridge runs the program with the socket as its streams, and tells the client how it ended.
func (s *server) bridge(ctx context.Context, conn *websocket.Conn, ref exec.TaskRef, in *execQuery) {
	ctx, cancel := context.WithCancel(ctx)
	var owned sync.WaitGroup
	defer owned.Wait()
	defer cancel()
	stdin, feed := io.Pipe()
	heard := &heard{}
	resize := make(chan exec.Size, 1)
	owned.Go(func() {
		defer cancel() // a client that goes away ends the program
		receive(ctx, conn, heard, feed, resize)
		feed.CloseWithError(io.ErrUnexpectedEOF) // a pipe's never fails
	})
	owned.Go(func() { keepAlive(ctx, cancel, conn, s.o.Heartbeat, heard) })
	program := exec.Shell{
		Argv: in.Argv, Term: in.Term, TTY: in.TTY, Size: exec.Size{Rows: uint16(in.Rows), Cols: uint16(in.Cols)}, //nolint:gosec // at most 10000
		Resize: resize, Stdin: stdin, Stdout: &messages{ctx, conn, streamOut},
	}
	if !in.TTY {
		program.Stderr = &messages{ctx, conn, streamErr}
	}
	code, err := s.o.Shells.Shell(ctx, ref, program)
	stdin.Close() // a pipe's never fails
	last := ExecControl{Exit: &code}
	if err != nil {
		last = ExecControl{Error: errorOf(err)}
	}
	end, done := context.WithTimeout(context.WithoutCancel(ctx), execGoodbye)
	defer done()
	if say(end, conn, last) == nil {
		conn.Close(websocket.StatusNormalClosure, "") // the client may be gone
	}
}

func say(ctx context.Context, conn *websocket.Conn, c ExecControl) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return conn.Write(ctx, websocket.MessageText, text)
}

func errorOf(err error) *Error {
	kind := errs.KindOf(err)
	return &Error{Status: kind.HTTPStatus(), Kind: kind.String(), Message: err.Error()}
}

// receive takes the client's messages until it goes. The newest size counts: one that was not looked at gives way.
func receive(ctx context.Context, conn *websocket.Conn, heard *heard, stdin io.WriteCloser, resize chan exec.Size) {
	for {
		kind, b, err := conn.Read(ctx)
		if err != nil {
			return
		}
		heard.messages.Add(1)
		if kind == websocket.MessageBinary && len(b) > 0 && b[0] == streamIn {
			if len(b) == 1 {
				stdin.Close() // a pipe's never fails
			} else {
				heard.full.Store(true)
				stdin.Write(b[1:]) //nolint:errcheck // the program may read no more, and still write
				heard.full.Store(false)
			}
			continue
		}
		var c ExecControl
		if kind != websocket.MessageText || json.Unmarshal(b, &c) != nil || c.Resize == nil {
			unknown := errs.Errorf("api.exec", errs.Invalid, "a message of no known form: see the protocol %s", execProtocol)
			_ = say(ctx, conn, ExecControl{Error: errorOf(unknown)}) // it is cut off in any case
			return
		}
		select {
		case <-resize:
		default:
		}
		resize <- exec.Size{Rows: c.Resize.Rows, Cols: c.Resize.Cols}
	}
}

// heard is what was read of a client.
type heard struct {
	messages atomic.Int64
	full     atomic.Bool // the program does not take its input, and no message is read meanwhile
}

// keepAlive finds a client that is gone without a word. Its answer to a ping stands behind what it sent before: while
// that is not read, or is being read, it is enough that the ping could be sent.
func keepAlive(ctx context.Context, gone func(), conn *websocket.Conn, every time.Duration, heard *heard) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		before := heard.messages.Load()
		limited, cancel := context.WithTimeout(ctx, 2*every)
		err := conn.Ping(limited)
		cancel()
		behind := heard.full.Load() || heard.messages.Load() != before
		if err != nil && !(behind && errors.Is(err, context.DeadlineExceeded)) {
			gone()
			return
		}
	}
}

// messages is one of the program's outputs.
type messages struct {
	ctx    context.Context
	conn   *websocket.Conn
	stream byte
}

func (m *messages) Write(b []byte) (int, error) {
	for sent := 0; sent < len(b); {
		piece := b[sent:min(len(b), sent+execMessage-1)]
		if err := m.conn.Write(m.ctx, websocket.MessageBinary, append([]byte{m.stream}, piece...)); err != nil {
			return sent, err
		}
		sent += len(piece)
	}
	return len(b), nil
}
