package upstream_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/serve/port"
	"github.com/lineshaft/lineshaft/serve/upstream"
)

// world is a service job whose replicas are servers of the test, behind the serving port.
type world struct {
	*testing.T
	ups *upstream.Upstreams
	url string

	mu      sync.Mutex
	jobs    []job.Job
	changed chan struct{}
}

func (w *world) Active(context.Context) ([]job.Job, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]job.Job, len(w.jobs))
	for i, j := range w.jobs {
		j.Tasks = append([]job.Task(nil), j.Tasks...)
		out[i] = j
	}
	return out, nil
}

func (w *world) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

// change changes the jobs, as job's runner would.
func (w *world) change(f func(jobs []job.Job) []job.Job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.jobs = f(w.jobs)
	close(w.changed)
	w.changed = make(chan struct{})
}

func newWorld(t *testing.T, o upstream.Options, refuse func(action, model string) error) *world {
	w := &world{T: t, changed: make(chan struct{})}
	o.Jobs, o.Clock, o.Log, o.Tick = w, clock.System{}, slog.New(slog.NewTextHandler(t.Output(), nil)), 10*time.Millisecond
	w.ups = upstream.New(o)
	p := port.New(port.Options{BodyLimit: 4 << 20, Authorize: func(_ *http.Request, action, model string) (string, error) {
		if refuse == nil {
			return "user/test", nil
		}
		return "user/test", refuse(action, model)
	}})
	srv := httptest.NewServer(p.Handler(w.ups.Handler(p, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "next") })), nil))
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() { _ = w.ups.Run(ctx) })
	t.Cleanup(func() { srv.Close(); cancel(); ended.Wait() })
	w.url = srv.URL
	return w
}

// service adds a service with replicas at the ports.
func (w *world) service(name string, s job.Serve, ports ...int) {
	s.Model = name
	spec := job.Spec{Name: name, Kind: job.Service, Command: []string{"x"}, Tasks: max(1, len(ports)), Serve: &s}.Defaults()
	j := job.Job{ID: job.ID(len(w.jobs) + 1), Kind: job.Service, State: job.Running, Spec: spec, Owner: "ann"}
	for i, p := range ports {
		j.Tasks = append(j.Tasks, job.Task{Index: i, Attempt: 1, State: job.Running, Port: p})
	}
	w.change(func(jobs []job.Job) []job.Job { return append(jobs, j) })
}

// replica is a server of the test; it answers its health check, and the handler answers the rest.
func replica(t *testing.T, h http.HandlerFunc) (at int, srv *httptest.Server) {
	srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" {
			h(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	_, p, _ := net.SplitHostPort(srv.Listener.Addr().String())
	at, _ = strconv.Atoi(p)
	return at, srv
}

func (w *world) ask(method, path, body string, header ...string) (int, string, http.Header) {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		return a.StatusCode, err.Error(), a.Header
	}
	return a.StatusCode, string(text), a.Header
}

// well waits until so many servers of the service may be asked.
func (w *world) well(name string, n int) {
	w.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for _, s := range w.ups.List() {
			up := 0
			for _, x := range s.Servers {
				if x.State == "well" {
					up++
				}
			}
			if s.Name == name && up == n {
				return
			}
		}
	}
	w.Fatalf("never %d servers of %s: %+v", n, name, w.ups.List())
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s|%s|%s|%s", r.Method, r.URL.RequestURI(), body, r.Header.Get("Authorization"), r.Header.Get("Cookie"))
}

func TestAServiceIsReachedByItsNameInThreeWays(t *testing.T) {
	w := newWorld(t, upstream.Options{}, nil)
	at, _ := replica(t, echo)
	w.service("chat", job.Serve{}, at)
	w.well("chat", 1)
	for _, c := range []struct{ method, path, body, want string }{
		{"POST", "/v1/models/chat:predict", "x", "POST /v1/models/chat:predict|x||"},
		{"POST", "/v1/models/chat/versions/2:predict?a=b", "x", "POST /v1/models/chat/versions/2:predict?a=b|x||"},
		{"GET", "/v2/models/chat/ready", "", "GET /v2/models/chat/ready|||"},
		{"POST", "/v1/chat/completions", `{"messages": [{"model": "no"}], "model": "chat"}`, `POST /v1/chat/completions|{"messages": [{"model": "no"}], "model": "chat"}||`},
		{"POST", "/v1/embeddings", `{"model": "chat"}`, `POST /v1/embeddings|{"model": "chat"}||`},
		{"PUT", "/services/chat/a/b/?q=1", "x", "PUT /a/b/?q=1|x||"},
		{"GET", "/services/chat", "", "GET /|||"},
		{"GET", "/services/chat/../../etc/passwd", "", "GET /etc/passwd|||"},
		{"GET", "/v1/models/other", "", "next"},
		{"GET", "/anything", "", "next"},
	} {
		code, text, _ := w.ask(c.method, c.path, c.body, "Authorization", "Bearer secret", "Cookie", "lineshaft_session=secret")
		if code != http.StatusOK || text != c.want {
			t.Errorf("%s %s: %d %q, want %q", c.method, c.path, code, text, c.want)
		}
	}
}

