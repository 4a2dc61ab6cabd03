//go:build linux

package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
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
	fdLock     = 5 // the task's lock, which the server took
	fdFirst    = 6 // of those the program inherits
)

// identity is what a shim writes down of itself once the attempt has happened.
type identity struct {
	Shim      process        `json:"shim"`
	Init      process        `json:"init"`
	Started   time.Time      `json:"started"`
	Isolation []exec.Feature `json:"isolation"`
	Cgroup    cgroup         `json:"cgroup"`
	UID       int            `json:"uid"`
	Token     string         `json:"token"` // of the socket for shells
}

// shim is the state of one attempt's shim.
type shim struct {
	dir      string
	in       intent
	level    level
	hand     handover
	inherit  []*os.File
	word     *os.File
	status   exec.Status
	group    cgroup
	traffic  *traffic // nil where it is not counted
	pressed  cgroup   // of version 2, of a task without traffic where its other groups are of version 1
	init     *started
	asked    chan os.Signal // to stop
	ordered  chan os.Signal // to change limits
	logged   chan struct{}  // closed when the log is complete
	features []exec.Feature
}

// shimMain runs an attempt to its end. Its own exit code is not looked at: exit.json tells.
func shimMain(args []string) int {
	// The child gets SIGKILL when the thread that started it ends: this thread must not.
	runtime.LockOSThread()
	keepFromChildren()
	s := &shim{word: os.NewFile(fdWord, "word"), asked: make(chan os.Signal, 4), ordered: make(chan os.Signal, 1)}
	// From the first moment on: an order to stop must not end the shim itself.
	signal.Notify(s.asked, syscall.SIGTERM, syscall.SIGINT)
	signal.Notify(s.ordered, signalled)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGPIPE) // caught, not ignored: the program would ignore them too
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

// keepFromChildren makes every descriptor but standard ones close when this process starts another: what this process
// was handed must not go on to the task by mistake.
func keepFromChildren() {
	if unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	entries, _ := os.ReadDir("/proc/self/fd") // before Linux 5.11
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= 3 {
			unix.CloseOnExec(fd)
		}
	}
}

// word is what a shim tells the server that started it.
type word struct{ Kind, Message string }

func (s *shim) tell(err error) {
	var w word
	if err != nil {
		w.Kind, w.Message = errs.KindOf(err).String(), err.Error()
	}
	json.NewEncoder(s.word).Encode(w) //nolint:errcheck // the server may be gone
	s.word.Close()
}

func (s *shim) begin() error {
	const op = "local.shim"
	// A server that was killed has not sent all of this. The attempt has not happened then, and may still.
	if err := json.NewDecoder(os.NewFile(fdHandover, "handover")).Decode(&s.hand); err != nil {
		return errs.Errorf(op, errs.Unavailable, "the server went away before it had said all: %v", err)
	}
	defer release(os.NewFile(fdLock, "lock"))
	if exists(filepath.Join(s.dir, shimFile)) || exists(filepath.Join(s.dir, exitFile)) {
		s.tell(nil) // started before: an attempt happens once
		return nil
	}
	if err := readJSON(filepath.Join(s.dir, intentFile), &s.in); err != nil {
		return errs.E(op, errs.Other, err)
	}
	ref := s.in.Task.Ref
	if err := s.clearEarlier(); err != nil {
		return err
	}
	unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) //nolint:errcheck // orphans come here, without a PID namespace
	s.status = exec.Status{Ref: ref, State: exec.Exited, ExitCode: -1}
	if err := s.start(); err != nil {
		// Refused or impossible: that is how this attempt ended.
		s.status.Reason, s.status.Ended = err.Error(), time.Now().UTC()
		s.clean()
		writeDurably(filepath.Join(s.dir, exitFile), s.status) //nolint:errcheck // else it counts as never started
		return errs.E(op, errs.Other, err)
	}
	s.tell(nil)
	s.follow()
	s.clean()
	s.status.Ended = time.Now().UTC()
	return s.conclude()
}

// clearEarlier makes sure that nothing of an earlier attempt runs any more, whose shim was killed.
func (s *shim) clearEarlier() error {
	parent := filepath.Dir(s.dir)
	entries, err := os.ReadDir(parent)
	if err != nil {
		return errs.E("local.shim", errs.Other, err)
	}
	for _, e := range entries {
		dir := filepath.Join(parent, e.Name())
		if dir != s.dir && e.IsDir() && !exists(filepath.Join(dir, exitFile)) && !reclaim(dir, reclaimWait) {
			return errs.Errorf("local.shim", errs.Unavailable, "processes of attempt %s of task %s.%d cannot be ended", e.Name(), s.in.Task.Ref.Job, s.in.Task.Ref.Index)
		}
	}
	return nil
}

