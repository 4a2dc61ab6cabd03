//go:build linux

// Package local runs tasks as isolated processes on this machine.
//
// Four processes of the same binary share the work, each with less than the one before:
//
//	server ── shim ── init ── program
//
// The server writes down what it is about to start (intent.json) and starts the shim. The shim is a session of its own
// and outlives the server: it holds a lock for the task's index, so that two attempts of a task never run at once,
// keeps the log, enforces the timeout and the disk limit, and writes how the attempt ended (exit.json) durably. Init is
// the first process of the task's own namespaces: it mounts what the task may see, starts the program with less than
// its own rights, forwards signals and collects orphans; when it dies, the kernel kills all that is left. The program
// runs behind Landlock, without new privileges, as a user of its own where the server is root.
//
// What a server knows of attempts it reads from disk each time, so a restarted server needs no adoption step. A shim is
// known by process ID, start time and boot, so a process ID that was used again is not mistaken for it.
//
//	DIR/JOB/INDEX/lock
//	DIR/JOB/INDEX/ATTEMPT/{intent.json, shim.json, exit.json, log, log.1, work/, out/}
package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
)

// Options of New.
type Options struct {
	Dir     string   // of the attempts' folders; made 0700
	Hide    []string // folders that no task may see: the data folder
	Log     *slog.Logger
	FirstID int // first user ID for tasks when the server is root; 0: 200000
}

// Local is an executor of this machine.
type Local struct {
	opt Options
	mu  sync.Mutex // one start at a time: the fence is checked and the intent written under it

	started chan string // folders of attempts, for Watch
}

// New makes the executor's folder.
func New(opt Options) (*Local, error) {
	if opt.FirstID == 0 {
		opt.FirstID = 200_000
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(opt.Dir, 0o700); err != nil {
		return nil, errs.E("local.New", errs.Other, err)
	}
	return &Local{opt: opt, started: make(chan string, 1024)}, nil
}

// intent is what is written down before an attempt is started, without its secrets.
type intent struct {
	Task exec.Task `json:"task"`
	UID  int       `json:"uid"` // 0: the server's own
	Hide []string  `json:"hide"`
	FDs  []string  `json:"fds"` // names of the inherited descriptors, from 3 up
}

// handover goes to the shim through a pipe and is never written down.
type handover struct {
	Secrets []exec.Secret
	Data    map[string][]byte // contents of inherited descriptors that come from memory
}

func (l *Local) folder(ref exec.TaskRef) string {
	return filepath.Join(l.opt.Dir, filepath.Base("/"+ref.Job), strconv.Itoa(ref.Index), strconv.Itoa(ref.Attempt))
}

// Start writes the intent, starts the shim and waits until the program runs or cannot.
func (l *Local) Start(ctx context.Context, t exec.Task) error {
	const op = "local.Start"
	l.mu.Lock()
	defer l.mu.Unlock()
	dir := l.folder(t.Ref)
	newest, err := newestAttempt(filepath.Dir(dir))
	if err != nil {
		return errs.E(op, errs.Other, err)
	}
	if newest > t.Ref.Attempt {
		return errs.Errorf(op, errs.Conflict, "attempt %v is older than attempt %d, which was already started", t.Ref, newest)
	}
	if exists(filepath.Join(dir, "shim.json")) || exists(filepath.Join(dir, "exit.json")) {
		return nil
	}
	in := intent{Task: t, Hide: l.opt.Hide}
	if os.Geteuid() == 0 {
		if in.UID, err = l.uidOf(t.User); err != nil {
			return err
		}
	}
	for _, i := range t.Inherit {
		in.FDs = append(in.FDs, i.Name)
	}
	if err := l.prepare(dir, in); err != nil {
		os.RemoveAll(dir)
		return err
	}
	if err := writeDurably(filepath.Join(dir, "intent.json"), in); err != nil {
		os.RemoveAll(dir)
		return diskFault(op, err)
	}
	err = l.launch(ctx, dir, t)
	l.tellStarted(dir)
	return err
}

// prepare makes the attempt's folder with the task's files.
func (l *Local) prepare(dir string, in intent) error {
	const op = "local.Start"
	for _, d := range []string{"work", "out"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return diskFault(op, err)
		}
	}
	root, err := os.OpenRoot(filepath.Join(dir, "work"))
	if err != nil {
		return errs.E(op, errs.Other, err)
	}
	defer root.Close()
	for _, f := range in.Task.Files {
		if err := place(root, f); err != nil {
			return diskFault(op, err)
		}
	}
	if in.UID == 0 {
		return nil
	}
	for _, d := range []string{"work", "out"} {
		err := filepath.WalkDir(filepath.Join(dir, d), func(path string, _ os.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(path, in.UID, in.UID))
		})
		if err != nil {
			return errs.E(op, errs.Other, err)
		}
	}
	return nil
}

