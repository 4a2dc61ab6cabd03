//go:build linux

package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	osexec "os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/internal/units"
)

// How often the shim looks at what no event tells, at most. A look at a large folder takes long: then it looks less
// often.
const lookEvery = 250 * time.Millisecond

// crowded is for how many looks in a row a task may be refused new processes before it is ended.
const crowded = 20

// follow keeps the attempt within its limits until init has ended.
func (s *shim) follow() {
	ended := make(chan error, 1)
	go func() { ended <- s.init.cmd.Wait() }()
	asked := make(chan os.Signal, 4)
	signal.Notify(asked, syscall.SIGTERM, syscall.SIGINT)
	look := time.NewTimer(lookEvery)
	defer look.Stop()
	var timeout, kill <-chan time.Time
	if t := s.in.Task.Timeout; t > 0 {
		timeout = time.After(t)
	}
	if exists(filepath.Join(s.dir, stopFile)) { // it came before the shim could take signals
		asked <- syscall.SIGTERM
	}
	end := func(reason string, grace time.Duration) {
		if s.status.Reason == "" {
			s.status.Reason = reason
		}
		if kill == nil {
			s.init.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
			kill = time.After(grace)
		}
	}
	w := watch{s: s}
	for {
		select {
		case err := <-ended:
			s.ended(err)
			return
		case <-asked:
			order := stopOrder{Grace: s.in.Task.Grace}
			readJSON(filepath.Join(s.dir, stopFile), &order) //nolint:errcheck // without one the task's own grace holds
			end("canceled", order.Grace)
		case <-timeout:
			end("timeout", s.in.Task.Grace)
		case <-kill:
			s.init.cmd.Process.Kill() //nolint:errcheck // it may have ended
			s.group.kill()
		case <-look.C:
			began := time.Now()
			if reason := w.look(); reason != "" {
				end(reason, 0)
			}
			look.Reset(max(lookEvery, 10*time.Since(began)))
		}
	}
}

// ended reads how the program ended from what init said last, and clears away what may be left of it.
func (s *shim) ended(err error) {
	var end ending
	said := s.init.dec.Decode(&end)
	s.init.report.Close()
	var exit *osexec.ExitError
	switch {
	case said == nil:
		s.status.ExitCode = end.Code
		if end.Signal != 0 {
			s.status.Signal = unix.SignalName(syscall.Signal(end.Signal))
		}
	case errors.As(err, &exit): // init itself was killed, and all with it
		s.status.ExitCode = exit.ExitCode()
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			s.status.ExitCode, s.status.Signal = 128+int(ws.Signal()), unix.SignalName(ws.Signal())
		}
	case err != nil:
		s.status.ExitCode, s.status.Reason = -1, err.Error()
	}
	if s.status.Reason == "" && s.status.ExitCode != 0 {
		s.status.Reason = s.cause(end)
	}
	s.group.kill()
	killChildren()
	select {
	case <-s.logged:
	case <-time.After(2 * time.Second): // a process that got away holds the log open
	}
}

// cause explains an end that was not asked for, where the machine knows more than the exit code.
func (s *shim) cause(end ending) string {
	switch {
	case s.group.oom():
		return "oom"
	case end.Signal == int(unix.SIGXFSZ):
		return "disk"
	case s.group.refused() > 0:
		return "processes"
	case s.status.Signal != "":
		return "killed"
	}
	return ""
}

// killChildren ends every child that came to this process as an orphan, and theirs that come then.
func killChildren() {
	for range 500 {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if errors.Is(err, unix.ECHILD) {
			return
		}
		if err == nil && pid > 0 {
			continue
		}
		me := os.Getpid()
		for _, pid := range processes() {
			if f := statFields(pid); len(f) > 1 && string(f[1]) == strconv.Itoa(me) {
				unix.Kill(pid, unix.SIGKILL) //nolint:errcheck // it may have ended
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func processes() (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// watch looks at what a task uses up.
type watch struct {
	s       *shim
	refused int // starts of processes, at the last look
	in      int // looks in a row in which more were refused
}

// look gives the reason to end the task, or "".
func (w *watch) look() string {
	refused := w.s.group.refused()
	if refused > w.refused {
		w.in++
	} else {
		w.in = 0
	}
	w.refused = refused
	if w.in >= crowded {
		return "processes"
	}
	limit := int64(w.s.in.Task.Limits.Disk)
	if limit > 0 && w.used() > limit {
		return "disk"
	}
	return w.full()
}

// full ends a task that holds a good part of a disk on which almost nothing is left.
func (w *watch) full() string {
	least := int64(w.s.in.Reserve)
	var st unix.Statfs_t
	if unix.Statfs(placeOf(w.s.dir), &st) != nil || int64(st.Bavail)*st.Bsize >= least {
		return ""
	}
	used := w.used()
	if used < least/4 {
		return ""
	}
	return fmt.Sprintf("the machine's disk is full: less than %v is free, and this task holds %v of it; free some space, or give the job a limit in resources.disk", w.s.in.Reserve, units.Bytes(used))
}

// used is how much disk the task holds: its folders, and files that it has open and deleted.
func (w *watch) used() (bytes int64) {
	place := placeOf(w.s.dir)
	folders := []string{"work", "out"}
	if !w.s.level.mounts() {
		folders = append(folders, "tmp")
	}
	locked := false
	for _, d := range folders {
		filepath.WalkDir(filepath.Join(place, d), func(_ string, e fs.DirEntry, err error) error { //nolint:errcheck // files come and go
			if err != nil {
				locked = locked || errors.Is(err, os.ErrPermission)
				return nil
			}
			if info, err := e.Info(); err == nil {
				if st, ok := info.Sys().(*syscall.Stat_t); ok {
					bytes += st.Blocks * 512
				}
			}
			return nil
		})
		if locked { // what it closed to the server counts at the next look
			unlock(filepath.Join(place, d))
			locked = false
		}
	}
	return bytes + w.s.deleted(place)
}

// deleted is the size of files on the task's disk that its processes hold open without a name.
func (s *shim) deleted(place string) (bytes int64) {
	var at unix.Stat_t
	if unix.Stat(place, &at) != nil {
		return 0
	}
	seen := map[uint64]bool{}
	for _, pid := range s.group.pids() {
		dir := filepath.Join("/proc", pid, "fd")
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			var st unix.Stat_t
			if unix.Stat(filepath.Join(dir, e.Name()), &st) != nil {
				continue
			}
			if st.Nlink == 0 && st.Dev == at.Dev && st.Mode&unix.S_IFMT == unix.S_IFREG && !seen[st.Ino] {
				seen[st.Ino] = true
				bytes += st.Blocks * 512
			}
		}
	}
	return bytes
}
