//go:build linux

package app_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/app"
	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/control"
	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/exec/local"
	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/serve/port"
	"github.com/lineshaft/lineshaft/serve/scale"
	"github.com/lineshaft/lineshaft/serve/upstream"
	"github.com/lineshaft/lineshaft/store"
	"github.com/lineshaft/lineshaft/store/sqlite"
)

// asServer is the program of the service: a small HTTP server that is ready after a while and takes its time.
func asServer(at string) {
	var mux http.ServeMux
	ready := time.Now().Add(200 * time.Millisecond)
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		if time.Now().Before(ready) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("POST /v1/models/", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(60 * time.Millisecond)
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Set-Cookie", "lineshaft_session=evil")
		fmt.Fprintf(w, `{"pid": %d, "port": %q, "path": %q, "auth": %q, "body": %q}`, os.Getpid(), at, r.URL.Path, r.Header.Get("Authorization"), body)
	})
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: {\"n\": %d}\n\n", i)
			_ = http.NewResponseController(w).Flush()
			time.Sleep(30 * time.Millisecond)
		}
		fmt.Fprint(w, "data: [DONE]\n\n")
	})
	mux.HandleFunc("GET /where", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, at) })
	if err := http.ListenAndServe("127.0.0.1:"+at, &mux); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// street is the parts of a server that run services, with short windows.
type street struct {
	*testing.T
	jobs *job.Runner
	loop *control.Runner
	ups  *upstream.Upstreams
	url  string
}

func newStreet(t *testing.T) *street {
	t.Helper()
	dir, log := t.TempDir(), slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	db, err := sqlite.Open(t.Context(), filepath.Join(dir, "db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	kept := store.New(db, clock.System{}, nil)
	tasks, err := local.New(local.Options{Dir: filepath.Join(dir, "tasks")})
	if err != nil {
		t.Fatal(err)
	}
	s := &street{T: t}
	stopper := &lateStopper{Tasks: tasks}
	s.jobs = job.NewRunner(job.Options{
		Store: kept, Tasks: stopper, Outputs: tasks, Meters: tasks, Clock: clock.System{}, Log: log, Site: job.DefaultSite(nil), Tick: 50 * time.Millisecond,
		Nodes: func() []fleet.Node {
			return []fleet.Node{{Name: "n", CPU: 8, Memory: 8 * units.GiB, Disk: 8 * units.GiB}}
		},
		Launch: func(_ context.Context, j job.Job, t job.Task) (exec.Task, error) {
			return exec.Task{
				Ref: job.TaskRef(j, t), Argv: j.Argv(t), User: "alice", Policy: exec.Policy{AllowLess: true}, Network: true, Timeout: 2 * time.Minute, Grace: time.Duration(j.Spec.Grace),
				Limits: exec.Limits{CPU: 1, Memory: 512 * units.MiB, Disk: 256 * units.MiB, Processes: 64},
			}, nil
		},
		OnFinish: func(context.Context, job.Job) (*job.ModelRef, error) { return nil, nil },
	})
	s.ups = upstream.New(upstream.Options{
		Jobs: s.jobs, Clock: clock.System{}, Log: log, Tick: 50 * time.Millisecond,
		Scale: func(o *scale.Options) { o.Stable, o.Panic, o.Grace = 2*time.Second, time.Second, time.Second },
	})
	stopper.ups = s.ups
	s.loop = control.NewRunner(control.Options{
		Store: kept, Jobs: s.jobs, Scaled: s.ups, Clock: clock.System{}, Log: log, Tick: 100 * time.Millisecond,
		Policies: []control.Policy{control.Restart(control.RestartOptions{First: 50 * time.Millisecond}), control.Scale(control.ScaleOptions{Pause: 200 * time.Millisecond})},
	})
	on := port.New(port.Options{Authorize: func(r *http.Request, action, _ string) (string, error) { return "user/test", nil }})
	srv := httptest.NewServer(on.Handler(s.ups.Handler(on, http.NotFoundHandler()), nil))
	s.url = srv.URL
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	for _, run := range []func(context.Context) error{s.jobs.Run, s.ups.Run, s.loop.Run, func(ctx context.Context) error { return tasks.Watch(ctx, s.jobs.Observed) }} {
		parts.Go(func() { _ = run(ctx) })
	}
	t.Cleanup(func() {
		srv.Close()
		jobs, _ := s.jobs.Active(context.Background())
		for _, j := range jobs {
			_, _ = s.jobs.Cancel(context.Background(), "user/test", j.ID)
		}
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if jobs, err := s.jobs.Active(context.Background()); err != nil || len(jobs) == 0 {
				break
			}
		}
		cancel()
		parts.Wait()
	})
	return s
}

// lateStopper drains like the server's own.
type lateStopper struct {
	exec.Tasks
	ups *upstream.Upstreams
}

func (l *lateStopper) Stop(ctx context.Context, ref exec.TaskRef, grace time.Duration) error {
	id, _ := strconv.Atoi(ref.Job)
	patience, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	l.ups.Drain(patience, job.ID(id), ref.Index, ref.Attempt)
	return l.Tasks.Stop(ctx, ref, grace)
}

func (s *street) predict() (answer map[string]any, err error) {
	r, _ := http.NewRequestWithContext(context.Background(), http.MethodPost, s.url+"/v1/models/echo:predict", strings.NewReader(`{"instances": [1]}`))
	r.Header.Set("Authorization", "Bearer ls_secret")
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	if err != nil {
		return nil, err
	}
	if w.StatusCode != http.StatusOK || w.Header.Get("Set-Cookie") != "" {
		return nil, fmt.Errorf("%s %v: %s", w.Status, w.Header, text)
	}
	return answer, json.Unmarshal(text, &answer)
}

func (s *street) job() job.Job {
	s.Helper()
	jobs, err := s.jobs.Active(s.Context())
	if err != nil || len(jobs) != 1 {
		s.Fatalf("%d jobs: %v", len(jobs), err)
	}
	return jobs[0]
}

func (s *street) running(n int) {
	s.Helper()
	var j job.Job
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		up := 0
		j = s.job()
		for _, t := range j.Tasks {
			if t.State.Live() {
				up++
			}
		}
		if up == n && j.Spec.Tasks == n {
			return
		}
	}
	s.Fatalf("never %d replicas: %+v\n%+v", n, j.Tasks, s.ups.List())
}

