//go:build !linux

package native

import (
	"errors"
	"syscall"
)

// attributes put the child into a group of its own.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// limit cannot set limits of another process here.
func limit(int, map[int]uint64) error {
	return errors.New("this system sets no limits of another process: leave the native solver out")
}
