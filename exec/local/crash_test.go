//go:build linux

package local_test

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/exec/local"
	"github.com/lineshaft/lineshaft/internal/errs"
)

func TestAnOlderAttemptIsRefusedAndTwoNeverRunAtOnce(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, _ := hall(t, at)
		second := task("1", 2, `sleep 60`)
		if err := l.Start(t.Context(), second); err != nil {
			t.Fatal(err)
		}
		if err := l.Start(t.Context(), task("1", 1, `true`)); !errs.Is(err, errs.Conflict) {
			t.Errorf("an older attempt: %v", err)
		}
		if err := l.Start(t.Context(), task("1", 3, `true`)); !errs.Is(err, errs.Conflict) {
			t.Errorf("a newer attempt beside a living one: %v", err)
		}
		if all, err := l.Observe(t.Context()); err != nil || len(all) != 1 {
			t.Errorf("the refused attempts left %+v, %v", all, err)
		}
		l.Stop(t.Context(), second.Ref, 0)
		wait(t, l, second.Ref)
		if err := l.Remove(t.Context(), second.Ref); err != nil {
			t.Fatal(err)
		}
		if err := l.Start(t.Context(), task("1", 1, `true`)); !errs.Is(err, errs.Conflict) {
			t.Errorf("an older attempt, when the newer one was removed: %v", err)
		}
		if _, st := run(t, l, task("1", 3, `true`)); st.ExitCode != 0 {
			t.Errorf("a newer attempt: %+v", st)
		}
	})
}

// server starts a server in a process of its own, which starts a task with a script.
func server(t *testing.T, dir, at, script string) *osexec.Cmd {
	t.Helper()
	cmd := osexec.Command("/proc/self/exe", "as-server", dir, at, script)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 8)
	if _, err := io.ReadFull(out, line); err != nil || string(line) != "started\n" {
		rest, _ := io.ReadAll(out)
		t.Fatalf("server said %q%s", line, rest)
	}
	return cmd
}

func TestAKilledServersTaskRunsOnAndItsEndIsLearned(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		dir := filepath.Join(closedFolder(t, os.Geteuid()), "tasks")
		cmd := server(t, dir, at, "echo before; while [ ! -e $LINESHAFT_OUT/../work/go ]; do sleep 0.05; done; echo after; exit 7")
		cmd.Process.Kill()
		cmd.Wait()
		l, err := local.New(local.At(local.Options{Dir: dir}, at))
		if err != nil {
			t.Fatal(err)
		}
		defer end(t, l)
		all, err := l.Observe(t.Context())
		if err != nil || len(all) != 1 || all[0].State != exec.Running {
			t.Fatalf("observed %+v, %v", all, err)
		}
		again := task("1", 1, "echo twice")
		if err := l.Start(t.Context(), again); err != nil {
			t.Errorf("the start that the new server repeats: %v", err)
		}
		if code, err := l.Shell(t.Context(), all[0].Ref, exec.Shell{Argv: []string{"touch", "go"}}); code != 0 || err != nil && !errs.Is(err, errs.Conflict) { // it may end at once
			t.Fatalf("%d %v", code, err)
		}
		st := wait(t, l, all[0].Ref)
		if got := logs(t, l, all[0].Ref); st.ExitCode != 7 || got != "before\nafter\n" {
			t.Errorf("ended %+v, said %q", st, got)
		}
	})
}

// pids reads what the shim wrote down of itself.
func pids(t *testing.T, data string) (shim, init int) {
	t.Helper()
	var id struct{ Shim, Init struct{ PID int } }
	b, err := os.ReadFile(filepath.Join(data, "tasks/1/0/1/shim.json"))
	if err == nil {
		err = json.Unmarshal(b, &id)
	}
	if err != nil {
		t.Fatal(err)
	}
	return id.Shim.PID, id.Init.PID
}