func TestAServiceFollowsItsLoadAndLosesNoRequestWhenAReplicaDies(t *testing.T) {
	s := newStreet(t)
	spec, err := job.Parse([]byte(`
name: echo
kind: service
command: [lineshaft:self, as-server, "{port}"]
grace: 2s
serve: {concurrency: 4}
scale: {min: 0, max: 3, target_concurrency: 2, start: 1s}
`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.jobs.Submit(t.Context(), "user/alice", "alice", spec, false); err != nil {
		t.Fatal(err)
	}

	for end := time.Now().Add(time.Minute); len(s.ups.List()) == 0 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
	}

	// The first request comes before anybody is ready, and is held until somebody is.
	answer, err := s.predict()
	if err != nil || answer["path"] != "/v1/models/echo:predict" || answer["body"] != `{"instances": [1]}` || answer["auth"] != "" {
		t.Fatalf("%v, %v", answer, err)
	}

	// A stream arrives as it is sent.
	w, err := http.Post(s.url+"/v1/chat/completions", "application/json", strings.NewReader(`{"messages": [], "model": "echo", "stream": true}`))
	if err != nil {
		t.Fatal(err)
	}
	lines, first := bufio.NewScanner(w.Body), time.Time{}
	n := 0
	for lines.Scan() {
		if lines.Text() != "" {
			if n++; n == 1 {
				first = time.Now()
			}
		}
	}
	w.Body.Close()
	if n != 4 || time.Since(first) < 40*time.Millisecond {
		t.Fatalf("%d events, the last %v after the first", n, time.Since(first))
	}

	// Load: from one replica to three.
	var sent, failed atomic.Int64
	load, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range 10 {
		clients.Go(func() {
			for load.Err() == nil {
				if sent.Add(1); load.Err() == nil {
					if _, err := s.predict(); err != nil {
						failed.Add(1)
						t.Errorf("a request failed: %v", err)
					}
				}
			}
		})
	}
	s.running(3)

	// One of them dies under load; it comes back, and no request is lost.
	killed := false
	for _, task := range s.job().Tasks {
		if task.State == job.Running && task.PID != 0 {
			if err := syscall.Kill(task.PID, syscall.SIGKILL); err == nil {
				killed = true
				break
			}
		}
	}
	if !killed {
		t.Fatalf("no replica to kill: %+v", s.job().Tasks)
	}
	before := sent.Load()
	for end := time.Now().Add(time.Minute); time.Now().Before(end) && (sent.Load() < before+100); time.Sleep(20 * time.Millisecond) {
	}
	s.running(3)
	stop()
	clients.Wait()
	if failed.Load() > 0 || sent.Load() < 100 {
		t.Fatalf("%d of %d requests failed", failed.Load(), sent.Load())
	}

	// The load is gone, and so are the replicas; the next request brings one back.
	s.running(0)
	if _, err := s.predict(); err != nil {
		t.Fatal(err)
	}
	actions, err := s.loop.Actions(t.Context(), control.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	verbs := map[string]int{}
	for _, a := range actions {
		if verbs[a.Verb]++; len(a.Reasons) == 0 {
			t.Errorf("an action without reasons: %+v", a)
		}
	}
	if verbs["set_replicas"] < 3 || verbs["restart_task"] < 1 {
		t.Errorf("actions: %v", verbs)
	}
}

func TestServersElsewhereAreAskedByTheirWeights(t *testing.T) {
	var got [2]atomic.Int64
	c := config(t)
	e := upstream.External{Name: "elsewhere", Health: "/"}
	for i := range got {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/base/v1/x" {
				got[i].Add(1)
				fmt.Fprint(w, "here")
			}
		}))
		t.Cleanup(srv.Close)
		e.Servers = append(e.Servers, upstream.Server{URL: srv.URL + "/base", Weight: float64(1 + 4*i)})
	}
	c.Upstreams = []upstream.External{e}
	s, _ := start(t, c)
	ask := func(path, token string) (int, string) {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.ServeURL()+path, nil)
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Body.Close()
		text, _ := io.ReadAll(w.Body)
		return w.StatusCode, string(text)
	}
	if code, text := ask("/services/elsewhere/v1/x", ""); code != http.StatusUnauthorized && code != http.StatusNotFound && code != http.StatusForbidden {
		t.Fatalf("nobody got %d %s", code, text)
	}
	token := tokenOf(t, s, "developer")
	for range 60 {
		if code, text := ask("/services/elsewhere/v1/x", token); code != http.StatusOK || text != "here" {
			t.Fatalf("%d %s", code, text)
		}
	}
	if got[0].Load() == 0 || got[0].Load() > got[1].Load() {
		t.Errorf("weights 1 and 5: %d and %d of 60", got[0].Load(), got[1].Load())
	}
	if code, text := ask("/v1/models", token); code != http.StatusOK || !strings.Contains(text, `"elsewhere"`) {
		t.Errorf("%d %s", code, text)
	}
	if code, text := ask("/services/nobody/x", token); code != http.StatusNotFound {
		t.Errorf("%d %s", code, text)
	}
}

// tokenOf makes an account of a role and gives it a token.
func tokenOf(t *testing.T, s *app.Server, role string) string {
	t.Helper()
	root := client.Socket(s.Data())
	if _, err := root.CreateUser(t.Context(), api.NewUser{Name: "dev", Role: role}, false); err != nil {
		t.Fatal(err)
	}
	made, err := root.CreateToken(t.Context(), api.NewToken{User: "dev", Role: role}, false)
	if err != nil {
		t.Fatal(err)
	}
	return made.Secret
}
