//go:build linux

package local

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
)

// maxJournal is how much of a journal is read at a time.
const maxJournal = 1 << 20

// open opens a file under an attempt's folder that the task may have made: no link is followed on the way, and what is
// not a regular file is refused, so that a task cannot make the server read or wait for something else.
func open(dir, name string) (*os.File, error) {
	const op = "local.open"
	base, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(base) //nolint:errcheck // a path only
	fd, err := unix.Openat2(base, name, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	})
	if err != nil {
		if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EXDEV) {
			return nil, errs.Errorf(op, errs.Invalid, "%s is a link or leads out of the task's folder: only plain files are read", name)
		}
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		f.Close()
		return nil, errs.Errorf(op, errs.Invalid, "%s is not a plain file", name)
	}
	return f, nil
}

// Journal reads whole lines of out/journal.jsonl.
func (l *Local) Journal(_ context.Context, ref exec.TaskRef, offset int64) (lines []byte, next int64, err error) {
	const op = "local.Journal"
	f, err := open(filepath.Join(l.folder(ref), "out"), "journal.jsonl")
	if errors.Is(err, os.ErrNotExist) {
		return nil, offset, nil
	}
	if err != nil {
		return nil, offset, errs.E(op, errs.Other, err)
	}
	defer f.Close()
	b := make([]byte, maxJournal)
	n, err := f.ReadAt(b, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, offset, errs.E(op, errs.Other, err)
	}
	end := bytes.LastIndexByte(b[:n], '\n') + 1
	if end == 0 && n == maxJournal {
		end = n // a line longer than any that counts: skipped as it cannot parse
	}
	return b[:end], offset + int64(end), nil
}

// Output opens a file of the out folder.
func (l *Local) Output(_ context.Context, ref exec.TaskRef, name string) (io.ReadCloser, error) {
	f, err := open(filepath.Join(l.folder(ref), "out"), name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errs.Errorf("local.Output", errs.NotFound, "the task left no file %q", name)
	}
	if err != nil {
		return nil, errs.E("local.Output", errs.Other, err)
	}
	return f, nil
}

// OutputPath is a file of the out folder, for handing it to a later attempt; "" when it is not there or no plain file.
func (l *Local) OutputPath(ref exec.TaskRef, name string) string {
	dir := filepath.Join(l.folder(ref), "out")
	f, err := open(dir, name)
	if err != nil {
		return ""
	}
	f.Close()
	return filepath.Join(dir, name)
}

// Logs reads the log from offset on, counted over what is kept; follow goes on until the attempt has ended.
func (l *Local) Logs(ctx context.Context, ref exec.TaskRef, offset int64, follow bool) (io.ReadCloser, error) {
	dir := l.folder(ref)
	if !exists(filepath.Join(dir, "intent.json")) {
		return nil, errs.Errorf("local.Logs", errs.NotFound, "no attempt %v on this machine", ref)
	}
	t := &tail{ctx: ctx, dir: dir, l: l, ref: ref, follow: follow}
	for _, name := range []string{"log.1", "log"} {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		st, err := f.Stat()
		if err != nil || (name == "log.1" && offset >= st.Size()) {
			offset -= st.Size()
			f.Close()
			continue
		}
		if _, err := f.Seek(max(offset, 0), io.SeekStart); err != nil {
			f.Close()
			return nil, errs.E("local.Logs", errs.Other, err)
		}
		offset = 0
		t.files = append(t.files, f)
	}
	return t, nil
}

// tail reads the files one after another, and the last one as it grows.
type tail struct {
	ctx    context.Context
	dir    string
	l      *Local
	ref    exec.TaskRef
	follow bool
	files  []*os.File
	over   bool
}

func (t *tail) Read(p []byte) (int, error) {
	for {
		if err := t.ctx.Err(); err != nil {
			return 0, err
		}
		if len(t.files) == 0 {
			f, err := os.Open(filepath.Join(t.dir, "log"))
			if err == nil {
				t.files = append(t.files, f)
			} else if !t.follow {
				return 0, io.EOF
			}
		}
		if len(t.files) > 0 {
			n, err := t.files[0].Read(p)
			if n > 0 {
				return n, nil
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return 0, err
			}
			if len(t.files) > 1 || t.rotated() {
				t.files[0].Close()
				t.files = t.files[1:]
				continue
			}
		}
		if !t.follow || t.over {
			return 0, io.EOF
		}
		st, err := t.l.Status(t.ref)
		// One more read after the end: what was written last may have come since the read above.
		t.over = err != nil || st.State == exec.Exited || st.State == exec.Lost
		if !t.over {
			select {
			case <-t.ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

// rotated tells whether the file that was read to its end is no longer the one being written.
func (t *tail) rotated() bool {
	now, err := os.Stat(filepath.Join(t.dir, "log"))
	mine, err2 := t.files[0].Stat()
	return err == nil && err2 == nil && !os.SameFile(now, mine)
}

// Close ends the reading.
func (t *tail) Close() error {
	for _, f := range t.files {
		f.Close()
	}
	t.files = nil
	return nil
}

var _ exec.Outputs = (*Local)(nil)