func TestAKilledShimTakesItsTaskAlongAndIsLost(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, data := hall(t, at)
		tk := task("1", 1, `setsid sh -c 'while true; do date +%s%N > $LINESHAFT_OUT/beat; sleep 0.02; done' & while [ ! -s $LINESHAFT_OUT/beat ]; do sleep 0.02; done; echo ready; sleep 61; true`)
		tk.Secrets = []exec.Secret{{File: "key", Value: []byte("x")}}
		if err := l.Start(t.Context(), tk); err != nil {
			t.Fatal(err)
		}
		says(t, l, tk.Ref, "ready")
		shim, init := pids(t, data)
		syscall.Kill(shim, syscall.SIGKILL)
		if st := wait(t, l, tk.Ref); st.State != exec.Lost {
			t.Errorf("%+v", st)
		}
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", init)); err == nil && len(b) > 0 {
			t.Error("the task outlived its shim")
		}
		beat := l.OutputPath(tk.Ref, "beat")
		first, _ := os.ReadFile(beat)
		time.Sleep(150 * time.Millisecond)
		if later, _ := os.ReadFile(beat); beat != "" && string(later) != string(first) {
			t.Error("what it had in the background outlived it")
		}
		if link, err := os.Readlink(filepath.Join(data, "tasks/1/0/1/secrets")); err == nil {
			t.Errorf("its secrets are still at %s", link)
		}
		if _, st := run(t, l, task("1", 2, "true")); st.ExitCode != 0 {
			t.Errorf("the next attempt: %+v", st)
		}
		if st, err := l.Status(tk.Ref); err != nil || st.State != exec.Lost {
			t.Errorf("later it is %+v, %v", st, err)
		}
	})
}

func TestTheNextAttemptStartsOnlyWhenNothingOfAKilledOneRuns(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, data := hall(t, at)
		tk := task("1", 1, `setsid sh -c 'while true; do date +%s%N > $LINESHAFT_OUT/beat; sleep 0.02; done' & while [ ! -s $LINESHAFT_OUT/beat ]; do sleep 0.02; done; echo ready; sleep 61; true`)
		if err := l.Start(t.Context(), tk); err != nil {
			t.Fatal(err)
		}
		says(t, l, tk.Ref, "ready")
		shim, _ := pids(t, data)
		syscall.Kill(shim, syscall.SIGKILL)
		var err error
		for range 100 { // nobody observes; the lock is free once the kernel has closed the dead shim's files
			if err = l.Start(t.Context(), task("1", 2, "true")); !errs.Is(err, errs.Conflict) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if err != nil {
			t.Fatal(err)
		}
		beat := l.OutputPath(tk.Ref, "beat")
		first, _ := os.ReadFile(beat)
		time.Sleep(150 * time.Millisecond)
		if later, _ := os.ReadFile(beat); beat != "" && string(later) != string(first) {
			t.Error("two attempts ran at once")
		}
	})
}

func TestAKilledInitEndsTheAttempt(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, data := hall(t, at)
		tk := task("1", 1, `echo ready; sleep 61; true`)
		if err := l.Start(t.Context(), tk); err != nil {
			t.Fatal(err)
		}
		says(t, l, tk.Ref, "ready")
		_, init := pids(t, data)
		syscall.Kill(init, syscall.SIGKILL)
		if st := wait(t, l, tk.Ref); st.State != exec.Exited || st.Signal != "SIGKILL" || st.ExitCode != 137 {
			t.Errorf("%+v", st)
		}
	})
}

func TestAReusedProcessIDIsNotTakenForTheShim(t *testing.T) {
	t.Parallel()
	l, data := hall(t, "")
	dir := filepath.Join(data, "tasks/1/0/1")
	os.MkdirAll(dir, 0o700)
	os.WriteFile(filepath.Join(dir, "intent.json"), []byte(`{"task":{}}`), 0o600)
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	me := fmt.Sprintf(`{"pid":%d,"start":12345,"boot":%q}`, os.Getpid(), strings.TrimSpace(string(boot)))
	os.WriteFile(filepath.Join(dir, "shim.json"), []byte(fmt.Sprintf(`{"shim":%s,"init":%s}`, me, me)), 0o600)
	ref := exec.TaskRef{Job: "1", Attempt: 1}
	if err := l.Stop(t.Context(), ref, 0); err != nil {
		t.Errorf("stop: %v", err)
	}
	if st, err := l.Status(ref); err != nil || st.State != exec.Lost {
		t.Errorf("%+v, %v", st, err) // and this process still lives
	}
}

func TestAServerKilledBeforeTheForkStartsItOnceLater(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, data := hall(t, at)
		dir := filepath.Join(data, "tasks/1/0/1")
		os.MkdirAll(filepath.Join(dir, "out"), 0o700)
		os.WriteFile(filepath.Join(dir, "intent.json"), []byte(`{"task":{}}`), 0o600)
		ref := exec.TaskRef{Job: "1", Attempt: 1}
		if st, err := l.Status(ref); err != nil || st.State != exec.Lost {
			t.Errorf("%+v, %v", st, err)
		}
		if out, st := run(t, l, task("1", 1, "echo once")); out != "once\n" || st.ExitCode != 0 {
			t.Errorf("%q %+v", out, st)
		}
	})
}

