package api_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
)

// exec opens the call's websocket.
func (h *hall) exec(who, query string) (*websocket.Conn, *http.Response, error) {
	h.t.Helper()
	conn, resp, err := websocket.Dial(h.t.Context(), h.url+"/api/v1/jobs/1/exec"+query, &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + h.tokens[who]}}, Subprotocols: []string{"lineshaft.exec.v1"},
	})
	if err == nil {
		h.t.Cleanup(func() { conn.CloseNow() }) // it may be closed
	}
	return conn, resp, err
}

// gather reads a conversation to its end: the streams, and the last message.
func gather(t *testing.T, conn *websocket.Conn) (out, err, last string) {
	t.Helper()
	for {
		kind, b, e := conn.Read(t.Context())
		switch {
		case websocket.CloseStatus(e) == websocket.StatusNormalClosure:
			return out, err, last
		case e != nil:
			t.Fatal(e)
		case kind == websocket.MessageText:
			last += string(b)
		case b[0] == 1:
			out += string(b[1:])
		case b[0] == 2:
			err += string(b[1:])
		}
	}
}

func send(t *testing.T, conn *websocket.Conn, kind websocket.MessageType, text string) {
	t.Helper()
	if err := conn.Write(t.Context(), kind, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func TestAProgramRunsBesideATask(t *testing.T) {
	h := newHall(t)
	h.await(h.submit("dan", sleeper).ID, job.Running)
	conn, _, err := h.exec("dan", "?argv=sh&argv=-c&argv=a,b")
	if err != nil {
		t.Fatal(err)
	}
	send(t, conn, websocket.MessageBinary, "\x00hello\nwor")
	send(t, conn, websocket.MessageBinary, "\x00ld\n")
	send(t, conn, websocket.MessageBinary, "\x00")
	out, stderr, last := gather(t, conn)
	if out != "HELLO\nWORLD\n" || stderr != "argv [\"sh\" \"-c\" \"a,b\"]\n" || last != `{"exit":7}` {
		t.Errorf("%q, %q, %s", out, stderr, last)
	}

	if conn, _, err = h.exec("ann", "?tty=true&term=xterm&rows=24&cols=80"); err != nil {
		t.Fatal(err)
	}
	send(t, conn, websocket.MessageText, `{"resize":{"rows":50,"cols":132}}`)
	send(t, conn, websocket.MessageBinary, "\x00")
	if out, _, last = gather(t, conn); out != "terminal xterm 24x80\nresized 50x132\n" || last != `{"exit":7}` {
		t.Errorf("%q, %s", out, last)
	}
}

func TestAProgramIsRefusedBeforeTheUpgrade(t *testing.T) {
	h := newHall(t)
	h.await(h.submit("dan", sleeper).ID, job.Running)
	for name, want := range map[string]string{"eve": `"kind":"denied"`, "vic": `"kind":"denied"`, "sam": `"kind":"not_found"`} {
		_, resp, err := h.exec(name, "")
		if err == nil || resp == nil {
			t.Errorf("%s got in", name)
			continue
		}
		if b, _ := io.ReadAll(resp.Body); !strings.Contains(string(b), want) {
			t.Errorf("%s: %s", name, b)
		}
	}
	if a := h.as("dan", "GET", "/api/v1/jobs/1/exec?task=3", ""); a.code != http.StatusNotFound {
		t.Errorf("%d %s", a.code, a.body)
	}
}

func TestAProgramThatCannotStartSaysWhy(t *testing.T) {
	h := newHall(t)
	j := h.await(h.submit("dan", sleeper).ID, job.Running)
	h.machine.exit(job.TaskRef(j, j.Tasks[0]), 0)
	h.await(j.ID, job.Succeeded)
	conn, _, err := h.exec("dan", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, last := gather(t, conn); !strings.Contains(last, `"kind":"conflict"`) {
		t.Error(last)
	}
}

// waiting is a program that ends only with its client.
type waiting struct{ ended chan error }

func (w *waiting) Shell(ctx context.Context, _ exec.TaskRef, s exec.Shell) (int, error) {
	io.Copy(s.Stdout, bytes.NewReader(make([]byte, 100<<10))) // the client may be gone
	<-ctx.Done()
	w.ended <- ctx.Err()
	return 0, errs.E("waiting.Shell", errs.Canceled, ctx.Err())
}

func TestAProgramEndsWithItsClient(t *testing.T) {
	h := newHall(t)
	h.await(h.submit("dan", sleeper).ID, job.Running)
	w := &waiting{ended: make(chan error, 1)}
	h.o.Shells = w
	h.listen()
	for _, leave := range []func(*websocket.Conn){
		func(c *websocket.Conn) { c.CloseNow() },                                  // it leaves rudely
		func(c *websocket.Conn) { c.Close(websocket.StatusGoingAway, "") },        // it leaves politely
		func(c *websocket.Conn) { send(t, c, websocket.MessageText, "nonsense") }, // it is thrown out
	} {
		conn, _, err := h.exec("dan", "")
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for got < 100<<10 {
			_, b, err := conn.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got += len(b) - 1
		}
		leave(conn)
		if err := <-w.ended; err == nil {
			t.Error("the program does not know")
		}
	}
}

// late is a program that takes its input only when it is told to.
type late struct{ begin chan struct{} }

func (l *late) Shell(ctx context.Context, _ exec.TaskRef, s exec.Shell) (int, error) {
	select {
	case <-l.begin:
	case <-ctx.Done():
		return 0, errs.E("late.Shell", errs.Canceled, ctx.Err())
	}
	n, err := io.Copy(io.Discard, s.Stdin)
	fmt.Fprint(s.Stdout, n, " ", err)
	return 0, nil
}

func TestAProgramMayLetItsInputWait(t *testing.T) {
	h := newHall(t, func(o *api.Options) { o.Heartbeat = 250 * time.Millisecond })
	h.await(h.submit("dan", sleeper).ID, job.Running)
	l := &late{make(chan struct{})}
	h.o.Shells = l
	h.listen()
	pings := make(chan struct{}, 1)
	conn, _, err := websocket.Dial(t.Context(), h.url+"/api/v1/jobs/1/exec", &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + h.tokens["dan"]}},
		OnPingReceived: func(context.Context, []byte) bool {
			select {
			case pings <- struct{}{}:
			default:
			}
			return true
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for range 100 {
			if err := conn.Write(t.Context(), websocket.MessageBinary, make([]byte, 1+10<<10)); err != nil {
				t.Error(err)
				return
			}
		}
		send(t, conn, websocket.MessageBinary, "\x00")
	}()
	go func() {
		for range 3 { // the answers to them stand behind the input
			<-pings
		}
		close(l.begin)
	}()
	if out, _, last := gather(t, conn); out != fmt.Sprint(100*10<<10, " <nil>") || last != `{"exit":0}` {
		t.Errorf("%q, %s", out, last)
	}
	<-sent
}
