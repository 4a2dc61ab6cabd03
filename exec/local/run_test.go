//go:build linux

package local_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/exec/local"
	"github.com/lineshaft/lineshaft/internal/errs"
)

func TestAProgramRunsAndItsEndIsKept(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, _ := hall(t, at)
		tk := task("1", 1, `
			echo hello $GREETING from $LINESHAFT_JOB, $RANK of $WORLD_SIZE
			echo result > $LINESHAFT_OUT/r; mkdir sub; mv $LINESHAFT_OUT/r sub/r; mv sub/r $LINESHAFT_OUT/r
			echo x > $TMPDIR/x && echo x > $HOME/x && echo loud > /dev/stderr && cat input; exit 3`)
		tk.Env = map[string]string{"GREETING": "there"}
		tk.Files = []exec.File{{Name: "input", Data: []byte("given\n")}}
		out, st := run(t, l, tk)
		if st.ExitCode != 3 || out != "hello there from 1, 0 of 1\nloud\ngiven\n" {
			t.Errorf("ended %+v, said %q", st, out)
		}
		r, err := l.Output(t.Context(), tk.Ref, "r")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if b, _ := io.ReadAll(r); string(b) != "result\n" {
			t.Errorf("left %q", b)
		}
		if err := l.Start(t.Context(), tk); err != nil {
			t.Errorf("a second start of the same attempt: %v", err)
		}
		if again := logs(t, l, tk.Ref); again != out {
			t.Errorf("it ran again: %q", again)
		}
	})
}

func TestTheProgramItselfRunsAsATaskAndGetsItsDescriptors(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, data := hall(t, at)
		path := filepath.Join(data, "sealed")
		if err := os.WriteFile(path, []byte("from a file"), 0o600); err != nil {
			t.Fatal(err)
		}
		tk := task("1", 1, "")
		tk.Argv = []string{exec.Self, "as-vandal", "read", "A", "B"}
		tk.Inherit = []exec.Inherit{{Name: "A", Path: path}, {Name: "B", Data: []byte(", from memory")}}
		if out, st := run(t, l, tk); st.ExitCode != 0 || out != "from a file, from memory" {
			t.Errorf("%q %+v", out, st)
		}
	})
}

func TestADescriptorFromMemoryCanBeOpenedAgain(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, _ := hall(t, at)
		tk := task("1", 1, `cat /proc/self/fd/3; cat /proc/self/fd/3`)
		tk.Inherit = []exec.Inherit{{Name: "A", Data: []byte("rows ")}}
		if out, _ := run(t, l, tk); out != "rows rows " {
			t.Errorf("%q", out)
		}
	})
}

func TestSecretsReachTheTaskAndNoDisk(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, data := hall(t, at)
		tk := task("1", 1, `
			echo "$TOKEN" | tr a-z A-Z; tr a-z A-Z < $LINESHAFT_SECRETS/key; echo
			echo x > $LINESHAFT_SECRETS/key && echo OVERWROTE
			stat -f -c %T $LINESHAFT_SECRETS; tr '\0' ' ' < /proc/$$/cmdline`)
		tk.Secrets = []exec.Secret{{Env: "TOKEN", Value: []byte("hidden-token")}, {File: "key", Value: []byte("hidden-file")}}
		out, _ := run(t, l, tk)
		if !strings.Contains(out, "HIDDEN-TOKEN\nHIDDEN-FILE\n") || strings.Contains(out, "\nOVERWROTE") || strings.Contains(out, "hidden-") {
			t.Errorf("it got %q", out)
		}
		if !strings.Contains(out, "tmpfs\n") && !strings.Contains(out, "ramfs\n") {
			t.Errorf("the secret is not in memory: %q", out)
		}
		filepath.WalkDir(filepath.Join(data, "tasks"), func(p string, _ os.DirEntry, err error) error {
			if b, rerr := os.ReadFile(p); err == nil && rerr == nil && strings.Contains(string(b), "hidden-") {
				t.Errorf("%s holds a secret", p)
			}
			return nil
		})
		left, _ := filepath.Glob("/dev/shm/lineshaft-*/key")
		for _, path := range left {
			if b, _ := os.ReadFile(path); string(b) == "hidden-file" && at != "" {
				if target, err := os.Readlink(filepath.Join(data, "tasks/1/0/1/secrets")); err == nil {
					t.Errorf("%s was left behind (%s)", path, target)
				}
			}
		}
	})
}

