//go:build linux

package local

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
)

// Watch tells of every attempt's end as it happens, those that ran before included, until ctx ends. What it misses (an
// attempt that ended before it looked) Observe tells.
func (l *Local) Watch(ctx context.Context, ended func(exec.Status)) error {
	var waiting sync.WaitGroup
	defer waiting.Wait()
	follow := func(dir string) {
		waiting.Go(func() {
			if st, ok := l.await(ctx, dir); ok {
				ended(st)
			}
		})
	}
	all, err := l.Observe(ctx)
	if err != nil {
		return errs.E("local.Watch", errs.Other, err)
	}
	for _, st := range all {
		if st.State == exec.Running {
			follow(l.folder(st.Ref))
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case dir := <-l.started:
			follow(dir)
		}
	}
}

// tellStarted lets Watch know of an attempt. It never blocks.
func (l *Local) tellStarted(dir string) {
	select {
	case l.started <- dir:
	default:
	}
}

// await waits until an attempt's shim has ended.
func (l *Local) await(ctx context.Context, dir string) (exec.Status, bool) {
	var id identity
	if readJSON(filepath.Join(dir, "shim.json"), &id) != nil {
		return exec.Status{}, false
	}
	fd, err := unix.PidfdOpen(id.PID, unix.PIDFD_NONBLOCK)
	if err == nil {
		f := os.NewFile(uintptr(fd), "pidfd")
		defer f.Close()
		stop := context.AfterFunc(ctx, func() { f.SetReadDeadline(time.Unix(1, 0)) }) //nolint:errcheck // a pidfd has deadlines
		defer stop()
		if id.alive() { // else the process ID is another's by now, and the shim has ended
			conn, err := f.SyscallConn()
			if err != nil {
				return exec.Status{}, false
			}
			looked := false
			// A pidfd can be read from when its process has ended: the second look is after that.
			err = conn.Read(func(uintptr) bool { again := looked; looked = true; return again })
			if err != nil {
				return exec.Status{}, false
			}
		}
	}
	st, err := l.status(dir)
	return st, err == nil && (st.State == exec.Exited || st.State == exec.Lost)
}
