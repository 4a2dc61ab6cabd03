//go:build linux

package local_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/exec/local"
	"github.com/lineshaft/lineshaft/internal/errs"
)

// host runs a task for a test to look into.
func host(t *testing.T, at string) (*local.Local, exec.TaskRef) {
	t.Helper()
	l, _ := hall(t, at)
	tk := task("1", 1, `echo made > made; sleep 300 & echo ready; wait`)
	tk.Env = map[string]string{"GREETING": "hello"}
	if err := l.Start(t.Context(), tk); err != nil {
		t.Fatal(err)
	}
	says(t, l, tk.Ref, "ready")
	return l, tk.Ref
}

func TestAShellRunsBesideTheTaskWithTheSameRights(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, ref := host(t, at)
		var out, complaints bytes.Buffer
		code, err := l.Shell(t.Context(), ref, exec.Shell{
			Argv: []string{"sh", "-c", `
				cat made; echo $GREETING; tr a-z A-Z; echo oops >&2
				for ns in mnt pid ipc user net; do readlink /proc/self/ns/$ns; done; id -u
				grep -E '^(NoNewPrivs|CapEff)' /proc/self/status; cat /proc/self/cgroup | sort; exit 5`},
			Stdin: strings.NewReader("shout\n"), Stdout: &out, Stderr: &complaints,
		})
		if code != 5 || err != nil || complaints.String() != "oops\n" {
			t.Fatalf("%d %v %q %q", code, err, complaints.String(), out.String())
		}
		rest, ok := strings.CutPrefix(out.String(), "made\nhello\nSHOUT\n")
		if !ok {
			t.Fatalf("%q", out.String())
		}
		tk := task("2", 1, `for ns in mnt pid ipc user net; do readlink /proc/self/ns/$ns; done; id -u; grep -E '^(NoNewPrivs|CapEff)' /proc/self/status`)
		other, _ := run(t, l, tk)
		mine, theirs := strings.Split(rest, "\n"), strings.Split(other, "\n")
		if mine[5] != theirs[5] || mine[6] != theirs[6] || mine[7] != theirs[7] {
			t.Errorf("user and rights %v, a task's %v", mine[5:8], theirs[5:8])
		}
		if !strings.HasSuffix(at, "-bare") && (mine[0] == theirs[0] || mine[1] == theirs[1]) {
			t.Errorf("it is in another task's namespaces: %v", mine)
		}
		// The program that the task runs is seen from the shell, and may be signalled.
		out.Reset()
		if code, err := l.Shell(t.Context(), ref, exec.Shell{Argv: []string{"sh", "-c", "kill -TERM $(cat /proc/[0-9]*/task/*/children 2>/dev/null | tr ' ' '\n' | sort -n | head -1) && echo sent"}, Stdout: &out}); err != nil && !errs.Is(err, errs.Conflict) {
			t.Errorf("%d %v %q", code, err, out.String())
		}
	})
}

func TestAShellOnATerminalIsInteractiveAndResized(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, ref := host(t, at)
		in, keys := io.Pipe()
		defer keys.Close()
		sizes := make(chan exec.Size)
		out := &signalled{want: "$ ", found: make(chan struct{})}
		type end struct {
			code int
			err  error
		}
		ended := make(chan end)
		go func() {
			code, err := l.Shell(t.Context(), ref, exec.Shell{Argv: []string{"sh", "-i"}, Term: "vt100", TTY: true, Size: exec.Size{Rows: 33, Cols: 77}, Resize: sizes, Stdin: in, Stdout: out})
			ended <- end{code, err}
		}()
		<-out.found
		io.WriteString(keys, "stty size; echo term $TERM; test -t 0 && test -t 2 && echo on a termina''l\n")
		out.await(t, "33 77", "term vt100", "on a terminal")
		sizes <- exec.Size{Rows: 44, Cols: 88}
		for !out.holds("44 88") { // it takes effect some time after it is told
			io.WriteString(keys, "stty size\n")
			time.Sleep(20 * time.Millisecond)
		}
		io.WriteString(keys, "echo asl''eep; sleep 200\n")
		out.await(t, "asleep")
		for n := 0; !out.ends("$ ") && n < 500; n++ { // it is interrupted as on any terminal, once it runs
			io.WriteString(keys, "\x03")
			time.Sleep(20 * time.Millisecond)
		}
		io.WriteString(keys, "echo interru''pted; exit 3\n")
		out.await(t, "interrupted")
		if e := <-ended; e.code != 3 || e.err != nil {
			t.Errorf("%+v", e)
		}
	})
}

