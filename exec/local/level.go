//go:build linux

package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
)

// level is one way to separate a task from all else.
type level struct {
	name  string
	flags uintptr // of the namespaces that init starts in
	user  bool    // a user namespace among them
	own   bool    // the task has a user ID of its own
}

const spaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC

// levels lists what may work for this server, the strongest first. The last always works.
func levels() []level {
	if os.Geteuid() == 0 && firstID() != 0 {
		return []level{{name: "root", flags: spaces, own: true}, {name: "root-bare", own: true}}
	}
	return []level{{name: "user", flags: spaces | unix.CLONE_NEWUSER, user: true}, {name: "user-bare"}}
}

// firstID is the first of a range of user IDs that no system gives to anyone, or, in a container that has fewer, of one
// that is mapped there. 0 says that this root has no IDs to give.
func firstID() int {
	for _, id := range []int{1_879_100_000, 40_000} {
		if mapped("/proc/self/uid_map", id) && mapped("/proc/self/gid_map", id) {
			return id
		}
	}
	return 0
}

// mapped tells whether a user namespace knows an ID.
func mapped(path string, id int) bool {
	b, _ := os.ReadFile(path)
	for line := range strings.Lines(string(b)) {
		var inside, outside, size int
		if n, _ := fmt.Sscan(line, &inside, &outside, &size); n == 3 && id >= inside && id-inside < size {
			return true
		}
	}
	return false
}

func levelNamed(name string) (level, error) {
	for _, l := range levels() {
		if l.name == name {
			return l, nil
		}
	}
	return level{}, errs.Errorf("local.level", errs.Unsupported, "isolation %q is not for a server with user ID %d", name, os.Geteuid())
}

func (l level) mounts() bool { return l.flags&unix.CLONE_NEWNS != 0 }

// started is an init that has reported and waits for the word to go on.
type started struct {
	cmd    *osexec.Cmd
	say    *os.File // "go" makes it start the program; closing it without makes it end
	report *os.File // what it says when the program has ended
	dec    *json.Decoder
	first  report
}

// startInit starts init in the level's namespaces, gives it its plan and hears what it could enforce. place is called
// with its process ID before it does anything.
func startInit(l level, network bool, p plan, extra []*os.File, out *os.File, place func(pid int) error) (*started, error) {
	const op = "local.init"
	planR, planW, err := os.Pipe()
	if err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	repR, repW, err := os.Pipe()
	if err != nil {
		return nil, errs.E(op, errs.Other, errors.Join(err, planR.Close(), planW.Close()))
	}
	flags := l.flags
	if flags != 0 && !network {
		flags |= unix.CLONE_NEWNET
	}
	cmd := osexec.Command("/proc/self/exe", hiddenInit)
	cmd.Args[0] = "lineshaft"
	cmd.Env, cmd.Dir = []string{"GOMAXPROCS=2"}, "/"
	cmd.ExtraFiles = append([]*os.File{planR, repW}, extra...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL, Setsid: true}
	if l.user {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}}
		cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN}
	}
	if out != nil {
		cmd.Stdout, cmd.Stderr = out, out
	}
	err = cmd.Start()
	planR.Close()
	repW.Close()
	if err != nil {
		planW.Close()
		repR.Close()
		return nil, errs.Errorf(op, errs.Unavailable, "cannot start a process in namespaces %#x: %v", flags, err)
	}
	s := &started{cmd: cmd, say: planW, report: repR, dec: json.NewDecoder(repR)}
	if err = place(cmd.Process.Pid); err == nil {
		err = json.NewEncoder(planW).Encode(p)
	}
	if err == nil {
		err = s.dec.Decode(&s.first)
	}
	if err == nil && s.first.Message != "" {
		err = errs.Errorf(op, errs.ParseKind(s.first.Kind), "%s", s.first.Message)
	}
	if err != nil {
		s.abandon()
		if errors.Is(err, errGroup) {
			return nil, err
		}
		if errors.Is(err, io.EOF) {
			err = errs.Errorf(op, errs.Unavailable, "the first process of the sandbox ended at once")
		}
		return nil, errs.E(op, errs.Other, err)
	}
	return s, nil
}

// abandon ends an init that has not started its program.
func (s *started) abandon() {
	s.say.Close()
	s.cmd.Process.Kill() //nolint:errcheck // it may have ended
	s.cmd.Wait()         //nolint:errcheck // killed
	s.report.Close()
}