func TestATaskThatIgnoresSIGTERMIsKilledAfterItsGrace(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, _ := hall(t, at)
		tk := task("1", 1, `trap '' TERM; echo ready; while true; do sleep 0.1; done`)
		if err := l.Start(t.Context(), tk); err != nil {
			t.Fatal(err)
		}
		says(t, l, tk.Ref, "ready")
		if err := l.Stop(t.Context(), tk.Ref, 300*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if st := wait(t, l, tk.Ref); st.Reason != "canceled" || st.Signal != "SIGKILL" {
			t.Errorf("%+v", st)
		}
	})
}

func TestAPoliteTaskHasTimeToEnd(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, _ := hall(t, at)
		polite := task("2", 1, `trap 'echo bye; exit 0' TERM; echo ready; while true; do sleep 0.1; done`)
		if err := l.Start(t.Context(), polite); err != nil {
			t.Fatal(err)
		}
		says(t, l, polite.Ref, "ready")
		if err := l.Stop(t.Context(), polite.Ref, 20*time.Second); err != nil {
			t.Fatal(err)
		}
		if st := wait(t, l, polite.Ref); st.ExitCode != 0 || !strings.Contains(logs(t, l, polite.Ref), "bye") {
			t.Errorf("%+v", st)
		}
	})
}

func TestATaskThatRunsTooLongIsEnded(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, _ := hall(t, at)
		slow := task("3", 1, `sleep 60`)
		slow.Timeout = 300 * time.Millisecond
		if _, st := run(t, l, slow); st.Reason != "timeout" {
			t.Errorf("%+v", st)
		}
	})
}

func TestAnExitCodeAbove128IsNotTakenForASignal(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, _ := hall(t, at)
		if _, st := run(t, l, task("1", 1, "exit 137")); st.ExitCode != 137 || st.Signal != "" || st.Reason != "" {
			t.Errorf("%+v", st)
		}
		if _, st := run(t, l, task("2", 1, "kill -KILL $$")); st.ExitCode != 137 || st.Signal != "SIGKILL" || st.Reason != "killed" {
			t.Errorf("%+v", st)
		}
	})
}

func TestWhatATaskLeavesInTheBackgroundEndsWithIt(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, _ := hall(t, at)
		tk := task("1", 1, `setsid sh -c 'while true; do date +%s%N > $LINESHAFT_OUT/beat; sleep 0.02; done' & while [ ! -s $LINESHAFT_OUT/beat ]; do sleep 0.02; done`)
		if _, st := run(t, l, tk); st.ExitCode != 0 {
			t.Errorf("%+v", st)
		}
		beat := l.OutputPath(tk.Ref, "beat")
		first, err := os.ReadFile(beat)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
		if later, _ := os.ReadFile(beat); string(later) != string(first) {
			t.Error("it runs on")
		}
	})
}

func TestAProgramThatDoesNotExistIsSaid(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, _ := hall(t, at)
		tk := task("1", 1, "")
		tk.Argv = []string{"no-such-program"}
		if out, st := run(t, l, tk); st.ExitCode != 126 || !strings.Contains(out, "no-such-program") {
			t.Errorf("%+v %q", st, out)
		}
	})
}