func TestABodyThatNamesNoModelIsRefusedInWords(t *testing.T) {
	w := newWorld(t, upstream.Options{}, nil)
	for body, part := range map[string]string{
		``:                             "no JSON object",
		`[1]`:                          "no JSON object",
		`{"model": 5}`:                 `"model" is no text`,
		`{}`:                           "names no model",
		`{"model": "a"`:                "no JSON object",
		`{"model": "a"} {}`:            "goes on",
		`{"model": "a", "model": "b"}`: "twice",
		`{"model": "nobody"}`:          `no server answers as "nobody"`,
	} {
		code, text, _ := w.ask("POST", "/v1/completions", body)
		if code != http.StatusBadRequest && code != http.StatusNotFound || !strings.Contains(strings.ReplaceAll(text, `\"`, `"`), part) {
			t.Errorf("%q: %d %s, want %q", body, code, text, part)
		}
	}
}

func TestWhoMayNotAskReachesNobody(t *testing.T) {
	w := newWorld(t, upstream.Options{}, func(action, model string) error {
		if action == "predict" && model == "open" {
			return nil
		}
		return errs.Errorf("test", errs.Denied, "not yours")
	})
	var asked atomic.Int64
	at, _ := replica(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	w.service("open", job.Serve{}, at)
	w.service("closed", job.Serve{}, at)
	w.well("closed", 1)
	for _, path := range []string{"/v1/models/closed:predict", "/v2/models/closed/infer", "/services/closed/x", "/services/nobody/x"} {
		if code, text, _ := w.ask("POST", path, "x"); code != http.StatusForbidden {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
	if code, text, _ := w.ask("POST", "/v1/completions", `{"model": "closed"}`); code != http.StatusForbidden {
		t.Errorf("%d %s", code, text)
	}
	if asked.Load() != 0 {
		t.Fatalf("%d requests reached the server", asked.Load())
	}
	if code, text, _ := w.ask("POST", "/v1/completions", `{"model": "open"}`); code != http.StatusOK {
		t.Errorf("%d %s", code, text)
	}
}

func TestARequestThatMayBeSentTwiceSurvivesItsServer(t *testing.T) {
	w := newWorld(t, upstream.Options{}, nil)
	var posts atomic.Int64
	broken := func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			posts.Add(1)
		}
		if r.URL.Query().Get("half") != "" {
			rw.Header().Set("Content-Length", "1000")
			fmt.Fprint(rw, "the first half of an ans")
		}
		panic(http.ErrAbortHandler)
	}
	bad, _ := replica(t, broken)
	good, _ := replica(t, echo)
	w.service("m", job.Serve{}, bad, good)
	w.well("m", 2)
	for i := range 30 {
		path := []string{"/services/m/x", "/services/m/x?half=1", "/v1/models/m:predict"}[i%3]
		method := []string{"GET", "PUT", "POST"}[i%3]
		if code, text, _ := w.ask(method, path, "x"); code != http.StatusOK || !strings.HasPrefix(text, method) {
			t.Fatalf("%s %s: %d %s", method, path, code, text)
		}
	}
	if posts.Load() == 0 {
		t.Log("the broken server was never drawn for a POST")
	}
}

func TestARequestThatMayArriveOnceIsNotSentAgain(t *testing.T) {
	w := newWorld(t, upstream.Options{}, nil)
	var got atomic.Int64
	h := func(http.ResponseWriter, *http.Request) { got.Add(1); panic(http.ErrAbortHandler) }
	a, _ := replica(t, h)
	b, _ := replica(t, h)
	w.service("m", job.Serve{}, a, b)
	w.well("m", 2)
	code, text, header := w.ask("POST", "/v1/chat/completions", `{"model": "m"}`)
	if code != http.StatusServiceUnavailable || got.Load() != 1 || header.Get("Retry-After") == "" {
		t.Fatalf("%d %s %v, sent %d times", code, text, header, got.Load())
	}
	if w.ask("POST", "/v1/chat/completions", `{"model": "m"}`, "Idempotency-Key", "k1"); got.Load() < 3 || got.Load() > 5 {
		t.Fatalf("with an Idempotency-Key it was sent %d times: each server once, four times at most", got.Load()-1)
	}
}

func TestNobodyListeningCostsNoRequest(t *testing.T) {
	w := newWorld(t, upstream.Options{}, nil)
	dead, srv := replica(t, echo)
	good, _ := replica(t, echo)
	w.service("m", job.Serve{}, dead, good)
	w.well("m", 2)
	srv.Close()
	for range 20 { // not to be sent twice, but it cannot have arrived
		if code, text, _ := w.ask("POST", "/services/m/x", "x"); code != http.StatusOK {
			t.Fatalf("%d %s", code, text)
		}
	}
	w.well("m", 1)
}

func TestARequestIsHeldUntilAReplicaIsThereAndNotForEver(t *testing.T) {
	w := newWorld(t, upstream.Options{Waiting: 3}, nil)
	w.service("m", job.Serve{Wait: job.Duration(20 * time.Second)})
	w.well("m", 0)
	answers := make(chan int, 8)
	for range 3 {
		go func() {
			code, _, _ := w.ask("GET", "/services/m/x", "")
			answers <- code
		}()
	}
	for end := time.Now().Add(20 * time.Second); w.ups.List()[0].Waiting < 3 && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	code, text, header := w.ask("GET", "/services/m/x", "")
	if code != http.StatusTooManyRequests || header.Get("Retry-After") == "" {
		t.Fatalf("a fourth of three that may wait: %d %s", code, text)
	}
	at, _ := replica(t, echo)
	w.change(func(jobs []job.Job) []job.Job {
		jobs[0].Tasks = []job.Task{{Attempt: 1, State: job.Running, Port: at}}
		return jobs
	})
	for range 3 {
		if code := <-answers; code != http.StatusOK {
			t.Fatalf("one that waited got %d", code)
		}
	}
	w.service("never", job.Serve{Wait: job.Duration(50 * time.Millisecond)})
	w.well("never", 0)
	if code, text, header := w.ask("GET", "/services/never/x", ""); code != http.StatusServiceUnavailable || header.Get("Retry-After") == "" || !strings.Contains(text, "lineshaft why") {
		t.Fatalf("%d %s %v", code, text, header)
	}
}

func TestAReplicaThatStopsEndsWhatItHas(t *testing.T) {
	w := newWorld(t, upstream.Options{}, nil)
	begun, end := make(chan struct{}), make(chan struct{})
	at, _ := replica(t, func(rw http.ResponseWriter, _ *http.Request) { close(begun); <-end; fmt.Fprint(rw, "done") })
	w.service("m", job.Serve{}, at)
	w.well("m", 1)
	answer := make(chan string, 1)
	go func() { _, text, _ := w.ask("POST", "/services/m/x", ""); answer <- text }()
	<-begun
	w.change(func(jobs []job.Job) []job.Job {
		jobs[0].Tasks[0].State = job.Stopping
		return jobs
	})
	w.well("m", 0)
	short, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if w.ups.Drain(short, 1, 0, 1); short.Err() == nil {
		t.Fatal("it was drained with a request under way")
	}
	close(end)
	w.ups.Drain(t.Context(), 1, 0, 1)
	if text := <-answer; text != "done" {
		t.Fatal(text)
	}
}

func TestAReplicaGetsNoMoreAtOnceThanItSays(t *testing.T) {
	w := newWorld(t, upstream.Options{}, nil)
	var now, most atomic.Int64
	at, _ := replica(t, func(http.ResponseWriter, *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(2 * time.Millisecond)
	})
	w.service("m", job.Serve{Concurrency: 3}, at)
	w.well("m", 1)
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() {
			for range 5 {
				if code, text, _ := w.ask("POST", "/services/m/x", ""); code != http.StatusOK {
					t.Errorf("%d %s", code, text)
				}
			}
		})
	}
	clients.Wait()
	if most.Load() > 3 {
		t.Fatalf("%d at once, 3 may be", most.Load())
	}
}

