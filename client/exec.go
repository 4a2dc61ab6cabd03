package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"github.com/coder/websocket"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
)

// Program is what to run inside a task's sandbox.
type Program struct {
	Argv   []string // empty: a shell
	TTY    bool     // on a terminal of its own, else on three pipes
	Term   string   // what TERM says, where TTY is set
	Size   api.ExecSize
	Resize <-chan api.ExecSize // may be nil
	Stdin  io.Reader           // nil: empty
	Stdout io.Writer
	Stderr io.Writer // nil: as Stdout
}

// Exec runs a program inside a task's sandbox until it ends, and gives its exit code. One read of p.Stdin may still wait
// when Exec returns: whoever owns the reader ends it.
func (c *Client) Exec(ctx context.Context, id job.ID, task int, p Program) (code int, err error) {
	const op = "client.Exec"
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := c.dial(ctx, jobPath(id)+"/exec", execQuery(task, p))
	if err != nil {
		return 0, err
	}
	defer conn.CloseNow() //nolint:errcheck // a no-op after Close
	conn.SetReadLimit(1 << 20)
	if p.Stdin != nil {
		go sendInput(ctx, conn, p.Stdin) // ends with the reader, which is the caller's
	} else if err := conn.Write(ctx, websocket.MessageBinary, []byte{0}); err != nil {
		return 0, c.cut(ctx, op, err)
	}
	if p.Resize != nil {
		var resizing sync.WaitGroup
		defer resizing.Wait()
		defer cancel()
		resizing.Go(func() { sendSizes(ctx, conn, p.Resize) })
	}
	for {
		kind, b, err := conn.Read(ctx)
		if err != nil {
			return 0, c.cut(ctx, op, err)
		}
		if kind == websocket.MessageText {
			var last api.ExecControl
			if err := json.Unmarshal(b, &last); err != nil || last.Exit == nil && last.Error == nil {
				return 0, errs.Errorf(op, errs.Corrupt, "the server at %s sent a message of no known form", c.where)
			}
			conn.Close(websocket.StatusNormalClosure, "") // all is said
			if last.Error != nil {
				return 0, errs.Errorf(op, errs.ParseKind(last.Error.Kind), "%s", last.Error.Message)
			}
			return *last.Exit, nil
		}
		if err := output(p, b); err != nil {
			return 0, errs.E(op, errs.Other, err)
		}
	}
}

func execQuery(task int, p Program) url.Values {
	q := url.Values{"argv": p.Argv}
	if task > 0 {
		q.Set("task", strconv.Itoa(task))
	}
	if p.TTY {
		q.Set("tty", "true")
		q.Set("term", p.Term)
		q.Set("rows", strconv.Itoa(int(p.Size.Rows)))
		q.Set("cols", strconv.Itoa(int(p.Size.Cols)))
	}
	return q
}

// dial opens a websocket. A refusal is the error that the server sent.
func (c *Client) dial(ctx context.Context, path string, q url.Values) (*websocket.Conn, error) {
	u := *c.url
	u.Path, u.RawQuery = c.url.Path+path, q.Encode()
	header := http.Header{}
	if c.token != "" {
		header.Set("Authorization", "Bearer "+c.token)
	}
	conn, resp, err := websocket.Dial(ctx, u.String(), &websocket.DialOptions{HTTPClient: c.http, HTTPHeader: header, Subprotocols: []string{"lineshaft.exec.v1"}}) //nolint:bodyclose // the library has read it to its end
	switch {
	case err == nil:
		return conn, nil
	case resp != nil && resp.StatusCode != http.StatusSwitchingProtocols:
		return nil, refusal(resp)
	}
	return nil, c.failed(ctx, err)
}

func (c *Client) cut(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil {
		return errs.E(op, errs.Other, ctx.Err())
	}
	return errs.Errorf(op, errs.Unavailable, "the connection to the program broke off: %v", err)
}

func sendInput(ctx context.Context, conn *websocket.Conn, from io.Reader) {
	buf := make([]byte, 32<<10) // the first byte says that it is input
	for {
		n, err := from.Read(buf[1:])
		if n > 0 && conn.Write(ctx, websocket.MessageBinary, buf[:1+n]) != nil {
			return // the reading side says why
		}
		if err != nil {
			conn.Write(ctx, websocket.MessageBinary, buf[:1]) //nolint:errcheck // the reading side says why
			return
		}
	}
}

func sendSizes(ctx context.Context, conn *websocket.Conn, sizes <-chan api.ExecSize) {
	for {
		select {
		case <-ctx.Done():
			return
		case size, ok := <-sizes:
			if !ok {
				return
			}
			text, err := json.Marshal(api.ExecControl{Resize: &size})
			if err != nil || conn.Write(ctx, websocket.MessageText, text) != nil {
				return
			}
		}
	}
}

// output writes a message to the stream that it is of.
func output(p Program, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	to := p.Stdout
	if b[0] == 2 && p.Stderr != nil {
		to = p.Stderr
	}
	if to == nil {
		return nil
	}
	_, err := to.Write(b[1:])
	return err
}
