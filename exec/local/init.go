//go:build linux

package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	osexec "os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
)

// Descriptors init is started with, before those the program inherits.
const (
	fdPlan    = 3 // the plan, then "go"
	fdReport  = 4 // init's features, or what is wrong; in the end how the program ended
	fdListen  = 5 // the socket for shells
	fdInherit = 6
)

// plan is what the shim tells init.
type plan struct {
	Dir       string // of work, out and, without mounts, tmp
	Argv      []string
	Env       []string
	UID       int    // 0: stay
	User      string // the account
	Hide      []string
	Read      []string
	Devices   string
	Nodes     []string // below Devices
	Secrets   []exec.Secret
	SecretDir string // where the secret files are, without mounts
	Limits    exec.Limits
	Inherit   int
	Paths     []string // of the inherited files; "" where there is none
	Mounts    bool     // in namespaces of its own
	Network   bool     // the machine's
	Rlimits   map[int]uint64
	Token     string // that a caller of the shell socket must know
	Program   string // path of this program's own file, for the rules; set by init
}

// report is what init says before the program starts.
type report struct {
	Kind, Message string
	Features      []exec.Feature
}

// ending is what init says when the program has ended.
type ending struct {
	Code    int
	Signal  int
	Crowded bool // as many processes were there as there may be
}

// paths are where the task finds what is its own.
type paths struct{ work, out, tmp, secrets string }

func (p *plan) paths() paths {
	if p.Mounts {
		return paths{inside + "/work", inside + "/out", "/tmp", insideSecrets}
	}
	return paths{filepath.Join(p.Dir, "work"), filepath.Join(p.Dir, "out"), filepath.Join(p.Dir, "tmp"), p.SecretDir}
}

// initMain is the first process of the task's namespaces.
func initMain() int {
	// The program gets SIGKILL when the thread that started it ends.
	runtime.LockOSThread()
	keepFromChildren()
	in, out := os.NewFile(fdPlan, "plan"), os.NewFile(fdReport, "report")
	dec := json.NewDecoder(in)
	var p plan
	if err := dec.Decode(&p); err != nil {
		return 125
	}
	var r report
	program, err := p.settle(&r)
	if err != nil {
		r.Kind, r.Message = errs.KindOf(err).String(), err.Error()
	}
	enc := json.NewEncoder(out)
	if enc.Encode(r) != nil || r.Message != "" {
		return 125
	}
	rest, err := io.ReadAll(io.MultiReader(dec.Buffered(), in))
	in.Close()
	if err != nil || !strings.HasSuffix(string(rest), "go") {
		return 125 // the shim changed its mind or died
	}
	p.Secrets = nil // they are placed
	i := &initProcess{plan: p, program: program, children: map[int]chan ending{}, requests: make(chan func())}
	end, err := i.run()
	if err != nil {
		fmt.Fprintf(os.Stderr, "lineshaft: cannot start the program: %v\n", err)
		end = ending{Code: notStarted}
	}
	enc.Encode(end) //nolint:errcheck // the shim sees the exit code too
	return end.Code
}

// settle builds the sandbox around this process, and gives the path by which the program is started in it.
func (p *plan) settle(r *report) (program string, err error) {
	const op = "local.init"
	os.WriteFile("/proc/self/oom_score_adj", []byte("500"), 0) //nolint:errcheck // a hint: tasks go before the server
	// No process of the task's may look into this one.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return "", errs.E(op, errs.Unavailable, err)
	}
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return "", errs.E(op, errs.Unavailable, err)
	}
	inMemory := false
	if !p.Mounts {
		program, inMemory, err = p.ownProgram(exe)
	} else {
		r.Features, err = p.buildRoot(func() error {
			program, inMemory, err = p.ownProgram(exe)
			return err
		})
	}
	if err != nil {
		return "", errs.E(op, errs.Other, err)
	}
	if !p.Network {
		if err := loopback(); err != nil {
			return "", errs.Errorf(op, errs.Unavailable, "set up the task's own loopback: %v", err)
		}
	}
	r.Features = append(append(r.Features, landlockFeature(), p.deviceFeature()), p.shareFeature()...)
	p.Program = program
	if err := p.restrict(inMemory); err != nil {
		return "", errs.Errorf(op, errs.Unavailable, "restrict the task by Landlock: %v", err)
	}
	// The folder is entered while the rights are there: its parents may be closed to the task's user.
	if err := os.Chdir(p.paths().work); err != nil {
		return "", errs.Errorf(op, errs.Unavailable, "enter the task's folder: %v", err)
	}
	for _, f := range []*os.File{os.Stdout, os.Stderr} {
		if err := chown(f, p.UID); err != nil { // so that the program may open /dev/stdout again
			return "", errs.E(op, errs.Unavailable, err)
		}
	}
	return program, nil
}

