package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/calendar"
	"github.com/lineshaft/lineshaft/control"
	"github.com/lineshaft/lineshaft/data"
	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/artifact"
	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/sock"
	"github.com/lineshaft/lineshaft/internal/testkit"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/tensor"
	"github.com/lineshaft/lineshaft/serve/tfserving"
	"github.com/lineshaft/lineshaft/train/compress"
	"github.com/lineshaft/lineshaft/trust/access"
	"github.com/lineshaft/lineshaft/trust/secret"
)

// hall is a whole server: the real store, access, jobs, registry and loop behind the API, on a TCP port and on the data
// folder's socket. Only the machine that runs tasks is made up.
type hall struct {
	*testkit.Hall
	t      *testing.T
	o      api.Options
	access *access.Service
	jobs   *job.Runner
	sets   *data.Sets
	models *model.Registry
	fleet  *fleet.Fleet

	calendar *calendar.Calendar
	secrets  *secret.Service
	machine  *machine
	url      string
	log      *logBuffer
	tokens   map[string]string // by the account's name
	narrow   atomic.Bool       // new connections hold little that was not read yet
}

// people has one of each kind; the passwords are all "a long pass phrase".
var people = map[string]access.Role{"ann": access.Admin, "dan": access.Developer, "eve": access.Developer, "vic": access.Viewer, "sam": access.ServiceRole}

func newHall(t *testing.T, change ...func(*api.Options)) *hall {
	t.Helper()
	h := &hall{Hall: testkit.NewHall(t), t: t, tokens: map[string]string{}, machine: newMachine(), log: &logBuffer{}}
	ctx := t.Context()
	log := slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h.access = access.New(access.Options{Store: h.Store, Clock: h.Clock, Hash: access.Params{Memory: 8, Time: 1, Threads: 1}})
	h.people()
	var err error
	if h.fleet, err = fleet.Open(ctx, h.Store, h.Clock); err != nil {
		t.Fatal(err)
	}
	if err := h.fleet.Report(fleet.Node{Name: "here", CPU: 4, Memory: 8 * units.GiB, Disk: 100 * units.GiB}); err != nil {
		t.Fatal(err)
	}
	if h.calendar, err = calendar.Open(ctx, calendar.Options{Store: h.Store, Clock: clock.System{}, Log: log, Nodes: h.fleet.Nodes}); err != nil {
		t.Fatal(err)
	}
	h.jobs = job.NewRunner(job.Options{
		Store: h.Store, Tasks: h.machine, Outputs: h.machine, Clock: clock.System{}, Log: log, Nodes: h.fleet.Nodes, Tick: 10 * time.Millisecond,
		Launch: func(_ context.Context, j job.Job, tk job.Task) (exec.Task, error) {
			return exec.Task{Ref: job.TaskRef(j, tk), Argv: j.Spec.Command}, nil
		},
		OnFinish: func(context.Context, job.Job) (*job.ModelRef, error) { return nil, nil },
	})
	h.machine.tell = h.jobs.Observed
	loop := control.NewRunner(control.Options{Store: h.Store, Jobs: h.jobs, Policies: []control.Policy{control.Restart(control.RestartOptions{})}, Clock: clock.System{}, Log: log, Tick: 10 * time.Millisecond})
	h.run(h.jobs.Run)
	h.run(loop.Run)
	h.sets = &data.Sets{Store: h.Store, Blobs: h.Blobs, Clock: h.Clock, Limit: 1 << 20}
	h.models = &model.Registry{Store: h.Store, Blobs: h.Blobs, Clock: h.Clock, Limit: 1 << 20, Attachments: h.Store, Keys: h.Keys}
	serving := serve.New(serve.Options{Store: h.Store, Models: h.models, Runtime: doubling{}, Clock: h.Clock, Log: log})
	h.models.Aliased = serving.SyncAliases
	h.run(serving.Run)
	h.secrets = secret.New(secret.Options{Store: h.Store, Keys: h.Keys, Clock: h.Clock})
	h.o = api.Options{
		Services: serving, Secrets: h.secrets, Keys: turns{}, Shells: h.machine,
		Predict: func(ctx context.Context, model string, version int64, label string, body []byte) ([]byte, error) {
			return tfserving.Predict(ctx, serving, model, version, label, body, nil)
		},
		Jobs: h.jobs, Models: h.models, Sets: h.sets, Code: &folders{h: h.Hall}, Fleet: h.fleet, Calendar: h.calendar, Control: loop, Access: h.access, Rows: h.Store,
		Compressor: compressor{}, Solver: solver{}, Version: "test", Clock: h.Clock, Log: log, UploadLimit: 2 << 20,
	}
	for _, c := range change {
		c(&h.o)
	}
	h.listen()
	return h
}

