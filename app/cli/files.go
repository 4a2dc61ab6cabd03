package cli

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// fileError gives an error of the file system its kind, and says the file instead of the system call.
func fileError(op string, err error) error {
	kind := errs.Other
	switch {
	case errors.Is(err, fs.ErrNotExist):
		kind = errs.NotFound
	case errors.Is(err, fs.ErrPermission):
		kind = errs.Denied
	case errors.Is(err, fs.ErrExist):
		kind = errs.Exists
	case errors.Is(err, syscall.ENOSPC):
		kind = errs.Full
	}
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return errs.Errorf(op, kind, "%s: %w", path.Path, path.Err)
	}
	return errs.E(op, kind, err)
}

// writeFile writes a file that appears under its name only when it is whole. A file that is there is not replaced.
func writeFile(name string, mode os.FileMode, write func(io.Writer) error) (err error) {
	if _, err := os.Lstat(name); err == nil {
		return errs.Errorf("cli.writeFile", errs.Exists, "%s is there already; remove it or choose another name", name)
	}
	return replaceFile(name, mode, write)
}

// replaceFile writes a file whole or not at all, over one that is there.
func replaceFile(name string, mode os.FileMode, write func(io.Writer) error) (err error) {
	const op = "cli.replaceFile"
	f, err := os.CreateTemp(filepath.Dir(name), ".lineshaft-*")
	if err != nil {
		return fileError(op, err)
	}
	defer func() {
		f.Close()
		if err != nil {
			_ = os.Remove(f.Name()) // the error that led here is the one to tell
		}
	}()
	b := bufio.NewWriterSize(f, 1<<20)
	if err := write(b); err != nil {
		return err
	}
	if err := errors.Join(b.Flush(), f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return fileError(op, err)
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return fileError(op, err)
	}
	return nil
}

// text reads a small file, or standard input for "-".
func (e *env) text(name string, limit int64) ([]byte, error) {
	const op = "cli.text"
	r := e.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fileError(op, err)
		}
		defer f.Close()
		r = f
	} else if terminal(e.in) >= 0 {
		e.note("reading standard input; end it with ctrl-D")
	}
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fileError(op, err)
	}
	if int64(len(b)) > limit {
		return nil, errs.Errorf(op, errs.TooLarge, "%s has more than the %s that are read here", name, size(limit))
	}
	return b, nil
}
