//go:build linux

package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	osexec "os/exec"
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
const crowded = 12

// leastFile is what a file counts that holds nothing: it takes up its entry.
const leastFile = 1 << 10

// filler is what a task must hold to be the one that fills the disk.
const filler = 64 * units.MiB

// follow keeps the attempt within its limits until init has ended.
func (s *shim) follow() {
	ended := make(chan error, 1)
	go func() { ended <- s.init.cmd.Wait() }()
	look := time.NewTimer(lookEvery)
	defer look.Stop()
	var timeout, kill <-chan time.Time
	if t := s.in.Task.Timeout; t > 0 {
		timeout = time.After(t)
	}
	if exists(filepath.Join(s.dir, stopFile)) { // it came before the shim could take signals
		s.asked <- syscall.SIGTERM
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
	m := newMeter(s, &w)
	m.look(time.Now())
	for {
		select {
		case err := <-ended:
			s.ended(err)
			return
		case <-s.ordered:
			m.obey()
		case <-s.asked:
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
			m.look(time.Now())
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
		if s.group.Path == "" && !s.level.mounts() { // what it started still runs
			end.Crowded = threads(s.members()) >= s.in.bounds().Processes
		}
		s.status.Reason = s.cause(end)
	}
	if w := (watch{s: s}); s.status.Reason == "" { // since the last look
		s.status.Reason = w.over()
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
	case s.group.refused() > 0 || end.Crowded:
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
	scratch int64     // bytes of disk at the last look
	left    int64     // of those in its out folder, where they have a limit of their own
	walked  time.Time // when they were counted
	took    time.Duration
	refused int         // starts of processes, at the last look
	in      int         // looks in a row in which more were refused
	short   bool        // the disk was almost full at the last look
	before  units.Bytes // held by the task then
}

// look gives the reason to end the task, or "".
func (w *watch) look() string {
	if reason := w.crowd(); reason != "" {
		return reason
	}
	if reason := w.over(); reason != "" {
		return reason
	}
	return w.full()
}

// over counts what the task holds on disk, and says of what it holds too much. Nothing that has no limit is counted
// often.
func (w *watch) over() string {
	l := w.s.in.Task.Limits
	if l.Disk <= 0 && l.Storage <= 0 && time.Since(w.walked) < max(measureEvery, 100*w.took) {
		return ""
	}
	began := time.Now()
	w.used()
	w.walked, w.took = began, time.Since(began)
	switch {
	case l.Disk > 0 && w.scratch > int64(l.Disk):
		return "disk"
	case l.Storage > 0 && w.left > int64(l.Storage):
		return "storage"
	}
	return ""
}

// crowd looks at the task's processes: whether it is refused new ones all the time and, where no group bounds it, how
// much memory they hold.
func (w *watch) crowd() string {
	over := false
	if w.s.group.Path != "" {
		if w.s.group.oom() { // one of its processes was killed: what is left may wait for it without end
			return "oom"
		}
		refused := w.s.group.refused()
		over = refused > w.refused
		w.refused = refused
	} else {
		pids := w.s.members()
		n, most := threads(pids), w.s.in.bounds().Processes
		if n > 2*most { // nothing but these looks stops it
			return "processes"
		}
		over = n >= most
		if limit := int64(w.s.in.Task.Limits.Memory); limit > 0 && resident(pids, limit) > limit {
			return "oom"
		}
	}
	if w.in++; !over {
		w.in = 0
	}
	if w.in >= crowded {
		return "processes"
	}
	return ""
}

// full ends a task that holds a good part of a disk on which almost nothing is left, and still takes more.
func (w *watch) full() string {
	var st unix.Statfs_t
	if unix.Statfs(placeOf(w.s.dir), &st) != nil || units.Bytes(st.Bavail)*units.Bytes(st.Bsize) >= w.s.in.Reserve {
		w.short = false
		return ""
	}
	used := units.Bytes(w.used())
	before, first := w.before, !w.short
	w.before, w.short = used, true
	if first || used < filler || used < before+units.MiB {
		return ""
	}
	return fmt.Sprintf("the machine's disk is full: less than %v is free, and this task holds %v and takes more; free some space, or give the job a limit in resources.disk", w.s.in.Reserve, used)
}

// used is how much disk the task holds: its folders, and files that it has open and deleted.
func (w *watch) used() int64 {
	w.left = 0
	folders := []string{"work"}
	if !w.s.level.mounts() {
		folders = append(folders, "tmp")
	}
	if w.s.in.Task.Limits.Storage > 0 {
		w.left = w.held("out")
	} else {
		folders = append(folders, "out")
	}
	w.scratch = w.held(folders...) + w.s.deleted(placeOf(w.s.dir))
	return w.scratch + w.left
}

// held is the size of folders of the task's.
func (w *watch) held(folders ...string) (bytes int64) {
	place := placeOf(w.s.dir)
	locked := false
	for _, d := range folders {
		filepath.WalkDir(filepath.Join(place, d), func(_ string, e fs.DirEntry, err error) error { //nolint:errcheck // files come and go
			if err != nil {
				locked = locked || errors.Is(err, os.ErrPermission)
				return nil
			}
			if info, err := e.Info(); err == nil {
				if st, ok := info.Sys().(*syscall.Stat_t); ok {
					bytes += max(st.Blocks*512, leastFile)
				}
			}
			return nil
		})
		if locked { // what it closed to the server counts at the next look
			unlock(filepath.Join(place, d))
			locked = false
		}
	}
	return bytes
}

// deleted is the size of files on the task's disk that its processes hold open without a name.
func (s *shim) deleted(place string) (bytes int64) {
	var at unix.Stat_t
	if unix.Stat(place, &at) != nil {
		return 0
	}
	seen := map[uint64]bool{}
	pids := s.group.pids()
	if s.group.Path == "" {
		pids = s.members()
	}
	for _, pid := range pids {
		dir := fmt.Sprintf("/proc/%d/fd", pid)
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