func chown(f *os.File, uid int) error {
	if uid == 0 {
		return nil
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		return err
	}
	return f.Chown(uid, uid)
}

// initProcess runs the program and the shells beside it.
type initProcess struct {
	plan     plan
	program  string
	mu       sync.Mutex // held from a start until the child is known, so that the reaper finds it
	children map[int]chan ending
	requests chan func() // for the first thread to do: see run
}

// run starts the program and serves until it has ended. All that is started is started by this goroutine's thread, and
// all signals are sent by it: before version 8 of Landlock each thread has a domain of its own, and only this one's is
// that of its children.
func (i *initProcess) run() (ending, error) {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	inherit := make([]*os.File, i.plan.Inherit)
	for n := range inherit {
		inherit[n] = os.NewFile(uintptr(fdInherit+n), "inherit")
	}
	pid, done, err := i.start(i.plan.Argv, i.plan.Env, inherit, [3]*os.File{nil, os.Stdout, os.Stderr}, false)
	if err != nil {
		return ending{}, err
	}
	for _, f := range inherit {
		f.Close()
	}
	go i.reap()
	if listener, err := net.FileListener(os.NewFile(fdListen, "shell")); err == nil {
		go i.listen(listener)
	}
	for {
		select {
		case sig := <-signals:
			if n, ok := sig.(syscall.Signal); ok && unix.Kill(-pid, n) != nil {
				unix.Kill(pid, n) //nolint:errcheck // it may have ended
			}
		case do := <-i.requests:
			do()
		case end := <-done:
			end.Crowded = i.crowded()
			return end, nil
		}
	}
}

// crowded tells whether the task has all the processes that it may have, where the kernel counts them for it alone.
func (i *initProcess) crowded() bool {
	most := i.plan.Rlimits[unix.RLIMIT_NPROC]
	return most > 0 && i.plan.Mounts && uint64(threads(processes())) >= most*9/10
}

// start starts a program with the task's rights by way of enter. The descriptors that it inherits are numbered from 3.
func (i *initProcess) start(argv, env []string, inherit []*os.File, std [3]*os.File, tty bool) (pid int, done <-chan ending, err error) {
	entryR, entryW, err := os.Pipe()
	if err != nil {
		return 0, nil, err
	}
	defer entryW.Close()
	cmd := osexec.Command(i.program, hiddenEnter)
	cmd.Args[0] = "lineshaft"
	cmd.Env = []string{"GOMAXPROCS=1", fmt.Sprintf("%s=%d", planFD, 3+len(inherit))}
	if std[0] != nil { // else /dev/null
		cmd.Stdin = std[0]
	}
	cmd.Stdout, cmd.Stderr = std[1], std[2]
	cmd.ExtraFiles = append(append([]*os.File{}, inherit...), entryR)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: !tty, Setsid: tty, Setctty: tty, Pdeathsig: syscall.SIGKILL}
	if i.plan.UID != 0 {
		id := uint32(i.plan.UID)
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: id, Gid: id, Groups: []uint32{}}
	}
	ch := make(chan ending, 1)
	i.mu.Lock()
	err = cmd.Start()
	if err == nil {
		i.children[cmd.Process.Pid] = ch
	}
	i.mu.Unlock()
	entryR.Close()
	if err != nil {
		return 0, nil, err
	}
	pid = cmd.Process.Pid
	cmd.Process.Release() //nolint:errcheck // the reaper collects it
	if err := json.NewEncoder(entryW).Encode(entry{Argv: argv, Env: env, Limits: i.plan.Rlimits, Inherit: len(inherit)}); err != nil {
		unix.Kill(pid, unix.SIGKILL) //nolint:errcheck // it may have ended
	}
	return pid, ch, nil
}

// reap collects every child, the orphans of the task among them.
func (i *initProcess) reap() {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return // no child is left, so the program has ended
		}
		end := ending{Code: ws.ExitStatus()}
		if ws.Signaled() {
			end = ending{Code: 128 + int(ws.Signal()), Signal: int(ws.Signal())}
		}
		i.mu.Lock()
		if ch, ok := i.children[pid]; ok {
			ch <- end
			delete(i.children, pid)
		}
		i.mu.Unlock()
	}
}
