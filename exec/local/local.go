//go:build linux

package local

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"hash/fnv"
	"io"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
)

// Local is an executor of this machine.
type Local struct {
	opt     Options
	machine func() probed // what isolation works, found out at the first call

	serial [64]sync.Mutex // one start or removal at a time of each task, by a hash of its folder
	ids    sync.Mutex

	seen  sync.Mutex
	ended map[string]exec.Status // by path of the intent: an end does not change, so that it is read once

	started chan exec.TaskRef // for Watch
}

// New makes the executor's folder.
func New(opt Options) (*Local, error) {
	const op = "local.New"
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	def(&opt.FirstID, firstID())
	def(&opt.Processes, 4096)
	def(&opt.Window, 30*time.Second)
	def(&opt.Unpacked, 8*units.GiB)
	def(&opt.Devices, "/dev")
	def(&opt.Drivers, "/proc/driver")
	if err := os.MkdirAll(opt.Dir, 0o700); err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	// The shim has another working folder, and init sees no links that lie elsewhere.
	for _, path := range slices.Concat([]string{opt.Dir, opt.Devices}, opt.Hide, opt.Read) {
		if !filepath.IsAbs(path) {
			return nil, errs.Errorf(op, errs.Invalid, "the executor needs whole paths, not %q", path)
		}
	}
	opt.Dir = real([]string{opt.Dir})[0]
	opt.Hide, opt.Read = real(opt.Hide), readable(opt.Read)
	l := &Local{opt: opt, started: make(chan exec.TaskRef, 1024)}
	l.machine = sync.OnceValue(l.probe)
	return l, nil
}

func def[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// real follows the links of paths; those that are not there stay as they are.
func real(paths []string) []string {
	out := make([]string, len(paths))
	for i, p := range paths {
		out[i] = filepath.Clean(p)
		if r, err := filepath.EvalSymlinks(p); err == nil {
			out[i] = r
		}
	}
	return out
}

// readable lists the folders that tasks may read beside the system's: first where they really are, then the names by
// which they are known, and where the system's own folders are links to.
func readable(paths []string) (out []string) {
	for _, dir := range system {
		if to, err := filepath.EvalSymlinks(dir); err == nil && !slices.ContainsFunc(system[:], func(d string) bool { return d == to || strings.HasPrefix(to, d+"/") }) {
			out = append(out, to)
		}
	}
	out = append(out, real(paths)...)
	for _, p := range paths {
		if p = filepath.Clean(p); !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// intent is what is written down before an attempt is started, without its secrets.
type intent struct {
	Task      exec.Task     `json:"task"`
	UID       int           `json:"uid"` // 0: the server's own
	Level     string        `json:"level"`
	Why       string        `json:"why,omitempty"` // the level is no stronger
	Hide      []string      `json:"hide"`
	Read      []string      `json:"read,omitempty"`
	Devices   string        `json:"devices"`
	Nodes     []string      `json:"nodes,omitempty"` // granted, below Devices
	FDs       []string      `json:"fds,omitempty"`   // names of the inherited descriptors, from 3 up
	Paths     []string      `json:"paths,omitempty"` // theirs; "" from memory
	Mark      string        `json:"mark"`            // in the environment of every process of the attempt
	Processes int           `json:"processes"`
	Reserve   units.Bytes   `json:"reserve"`
	Loopback  bool          `json:"loopback,omitempty"` // counts as traffic too
	Projects  []project     `json:"projects,omitempty"` // of its folders, where quotas bound them
	Window    time.Duration `json:"window"`             // over which recent use is told
}

// handover goes to the shim through a pipe and is never written down.
type handover struct {
	Secrets []exec.Secret
	Token   string
}

func (l *Local) newIntent(t exec.Task) intent {
	return intent{
		Task: t, Hide: l.opt.Hide, Read: l.opt.Read, Devices: l.opt.Devices, Mark: rand.Text(),
		Processes: l.opt.Processes, Reserve: l.opt.Reserve, Loopback: l.opt.loopback, Window: l.opt.Window,
	}
}

// plan is init's, but for what only the shim knows.
func (in intent) plan(l level, place string) plan {
	return plan{
		Dir: place, Argv: in.Task.Argv, UID: in.UID, User: in.Task.User, Hide: in.Hide, Read: in.Read, Devices: in.Devices, Nodes: in.Nodes,
		Limits: in.Task.Limits, Inherit: len(in.FDs), Paths: in.Paths, Mounts: l.mounts(), Network: true,
	}
}

func (l *Local) folder(ref exec.TaskRef) string {
	return filepath.Join(l.opt.Dir, filepath.Base("/"+ref.Job), itoa(ref.Index), itoa(ref.Attempt))
}

// one gives the lock under which a task's attempts are started and removed.
func (l *Local) one(ref exec.TaskRef) *sync.Mutex {
	h := fnv.New32a()
	io.WriteString(h, filepath.Dir(l.folder(ref))) //nolint:errcheck // a hash takes everything
	return &l.serial[h.Sum32()%uint32(len(l.serial))]
}

// Start writes the intent, starts the shim and waits until the program runs or cannot.
func (l *Local) Start(ctx context.Context, t exec.Task) error {
	const op = "local.Start"
	if err := check(t); err != nil {
		return err
	}
	one := l.one(t.Ref)
	one.Lock()
	defer one.Unlock()
	if err := ctx.Err(); err != nil {
		return errs.E(op, errs.Other, err)
	}
	dir := l.folder(t.Ref)
	done, err := l.fence(t.Ref, dir)
	if done || err != nil {
		return err
	}
	in, err := l.intend(t)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return diskFault(op, err)
	}
	held, err := l.take(ctx, t.Ref)
	if err != nil {
		return diskFault(op, err)
	}
	if err := l.write(dir, in); err != nil {
		release(held)
		return diskFault(op, err)
	}
	err = l.launch(ctx, dir, t, held)
	l.tellStarted(t.Ref)
	return err
}

func lockOf(dir string) string { return filepath.Join(filepath.Dir(dir), "lock") }

// write makes the attempt's folder, its intent last.
func (l *Local) write(dir string, in intent) error {
	err := l.prepare(dir, &in)
	if err == nil {
		err = writeDurably(filepath.Join(dir, intentFile), in)
	}
	if err != nil {
		return errors.Join(err, discard(dir))
	}
	return nil
}

// check refuses what no attempt can be made of.
func check(t exec.Task) error {
	const op = "local.Start"
	switch {
	case t.Ref.Job == "" || t.Ref.Job != filepath.Base(t.Ref.Job) || strings.HasPrefix(t.Ref.Job, ".") || t.Ref.Index < 0 || t.Ref.Attempt < 1:
		return errs.Errorf(op, errs.Invalid, "%v names no attempt: the job has a plain name, tasks count from 0 and attempts from 1", t.Ref)
	case len(t.Argv) == 0 || t.Argv[0] == "":
		return errs.Errorf(op, errs.Invalid, "the task names no program")
	}
	seen := map[string]bool{}
	for _, s := range t.Secrets {
		if s.File != "" && (s.File != filepath.Base(s.File) || strings.HasPrefix(s.File, ".") || seen[s.File]) {
			return errs.Errorf(op, errs.Invalid, "a secret's file has a plain name of its own, which %q is not", s.File)
		}
		seen[s.File] = true
	}
	for name := range t.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			return errs.Errorf(op, errs.Invalid, "an environment variable cannot be called %q", name)
		}
	}
	return nil
}