func TestAShellEndsWithItsCaller(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, ref := host(t, at)
		ctx, cancel := context.WithCancel(t.Context())
		out := &signalled{want: "pid", found: make(chan struct{})}
		go func() { <-out.found; cancel() }()
		if _, err := l.Shell(ctx, ref, exec.Shell{Argv: []string{"sh", "-c", "trap '' HUP TERM; echo pid; exec sleep 299"}, Stdout: out}); !errs.Is(err, errs.Canceled) {
			t.Errorf("%v", err)
		}
		var left bytes.Buffer
		for range 100 {
			left.Reset()
			if _, err := l.Shell(t.Context(), ref, exec.Shell{Argv: []string{"sh", "-c", `for p in /proc/[0-9]*; do tr '\0' ' ' < $p/cmdline; echo; done 2>/dev/null | grep -c '^sleep 299'`}, Stdout: &left}); err != nil {
				t.Fatal(err)
			}
			if left.String() == "0\n" {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		l.Shell(t.Context(), ref, exec.Shell{Argv: []string{"ps", "axf"}, Stdout: &left})
		t.Errorf("it runs on: %s", left.String())
	})
}

// signalled tells when a text was written to it.
type signalled struct {
	mu    sync.Mutex
	all   bytes.Buffer
	want  string
	found chan struct{}
	once  sync.Once
}

func (s *signalled) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all.Write(p)
	if strings.Contains(s.all.String(), s.want) {
		s.once.Do(func() { close(s.found) })
	}
	return len(p), nil
}

func (s *signalled) holds(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.all.String(), text)
}

func (s *signalled) ends(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.HasSuffix(s.all.String(), text)
}

func (s *signalled) await(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		for n := 0; !s.holds(text); n++ {
			if n == 1000 {
				t.Fatalf("no %q in %q", text, s.all.String())
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func TestAShellEndsWithTheAttempt(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, ref := host(t, at)
		out := &signalled{want: "here", found: make(chan struct{})}
		go func() { <-out.found; l.Stop(context.Background(), ref, 0) }()
		if code, err := l.Shell(t.Context(), ref, exec.Shell{Argv: []string{"sh", "-c", "trap '' TERM HUP; echo here; while true; do sleep 1; done"}, Stdout: out}); !errs.Is(err, errs.Conflict) && code < 128 {
			t.Errorf("%d %v", code, err)
		}
		wait(t, l, ref)
		if _, err := l.Shell(t.Context(), ref, exec.Shell{}); !errs.Is(err, errs.Conflict) {
			t.Errorf("after its end: %v", err)
		}
		if _, err := l.Shell(t.Context(), exec.TaskRef{Job: "9", Attempt: 1}, exec.Shell{}); !errs.Is(err, errs.NotFound) {
			t.Errorf("of no attempt: %v", err)
		}
	})
}

func TestAShellThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	l, ref := host(t, "")
	var out bytes.Buffer
	code, err := l.Shell(t.Context(), ref, exec.Shell{Argv: []string{"no-such-program"}, Stdout: &out})
	if code != 126 || err != nil || !strings.Contains(out.String(), "no-such-program") {
		t.Errorf("%d %v %q", code, err, out.String())
	}
	if _, err := l.Shell(t.Context(), ref, exec.Shell{Argv: []string{strings.Repeat("x", 100_000)}}); !errs.Is(err, errs.TooLarge) {
		t.Errorf("%v", err)
	}
}

func TestALotOfOutputComesWhole(t *testing.T) {
	t.Parallel()
	l, ref := host(t, "")
	for _, tty := range []bool{false, true} {
		var out bytes.Buffer
		code, err := l.Shell(t.Context(), ref, exec.Shell{Argv: []string{"seq", "100000"}, Stdout: &slowly{w: &out}, TTY: tty})
		if code != 0 || err != nil || !strings.HasSuffix(strings.ReplaceAll(out.String(), "\r", ""), "99999\n100000\n") {
			t.Errorf("%v: %d %v, %d bytes", tty, code, err, out.Len())
		}
	}
}

// slowly writes with pauses, as a network does.
type slowly struct {
	w io.Writer
	n int
}

func (s *slowly) Write(p []byte) (int, error) {
	if s.n++; s.n%5 == 0 {
		time.Sleep(20 * time.Millisecond)
	}
	if s.w == nil {
		return 0, errors.New("closed")
	}
	return s.w.Write(p)
}
