//go:build linux

package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
)

// The hidden commands of the binary.
const (
	hiddenShim  = "__shim"
	hiddenInit  = "__init"
	hiddenEnter = "__enter"
)

// Hidden runs the binary as shim, init or program's last step, where the arguments say so. main and TestMain call it
// first.
func Hidden(args []string) (code int, handled bool) {
	if len(args) < 2 {
		return 0, false
	}
	switch args[1] {
	case hiddenShim:
		return shimMain(args[2:]), true
	case hiddenInit:
		return initMain(), true
	case hiddenEnter:
		return enterMain(), true
	}
	return 0, false
}

// Descriptors the shim is started with.
const (
	fdHandover = 3
	fdWord     = 4
	fdFirst    = 5 // of those the program inherits
)

// shim is the state of one attempt's shim.
type shim struct {
	dir      string
	in       intent
	hand     handover
	inherit  []*os.File
	word     *os.File
	status   exec.Status
	group    cgroup
	cmd      *osexec.Cmd
	say      *os.File // to init: go ahead
	features []exec.Feature
}

// shimMain runs an attempt to its end. Its own exit code is not looked at: exit.json tells.
func shimMain(args []string) int {
	// The child gets SIGKILL when the thread that started it ends: this thread must not.
	runtime.LockOSThread()
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	s := &shim{word: os.NewFile(fdWord, "word")}
	if len(args) != 1 {
		return 2
	}
	s.dir = args[0]
	if err := s.begin(); err != nil {
		s.tell(err)
		return 1
	}
	return 0
}

func (s *shim) tell(err error) {
	var word struct{ Kind, Message string }
	if err != nil {
		word.Kind, word.Message = errs.KindOf(err).String(), err.Error()
	}
	json.NewEncoder(s.word).Encode(word) //nolint:errcheck // the server may be gone
	s.word.Close()
}

func (s *shim) begin() error {
	const op = "local.shim"
	held, err := lock(filepath.Join(filepath.Dir(s.dir), "lock"))
	if err != nil {
		return errs.Errorf(op, errs.Conflict, "another attempt of this task still runs")
	}
	defer held.Close()
	if exists(filepath.Join(s.dir, "shim.json")) || exists(filepath.Join(s.dir, "exit.json")) {
		return nil // started before: an attempt happens once
	}
	if err := readJSON(filepath.Join(s.dir, "intent.json"), &s.in); err != nil {
		return errs.E(op, errs.Other, err)
	}
	s.status = exec.Status{Ref: s.in.Task.Ref, State: exec.Exited, ExitCode: -1}
	if err := s.start(); err != nil {
		// Refused or impossible: that is how this attempt ended.
		s.status.Reason, s.status.Ended = err.Error(), time.Now().UTC()
		s.group.remove()
		if werr := writeDurably(filepath.Join(s.dir, "exit.json"), s.status); werr != nil {
			return errs.E(op, errs.Other, errors.Join(err, werr))
		}
		return err
	}
	s.tell(nil)
	s.follow()
	s.status.Ended = time.Now().UTC()
	return writeDurably(filepath.Join(s.dir, "exit.json"), s.status)
}

// start takes the handover and brings init to the point where the program runs.
func (s *shim) start() error {
	const op = "local.shim"
	if err := json.NewDecoder(os.NewFile(fdHandover, "handover")).Decode(&s.hand); err != nil {
		return errs.E(op, errs.Other, err)
	}
	for i, name := range s.in.FDs {
		f := os.NewFile(uintptr(fdFirst+i), name)
		if data, ok := s.hand.Data[name]; ok {
			m, err := memory(name, data)
			if err != nil {
				return errs.E(op, errs.Other, err)
			}
			f.Close()
			f = m
		}
		s.inherit = append(s.inherit, f)
	}
	var err error
	if s.group, s.features, err = newCgroup(s.in.Task.Ref, s.in.Task.Limits); err != nil {
		return err
	}
	first, err := s.spawn()
	if err != nil {
		return err
	}
	s.features = append(s.features, first...)
	if err := s.satisfied(); err != nil {
		s.cmd.Process.Kill() //nolint:errcheck // ends below in any case
		s.cmd.Wait()         //nolint:errcheck // killed
		return err
	}
	s.status.Started = time.Now().UTC()
	s.status.Isolation = s.features
	s.status.PID = s.cmd.Process.Pid
	me := identity{
		PID: os.Getpid(), Start: startOf(os.Getpid()), Boot: bootID(),
		Program: s.cmd.Process.Pid, Started: s.status.Started, Isolation: s.features, Cgroup: s.group,
	}
	if err := writeDurably(filepath.Join(s.dir, "shim.json"), me); err != nil {
		s.cmd.Process.Kill() //nolint:errcheck // ends below in any case
		s.cmd.Wait()         //nolint:errcheck // killed
		return diskFault(op, err)
	}
	// From here on the attempt has happened; only now the program may run.
	_, err = s.say.Write([]byte("go"))
	s.say.Close()
	return errs.E(op, errs.Other, err)
}