func TestAShimWhoseServerDiedBeforeItHadSaidAllRunsNothing(t *testing.T) {
	t.Parallel()
	l, data := hall(t, "")
	dir := filepath.Join(data, "tasks/1/0/1")
	os.MkdirAll(dir, 0o700)
	os.WriteFile(filepath.Join(dir, "intent.json"), []byte(`{"task":{"ref":{"job":"1","index":0,"attempt":1}}}`), 0o600)
	lock, err := os.Create(filepath.Join(data, "tasks/1/0/lock"))
	if err != nil {
		t.Fatal(err)
	}
	give, said, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	heard, say, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := osexec.Command("/proc/self/exe", "__shim", dir)
	cmd.ExtraFiles = []*os.File{give, say, lock}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	say.Close()
	said.WriteString(`{"Secrets":[{"Env":"TOK`)
	said.Close() // the server was killed here
	if b, _ := io.ReadAll(heard); !strings.Contains(string(b), "went away") {
		t.Errorf("the shim said %q", b)
	}
	cmd.Wait()
	if st, err := l.Status(exec.TaskRef{Job: "1", Attempt: 1}); err != nil || st.State != exec.Lost {
		t.Errorf("%+v, %v", st, err)
	}
	if out, st := run(t, l, task("1", 1, "echo once")); out != "once\n" || st.ExitCode != 0 {
		t.Errorf("%q %+v", out, st)
	}
}

func TestAStopOrderedBeforeTheProgramRunsIsObeyed(t *testing.T) {
	t.Parallel()
	l, data := hall(t, "")
	tk := task("1", 1, "sleep 60")
	started := make(chan error)
	go func() { started <- l.Start(t.Context(), tk) }()
	for { // as soon as there is anything to stop
		if _, err := os.Stat(filepath.Join(data, "tasks/1/0/1/intent.json")); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err := l.Stop(t.Context(), tk.Ref, 0); err != nil {
		t.Fatal(err)
	}
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	if st := wait(t, l, tk.Ref); st.Reason != "canceled" {
		t.Errorf("%+v", st)
	}
}

func TestAnEndedAttemptIsRemovedWithAllThatItClosed(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, data := hall(t, at)
		tk := task("1", 1, "mkdir -p a/b; echo x > a/b/c; chmod 0 a/b a")
		run(t, l, tk)
		place, _ := os.Readlink(filepath.Join(data, "tasks/1/0/1/place"))
		if err := l.Remove(t.Context(), tk.Ref); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{filepath.Join(data, "tasks/1/0/1"), place} {
			if _, err := os.Lstat(path); path != "" && !os.IsNotExist(err) {
				t.Errorf("%s is still there", path)
			}
		}
		if err := l.Remove(t.Context(), tk.Ref); err != nil {
			t.Errorf("removed again: %v", err)
		}
		long := task("2", 1, "sleep 60")
		if err := l.Start(t.Context(), long); err != nil {
			t.Fatal(err)
		}
		if err := l.Remove(t.Context(), long.Ref); !errs.Is(err, errs.Conflict) {
			t.Errorf("while it runs: %v", err)
		}
	})
}

func TestAJobIsForgottenWholeWhenNothingOfItRuns(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, data := hall(t, at)
		run(t, l, task("1", 1, "mkdir a; chmod 0 a"))
		long := task("1", 2, "sleep 60")
		if err := l.Start(t.Context(), long); err != nil {
			t.Fatal(err)
		}
		if err := l.Forget(t.Context(), "1"); !errs.Is(err, errs.Conflict) {
			t.Errorf("while it runs: %v", err)
		}
		if all, err := l.Observe(t.Context()); err != nil || len(all) != 2 {
			t.Errorf("a refused removal left %+v, %v", all, err)
		}
		l.Stop(t.Context(), long.Ref, 0)
		wait(t, l, long.Ref)
		if all, err := l.Observe(t.Context()); err != nil || len(all) != 2 {
			t.Errorf("before: %+v, %v", all, err)
		}
		for range 2 {
			if err := l.Forget(t.Context(), "1"); err != nil {
				t.Errorf("when it has ended: %v", err)
			}
		}
		if _, err := os.Lstat(filepath.Join(data, "tasks/1")); !os.IsNotExist(err) {
			t.Errorf("the folder is still there: %v", err)
		}
		if all, err := l.Observe(t.Context()); err != nil || len(all) != 0 {
			t.Errorf("after: %+v, %v", all, err)
		}
	})
}
