package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// What lies in the data folder.
const (
	databaseFile = "lineshaft.db"
	keysFile     = "keys.json"
	lockFile     = "lock"
	blobsFolder  = "blobs"
	tasksFolder  = "tasks"
)

// takeFolder makes the data folder where it is missing and locks it for this process; the lock ends with the returned
// file. A folder that others may read or that another server uses is refused.
func takeFolder(dir string) (*os.File, error) {
	const op = "app.takeFolder"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, errs.Errorf(op, errs.Invalid, "cannot make the data folder: %v; name another with --data DIR", err)
	}
	st, err := os.Stat(dir)
	if err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, errs.Errorf(op, errs.Denied, "the data folder %s can be read by others (mode %04o): run `chmod 700 %s`, or name another with --data DIR", dir, st.Mode().Perm(), dir)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errs.Errorf(op, errs.Invalid, "cannot use the data folder: %v", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errs.Errorf(op, errs.Conflict, "another server%s uses the data folder %s: stop it, or name another folder with --data DIR", holder(dir), dir)
		}
		return nil, errs.E(op, errs.Other, err)
	}
	if err := errors.Join(f.Truncate(0), write(f, fmt.Sprintf("%d\n", os.Getpid()))); err != nil {
		f.Close()
		return nil, errs.Errorf(op, errs.Full, "cannot write to the data folder %s: %v", dir, err)
	}
	return f, nil
}

func write(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}

// holder names the process that has the lock, where it said so.
func holder(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, lockFile))
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return " (process " + pid + ")"
	}
	return ""
}