func place(root *os.Root, f exec.File) error {
	if parent := filepath.Dir(f.Name); parent != "." {
		if err := root.MkdirAll(parent, 0o700); err != nil {
			return err
		}
	}
	mode := os.FileMode(f.Mode).Perm()
	if mode == 0 {
		mode = 0o600
	}
	dst, err := root.OpenFile(f.Name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	defer dst.Close()
	if f.Open == nil {
		_, err = dst.Write(f.Data)
		return err
	}
	src, err := f.Open()
	if err != nil {
		return err
	}
	defer src.Close()
	_, err = io.Copy(dst, src)
	return err
}

func diskFault(op string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return errs.Errorf(op, errs.Exhausted, "the disk of the data folder is full: free some space; the task was not started")
	}
	return errs.E(op, errs.Other, err)
}

// launch starts the shim, gives it what must not be written down, and hears whether the program runs.
func (l *Local) launch(ctx context.Context, dir string, t exec.Task) error {
	const op = "local.Start"
	give, taken, err := os.Pipe()
	if err != nil {
		return errs.E(op, errs.Other, err)
	}
	heard, say, err := os.Pipe()
	if err != nil {
		return errs.E(op, errs.Other, errors.Join(err, give.Close(), taken.Close()))
	}
	defer heard.Close()
	hand := handover{Secrets: t.Secrets, Data: map[string][]byte{}}
	files := []*os.File{give, say}
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	for _, i := range t.Inherit {
		f := give // a placeholder that the shim replaces by a memfd
		if i.Path != "" {
			if f, err = os.Open(i.Path); err != nil {
				taken.Close()
				return errs.E(op, errs.Other, err)
			}
			files = append(files, f)
		} else {
			hand.Data[i.Name] = i.Data
		}
	}
	cmd := osexec.Command("/proc/self/exe", hiddenShim, dir)
	cmd.Args[0] = "lineshaft"
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.ExtraFiles = []*os.File{give, say}
	next := 2
	for _, i := range t.Inherit {
		if i.Path == "" {
			cmd.ExtraFiles = append(cmd.ExtraFiles, give)
			continue
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, files[next])
		next++
	}
	if err := cmd.Start(); err != nil {
		taken.Close()
		return errs.E(op, errs.Other, err)
	}
	go cmd.Wait() //nolint:errcheck // collects the shim when it ends while this server lives
	say.Close()
	err = json.NewEncoder(taken).Encode(hand)
	taken.Close()
	if err != nil {
		return errs.E(op, errs.Other, err)
	}
	return hear(ctx, heard)
}

// hear waits for the shim's word: "ok", or what is wrong.
func hear(ctx context.Context, r *os.File) error {
	const op = "local.Start"
	stop := context.AfterFunc(ctx, func() { r.SetReadDeadline(time.Unix(1, 0)) }) //nolint:errcheck // a pipe has deadlines
	defer stop()
	b, err := io.ReadAll(io.LimitReader(r, 1<<16))
	if err != nil && ctx.Err() != nil {
		return nil //nolint:nilerr // it was started; Observe tells what became of it
	}
	var word struct{ Kind, Message string }
	if json.Unmarshal(b, &word) != nil {
		return errs.Errorf(op, errs.Unavailable, "the task's shim ended before it could start the program")
	}
	if word.Message == "" {
		return nil
	}
	return errs.Errorf(op, errs.ParseKind(word.Kind), "%s", word.Message)
}

// uidOf gives every account a user ID of its own, kept in DIR/uids.json.
func (l *Local) uidOf(user string) (int, error) {
	path := filepath.Join(l.opt.Dir, "uids.json")
	ids := map[string]int{}
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &ids)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, errs.Errorf("local.uidOf", errs.Corrupt, "%s does not parse: %v", path, err)
	}
	if id, ok := ids[user]; ok {
		return id, nil
	}
	id := l.opt.FirstID
	for _, used := range ids {
		id = max(id, used+1)
	}
	ids[user] = id
	return id, errs.E("local.uidOf", errs.Other, writeDurably(path, ids))
}