// memory makes a descriptor of bytes that are on no disk.
func memory(name string, data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("lineshaft-"+name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(data); err != nil {
		return nil, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return f, err
}

// satisfied refuses an attempt whose required isolation is not enforced.
func (s *shim) satisfied() error {
	var missing []string
	need := s.in.Task.Policy.Require
	for _, f := range s.features {
		if !f.Enforced && !s.in.Task.Policy.AllowLess {
			missing = append(missing, f.Name+" ("+f.Detail+")")
		}
	}
	for _, want := range need {
		ok := false
		for _, f := range s.features {
			ok = ok || f.Name == want && f.Enforced
		}
		if !ok && !strings.Contains(strings.Join(missing, " "), want) {
			missing = append(missing, want)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return errs.Errorf("local.shim", errs.Unsupported,
		"the isolation that this task requires cannot be enforced on this machine: %s. Run the server as root or allow user namespaces, or let the task run with less (isolation.allow_less)", strings.Join(missing, ", "))
}

// follow keeps the attempt within its limits until init has ended.
func (s *shim) follow() {
	ended := make(chan error, 1)
	go func() { ended <- s.cmd.Wait() }()
	asked := make(chan os.Signal, 4)
	signal.Notify(asked, syscall.SIGTERM, syscall.SIGINT)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var timeout, kill <-chan time.Time
	if t := s.in.Task.Timeout; t > 0 {
		timeout = time.After(t)
	}
	if exists(filepath.Join(s.dir, "stop.json")) {
		asked <- syscall.SIGTERM
	}
	end := func(reason string, grace time.Duration) {
		if s.status.Reason == "" {
			s.status.Reason = reason
		}
		if kill == nil {
			s.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
			kill = time.After(grace)
		}
	}
	for {
		select {
		case err := <-ended:
			s.concluded(err)
			return
		case <-asked:
			order := stopOrder{Grace: s.in.Task.Grace}
			readJSON(filepath.Join(s.dir, "stop.json"), &order) //nolint:errcheck // without one the task's own grace holds
			end("canceled", order.Grace)
		case <-timeout:
			end("timeout", s.in.Task.Grace)
		case <-kill:
			s.cmd.Process.Kill() //nolint:errcheck // it may have ended
			s.group.kill()
		case <-tick.C:
			if s.overDisk() {
				end("disk", 0)
			}
		}
	}
}

// concluded reads how init ended: it exits as the program did, 128 plus the signal where one killed it.
func (s *shim) concluded(err error) {
	var exit *osexec.ExitError
	s.status.ExitCode = 0
	if errors.As(err, &exit) {
		s.status.ExitCode = exit.ExitCode()
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			s.status.ExitCode = 128 + int(ws.Signal())
		}
		if s.status.ExitCode > 128 && s.status.ExitCode < 160 {
			s.status.Signal = unix.SignalName(syscall.Signal(s.status.ExitCode - 128))
		}
	} else if err != nil {
		s.status.ExitCode, s.status.Reason = -1, err.Error()
	}
	if s.status.Reason == "" && s.group.oom() && s.status.ExitCode != 0 {
		s.status.Reason = "oom"
	}
	if s.status.Reason == "" && s.status.Signal != "" {
		s.status.Reason = "killed"
	}
	s.group.kill()
	s.group.remove()
}

// overDisk tells whether the task's folder holds more than it may.
func (s *shim) overDisk() bool {
	limit := int64(s.in.Task.Limits.Disk)
	if limit <= 0 {
		return false
	}
	var used int64
	for _, d := range []string{"work", "out"} {
		filepath.WalkDir(filepath.Join(s.dir, d), func(_ string, e os.DirEntry, err error) error { //nolint:errcheck // files come and go
			if err != nil {
				return nil
			}
			if info, err := e.Info(); err == nil {
				if st, ok := info.Sys().(*syscall.Stat_t); ok {
					used += st.Blocks * 512
				}
			}
			return nil
		})
	}
	return used > limit
}

// environment is the program's own: nothing of the server's.
func (s *shim) environment(mounts bool) []string {
	t := s.in.Task
	home, tmp := s.dir, "/tmp"
	if mounts {
		home, tmp = inside, tmpInside
	}
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=" + home + "/work", "TMPDIR=" + tmp,
		"USER=" + t.User, "LINESHAFT_JOB=" + t.Ref.Job, "LINESHAFT_ATTEMPT=" + strconv.Itoa(t.Ref.Attempt), "LINESHAFT_OUT=" + home + "/out",
		"RANK=" + strconv.Itoa(t.Ref.Index),
	}
	for k, v := range t.Env {
		env = append(env, k+"="+v)
	}
	for i, name := range s.in.FDs {
		env = append(env, fmt.Sprintf("LINESHAFT_FD_%s=%d", name, 3+i))
	}
	for _, sec := range s.hand.Secrets {
		if sec.Env != "" {
			env = append(env, sec.Env+"="+string(sec.Value))
		}
	}
	return env
}
