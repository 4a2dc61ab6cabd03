// Package sock is the way in for the owner of a data folder: a Unix socket that only its owner may open. Paths longer
// than a socket's address may be are reached through the folder's descriptor.
package sock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Name of the socket in the data folder.
const Name = "lineshaft.sock"

// maxPath is what sockaddr_un holds on the smallest of our systems, less the closing zero.
const maxPath = 103

// address gives the path to use, and what must stay open meanwhile.
func address(dir string) (string, *os.File, error) {
	path := filepath.Join(dir, Name)
	if len(path) <= maxPath {
		return path, nil, nil
	}
	if runtime.GOOS != "linux" {
		return "", nil, errs.Errorf("sock.address", errs.Invalid, "the path %s is too long for a socket: choose a data folder with a shorter one", path)
	}
	f, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", f.Fd(), Name), f, nil
}

// Listen makes the socket in dir, 0600. The caller holds the folder's lock, so a socket that is there is a dead one.
func Listen(dir string) (net.Listener, error) {
	const op = "sock.Listen"
	if err := os.Remove(filepath.Join(dir, Name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errs.E(op, errs.Other, err)
	}
	addr, hold, err := address(dir)
	if err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	if hold != nil {
		defer hold.Close()
	}
	old := syscall.Umask(0o177) // the socket is never there with more rights
	l, err := net.Listen("unix", addr)
	syscall.Umask(old)
	if err != nil {
		return nil, errs.Errorf(op, errs.Unavailable, "cannot listen on %s: %v", filepath.Join(dir, Name), err)
	}
	return l, nil
}

// Dial opens the socket in dir. A folder without a listening server is errs.Unavailable.
func Dial(ctx context.Context, dir string) (net.Conn, error) {
	const op = "sock.Dial"
	addr, hold, err := address(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nobody(dir)
	}
	if err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	if hold != nil {
		defer hold.Close()
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", addr)
	switch {
	case err == nil:
		return c, nil
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, nobody(dir)
	case errors.Is(err, os.ErrPermission):
		return nil, errs.Errorf(op, errs.Denied, "%s belongs to another user: sign in with --server and a token instead", dir)
	}
	return nil, errs.E(op, errs.Unavailable, err)
}

func nobody(dir string) error {
	return errs.Errorf("sock.Dial", errs.Unavailable,
		"no server runs on the data folder %s: start one with `lineshaft up`, or name another with --data DIR or --server URL", dir)
}
