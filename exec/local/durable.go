//go:build linux

package local

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Files of an attempt's folder.
const (
	intentFile  = "intent.json"
	shimFile    = "shim.json"
	exitFile    = "exit.json"
	stopFile    = "stop.json"
	reserveFile = "exit.reserve"
	shellFile   = "shell"
	usageFile   = "usage"       // what the shim measured last
	limitsFile  = "limits.json" // that were set while it runs
	placeFile   = "place"       // a link to where work and out are, when they are not here
	secretsFile = "secrets"     // a link to where secret files are, when that is not in the task's own mounts
)

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// writeDurably writes a JSON file that after a crash is either not there, the old one, or whole.
func writeDurably(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// reserved is how much disk is held for the record of an attempt's end, so that a task that filled the disk cannot keep
// its own end from being written.
const reserved = 32 << 10

func reserve(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, reserveFile), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, reserved))
	return errors.Join(err, f.Sync(), f.Close())
}

// writeReserved writes a JSON file as writeDurably does, into the room that was reserved.
func writeReserved(path string, v any) error {
	from := filepath.Join(filepath.Dir(path), reserveFile)
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(from, os.O_WRONLY, 0)
	if err != nil || len(b) > reserved {
		if err == nil {
			f.Close()
		}
		return writeDurably(path, v)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Truncate(int64(len(b))), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(from, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return errs.Errorf("local.readJSON", errs.Corrupt, "%s does not parse: %v", path, err)
	}
	return nil
}

func diskFault(op string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return errs.Errorf(op, errs.Full, "the disk of the data folder is full: free some space; the task was not started")
	}
	return errs.E(op, errs.Other, err)
}

func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return string(bytes.TrimSpace(b))
}

// process is one process, known again: a process ID alone may have been used again.
type process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // field 22 of /proc/PID/stat: clock ticks after boot
	Boot  string `json:"boot"`
}

func processOf(pid int) process { return process{PID: pid, Start: startOf(pid), Boot: bootID()} }

// statFields are those of /proc/PID/stat from the third on. The name in parentheses before them may hold anything.
func statFields(pid int) [][]byte {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
}

// startOf is the start time of a process, 0 when there is none or only its corpse.
func startOf(pid int) uint64 {
	fields := statFields(pid)
	if len(fields) < 20 || string(fields[0]) == "Z" || string(fields[0]) == "X" {
		return 0
	}
	n, _ := strconv.ParseUint(string(fields[19]), 10, 64)
	return n
}

func (p process) alive() bool {
	return p.PID > 0 && p.Boot == bootID() && p.Start != 0 && startOf(p.PID) == p.Start
}

// open gives a descriptor of the process that was meant, or none when it is gone: the descriptor is taken first, then
// the start time compared.
func (p process) open(flags int) (fd int, ok bool, err error) {
	if p.PID <= 0 || p.Boot != bootID() {
		return -1, false, nil
	}
	fd, err = unix.PidfdOpen(p.PID, flags)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return -1, false, nil
	}
	if err != nil {
		return -1, false, err
	}
	if !p.alive() {
		unix.Close(fd)
		return -1, false, nil
	}
	return fd, true, nil
}

func (p process) signal(sig unix.Signal) error {
	fd, ok, err := p.open(0)
	if !ok {
		return err
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}

// lock takes the lock of a task's index for an attempt, for as long as the returned file is open. The server takes it
// before it writes the intent and hands the open file to the shim: there is no moment at which an attempt that may start
// does not hold it. The file says which attempt was the last to have it.
func lock(path string, attempt int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		f.Close()
		return nil, err
	}
	// Written in place: whoever reads it sees a whole number, of this attempt or the one before.
	if _, err := f.WriteAt(fmt.Appendf(nil, "%19d\n", attempt), 0); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// release gives a lock up, also where a process that was just started has the file open still.
func release(f *os.File) {
	unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_UNLCK}) //nolint:errcheck // closing does it too
	f.Close()
}

// holder tells which attempt was the last to hold the lock, 0 when none was, and whether it still does. It asks and
// takes nothing, so that asking never makes a shim fail to take the lock.
func holder(path string) (attempt int, held bool) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	ask := unix.Flock_t{Type: unix.F_WRLCK}
	held = unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &ask) == nil && ask.Type != unix.F_UNLCK
	b, err := os.ReadFile(path)
	if err == nil {
		attempt, _ = strconv.Atoi(strings.TrimSpace(string(b)))
	}
	return attempt, held
}

// elsewhere makes a folder with an unguessable name under base and a link to it, the link first: whatever happens, the
// folder can be found and removed. A link that is there is used again.
func elsewhere(link, base string, mode os.FileMode) (string, error) {
	target, err := os.Readlink(link)
	if err != nil {
		target = filepath.Join(base, "lineshaft-"+strings.ToLower(rand.Text()))
		if err := os.Symlink(target, link); err != nil {
			return "", err
		}
	}
	if err := os.Mkdir(target, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	info, err := os.Lstat(target)
	if err != nil {
		return "", err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || !ok || int(st.Uid) != os.Geteuid() {
		return "", errs.Errorf("local.elsewhere", errs.Conflict, "%s is not the server's own folder", target)
	}
	return target, os.Chmod(target, mode)
}

// removeElsewhere removes what elsewhere made.
func removeElsewhere(link string) error {
	target, err := os.Readlink(link)
	if err != nil || !strings.HasPrefix(filepath.Base(target), "lineshaft-") {
		return nil //nolint:nilerr // nothing was made
	}
	return errors.Join(removeAll(target), os.Remove(link))
}

// placeOf is where an attempt's work and out folders are.
func placeOf(dir string) string {
	if target, err := os.Readlink(filepath.Join(dir, placeFile)); err == nil {
		return target
	}
	return dir
}

// removeAll removes a tree in which a task may have closed folders even to their owner.
func removeAll(path string) error {
	err := os.RemoveAll(path)
	if err == nil || !errors.Is(err, os.ErrPermission) {
		return err
	}
	unlock(path)
	return os.RemoveAll(path)
}

// unlock opens the folders of a tree to their owner. It follows no link that leads out of the tree.
func unlock(path string) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return
	}
	defer root.Close()
	var open func(name string)
	open = func(name string) {
		root.Chmod(name, 0o700) //nolint:errcheck // what cannot be opened shows when it is used
		f, err := root.Open(name)
		if err != nil {
			return
		}
		defer f.Close()
		entries, _ := f.ReadDir(-1)
		for _, e := range entries {
			if e.IsDir() {
				open(filepath.Join(name, e.Name()))
			}
		}
	}
	open(".")
}