// conclude writes how the attempt ended. What cannot be written yet, for want of disk, is tried again until it can: the
// lock is held and the attempt counts as running as long.
func (s *shim) conclude() error {
	var err error
	for wait := 100 * time.Millisecond; wait < 10*time.Minute; wait *= 2 {
		if err = writeReserved(filepath.Join(s.dir, exitFile), s.status); err == nil || errors.Is(err, os.ErrNotExist) {
			return err
		}
		time.Sleep(wait)
	}
	return err
}

// start brings init to the point where the program runs.
func (s *shim) start() (err error) {
	const op = "local.shim"
	if s.level, err = levelNamed(s.in.Level); err != nil {
		return err
	}
	for i, name := range s.in.FDs {
		s.inherit = append(s.inherit, os.NewFile(uintptr(fdFirst+i), name))
	}
	if err := reserve(s.dir); err != nil {
		return diskFault(op, err)
	}
	me := identity{UID: s.in.UID, Token: s.hand.Token}
	if err := s.spawn(); err != nil {
		return err
	}
	if err = s.satisfied(); err == nil {
		s.status.Started = time.Now().UTC()
		s.status.Isolation, s.status.PID = s.features, s.init.cmd.Process.Pid
		me.Shim, me.Init = processOf(os.Getpid()), processOf(s.init.cmd.Process.Pid)
		me.Started, me.Isolation, me.Cgroup = s.status.Started, s.features, s.group
		err = diskFault(op, writeDurably(filepath.Join(s.dir, shimFile), me))
	}
	if err == nil {
		// From here on the attempt has happened; only now the program may run.
		_, err = s.init.say.WriteString("go")
	}
	if err != nil {
		s.init.abandon()
		<-s.logged
		return errs.E(op, errs.Other, err)
	}
	return errs.E(op, errs.Other, s.init.say.Close())
}

// spawn starts init, with its log and its limits.
func (s *shim) spawn() error {
	const op = "local.shim"
	logs, err := newLog(s.dir)
	if err != nil {
		return diskFault(op, err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return errs.E(op, errs.Other, err)
	}
	listener, err := listenShell(s.dir)
	if err != nil {
		return errs.Errorf(op, errs.Unavailable, "make the socket for shells: %v", err)
	}
	defer listener.Close()
	p := s.in.plan(s.level, placeOf(s.dir))
	p.Secrets, p.Token = s.hand.Secrets, s.hand.Token
	if err := s.secretFiles(&p); err != nil {
		return err
	}
	network := s.in.Task.Network || !s.level.mounts()
	p.Network = network
	p.Env = s.environment(p.paths())
	var why error
	s.group, why = newCgroup(s.in)
	limits := s.in.limitFeatures(s.group, why, &p)
	var blind error
	if network {
		s.traffic, blind = newTraffic(s.in, s.group)
	} else if !s.group.V2 {
		s.pressed, _ = unifiedGroup(s.in) // else nothing tells what it waits for
	}
	begin := func() {
		s.init, err = startInit(s.level, network, p, append([]*os.File{listener}, s.inherit...), w, func(pid int) error {
			if blind == nil {
				if blind = s.traffic.add(pid); blind != nil {
					s.traffic.close()
					s.traffic = nil
				}
			}
			s.pressed.add(pid) //nolint:errcheck // see above
			return s.group.add(pid)
		})
	}
	if begin(); errors.Is(err, errGroup) { // without it then
		s.group.remove()
		s.group, why = cgroup{}, err
		limits = s.in.limitFeatures(s.group, why, &p)
		begin()
	}
	s.hand.Secrets = nil
	w.Close()
	// No task may look into this process, which holds secrets. Before, it could not have mapped init's user ID.
	unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) //nolint:errcheck // one fence of several
	s.logged = make(chan struct{})
	go func() {
		defer close(s.logged)
		io.Copy(logs, r) //nolint:errcheck // it never fails to write, and reads until the end
		r.Close()
	}()
	if err != nil {
		<-s.logged
		return err
	}
	for _, f := range s.inherit {
		f.Close()
	}
	s.features = append(s.init.first.Features, s.level.features(p, s.in.Why)...)
	if !s.in.Task.Network {
		f := exec.Feature{Name: "network-namespace", Enforced: !network, Detail: "no network but its own loopback"}
		if network {
			f.Detail = "the machine's network is open to it: network namespaces do not work here"
		}
		s.features = append(s.features, f)
	}
	if f, asked := s.traffic.feature(s.in, !network, blind); asked {
		limits = append(limits, f)
	}
	s.features = explain(append(s.features, limits...), s.in.Why)
	return nil
}

