package cli

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// fileError gives an error of the file system its kind; the system's own words say which file.
func fileError(op string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errs.E(op, errs.NotFound, err)
	case errors.Is(err, fs.ErrPermission):
		return errs.E(op, errs.Denied, err)
	case errors.Is(err, fs.ErrExist):
		return errs.E(op, errs.Exists, err)
	}
	return errs.E(op, errs.Other, err)
}

// writeFile writes a file that appears under its name only when it is whole. A file that is there is not replaced.
func writeFile(name string, mode os.FileMode, write func(io.Writer) error) (err error) {
	const op = "cli.writeFile"
	if _, err := os.Lstat(name); err == nil {
		return errs.Errorf(op, errs.Exists, "%s is there already; remove it or choose another name", name)
	}
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
	var r io.Reader = e.in
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
