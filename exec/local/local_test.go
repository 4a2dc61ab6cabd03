//go:build linux

package local_test

import (
	"bytes"
	"context"
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
	"github.com/lineshaft/lineshaft/internal/units"
)

func TestMain(m *testing.M) {
	if code, ok := local.Hidden(os.Args); ok {
		os.Exit(code)
	}
	if len(os.Args) > 1 && os.Args[1] == "as-glutton" {
		var held [][]byte
		for range 1024 { // a GiB in all
			held = append(held, bytes.Repeat([]byte{1}, 1<<20))
		}
		fmt.Println("ate", len(held), "MiB")
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "as-server" {
		os.Exit(server(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// server starts a task as a server of its own would, and sleeps until it is killed.
func server(args []string) int {
	l, err := local.New(local.Options{Dir: args[0]})
	if err == nil {
		err = l.Start(context.Background(), task("1", 1, "echo before; sleep 1; echo after; exit 7"))
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("started")
	time.Sleep(time.Minute)
	return 0
}

func task(job string, attempt int, script string) exec.Task {
	return exec.Task{
		Ref: exec.TaskRef{Job: job, Attempt: attempt}, Argv: []string{"/bin/sh", "-c", script}, User: "alice",
		Limits: exec.Limits{Memory: 256 * units.MiB, Processes: 64}, Policy: exec.Policy{AllowLess: true}, Grace: 500 * time.Millisecond, Network: true,
	}
}

// hall is an executor under a data folder that lies under a parent which only its owner may enter.
func hall(t *testing.T) (*local.Local, string) {
	t.Helper()
	data := filepath.Join(t.TempDir(), "private", "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "keys.json"), []byte("the key"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := local.New(local.Options{Dir: filepath.Join(data, "tasks"), Hide: []string{data}})
	if err != nil {
		t.Fatal(err)
	}
	return l, data
}

func wait(t *testing.T, l *local.Local, ref exec.TaskRef) exec.Status {
	t.Helper()
	for range 400 {
		st, err := l.Status(ref)
		if err != nil {
			t.Fatal(err)
		}
		if st.State == exec.Exited || st.State == exec.Lost {
			return st
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%v did not end", ref)
	return exec.Status{}
}

func logs(t *testing.T, l *local.Local, ref exec.TaskRef) string {
	t.Helper()
	r, err := l.Logs(t.Context(), ref, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// run starts a script and gives its log and end.
func run(t *testing.T, l *local.Local, tk exec.Task) (string, exec.Status) {
	t.Helper()
	if err := l.Start(t.Context(), tk); err != nil {
		t.Fatal(err)
	}
	return logs(t, l, tk.Ref), wait(t, l, tk.Ref)
}

func TestAProgramRunsAndItsEndIsKept(t *testing.T) {
	l, _ := hall(t)
	tk := task("1", 1, `echo hello $GREETING from $LINESHAFT_JOB; echo result > $LINESHAFT_OUT/r; cat input; exit 3`)
	tk.Env = map[string]string{"GREETING": "there"}
	tk.Files = []exec.File{{Name: "input", Data: []byte("given\n")}}
	out, st := run(t, l, tk)
	if st.ExitCode != 3 || out != "hello there from 1\ngiven\n" {
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
}

func TestATaskCannotReachWhatIsNotItsOwn(t *testing.T) {
	l, data := hall(t)
	mine := osexec.Command("sleep", "60")
	if err := mine.Start(); err != nil {
		t.Fatal(err)
	}
	defer mine.Process.Kill()
	out, _ := run(t, l, task("1", 1, fmt.Sprintf(`
		cat %[1]s/keys.json && echo READ-KEY
		ls %[1]s/tasks && echo LISTED-TASKS
		kill -0 %[2]d && echo SIGNALLED
		echo x > /etc/lineshaft-was-here && echo WROTE-ETC
		echo x > /usr/lineshaft-was-here && echo WROTE-USR
		ls /root && echo LISTED-ROOT
		grep NoNewPrivs /proc/self/status
		echo pid $$ uid $(id -u)
		true`, data, mine.Process.Pid)))
	for _, bad := range []string{"READ-KEY", "LISTED-TASKS", "SIGNALLED", "WROTE", "LISTED-ROOT"} {
		if strings.Contains(out, bad) {
			t.Errorf("%s in:\n%s", bad, out)
		}
	}
	if !strings.Contains(out, "NoNewPrivs:\t1") {
		t.Errorf("it may gain privileges:\n%s", out)
	}
	if os.Getuid() == 0 && strings.Contains(out, "uid 0\n") {
		t.Errorf("it runs as root:\n%s", out)
	}
}

func TestTwoUsersDoNotSeeEachOthersFiles(t *testing.T) {
	l, data := hall(t)
	a := task("1", 1, `echo secret > $LINESHAFT_OUT/a; chmod 777 $LINESHAFT_OUT/a; sleep 1`)
	b := task("2", 1, fmt.Sprintf(`cat %s/tasks/1/0/1/out/a && echo READ; true`, data))
	b.User = "bob"
	if err := l.Start(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if out, _ := run(t, l, b); strings.Contains(out, "READ") {
		t.Error(out)
	}
	wait(t, l, a.Ref)
}

func TestSecretsAndDescriptorsReachTheTaskAndNoDisk(t *testing.T) {
	l, data := hall(t)
	path := filepath.Join(data, "sealed")
	if err := os.WriteFile(path, []byte("from a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	tk := task("1", 1, `cat <&$LINESHAFT_FD_A; cat <&$LINESHAFT_FD_B; echo "$TOKEN" | tr a-z A-Z; tr a-z A-Z < /tmp/lineshaft/secrets/key; cat /proc/$$/cmdline | tr '\0' ' '`)
	tk.Inherit = []exec.Inherit{{Name: "A", Path: path}, {Name: "B", Data: []byte(" from memory ")}}
	tk.Secrets = []exec.Secret{{Env: "TOKEN", Value: []byte("hidden-token")}, {File: "key", Value: []byte("hidden-file")}}
	out, _ := run(t, l, tk)
	if !strings.Contains(out, "from a file from memory HIDDEN-TOKEN\nHIDDEN-FILE") {
		t.Errorf("it got %q", out)
	}
	filepath.WalkDir(filepath.Join(data, "tasks"), func(p string, d os.DirEntry, err error) error {
		if b, rerr := os.ReadFile(p); err == nil && rerr == nil && strings.Contains(string(b), "hidden-") {
			t.Errorf("%s holds a secret", p)
		}
		return nil
	})
}

func TestAForkBombAndAGreedyTaskAreBounded(t *testing.T) {
	l, _ := hall(t)
	bomb := task("1", 1, `f() { f | f & }; f; sleep 2; echo survived`)
	bomb.Timeout, bomb.Limits.Processes = 4*time.Second, 20
	if _, st := run(t, l, bomb); st.State != exec.Exited {
		t.Errorf("bomb: %+v", st)
	}
	greedy := task("2", 1, "")
	greedy.Argv = []string{exec.Self, "as-glutton"}
	greedy.Limits.Memory = 64 * units.MiB
	if out, st := run(t, l, greedy); st.Reason != "oom" {
		t.Errorf("greedy: %+v %s", st, out)
	}
	filler := task("3", 1, `i=0; while true; do head -c 5000000 /dev/zero > f$i; i=$((i+1)); sleep 0.1; done`)
	filler.Limits.Disk = 20 * units.MiB
	if _, st := run(t, l, filler); st.Reason != "disk" {
		t.Errorf("filler: %+v", st)
	}
}

func TestATaskThatIgnoresSIGTERMIsKilledAfterItsGrace(t *testing.T) {
	l, _ := hall(t)
	tk := task("1", 1, `trap '' TERM; echo ready; while true; do sleep 0.1; done`)
	if err := l.Start(t.Context(), tk); err != nil {
		t.Fatal(err)
	}
	r, _ := l.Logs(t.Context(), tk.Ref, 0, true)
	defer r.Close()
	io.ReadFull(r, make([]byte, 6))
	if err := l.Stop(t.Context(), tk.Ref, 300*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if st := wait(t, l, tk.Ref); st.Reason != "canceled" {
		t.Errorf("%+v", st)
	}
	polite := task("2", 1, `trap 'echo bye; exit 0' TERM; echo ready; while true; do sleep 0.1; done`)
	if err := l.Start(t.Context(), polite); err != nil {
		t.Fatal(err)
	}
	r2, _ := l.Logs(t.Context(), polite.Ref, 0, true)
	defer r2.Close()
	io.ReadFull(r2, make([]byte, 6))
	if err := l.Stop(t.Context(), polite.Ref, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if st := wait(t, l, polite.Ref); st.ExitCode != 0 || !strings.Contains(logs(t, l, polite.Ref), "bye") {
		t.Errorf("%+v", st)
	}
	slow := task("3", 1, `sleep 60`)
	slow.Timeout = 300 * time.Millisecond
	if _, st := run(t, l, slow); st.Reason != "timeout" {
		t.Errorf("%+v", st)
	}
}

func TestAnOlderAttemptIsRefusedAndTwoNeverRunAtOnce(t *testing.T) {
	l, _ := hall(t)
	second := task("1", 2, `sleep 3`)
	if err := l.Start(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if err := l.Start(t.Context(), task("1", 1, `true`)); !errs.Is(err, errs.Conflict) {
		t.Errorf("an older attempt: %v", err)
	}
	if err := l.Start(t.Context(), task("1", 3, `true`)); !errs.Is(err, errs.Conflict) {
		t.Errorf("a newer attempt beside a living one: %v", err)
	}
	l.Stop(t.Context(), second.Ref, 0)
	wait(t, l, second.Ref)
}

func TestAKilledServersTaskRunsOnAndItsEndIsLearned(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tasks")
	cmd := osexec.Command("/proc/self/exe", "as-server", dir)
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
	cmd.Process.Kill()
	cmd.Wait()
	l, err := local.New(local.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	all, err := l.Observe(t.Context())
	if err != nil || len(all) != 1 || all[0].State != exec.Running {
		t.Fatalf("observed %+v, %v", all, err)
	}
	st := wait(t, l, all[0].Ref)
	if got := logs(t, l, all[0].Ref); st.ExitCode != 7 || got != "before\nafter\n" {
		t.Errorf("ended %+v, said %q", st, got)
	}
}

func TestAKilledShimTakesItsTaskAlongAndIsLost(t *testing.T) {
	l, data := hall(t)
	tk := task("1", 1, `sleep 61`)
	if err := l.Start(t.Context(), tk); err != nil {
		t.Fatal(err)
	}
	var id struct {
		PID, Program int
	}
	b, err := os.ReadFile(filepath.Join(data, "tasks/1/0/1/shim.json"))
	if err != nil || json.Unmarshal(b, &id) != nil {
		t.Fatal(err)
	}
	syscall.Kill(id.PID, syscall.SIGKILL)
	if st := wait(t, l, tk.Ref); st.State != exec.Lost {
		t.Errorf("%+v", st)
	}
	for range 100 {
		if syscall.Kill(id.Program, 0) != nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if syscall.Kill(id.Program, 0) == nil {
		t.Error("the task outlived its shim")
	}
	if err := l.Start(t.Context(), task("1", 2, "true")); err != nil {
		t.Errorf("the next attempt: %v", err)
	}
	wait(t, l, exec.TaskRef{Job: "1", Attempt: 2})
}

func TestAReusedProcessIDIsNotTakenForTheShim(t *testing.T) {
	l, data := hall(t)
	dir := filepath.Join(data, "tasks/1/0/1")
	os.MkdirAll(dir, 0o700)
	os.WriteFile(filepath.Join(dir, "intent.json"), []byte(`{"task":{}}`), 0o600)
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	shim := fmt.Sprintf(`{"pid":%d,"start":12345,"boot":%q}`, os.Getpid(), strings.TrimSpace(string(boot)))
	os.WriteFile(filepath.Join(dir, "shim.json"), []byte(shim), 0o600)
	ref := exec.TaskRef{Job: "1", Attempt: 1}
	if st, err := l.Status(ref); err != nil || st.State != exec.Lost {
		t.Errorf("%+v, %v", st, err)
	}
	if err := l.Stop(t.Context(), ref, 0); err != nil {
		t.Errorf("stop: %v", err) // and this process still lives
	}
}

func TestAServerKilledBetweenWritingTheIntentAndTheForkStartsItOnceLater(t *testing.T) {
	l, data := hall(t)
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
}

func TestTheServerReadsNoLinkThatATaskLeft(t *testing.T) {
	l, data := hall(t)
	tk := task("1", 1, fmt.Sprintf(`ln -s %s/keys.json $LINESHAFT_OUT/journal.jsonl; ln -s /etc/passwd $LINESHAFT_OUT/model; mkfifo $LINESHAFT_OUT/pipe`, data))
	run(t, l, tk)
	if b, _, err := l.Journal(t.Context(), tk.Ref, 0); err == nil || len(b) > 0 {
		t.Errorf("journal gave %q, %v", b, err)
	}
	for _, name := range []string{"model", "pipe", "../../../../keys.json", "none"} {
		if r, err := l.Output(t.Context(), tk.Ref, name); err == nil {
			r.Close()
			t.Errorf("%s was opened", name)
		}
	}
}

func TestTheJournalGivesWholeLines(t *testing.T) {
	l, _ := hall(t)
	tk := task("1", 1, `printf '{"a":1}\n{"a":2}\n{"a"' > $LINESHAFT_OUT/journal.jsonl`)
	run(t, l, tk)
	b, next, err := l.Journal(t.Context(), tk.Ref, 0)
	if err != nil || string(b) != "{\"a\":1}\n{\"a\":2}\n" || next != 16 {
		t.Errorf("%q %d %v", b, next, err)
	}
	if b, next, err := l.Journal(t.Context(), tk.Ref, next); err != nil || len(b) != 0 || next != 16 {
		t.Errorf("%q %d %v", b, next, err)
	}
}

func TestAProgramThatDoesNotExistAndAnImpossibleRequirementAreSaid(t *testing.T) {
	l, _ := hall(t)
	tk := task("1", 1, "")
	tk.Argv = []string{"no-such-program"}
	if out, st := run(t, l, tk); st.ExitCode != 126 || !strings.Contains(out, "no-such-program") {
		t.Errorf("%+v %q", st, out)
	}
	strict := task("2", 1, "true")
	strict.Policy = exec.Policy{Require: []string{"quantum-isolation"}}
	if err := l.Start(t.Context(), strict); !errs.Is(err, errs.Unsupported) || !strings.Contains(err.Error(), "quantum-isolation") {
		t.Errorf("got %v", err)
	}
}

func TestAnEndedAttemptIsRemoved(t *testing.T) {
	l, data := hall(t)
	tk := task("1", 1, "true")
	run(t, l, tk)
	if err := l.Remove(t.Context(), tk.Ref); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(data, "tasks/1/0/1")); !os.IsNotExist(err) {
		t.Error("its folder is still there")
	}
}