// secretFiles puts secret files into memory where the task has no mounts of its own to hold them.
func (s *shim) secretFiles(p *plan) error {
	const op = "local.shim"
	if s.level.mounts() || !slices.ContainsFunc(p.Secrets, func(x exec.Secret) bool { return x.File != "" }) {
		return nil
	}
	var st unix.Statfs_t
	if err := unix.Statfs("/dev/shm", &st); err != nil || st.Type != unix.TMPFS_MAGIC {
		return errs.Errorf(op, errs.Unsupported, "a secret is asked for as a file, and this machine has no file system in memory at /dev/shm: ask for it as an environment variable")
	}
	dir, err := elsewhere(filepath.Join(s.dir, secretsFile), "/dev/shm", 0o711)
	if err == nil {
		err = writeSecrets(dir, p.Secrets, p.UID)
	}
	p.SecretDir = dir
	return errs.E(op, errs.Other, err)
}

// clean removes what an ended attempt leaves outside its folder, and its means to take shells.
func (s *shim) clean() {
	s.traffic.close()
	s.pressed.remove()
	s.group.remove()
	removeElsewhere(filepath.Join(s.dir, secretsFile)) //nolint:errcheck // tried again when the attempt is removed
	os.Remove(filepath.Join(s.dir, shellFile))
}

// satisfied refuses an attempt whose isolation is less than its policy wants.
func (s *shim) satisfied() error {
	var missing []string
	enforced := map[string]bool{}
	for _, f := range s.features {
		enforced[f.Name] = f.Enforced
		if !f.Enforced && !s.in.Task.Policy.AllowLess && !slices.Contains(s.in.Task.Policy.Spare, f.Name) {
			missing = append(missing, f.Name+" ("+f.Detail+")")
		}
	}
	for _, want := range s.in.Task.Policy.Require {
		on, known := enforced[want]
		switch {
		case !known:
			missing = append(missing, want+" (no such feature for this task: "+strings.Join(slices.Sorted(maps.Keys(enforced)), ", ")+")")
		case !on && (s.in.Task.Policy.AllowLess || slices.Contains(s.in.Task.Policy.Spare, want)):
			missing = append(missing, want)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return errs.Errorf("local.shim", errs.Unsupported,
		"the isolation that this task requires cannot be enforced on this machine: %s. Run the server as root, allow user namespaces, or give it control groups of its own "+
			"(`systemd-run --user --scope -p Delegate=yes lineshaft up`); or let tasks run with less (allow-less in the server's configuration)", strings.Join(missing, ", "))
}

// environment is the program's own: nothing of the server's.
func (s *shim) environment(w paths) []string {
	t := s.in.Task
	env := map[string]string{
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8",
		"HOME": w.work, "TMPDIR": w.tmp, "USER": t.User, "LOGNAME": t.User, "SHELL": "/bin/sh", "WORLD_SIZE": "1",
	}
	if !s.level.mounts() { // with mounts it sees the granted devices only
		env["CUDA_VISIBLE_DEVICES"] = strings.Join(t.Limits.Accelerators, ",")
	}
	maps.Copy(env, t.Env)
	for _, sec := range s.hand.Secrets {
		if sec.Env != "" {
			env[sec.Env] = string(sec.Value)
		}
	}
	for i, name := range s.in.FDs {
		env["LINESHAFT_FD_"+name] = strconv.Itoa(3 + i)
	}
	maps.Copy(env, map[string]string{
		"RANK": strconv.Itoa(t.Ref.Index), "LINESHAFT_JOB": t.Ref.Job, "LINESHAFT_ATTEMPT": strconv.Itoa(t.Ref.Attempt),
		"LINESHAFT_WORK": w.work, "LINESHAFT_OUT": w.out, "LINESHAFT_SECRETS": w.secrets, markVar: s.in.Mark,
	})
	var out []string
	for _, k := range slices.Sorted(maps.Keys(env)) {
		out = append(out, fmt.Sprintf("%s=%s", k, env[k]))
	}
	return out
}