func TestATaskThatMakesNoSenseIsRefused(t *testing.T) {
	t.Parallel()
	l, _ := hall(t, "")
	for what, change := range map[string]func(*exec.Task){
		"no program":              func(t *exec.Task) { t.Argv = nil },
		"a job that climbs":       func(t *exec.Task) { t.Ref.Job = "../x" },
		"a hidden job":            func(t *exec.Task) { t.Ref.Job = ".probe" },
		"attempt 0":               func(t *exec.Task) { t.Ref.Attempt = 0 },
		"a secret with a path":    func(t *exec.Task) { t.Secrets = []exec.Secret{{File: "../../key"}} },
		"a file that climbs":      func(t *exec.Task) { t.Files = []exec.File{{Name: "../../x"}} },
		"an accelerator not here": func(t *exec.Task) { t.Limits.Accelerators = []string{"77"} },
		"a variable with a sign":  func(t *exec.Task) { t.Env = map[string]string{"A=B": "c"} },
	} {
		tk := task("1", 1, "true")
		change(&tk)
		if err := l.Start(t.Context(), tk); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if all, err := l.Observe(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("something was left of them: %+v, %v", all, err)
	}
}

func TestALogIsRotatedAndItsOffsetsKeepTheirMeaning(t *testing.T) {
	t.Parallel()
	l, data := hall(t, "")
	lines := local.LogSize/10*2 + local.LogSize/100 // of 10 bytes each
	tk := task("1", 1, fmt.Sprintf(`seq -f %%09.0f 0 %d`, lines-1))
	if err := l.Start(t.Context(), tk); err != nil {
		t.Fatal(err)
	}
	wait(t, l, tk.Ref)
	parts, _ := filepath.Glob(filepath.Join(data, "tasks/1/0/1/log.*"))
	if len(parts) != 2 {
		t.Fatalf("parts: %v", parts)
	}
	r, err := l.Logs(t.Context(), tk.Ref, int64(lines-2)*10, true)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != fmt.Sprintf("%09d\n%09d\n", lines-2, lines-1) {
		t.Errorf("the end is %q, %v", b, err)
	}
	all := logs(t, l, tk.Ref)
	if len(all) < local.LogSize || len(all) > 2*local.LogSize || !strings.HasSuffix(all, fmt.Sprintf("%09d\n", lines-1)) {
		t.Errorf("%d bytes are kept, ending in %q", len(all), all[len(all)-20:])
	}
}

// watch gives what an executor tells of attempts while the test runs.
func watch(t *testing.T, l *local.Local) <-chan exec.Status {
	t.Helper()
	told := make(chan exec.Status, 16)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- l.Watch(ctx, func(st exec.Status) { told <- st }) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return told
}

func TestTheServerIsToldOfABeginningAndAnEnd(t *testing.T) {
	t.Parallel()
	l, data := hall(t, "")
	told := watch(t, l)
	tk := task("1", 1, "while [ ! -e go ]; do sleep 0.05; done; exit 4")
	if err := l.Start(t.Context(), tk); err != nil {
		t.Fatal(err)
	}
	if st := <-told; st.State != exec.Running {
		t.Errorf("%+v", st)
	}
	// A later server follows what an earlier one started.
	l2, err := local.New(local.Options{Dir: filepath.Join(data, "tasks")})
	if err != nil {
		t.Fatal(err)
	}
	later := watch(t, l2)
	if st := <-later; st.State != exec.Running {
		t.Errorf("%+v", st)
	}
	l.Shell(t.Context(), tk.Ref, exec.Shell{Argv: []string{"touch", "go"}})
	for _, c := range []<-chan exec.Status{told, later} {
		if st := <-c; st.State != exec.Exited || st.ExitCode != 4 {
			t.Errorf("%+v", st)
		}
	}
	short := task("2", 1, "exit 5")
	if err := l.Start(t.Context(), short); err != nil {
		t.Fatal(err)
	}
	for st := range told {
		if st.Ref == short.Ref && st.State == exec.Exited {
			break
		}
	}
}

func TestAGangStartsAtOnce(t *testing.T) {
	t.Parallel()
	l, _ := hall(t, "")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			tk := task("1", 1, "echo $RANK")
			tk.Ref.Index = i
			if err := l.Start(t.Context(), tk); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i := range 8 {
		ref := exec.TaskRef{Job: "1", Index: i, Attempt: 1}
		if st := wait(t, l, ref); st.ExitCode != 0 || logs(t, l, ref) != fmt.Sprintln(i) {
			t.Errorf("%+v", st)
		}
	}
}