// fence tells whether the attempt was started already, and refuses one that may not start any more, or not yet.
func (l *Local) fence(ref exec.TaskRef, dir string) (done bool, err error) {
	const op = "local.Start"
	newest, err := newestAttempt(filepath.Dir(dir))
	if err != nil {
		return false, errs.E(op, errs.Other, err)
	}
	last, held := holder(lockOf(dir))
	switch newest = max(newest, last); {
	case exists(filepath.Join(dir, shimFile)) || exists(filepath.Join(dir, exitFile)) || held && last == ref.Attempt:
		return true, nil
	case newest > ref.Attempt:
		return false, errs.Errorf(op, errs.Conflict, "attempt %v is older than attempt %d, which was already started", ref, newest)
	}
	return false, nil
}

// take takes the task's lock. The shim of an attempt that has ended gives it up in a moment.
func (l *Local) take(ctx context.Context, ref exec.TaskRef) (*os.File, error) {
	const op = "local.Start"
	path := lockOf(l.folder(ref))
	for end := time.Now().Add(reclaimWait); ; time.Sleep(2 * time.Millisecond) {
		held, err := lock(path, ref.Attempt)
		if !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EACCES) {
			return held, err
		}
		last, _ := holder(path)
		over := exists(filepath.Join(filepath.Dir(path), itoa(last), exitFile))
		if !over || ctx.Err() != nil || time.Now().After(end) {
			return nil, errs.Errorf(op, errs.Conflict, "attempt %d of task %s.%d still runs", last, ref.Job, ref.Index)
		}
	}
}