// compressor says what it was asked.
type compressor struct{}

func (compressor) Compress(_ context.Context, actor string, v model.Version, set data.Set, r compress.Request, dryRun bool) (compress.Result, error) {
	if !dryRun {
		v.Version++
	}
	v.Creator = actor
	return compress.Result{Version: v, Report: compress.Report{Change: r.String(), Data: set.Ref()}}, nil
}

// run keeps a runner going for the length of the test.
func (h *hall) run(f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	h.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errs.Is(err, errs.Canceled) { // a short test ends while it begins
			h.t.Error(err)
		}
	})
}

func (h *hall) people() {
	h.t.Helper()
	root := h.access.Socket()
	for name, role := range people {
		if _, err := h.access.CreateUser(h.t.Context(), root, access.UserSpec{Name: name, Role: role, Password: "a long pass phrase"}); err != nil {
			h.t.Fatal(err)
		}
		secret, _, err := h.access.CreateToken(h.t.Context(), root, access.TokenSpec{Name: "test", User: name, Role: role})
		if err != nil {
			h.t.Fatal(err)
		}
		h.tokens[name] = secret
	}
}

func (h *hall) listen() {
	stop := func() {}
	if h.o.Closing == nil {
		h.o.Closing, stop = context.WithCancel(context.Background())
	}
	if h.o.Convert == nil {
		h.o.Convert = func(w io.Writer, _ model.Format, body io.ReaderAt, size int64) error {
			_, err := io.Copy(w, io.NewSectionReader(body, 0, size))
			return err
		}
	}
	handler := api.New(h.o)
	srv := httptest.NewUnstartedServer(handler)
	srv.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if tcp, ok := c.(*net.TCPConn); ok && h.narrow.Load() {
			tcp.SetWriteBuffer(128 << 10) // a wish
		}
		return api.ConnContext(ctx, c)
	}
	srv.Start()
	h.url = srv.URL
	l, err := sock.Listen(h.Dir)
	if err != nil {
		h.t.Fatal(err)
	}
	local := &http.Server{Handler: handler, ConnContext: api.ConnContext} //nolint:gosec // a test's
	go local.Serve(l)                                                     // ends with Close
	h.t.Cleanup(func() { stop(); local.Close(); srv.Close() })
}

// answer is what came back.
type answer struct {
	code   int
	body   string
	header http.Header
}

func (a answer) into(t *testing.T, v any) {
	t.Helper()
	if a.code/100 != 2 {
		t.Fatalf("%d %s", a.code, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
}

// as makes a call with somebody's token; "" has none, "socket" comes through the data folder's.
func (h *hall) as(who, method, path, body string, header ...string) answer {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	c := http.DefaultClient
	switch {
	case who == "socket":
		c = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return sock.Dial(ctx, h.Dir) }}}
	case who != "":
		r.Header.Set("Authorization", "Bearer "+h.tokens[who])
	}
	resp, err := c.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer{resp.StatusCode, string(b), resp.Header}
}

