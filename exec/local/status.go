//go:build linux

package local

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
)

func itoa(n int) string { return strconv.Itoa(n) }

// markVar is the environment variable that every process of an attempt begins with.
const markVar = "LINESHAFT_MARK"

// reclaimWait is how long the end of what an attempt left behind is waited for.
const reclaimWait = 5 * time.Second

// Observe lists every attempt whose folder is there.
func (l *Local) Observe(ctx context.Context) ([]exec.Status, error) {
	const op = "local.Observe"
	paths, err := filepath.Glob(filepath.Join(globQuote(l.opt.Dir), "*", "*", "*", intentFile))
	if err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	var out []exec.Status
	l.seen.Lock()
	defer l.seen.Unlock()
	before := l.ended
	l.ended = map[string]exec.Status{}
	for _, p := range paths {
		if err := ctx.Err(); err != nil {
			return nil, errs.E(op, errs.Other, err)
		}
		st, known := before[p]
		if !known {
			st, err = l.status(filepath.Dir(p))
		}
		if errors.Is(err, os.ErrNotExist) {
			continue // removed just now
		}
		if err != nil {
			return nil, errs.E(op, errs.Other, err)
		}
		if st.State == exec.Exited {
			l.ended[p] = st
		}
		out = append(out, st)
	}
	return out, nil
}