// Stop asks the shim to end the attempt: it sends SIGTERM to the program and kills everything after grace.
func (l *Local) Stop(_ context.Context, ref exec.TaskRef, grace time.Duration) error {
	const op = "local.Stop"
	dir := l.folder(ref)
	if !exists(filepath.Join(dir, "intent.json")) || exists(filepath.Join(dir, "exit.json")) {
		return nil
	}
	if err := writeDurably(filepath.Join(dir, "stop.json"), stopOrder{Grace: grace}); err != nil {
		return errs.E(op, errs.Other, err)
	}
	var id identity
	if err := readJSON(filepath.Join(dir, "shim.json"), &id); err != nil {
		return nil //nolint:nilerr // a shim that is just starting finds the order
	}
	return errs.E(op, errs.Other, id.signal(unix.SIGTERM))
}

type stopOrder struct{ Grace time.Duration }

// Observe lists every attempt whose folder is there.
func (l *Local) Observe(ctx context.Context) ([]exec.Status, error) {
	const op = "local.Observe"
	paths, err := filepath.Glob(filepath.Join(l.opt.Dir, "*", "*", "*", "intent.json"))
	if err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	var out []exec.Status
	for _, p := range paths {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		st, err := l.status(filepath.Dir(p))
		if err != nil {
			return nil, errs.E(op, errs.Other, err)
		}
		out = append(out, st)
	}
	return out, nil
}

// Status tells of one attempt; errs.NotFound when its folder is not there.
func (l *Local) Status(ref exec.TaskRef) (exec.Status, error) {
	dir := l.folder(ref)
	if !exists(filepath.Join(dir, "intent.json")) {
		return exec.Status{}, errs.Errorf("local.Status", errs.NotFound, "no attempt %v on this machine", ref)
	}
	return l.status(dir)
}

// status tells the truth about an attempt from its folder. The order matters: the exit is looked at again after the
// shim was found dead, because it may have written it in between.
func (l *Local) status(dir string) (exec.Status, error) {
	ref, err := refOf(dir)
	if err != nil {
		return exec.Status{}, err
	}
	for range 2 {
		var st exec.Status
		err := readJSON(filepath.Join(dir, "exit.json"), &st)
		if err == nil {
			return st, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return st, err
		}
		var id identity
		if err := readJSON(filepath.Join(dir, "shim.json"), &id); err == nil {
			if id.alive() {
				return exec.Status{Ref: ref, State: exec.Running, PID: id.Program, Started: id.Started, Isolation: id.Isolation}, nil
			}
		} else if held(filepath.Join(filepath.Dir(dir), "lock")) {
			return exec.Status{Ref: ref, State: exec.Starting}, nil
		}
	}
	st := exec.Status{Ref: ref, State: exec.Lost, ExitCode: -1, Reason: "its shim was killed"}
	var id identity
	if err := readJSON(filepath.Join(dir, "shim.json"), &id); err != nil {
		st.Reason = "it was never started"
	} else {
		st.Started = id.Started
		id.Cgroup.kill()
	}
	return st, nil
}

// Remove deletes an attempt that ended.
func (l *Local) Remove(_ context.Context, ref exec.TaskRef) error {
	const op = "local.Remove"
	dir := l.folder(ref)
	st, err := l.Status(ref)
	if errs.Is(err, errs.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.State == exec.Running || st.State == exec.Starting {
		return errs.Errorf(op, errs.Conflict, "attempt %v still runs", ref)
	}
	return errs.E(op, errs.Other, os.RemoveAll(dir))
}

func refOf(dir string) (exec.TaskRef, error) {
	parts := strings.Split(dir, string(filepath.Separator))
	if len(parts) < 3 {
		return exec.TaskRef{}, fmt.Errorf("%q is no attempt's folder", dir)
	}
	parts = parts[len(parts)-3:]
	index, err1 := strconv.Atoi(parts[1])
	attempt, err2 := strconv.Atoi(parts[2])
	return exec.TaskRef{Job: parts[0], Index: index, Attempt: attempt}, errors.Join(err1, err2)
}

func newestAttempt(dir string) (newest int, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && exists(filepath.Join(dir, e.Name(), "intent.json")) {
			newest = max(newest, n)
		}
	}
	return newest, nil
}

var _ exec.Tasks = (*Local)(nil)