// submit makes a job of somebody's that runs until it is ended.
func (h *hall) submit(who, spec string) job.Job {
	h.t.Helper()
	var j job.Job
	h.as(who, "POST", "/api/v1/jobs", spec).into(h.t, &j)
	return j
}

// await waits for a job's state.
func (h *hall) await(id job.ID, want job.State) job.Job {
	h.t.Helper()
	for {
		changed := h.jobs.Changed()
		j, err := h.jobs.Get(h.t.Context(), id)
		if err != nil {
			h.t.Fatal(err)
		}
		if j.State == want {
			return j
		}
		select {
		case <-changed:
		case <-time.After(20 * time.Second):
			h.t.Fatalf("job %d stays %s, want %s", id, j.State, want)
		}
	}
}

func (h *hall) upload(who, name string) model.Version {
	h.t.Helper()
	var v model.Version
	h.as(who, "POST", "/api/v1/models/"+name+"/versions?filename=model.h5", "weights of "+name).into(h.t, &v)
	return v
}

// folders keeps code folders as the app does, for as long as the test.
type folders struct {
	h  *testkit.Hall
	mu sync.Mutex
	at map[string]artifact.Info
}

func (f *folders) Put(ctx context.Context, _ string, r io.Reader) (string, int64, int, error) {
	info, err := f.h.Blobs.Put(ctx, r, 1<<20)
	if err != nil {
		return "", 0, 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.at == nil {
		f.at = map[string]artifact.Info{}
	}
	f.at[info.Digest] = info
	return info.Digest, info.Size, 1, nil
}

func (f *folders) Info(_ context.Context, digest string) (artifact.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, ok := f.at[digest]
	if !ok {
		return info, errs.Errorf("folders.Info", errs.NotFound, "no uploaded code %s", digest)
	}
	return info, nil
}

// machine is an executor without processes: an attempt runs until it is stopped, and its log is what the test writes.
type machine struct {
	mu    sync.Mutex
	tasks map[exec.TaskRef]*exec.Status
	logs  map[exec.TaskRef]*growing
	tell  func(exec.Status)
}

func newMachine() *machine {
	return &machine{tasks: map[exec.TaskRef]*exec.Status{}, logs: map[exec.TaskRef]*growing{}}
}

func (m *machine) Start(_ context.Context, t exec.Task) error {
	m.mu.Lock()
	st := &exec.Status{Ref: t.Ref, State: exec.Running, PID: 4242, Started: time.Unix(5000, 0)}
	if m.tasks[t.Ref] == nil {
		m.tasks[t.Ref] = st
	}
	said := *st
	m.mu.Unlock()
	m.tell(said)
	return nil
}

func (m *machine) Stop(_ context.Context, ref exec.TaskRef, _ time.Duration) error {
	m.exit(ref, 143)
	return nil
}

func (m *machine) exit(ref exec.TaskRef, code int) {
	m.mu.Lock()
	st := m.tasks[ref]
	if st == nil || st.State != exec.Running {
		m.mu.Unlock()
		return
	}
	st.State, st.ExitCode, st.Ended = exec.Exited, code, time.Unix(6000, 0)
	said := *st
	m.mu.Unlock()
	m.log(ref).end()
	m.tell(said)
}

func (m *machine) Observe(context.Context) ([]exec.Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []exec.Status
	for _, st := range m.tasks {
		out = append(out, *st)
	}
	return out, nil
}

func (m *machine) Remove(_ context.Context, ref exec.TaskRef) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.tasks, ref)
	return nil
}

func (m *machine) Forget(context.Context, string) error { return nil }

func (m *machine) Journal(_ context.Context, _ exec.TaskRef, offset int64) ([]byte, int64, error) {
	return nil, offset, nil
}

func (m *machine) Output(_ context.Context, ref exec.TaskRef, name string) (io.ReadCloser, error) {
	return nil, errs.Errorf("machine.Output", errs.NotFound, "%v has no output %q", ref, name)
}