func globQuote(path string) string {
	var b bytes.Buffer
	for _, c := range []byte(path) {
		if bytes.IndexByte([]byte(`*?[\`), c) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}

// Status tells of one attempt; errs.NotFound when its folder is not there.
func (l *Local) Status(ref exec.TaskRef) (exec.Status, error) {
	dir := l.folder(ref)
	if !exists(filepath.Join(dir, intentFile)) {
		return exec.Status{}, errs.Errorf("local.Status", errs.NotFound, "no attempt %v on this machine", ref)
	}
	st, err := l.status(dir)
	return st, errs.E("local.Status", errs.Other, err)
}

// status tells the truth about an attempt from its folder. The order matters: the exit is looked at again after the
// shim was found dead, because it may have written it in between.
func (l *Local) status(dir string) (exec.Status, error) {
	ref, err := refOf(dir)
	if err != nil {
		return exec.Status{}, err
	}
	var id identity
	for range 2 {
		var st exec.Status
		err := readJSON(filepath.Join(dir, exitFile), &st)
		if err == nil {
			return st, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return st, err
		}
		if err := readJSON(filepath.Join(dir, shimFile), &id); err == nil {
			if id.Shim.alive() {
				return exec.Status{Ref: ref, State: exec.Running, PID: id.Init.PID, Started: id.Started, Isolation: id.Isolation}, nil
			}
		} else if last, held := holder(lockOf(dir)); held && last == ref.Attempt {
			return exec.Status{Ref: ref, State: exec.Starting}, nil
		}
	}
	st := exec.Status{Ref: ref, State: exec.Lost, ExitCode: -1, Started: id.Started, Isolation: id.Isolation}
	if id.Shim.PID == 0 {
		st.Reason = "it was never started" // and may still be
		return st, nil
	}
	if !reclaim(dir, reclaimWait) {
		st.State, st.PID = exec.Running, id.Init.PID // it counts as running until nothing of it does
		return st, nil
	}
	st.Reason, st.Ended = "its shim was killed", time.Now().UTC()
	writeReserved(filepath.Join(dir, exitFile), st) //nolint:errcheck // it is found out again otherwise
	return st, nil
}

// reclaim ends what is left of an attempt whose shim is gone, and tells whether nothing of it runs any more.
func reclaim(dir string, wait time.Duration) bool {
	var id identity
	var in intent
	if readJSON(filepath.Join(dir, intentFile), &in) != nil {
		return true // nothing was ever meant to be started
	}
	known := readJSON(filepath.Join(dir, shimFile), &id) == nil
	if !known {
		id.Cgroup = in.group()
	}
	for end := time.Now().Add(wait); ; time.Sleep(5 * time.Millisecond) {
		gone := true
		if known && id.Init.alive() {
			id.Init.signal(unix.SIGKILL) //nolint:errcheck // looked at again
			gone = false
		}
		gone = id.Cgroup.kill() && gone
		if l, err := levelNamed(in.Level); err != nil || !l.mounts() {
			gone = sweep(in.Mark) && gone
		}
		if gone {
			id.Cgroup.remove()
			in.packets().remove()
			removeElsewhere(filepath.Join(dir, secretsFile)) //nolint:errcheck // tried again when the attempt is removed
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// sweep kills every process that carries the mark of an attempt in its first environment, and tells whether there was
// none. It finds what left its session and its parents, where there is no PID namespace to hold it.
func sweep(mark string) bool {
	if mark == "" {
		return true
	}
	none := true
	for _, pid := range processes() {
		if !marked(pid, mark) {
			continue
		}
		none = false
		processOf(pid).signal(unix.SIGKILL) //nolint:errcheck // looked for again
	}
	return none
}

// Remove deletes an attempt that ended.
func (l *Local) Remove(_ context.Context, ref exec.TaskRef) error {
	const op = "local.Remove"
	one := l.one(ref)
	one.Lock()
	defer one.Unlock()
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
	if !givenUp(lockOf(l.folder(ref)), ref.Attempt) {
		return errs.Errorf(op, errs.Conflict, "attempt %v has ended, and its shim has not yet", ref)
	}
	return errs.E(op, errs.Other, discard(l.folder(ref)))
}

// givenUp waits until the shim of an attempt that has ended gives up the task's lock, a moment after it wrote the end.
// Without the record of the end nothing would tell a next attempt that the lock is about to be free.
func givenUp(path string, attempt int) bool {
	for end := time.Now().Add(reclaimWait); ; time.Sleep(2 * time.Millisecond) {
		if last, held := holder(path); !held || last != attempt {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// Forget deletes a job's folder when nothing of it runs any more.
func (l *Local) Forget(_ context.Context, job string) error {
	const op = "local.Forget"
	root := filepath.Dir(filepath.Dir(l.folder(exec.TaskRef{Job: job})))
	tasks, err := os.ReadDir(root)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return errs.E(op, errs.Other, err)
	}
	for _, t := range tasks {
		if err := l.forgetTask(job, filepath.Join(root, t.Name())); err != nil {
			return errs.E(op, errs.Other, err)
		}
	}
	return errs.E(op, errs.Other, os.Remove(root))
}

// forgetTask deletes a task's folder. Nothing starts in it meanwhile; an attempt of which something runs is left whole,
// and so are those beside it.
func (l *Local) forgetTask(job, dir string) error {
	index, err := strconv.Atoi(filepath.Base(dir))
	if err != nil {
		return err
	}
	one := l.one(exec.TaskRef{Job: job, Index: index})
	one.Lock()
	defer one.Unlock()
	attempts, err := filepath.Glob(filepath.Join(globQuote(dir), "*", intentFile))
	if err != nil {
		return err
	}
	held := false
	for _, path := range attempts {
		st, err := l.status(filepath.Dir(path))
		if err != nil {
			return err
		}
		held = held || st.State == exec.Running || st.State == exec.Starting
	}
	if last, locked := holder(filepath.Join(dir, "lock")); locked && !held {
		held = !givenUp(filepath.Join(dir, "lock"), last)
	}
	if held {
		return errs.Errorf("local.Forget", errs.Conflict, "task %s.%d still runs", job, index)
	}
	for _, path := range attempts {
		if err := discard(filepath.Dir(path)); err != nil {
			return err
		}
	}
	return removeAll(dir)
}

func refOf(dir string) (exec.TaskRef, error) {
	task := filepath.Dir(dir)
	index, err1 := strconv.Atoi(filepath.Base(task))
	attempt, err2 := strconv.Atoi(filepath.Base(dir))
	return exec.TaskRef{Job: filepath.Base(filepath.Dir(task)), Index: index, Attempt: attempt}, errors.Join(err1, err2)
}

func newestAttempt(dir string) (newest int, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && exists(filepath.Join(dir, e.Name(), intentFile)) {
			newest = max(newest, n)
		}
	}
	return newest, nil
}
