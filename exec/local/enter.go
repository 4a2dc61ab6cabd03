//go:build linux

package local

import (
	"encoding/json"
	"fmt"
	"os"
	osexec "os/exec"
	"runtime"
	"strconv"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/exec"
)

// enterMain is the last step before the program: it runs with the task's rights already, gives up the ways to more, and
// becomes the program.
func enterMain() int {
	runtime.LockOSThread() // what is given up is given up by a thread, and the one that becomes the program must be it
	fail := func(what string, err error) int {
		fmt.Fprintf(os.Stderr, "lineshaft: %s: %v\n", what, err)
		return 126
	}
	fd, err := strconv.Atoi(os.Getenv("LINESHAFT_PLAN_FD"))
	if err != nil {
		return fail("read the plan", err)
	}
	f := os.NewFile(uintptr(fd), "plan")
	var p plan
	if err := json.NewDecoder(f).Decode(&p); err != nil {
		return fail("read the plan", err)
	}
	f.Close()
	limits := map[int]uint64{unix.RLIMIT_CORE: 0}
	if p.Limits.Processes > 0 && p.UID != 0 {
		limits[unix.RLIMIT_NPROC] = uint64(p.Limits.Processes)
	}
	if p.Limits.Disk > 0 {
		limits[unix.RLIMIT_FSIZE] = uint64(p.Limits.Disk)
	}
	for which, n := range limits {
		if err := unix.Setrlimit(which, &unix.Rlimit{Cur: n, Max: n}); err != nil {
			return fail("set a limit", err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fail("give up new privileges", err)
	}
	for i := range p.Inherit {
		unix.CloseOnExec(3 + i) // opened again below; the program's own keep open
		if _, err := unix.FcntlInt(uintptr(3+i), unix.F_SETFD, 0); err != nil {
			return fail("keep a descriptor", err)
		}
	}
	argv := p.Argv
	path := argv[0]
	if path == exec.Self {
		path = "/proc/self/exe"
		argv = append([]string{"lineshaft"}, argv[1:]...)
	} else {
		for _, kv := range p.Env { // the program is looked up by its own PATH
			if len(kv) > 5 && kv[:5] == "PATH=" {
				os.Setenv("PATH", kv[5:]) //nolint:errcheck // no NUL in it
			}
		}
		found, err := osexec.LookPath(path)
		if err != nil {
			return fail("find the program", err)
		}
		path = found
	}
	if err := restrict(p); err != nil {
		return fail("restrict the file system", err)
	}
	return fail("start "+path, syscall.Exec(path, argv, p.Env))
}

// restrict lets the program read the system and write its own folder, by Landlock, as far as the kernel knows it.
func restrict(p plan) error {
	if !p.Mounts || landlockABI() < 1 {
		return nil
	}
	read := []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/proc", "/sys", "/run", "/var", "/srv", "/nix", "/home", "/mnt", "/data"}
	return landlock.V5.BestEffort().RestrictPaths(
		landlock.RODirs(read...).IgnoreIfMissing(),
		landlock.RODirs(inside+"/secrets"),
		landlock.ROFiles("/proc/self/exe"),
		landlock.RWDirs(inside+"/work", inside+"/out", tmpInside),
		landlock.RWDirs("/dev").IgnoreIfMissing(),
	)
}

func landlockABI() int {
	n, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(n)
}

func landlockFeature(f []exec.Feature) []exec.Feature {
	abi := landlockABI()
	return append(f,
		exec.Feature{Name: "landlock", Enforced: abi > 0, Detail: fmt.Sprintf("ABI %d: reads the system, writes its own folder only", abi)},
		exec.Feature{Name: "no-new-privileges", Enforced: true, Detail: "set-user-ID programs give it nothing"})
}
