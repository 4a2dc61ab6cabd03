//go:build linux

package local_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/exec/local"
	"github.com/lineshaft/lineshaft/internal/units"
)

// The test binary plays every part: the server, the shim, and programs that tasks run.
func TestMain(m *testing.M) {
	if code, ok := local.Hidden(os.Args); ok {
		os.Exit(code)
	}
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "as-server":
			os.Exit(asServer(os.Args[2:]))
		case "as-glutton":
			asGlutton(1024)
			return
		case "as-talker":
			asTalker(os.Args[2], os.Args[3])
			return
		case "as-holder":
			asHolder()
			return
		case "as-herd":
			asHerd()
			return
		case "as-one-of-herd":
			asGlutton(50)
			return
		case "as-vandal":
			asVandal(os.Args[2:])
			return
		}
	}
	os.Exit(m.Run())
}

// again tells that this process was started by a test to run the others in another way.
const again = "LINESHAFT_TEST_AGAIN"

// asServer starts a task as a server of its own would, and sleeps until it is killed.
func asServer(args []string) int {
	l, err := local.New(local.At(local.Options{Dir: args[0]}, args[1]))
	if err == nil {
		err = l.Start(context.Background(), task("1", 1, args[2]))
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("started")
	time.Sleep(time.Minute)
	return 0
}

func asGlutton(mebibytes int) {
	var held [][]byte
	for range mebibytes {
		held = append(held, bytes.Repeat([]byte{1}, 1<<20))
	}
	fmt.Println("ate", len(held), "MiB")
	if mebibytes < 1024 {
		time.Sleep(20 * time.Second)
	}
	runtime.KeepAlive(held)
}

// asHerd is many processes of which none eats too much.
func asHerd() {
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() { osexec.Command("/proc/self/exe", "as-one-of-herd").Run() })
	}
	all.Wait()
}

func task(job string, attempt int, script string) exec.Task {
	return exec.Task{
		Ref: exec.TaskRef{Job: job, Attempt: attempt}, Argv: []string{"/bin/sh", "-c", script}, User: "alice",
		Limits: exec.Limits{Memory: 256 * units.MiB, Processes: 64}, Policy: exec.Policy{AllowLess: true}, Grace: 500 * time.Millisecond, Network: true,
	}
}

// myLevels are the levels of isolation that this process can use as a server.
func myLevels() []string {
	if os.Getuid() == 0 && local.FirstID() != 0 {
		return []string{"root", "root-bare"}
	}
	return []string{"user", "user-bare"}
}

// everyLevel runs a test at every level of isolation.
func everyLevel(t *testing.T, f func(t *testing.T, at string)) {
	t.Parallel()
	for _, at := range myLevels() {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			f(t, at)
		})
	}
}

// with makes an executor under a data folder that lies under a parent which only its owner may enter.
func with(t *testing.T, opt local.Options, at string) (*local.Local, string) {
	t.Helper()
	data := filepath.Join(closedFolder(t, os.Geteuid()), "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "keys.json"), []byte("the key"), 0o600); err != nil {
		t.Fatal(err)
	}
	opt.Dir, opt.Hide = filepath.Join(data, "tasks"), []string{data}
	l, err := local.New(local.At(opt, at))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, l) })
	return l, data
}

func hall(t *testing.T, at string) (*local.Local, string) {
	t.Helper()
	return with(t, local.Options{}, at)
}

// end stops what a test left running and removes what lies outside its folder.
func end(t *testing.T, l *local.Local) {
	t.Helper()
	ctx := context.Background()
	for range 2000 {
		all, err := l.Observe(ctx)
		if err != nil {
			t.Error(err)
			return
		}
		for _, st := range all {
			l.Stop(ctx, st.Ref, 0)
			l.Remove(ctx, st.Ref)
		}
		if len(all) == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("attempts of the test do not end")
}

func wait(t *testing.T, l *local.Local, ref exec.TaskRef) exec.Status {
	t.Helper()
	for range 4000 {
		st, err := l.Status(ref)
		if err != nil {
			t.Fatal(err)
		}
		if st.State == exec.Exited || st.State == exec.Lost {
			return st
		}
		time.Sleep(20 * time.Millisecond)
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

// run starts a task and gives its log and end.
func run(t *testing.T, l *local.Local, tk exec.Task) (string, exec.Status) {
	t.Helper()
	if err := l.Start(t.Context(), tk); err != nil {
		t.Fatal(err)
	}
	return logs(t, l, tk.Ref), wait(t, l, tk.Ref)
}

// says waits until a task's log holds a text.
func says(t *testing.T, l *local.Local, ref exec.TaskRef, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := l.Logs(ctx, ref, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var all []byte
	b := make([]byte, 4096)
	for !strings.Contains(string(all), text) {
		n, err := r.Read(b)
		all = append(all, b[:n]...)
		if err != nil {
			t.Fatalf("it never said %q but %q: %v", text, all, err)
		}
	}
}

func enforced(st exec.Status, name string) bool {
	for _, f := range st.Isolation {
		if f.Name == name {
			return f.Enforced
		}
	}
	return false
}

// rerun runs the test binary once more, as another user or from another file, and reports what failed.
func rerun(t *testing.T, binary, pattern string, uid int, how *syscall.SysProcAttr) {
	t.Helper()
	cmd := osexec.Command(binary, "-test.run", pattern, "-test.parallel", "8", "-test.timeout", "3m")
	cmd.Env = append(os.Environ(), again+"=1", "TMPDIR="+closedFolder(t, uid))
	cmd.Dir = "/"
	cmd.SysProcAttr = how
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	} else if !strings.Contains(string(out), "PASS") {
		t.Errorf("nothing was tested:\n%s", out)
	}
}

func as(uid int) *syscall.Credential {
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid), Groups: []uint32{}}
}

// closedFolder is a folder that belongs to a user and that no other may enter.
func closedFolder(t *testing.T, uid int) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "ls-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if uid != os.Geteuid() {
		if err := os.Chown(dir, uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A server that is root and one that is not separate their tasks in different ways. Whoever runs the tests as root gets
// both; whoever does not gets the plain user's.
func TestAllOfThisHoldsForAServerOfAPlainUserToo(t *testing.T) {
	if os.Getuid() != 0 || os.Getenv(again) != "" {
		return // this is one
	}
	t.Parallel()
	rerun(t, "/proc/self/exe", ".", 65534, &syscall.SysProcAttr{Credential: as(65534)})
}

func TestABinaryThatOnlyRootMayReadRunsTasksOfOtherUsers(t *testing.T) {
	if os.Getuid() != 0 || os.Getenv(again) != "" {
		return // a plain user's binary is run by that user
	}
	t.Parallel()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(closedFolder(t, 0), "lineshaft")
	if err := os.WriteFile(binary, self, 0o700); err != nil {
		t.Fatal(err)
	}
	rerun(t, binary, "TestAProgramRuns|TestTheProgramItself", 0, nil)
}

// In some containers the server is root and has no other user ID to give.
func TestARootWithoutOtherUsersSeparatesTasksAsAPlainUserDoes(t *testing.T) {
	if os.Getenv(again) != "" {
		return // this is one already
	}
	t.Parallel()
	rerun(t, "/proc/self/exe", "TestAProgramRuns|TestTheProgramItself|TestATaskCannotDoHarm|TestSecrets|TestAShellRuns", os.Getuid(), &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	})
}