// intend settles what the attempt gets.
func (l *Local) intend(t exec.Task) (in intent, err error) {
	m := l.machine()
	if m.err != nil {
		return in, m.err
	}
	in = l.newIntent(t)
	in.Level, in.Why = m.level.name, m.why
	if m.level.own {
		if in.UID, err = l.uidOf(t.User); err != nil {
			return in, err
		}
	}
	if in.Nodes, err = nodesOf(l.opt.Devices, t.Limits.Accelerators); err != nil {
		return in, err
	}
	for _, i := range t.Inherit {
		path := ""
		if i.Path != "" {
			if path, err = filepath.EvalSymlinks(i.Path); err != nil {
				return in, errs.E("local.Start", errs.Other, err)
			}
		}
		in.FDs, in.Paths = append(in.FDs, i.Name), append(in.Paths, path)
	}
	return in, nil
}

// launch starts the shim, gives it the lock and what must not be written down, and hears whether the program runs.
func (l *Local) launch(ctx context.Context, dir string, t exec.Task, held *os.File) error {
	const op = "local.Start"
	handed := false
	defer func() {
		if !handed {
			release(held)
		}
	}()
	give, taken, err := os.Pipe()
	if err != nil {
		return errs.E(op, errs.Other, err)
	}
	heard, say, err := os.Pipe()
	if err != nil {
		return errs.E(op, errs.Other, errors.Join(err, give.Close(), taken.Close()))
	}
	defer heard.Close()
	defer taken.Close()
	files := []*os.File{give, say, held}
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	for _, i := range t.Inherit {
		f, err := inherited(i)
		if err != nil {
			return errs.E(op, errs.Other, err)
		}
		files = append(files, f)
	}
	cmd := osexec.Command("/proc/self/exe", hiddenShim, dir)
	cmd.Args[0] = "lineshaft"
	cmd.Env = []string{"GOMAXPROCS=1"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.ExtraFiles = files
	if last, err := os.OpenFile(filepath.Join(dir, "shim.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err == nil {
		defer last.Close()
		cmd.Stderr = last // what it says when it breaks
	}
	if err := cmd.Start(); err != nil {
		return errs.Errorf(op, errs.Unavailable, "cannot start the task's shim: %v", err)
	}
	handed = true
	go cmd.Wait() //nolint:errcheck // collects the shim, which may well outlive this server
	say.Close()
	if err := json.NewEncoder(taken).Encode(handover{Secrets: t.Secrets, Token: rand.Text()}); err != nil && !errors.Is(err, syscall.EPIPE) {
		return errs.E(op, errs.Other, err)
	}
	taken.Close()
	return hear(ctx, heard, dir)
}

// hear waits for the shim's word: nothing, or what is wrong.
func hear(ctx context.Context, r *os.File, dir string) error {
	const op = "local.Start"
	stop := context.AfterFunc(ctx, func() { r.SetReadDeadline(time.Unix(1, 0)) }) //nolint:errcheck // a pipe has deadlines
	defer stop()
	b, err := io.ReadAll(io.LimitReader(r, 1<<16))
	if err != nil && ctx.Err() != nil {
		return nil //nolint:nilerr // it was started; Observe tells what became of it
	}
	var w word
	if json.Unmarshal(b, &w) != nil {
		return errs.Errorf(op, errs.Unavailable, "the task's shim ended before it could start the program; %s may say why", filepath.Join(dir, "shim.log"))
	}
	if w.Message == "" {
		return nil
	}
	return errs.Errorf(op, errs.ParseKind(w.Kind), "%s", w.Message)
}

// uidOf gives every account a user ID of its own, kept in DIR/uids.json.
func (l *Local) uidOf(user string) (int, error) {
	const op = "local.uidOf"
	l.ids.Lock()
	defer l.ids.Unlock()
	path := filepath.Join(l.opt.Dir, "uids.json")
	ids := map[string]int{}
	if err := readJSON(path, &ids); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, errs.E(op, errs.Other, err)
	}
	if id, ok := ids[user]; ok {
		return id, nil
	}
	id := l.opt.FirstID
	for _, used := range ids {
		id = max(id, used+1)
	}
	ids[user] = id
	return id, diskFault(op, writeDurably(path, ids))
}

// Stop asks the shim to end the attempt: it sends SIGTERM to the program and kills everything after grace.
func (l *Local) Stop(_ context.Context, ref exec.TaskRef, grace time.Duration) error {
	const op = "local.Stop"
	dir := l.folder(ref)
	if !exists(filepath.Join(dir, intentFile)) || exists(filepath.Join(dir, exitFile)) {
		return nil
	}
	// On a full disk the order cannot be written; then the task's own grace holds.
	werr := writeDurably(filepath.Join(dir, stopFile), stopOrder{Grace: grace})
	var id identity
	if err := readJSON(filepath.Join(dir, shimFile), &id); err != nil {
		return errs.E(op, errs.Other, werr) // a shim that is just starting finds the order
	}
	return errs.E(op, errs.Other, id.Shim.signal(unix.SIGTERM))
}

type stopOrder struct{ Grace time.Duration }

var _ exec.Tasks = (*Local)(nil)
