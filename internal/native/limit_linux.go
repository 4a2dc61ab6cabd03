package native

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// attributes put the child into a group of its own and end it with this process.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// limit sets limits of the process; one that has ended already needs none.
func limit(pid int, limits map[int]uint64) error {
	for which, n := range limits {
		if err := unix.Prlimit(pid, which, &unix.Rlimit{Cur: n, Max: n}, nil); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}