func (m *machine) log(ref exec.TaskRef) *growing {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.logs[ref] == nil {
		m.logs[ref] = &growing{more: make(chan struct{})}
	}
	return m.logs[ref]
}

func (m *machine) Logs(ctx context.Context, ref exec.TaskRef, offset int64, follow bool) (io.ReadCloser, error) {
	return io.NopCloser(&logReader{ctx, m.log(ref), offset, follow}), nil
}

// Shell repeats its input in capitals, tells on standard error what it was asked for, and ends with 7.
func (m *machine) Shell(ctx context.Context, ref exec.TaskRef, s exec.Shell) (int, error) {
	m.mu.Lock()
	st := m.tasks[ref]
	m.mu.Unlock()
	if st == nil || st.State != exec.Running {
		return 0, errs.Errorf("machine.Shell", errs.Conflict, "%v does not run", ref)
	}
	if s.TTY {
		fmt.Fprintf(s.Stdout, "terminal %s %dx%d\n", s.Term, s.Size.Rows, s.Size.Cols)
		size := <-s.Resize
		fmt.Fprintf(s.Stdout, "resized %dx%d\n", size.Rows, size.Cols)
	} else {
		fmt.Fprintf(s.Stderr, "argv %q\n", s.Argv)
	}
	lines := bufio.NewScanner(s.Stdin)
	for lines.Scan() {
		fmt.Fprintln(s.Stdout, strings.ToUpper(lines.Text()))
	}
	if err := ctx.Err(); err != nil {
		return 0, errs.E("machine.Shell", errs.Canceled, err)
	}
	return 7, nil
}

// doubling serves every artifact as a model of one number in and one out.
type doubling struct{}

func (doubling) Load(context.Context, model.Format, io.ReaderAt, int64) (serve.Servable, error) {
	return doubling{}, nil
}

func (doubling) Signature() serve.Signature {
	one := func(name string) []tensor.Spec {
		return []tensor.Spec{{Name: name, Type: tensor.Float32, Shape: []int{tensor.Any, 1}}}
	}
	return serve.Signature{Inputs: one("x"), Outputs: one("y"), Batched: true}
}

func (doubling) Run(_ context.Context, c *serve.Call) error {
	c.Out[0].Reset(tensor.Float32, c.Rows, 1)
	for i, x := range c.In[0].Float32s() {
		c.Out[0].Float32s()[i] = 2 * x
	}
	return nil
}
func (doubling) MemoryBytes() int64 { return 8 }
func (doubling) Close()             {}

// turns stands for the rotation of keys.
type turns struct{}

func (turns) Rotate(context.Context, string) (string, int, error) { return "kek_2", 3, nil }

// growing is a log that is written to while others read it.
type growing struct {
	mu   sync.Mutex
	b    []byte
	over bool
	more chan struct{}
}

func (g *growing) write(s string) { g.change(func() { g.b = append(g.b, s...) }) }
func (g *growing) end()           { g.change(func() { g.over = true }) }

func (g *growing) change(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
	close(g.more)
	g.more = make(chan struct{})
}

type logReader struct {
	ctx    context.Context
	g      *growing
	at     int64
	follow bool
}

func (r *logReader) Read(p []byte) (int, error) {
	for {
		r.g.mu.Lock()
		n := 0
		if r.at < int64(len(r.g.b)) {
			n = copy(p, r.g.b[r.at:])
			r.at += int64(n)
		}
		over, more := r.g.over || !r.follow, r.g.more
		r.g.mu.Unlock()
		switch {
		case n > 0:
			return n, nil
		case over:
			return 0, io.EOF
		}
		select {
		case <-more:
		case <-r.ctx.Done():
			return 0, r.ctx.Err()
		}
	}
}

// logBuffer is the server's log.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var (
	_ exec.Tasks   = (*machine)(nil)
	_ exec.Outputs = (*machine)(nil)
)
