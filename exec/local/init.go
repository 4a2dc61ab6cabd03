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
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
)

// Where the task finds its folder, inside its own mounts.
const (
	inside    = "/tmp/lineshaft"
	tmpInside = "/tmp/lineshaft/tmp"
)

// Descriptors init is started with, before those the program inherits.
const (
	fdPlan    = 3 // the plan, then "go"
	fdReport  = 4 // init's features, or what is wrong
	fdInherit = 5
)

// plan is what the shim tells init.
type plan struct {
	Dir     string
	Argv    []string
	Env     []string
	UID     int // 0: stay
	Hide    []string
	Secrets []exec.Secret
	Limits  exec.Limits
	Inherit int
	Mounts  bool // in namespaces of its own
}

type report struct {
	Kind, Message string
	Features      []exec.Feature
}

// spawn starts init in the strongest set of namespaces that this machine allows, and hears what it could enforce.
func (s *shim) spawn() ([]exec.Feature, error) {
	var first error
	for _, level := range levels(os.Geteuid() == 0) {
		features, err := s.attempt(level)
		if err == nil {
			for i := range features {
				if !features[i].Enforced && first != nil {
					features[i].Detail = "not possible here: " + first.Error()
				}
			}
			return features, nil
		}
		first = errors.Join(first, err)
		if errs.Is(err, errs.Invalid) {
			return nil, err
		}
	}
	return nil, first
}

// level is one set of namespaces.
type level struct {
	flags uintptr
	user  bool
}

func levels(root bool) []level {
	spaces := uintptr(unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC)
	if root {
		return []level{{flags: spaces}, {}}
	}
	return []level{{flags: spaces | unix.CLONE_NEWUSER, user: true}, {}}
}

func (s *shim) attempt(l level) ([]exec.Feature, error) {
	const op = "local.shim"
	planR, planW, err := os.Pipe()
	if err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	repR, repW, err := os.Pipe()
	if err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	defer repR.Close()
	logs, err := newLog(s.dir)
	if err != nil {
		return nil, diskFault(op, err)
	}
	flags := l.flags
	if flags != 0 && !s.in.Task.Network {
		flags |= unix.CLONE_NEWNET
	}
	cmd := osexec.Command("/proc/self/exe", hiddenInit)
	cmd.Args[0] = "lineshaft"
	cmd.Env, cmd.Dir = []string{}, "/"
	cmd.ExtraFiles = append([]*os.File{planR, repW}, s.inherit...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL, Setsid: true}
	if l.user {
		id := os.Getuid()
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: id, HostID: id, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}}
		cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN}
	}
	cmd.Stdout, cmd.Stderr = logs, logs
	if err := cmd.Start(); err != nil {
		planR.Close()
		planW.Close()
		repW.Close()
		return nil, errs.Errorf(op, errs.Unavailable, "cannot start a task with namespaces %#x: %v", flags, err)
	}
	planR.Close()
	repW.Close()
	s.group.add(cmd.Process.Pid)
	p := plan{
		Dir: s.dir, Argv: s.in.Task.Argv, Env: s.environment(flags != 0), UID: s.in.UID, Hide: s.in.Hide,
		Secrets: s.hand.Secrets, Limits: s.in.Task.Limits, Inherit: len(s.inherit), Mounts: flags != 0,
	}
	err = json.NewEncoder(planW).Encode(p)
	var r report
	if err == nil {
		err = json.NewDecoder(repR).Decode(&r)
	}
	if err == nil && r.Message != "" {
		err = errs.Errorf(op, errs.ParseKind(r.Kind), "%s", r.Message)
	}
	if err != nil {
		planW.Close()
		cmd.Process.Kill() //nolint:errcheck // it may have ended
		cmd.Wait()         //nolint:errcheck // killed
		return nil, errs.E(op, errs.Other, err)
	}
	s.cmd, s.say = cmd, planW
	return append(r.Features, namespaceFeatures(l, flags, s.in.UID)...), nil
}

func namespaceFeatures(l level, flags uintptr, uid int) []exec.Feature {
	has := func(bit uintptr) bool { return flags&bit != 0 }
	f := []exec.Feature{
		{Name: "mount-namespace", Enforced: has(unix.CLONE_NEWNS), Detail: "sees its own folder and the system's, not the server's data"},
		{Name: "pid-namespace", Enforced: has(unix.CLONE_NEWPID), Detail: "sees and signals its own processes only"},
		{Name: "ipc-namespace", Enforced: has(unix.CLONE_NEWIPC), Detail: "shares no memory with others"},
	}
	switch {
	case uid != 0:
		f = append(f, exec.Feature{Name: "own-user", Enforced: true, Detail: fmt.Sprintf("runs as user %d, which is this account's alone", uid)})
	case l.user:
		f = append(f, exec.Feature{Name: "user-namespace", Enforced: true, Detail: "without rights outside its namespaces"})
	default:
		f = append(f, exec.Feature{Name: "own-user", Enforced: false, Detail: "runs as the server's user: the server is not root and user namespaces are not allowed"})
	}
	if has(unix.CLONE_NEWNET) {
		f = append(f, exec.Feature{Name: "network-namespace", Enforced: true, Detail: "no network"})
	}
	return f
}

