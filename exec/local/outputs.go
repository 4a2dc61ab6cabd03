//go:build linux

package local

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

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
	defer unix.Close(base)
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
	f, err := open(filepath.Join(placeOf(l.folder(ref)), "out"), "journal.jsonl")
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
	f, err := open(filepath.Join(placeOf(l.folder(ref)), "out"), name)
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
	dir := filepath.Join(placeOf(l.folder(ref)), "out")
	f, err := open(dir, name)
	if err != nil {
		return ""
	}
	f.Close()
	return filepath.Join(dir, name)
}

var _ exec.Outputs = (*Local)(nil)
