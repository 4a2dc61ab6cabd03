package client_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
)

// serving is a client of a server that answers as told.
func serving(t *testing.T, answer http.HandlerFunc) *client.Client {
	t.Helper()
	srv := httptest.NewServer(answer)
	t.Cleanup(srv.Close)
	c, err := client.New(srv.URL+"/", "ls_token")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAnErrorComesBackAsItWasMade(t *testing.T) {
	for kind := errs.Other; kind <= errs.Canceled; kind++ {
		c := serving(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer ls_token" || r.URL.Path != "/api/v1/jobs/7" {
				t.Errorf("%s with %v", r.URL, r.Header)
			}
			w.WriteHeader(kind.HTTPStatus())
			fmt.Fprintf(w, `{"status":%d,"kind":%q,"message":"what, where, what next"}`, kind.HTTPStatus(), kind)
		})
		if _, err := c.Job(t.Context(), 7); errs.KindOf(err) != kind || err.Error() != "what, where, what next" {
			t.Errorf("%s: %v (%v)", kind, err, errs.KindOf(err))
		}
	}
}

func TestWhatIsNoAnswerOfOursIsSaidToBeNone(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		kind   errs.Kind
		says   string
	}{
		{"a proxy's page", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) }, errs.Other, "is it a Lineshaft server?"},
		{"another server", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusNotFound) }, errs.NotFound, "a Lineshaft server?"},
		{"no JSON", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, errs.Unavailable, "broke off"},
		{"half an answer", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, `{"id":`)
		}, errs.Unavailable, "broke off"},
		{"a redirect to nowhere", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, errs.Unavailable, "cannot reach"},
	} {
		if _, err := serving(t, c.answer).Job(t.Context(), 1); !errs.Is(err, c.kind) || !strings.Contains(err.Error(), strings.TrimPrefix(c.says, "is it ")) {
			t.Errorf("%s: %v (%v)", c.name, err, errs.KindOf(err))
		}
	}
}

func TestAnAddressThatIsNone(t *testing.T) {
	for _, base := range []string{"", "localhost:8080", "ftp://localhost", "http://", "http://%zz"} {
		if _, err := client.New(base, ""); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "http://127.0.0.1:8080") {
			t.Errorf("%q: %v", base, err)
		}
	}
	if _, err := client.Socket(t.TempDir()).Me(t.Context()); !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), "lineshaft up") {
		t.Errorf("a folder without a server: %v", err)
	}
}

// nobody is an address at which nothing listens.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestAReadWaitsForAServerThatRestartsWhereItIsToldTo(t *testing.T) {
	addr := nobody(t)
	c, err := client.New("http://"+addr, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Job(t.Context(), 1); !errs.Is(err, errs.Unavailable) || !strings.Contains(err.Error(), addr) {
		t.Errorf("%v", err)
	}
	if _, err := c.Retrying(time.Hour).Cancel(t.Context(), 1, false); !errs.Is(err, errs.Unavailable) {
		t.Errorf("a change is not repeated: %v", err)
	}
	var asked atomic.Int64
	srv := &http.Server{Addr: addr, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { //nolint:gosec // a test's
		if asked.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"status":503,"kind":"unavailable","message":"not yet"}`)
			return
		}
		fmt.Fprint(w, `{"id":1,"state":"running"}`)
	})}
	defer srv.Close()
	answer := make(chan job.Job)
	go func() {
		j, err := c.Retrying(time.Hour).Job(t.Context(), 1)
		if err != nil {
			t.Error(err)
		}
		answer <- j
	}()
	go srv.ListenAndServe() // ends with Close
	if j := <-answer; j.State != job.Running || asked.Load() < 2 {
		t.Errorf("%+v after %d", j, asked.Load())
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Retrying(time.Hour).Job(gone, 1); !errs.Is(err, errs.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestAStreamThatBreaksSaysSo(t *testing.T) {
	c := serving(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("topics") != "jobs,data" || r.URL.Query().Get("after") != "3" {
			t.Errorf("%s", r.URL)
		}
		fmt.Fprint(w, "retry: 1000\n: hello\n\nevent: reset\ndata: {}\n\nid: 4\nevent: jobs\ndata: {\"seq\":4,\"topic\":\"jobs\",\"kind\":\"job.started\"}\n\n")
	})
	var kinds []string
	for e, err := range c.Events(t.Context(), []string{"jobs", "data"}, 3) {
		if err != nil {
			kinds = append(kinds, errs.KindOf(err).String())
			continue
		}
		kinds = append(kinds, e.Kind)
	}
	if strings.Join(kinds, " ") != "job.started unavailable" {
		t.Errorf("%v", kinds)
	}
}

func TestNamesAreEscapedOnTheWay(t *testing.T) {
	c := serving(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"name":%q}`, r.URL.EscapedPath())
	})
	u, err := c.User(t.Context(), "a/b c?d#e%")
	if err != nil || u.Name != "/api/v1/users/a%2Fb%20c%3Fd%23e%25" {
		t.Errorf("%q, %v", u.Name, err)
	}
}