// initMain is the first process of the task's namespaces.
func initMain() int {
	in, out := os.NewFile(fdPlan, "plan"), os.NewFile(fdReport, "report")
	dec := json.NewDecoder(in)
	var p plan
	if err := dec.Decode(&p); err != nil {
		return 125
	}
	features, err := mounts(&p)
	r := report{Features: features}
	if err != nil {
		r.Kind, r.Message = errs.KindOf(err).String(), err.Error()
	}
	features, err = landlockFeature(features), nil
	r.Features = features
	if json.NewEncoder(out).Encode(r) != nil || r.Message != "" {
		return 125
	}
	out.Close()
	rest, err := io.ReadAll(io.MultiReader(dec.Buffered(), in))
	in.Close()
	if err != nil || !strings.HasSuffix(string(rest), "go") {
		return 125 // the shim changed its mind or died
	}
	return runProgram(p)
}

// mounts gives the task its own view: a private /tmp with its folder in it, its own /proc, and nothing of the server's.
func mounts(p *plan) ([]exec.Feature, error) {
	const op = "local.init"
	if !p.Mounts {
		return nil, nil
	}
	must := func(what string, err error) error {
		if err == nil {
			return nil
		}
		return errs.Errorf(op, errs.Unavailable, "%s: %v", what, err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, must("make the mounts private", err)
	}
	// What is needed later is opened before /tmp is covered: the data folder may lie under it.
	dir, err := unix.Open(p.Dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, must("open the task's folder", err)
	}
	for _, h := range p.Hide {
		if err := unix.Mount("tmpfs", h, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_RDONLY, "mode=000,size=4k"); err != nil && !errors.Is(err, unix.ENOENT) {
			return nil, must("cover the data folder", err)
		}
	}
	if err := unix.Mount("tmpfs", "/tmp", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"+tmpSize(p.Limits)); err != nil {
		return nil, must("mount /tmp", err)
	}
	for _, d := range []string{inside, inside + "/work", inside + "/out", tmpInside, inside + "/secrets"} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return nil, must("make the task's folder", err)
		}
	}
	for from, to := range map[string]string{
		fmt.Sprintf("/proc/self/fd/%d/work", dir): inside + "/work",
		fmt.Sprintf("/proc/self/fd/%d/out", dir):  inside + "/out",
	} {
		if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
			return nil, must("bind "+to, err)
		}
	}
	unix.Close(dir) //nolint:errcheck // a path only
	for _, s := range p.Secrets {
		if s.File == "" {
			continue
		}
		path := filepath.Join(inside, "secrets", filepath.Base(s.File))
		if err := errors.Join(os.WriteFile(path, s.Value, 0o400), chown(path, p.UID)); err != nil {
			return nil, must("place a secret", err)
		}
	}
	if err := errors.Join(os.Chmod(tmpInside, 0o700), chown(tmpInside, p.UID)); err != nil {
		return nil, must("make the task's tmp", err)
	}
	var features []exec.Feature
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		features = append(features, exec.Feature{Name: "own-proc", Enforced: false, Detail: "a /proc of its own is not allowed here: " + err.Error()})
	} else {
		features = append(features, exec.Feature{Name: "own-proc", Enforced: true, Detail: "/proc shows its own processes"})
	}
	p.Dir = inside
	return features, nil
}

func tmpSize(l exec.Limits) string {
	if l.Disk > 0 {
		return fmt.Sprintf(",size=%d", int64(l.Disk))
	}
	return ",size=50%"
}

func chown(path string, uid int) error {
	if uid == 0 {
		return nil
	}
	return os.Lchown(path, uid, uid)
}

// runProgram starts the last step with the task's rights, forwards signals to it and collects orphans. It returns the
// program's exit code, 128 plus the signal that killed it.
func runProgram(p plan) int {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	planR, planW, err := os.Pipe()
	if err != nil {
		return 125
	}
	// The folder is entered while the rights are still there: its parents may be closed to the task's user. The binary is
	// named by the kernel's own link for the same reason.
	if err := os.Chdir(filepath.Join(p.Dir, "work")); err != nil {
		fmt.Fprintf(os.Stderr, "lineshaft: cannot enter the task's folder: %v\n", err)
		return 125
	}
	cmd := osexec.Command("/proc/self/exe", hiddenEnter)
	cmd.Args[0] = "lineshaft"
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	// The program's descriptors keep their numbers: 3 is the first. The plan comes after them.
	for i := range p.Inherit {
		cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(uintptr(fdInherit+i), "inherit"))
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, planR)
	cmd.Env = []string{fmt.Sprintf("LINESHAFT_PLAN_FD=%d", 3+p.Inherit)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if p.UID != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(p.UID), Gid: uint32(p.UID), Groups: []uint32{}}
	}
	if err := cmd.Start(); err != nil {
		fmt.Fprintf(os.Stderr, "lineshaft: cannot start the program: %v\n", err)
		return 126
	}
	planR.Close()
	err = json.NewEncoder(planW).Encode(p)
	planW.Close()
	if err != nil {
		cmd.Process.Kill() //nolint:errcheck // it may have ended
	}
	done := make(chan int, 1)
	go func() { done <- reap(cmd.Process.Pid) }()
	for {
		select {
		case sig := <-signals:
			if n, ok := sig.(syscall.Signal); ok {
				unix.Kill(-cmd.Process.Pid, n) //nolint:errcheck // it may have ended
			}
		case code := <-done:
			return code
		}
	}
}

// reap collects every child until the program itself has ended.
func reap(program int) int {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 125
		}
		if pid != program {
			continue
		}
		if ws.Signaled() {
			return 128 + int(ws.Signal())
		}
		return ws.ExitStatus()
	}
}
