//go:build linux

package local

import (
	"encoding/json"
	"fmt"
	"os"
	osexec "os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/exec"
)

// entry is what init tells the last step.
type entry struct {
	Argv    []string
	Env     []string
	Limits  map[int]uint64 // resource limits
	Inherit int
}

// planFD names the variable that says which descriptor holds the entry.
const planFD = "LINESHAFT_PLAN_FD"

// notStarted is the exit code of a program that could not be started, as a shell's.
const notStarted = 126

// enterMain is the last step before the program: it runs as the task's user already, gives up what is left, and becomes
// the program.
func enterMain() int {
	// What is given up is given up by a thread, and the one that becomes the program must be it.
	runtime.LockOSThread()
	what, err := enter()
	fmt.Fprintf(os.Stderr, "lineshaft: %s: %v\n", what, err)
	return notStarted
}

func enter() (what string, err error) {
	fd, err := strconv.Atoi(os.Getenv(planFD))
	if err != nil {
		return "read the plan", err
	}
	f := os.NewFile(uintptr(fd), "plan")
	var e entry
	if err := json.NewDecoder(f).Decode(&e); err != nil {
		return "read the plan", err
	}
	f.Close()
	for which, n := range e.Limits {
		if err := unix.Setrlimit(which, &unix.Rlimit{Cur: n, Max: n}); err != nil {
			return "set a limit", err
		}
	}
	unix.Umask(0o022)
	unix.KeyctlJoinSessionKeyring("") //nolint:errcheck // the server's keys are not the task's, where the kernel has keys at all
	if err := giveUp(); err != nil {
		return "give up privileges", err
	}
	for i := range e.Inherit {
		if _, err := unix.FcntlInt(uintptr(3+i), unix.F_SETFD, 0); err != nil {
			return "keep a descriptor", err
		}
	}
	path, argv := e.Argv[0], e.Argv
	if path == exec.Self {
		path = "/proc/self/exe"
		argv = append([]string{"lineshaft"}, argv[1:]...)
	} else if path, err = find(path, e.Env); err != nil {
		return "find the program", err
	}
	unignore()
	return "start " + path, syscall.Exec(path, argv, e.Env)
}

// giveUp drops every capability of this thread for good.
func giveUp() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	var none [2]unix.CapUserData
	return unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0])
}

// find looks a program up by the task's own PATH.
func find(name string, env []string) (string, error) {
	for _, kv := range env {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			if err := os.Setenv("PATH", path); err != nil {
				return "", err
			}
		}
	}
	return osexec.LookPath(name)
}