func TestAnAnswerMaySpeakForNobodyElse(t *testing.T) {
	w := newWorld(t, upstream.Options{}, nil)
	at, _ := replica(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Set-Cookie", "lineshaft_session=evil")
		fmt.Fprint(rw, "<script>")
	})
	w.service("m", job.Serve{}, at)
	w.well("m", 1)
	_, _, header := w.ask("GET", "/services/m/x", "")
	if header.Get("Set-Cookie") != "" || header.Get("Content-Security-Policy") != "sandbox" || header.Get("X-Content-Type-Options") != "nosniff" {
		t.Fatal(header)
	}
}

func TestAServerOfTheConfigurationIsRefusedWhereItIsNone(t *testing.T) {
	for name, e := range map[string]upstream.External{
		"no name":    {Servers: []upstream.Server{{URL: "http://a"}}},
		"no servers": {Name: "x"},
		"no URL":     {Name: "x", Servers: []upstream.Server{{URL: "a:80"}}},
		"a password": {Name: "x", Servers: []upstream.Server{{URL: "http://u:p@a"}}},
		"a weight":   {Name: "x", Servers: []upstream.Server{{URL: "http://a", Weight: -1}}},
		"a balance":  {Name: "x", Balance: "best", Servers: []upstream.Server{{URL: "http://a"}}},
		"a path":     {Name: "x", Health: "health", Servers: []upstream.Server{{URL: "http://a"}}},
	} {
		if err := e.Validate(); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