// probed is what was found out about this machine.
type probed struct {
	level    level
	features []exec.Feature
	why      string // the stronger levels do not work
	err      error
	quotas   error // why a task's folders are not bounded by project quotas; nil: they are
}

// probe finds the strongest level that works by starting an init in it that runs nothing.
func (l *Local) probe() probed {
	const op = "local.probe"
	// A child gets SIGKILL when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	dir, err := os.MkdirTemp(l.opt.Dir, ".probe-")
	if err != nil {
		return probed{err: errs.E(op, errs.Other, err)}
	}
	defer os.RemoveAll(dir)
	for _, sub := range []string{"work", "out", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			return probed{err: errs.E(op, errs.Other, err)}
		}
	}
	var out probed
	for _, try := range levels() {
		if l.opt.level != "" && l.opt.level != try.name {
			continue
		}
		in := l.newIntent(exec.Task{})
		if try.own {
			in.UID = l.opt.FirstID
		}
		p := in.plan(try, dir)
		s, err := startInit(try, true, p, nil, nil, func(int) error { return nil })
		if err != nil {
			out.why = fmt.Sprintf("%s: %v", try.name, err)
			out.err = err
			continue
		}
		s.abandon()
		out.level, out.err = try, nil
		out.quotas = quotas(l.opt.Dir)
		out.features = explain(append(s.first.Features, try.features(p, out.why)...), out.why)
		if out.why != "" {
			l.opt.Log.Warn("tasks: they are separated less than they could be", "level", try.name, "why", out.why)
		}
		return out
	}
	return out
}

// explain says why what is not enforced is not.
func explain(features []exec.Feature, why string) []exec.Feature {
	for i := range features {
		if !features[i].Enforced && why != "" && features[i].Detail == "" {
			features[i].Detail = "not possible here: " + why
		}
	}
	return features
}

// Isolation tells what is enforced for every task of this machine.
func (l *Local) Isolation(ctx context.Context) ([]exec.Feature, error) {
	if err := ctx.Err(); err != nil {
		return nil, errs.E("local.Isolation", errs.Other, err)
	}
	p := l.machine()
	return p.features, p.err
}

// features tells what the level itself enforces. The details of what is not are filled in by explain.
func (l level) features(p plan, why string) []exec.Feature {
	has := func(bit uintptr) bool { return l.flags&bit != 0 }
	detail := func(ok bool, text string) string {
		if ok || why == "" {
			return text
		}
		return ""
	}
	f := []exec.Feature{
		{Name: "mount-namespace", Enforced: has(unix.CLONE_NEWNS), Detail: detail(has(unix.CLONE_NEWNS), "sees the system read only, and its own folders")},
		{Name: "pid-namespace", Enforced: has(unix.CLONE_NEWPID), Detail: detail(has(unix.CLONE_NEWPID), "sees and signals its own processes only")},
		{Name: "ipc-namespace", Enforced: has(unix.CLONE_NEWIPC), Detail: detail(has(unix.CLONE_NEWIPC), "shares no memory with others")},
		{Name: "no-new-privileges", Enforced: true, Detail: "set-user-ID programs give it nothing, and it has no capabilities"},
	}
	switch {
	case l.own:
		f = append(f, exec.Feature{Name: "own-user", Enforced: true, Detail: fmt.Sprintf("runs as user %d, which is this account's alone", p.UID)})
	case l.user:
		f = append(f, exec.Feature{Name: "user-namespace", Enforced: true, Detail: "runs as the server's user, without rights outside its namespaces"})
	default:
		f = append(f, exec.Feature{Name: "own-user", Detail: "runs as the server's user: the server is not root and user namespaces do not work here"})
	}
	return append(f, l.reach())
}

// reach tells whether the data folder, the keys and the files of other jobs are out of the task's reach.
func (l level) reach() exec.Feature {
	f := exec.Feature{Name: "data-folder", Enforced: true}
	abi := landlockABI()
	switch {
	case l.mounts():
		f.Detail = "the data folder, keys and files of other jobs are not among what it sees"
	case l.own:
		f.Detail = "the data folder and keys are closed to its user; jobs of the same account are told apart by Landlock only"
		f.Enforced = abi > 0
	case abi > 0:
		f.Enforced = false
		f.Detail = "Landlock keeps it from the files, but as the server's own user it could open the server's socket and close files that it inherits"
	default:
		f.Enforced = false
		f.Detail = "it runs as the server's own user, and neither namespaces nor Landlock work here"
	}
	return f
}
