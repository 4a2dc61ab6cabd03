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

// Watch tells as it happens that an attempt runs and that it has ended, those that ran before included, until ctx ends.
// What it misses Observe tells.
func (l *Local) Watch(ctx context.Context, tell func(exec.Status)) error {
	var waiting sync.WaitGroup
	defer waiting.Wait()
	follow := func(ref exec.TaskRef) {
		waiting.Go(func() { l.follow(ctx, ref, tell) })
	}
	all, err := l.Observe(ctx)
	if err != nil {
		return errs.E("local.Watch", errs.Other, err)
	}
	for _, st := range all {
		if st.State == exec.Running {
			follow(st.Ref)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case ref := <-l.started:
			follow(ref)
		}
	}
}

// tellStarted lets Watch know of an attempt. It never blocks.
func (l *Local) tellStarted(ref exec.TaskRef) {
	select {
	case l.started <- ref:
	default:
	}
}

// follow tells of an attempt until it has ended.
func (l *Local) follow(ctx context.Context, ref exec.TaskRef, tell func(exec.Status)) {
	var id identity
	known := readJSON(filepath.Join(l.folder(ref), shimFile), &id) == nil
	st, err := l.Status(ref)
	if err != nil || st.State == exec.Starting {
		return
	}
	tell(st)
	if st.State != exec.Running || !known || !await(ctx, id.Shim) {
		return
	}
	// A Lost attempt counts as running until nothing of it does.
	for ctx.Err() == nil {
		if st, err = l.Status(ref); err != nil {
			return
		}
		if st.State != exec.Running {
			tell(st)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// await waits until a process has ended; false says that ctx has.
func await(ctx context.Context, p process) bool {
	fd, ok, err := p.open(unix.PIDFD_NONBLOCK)
	if err != nil {
		return false
	}
	if !ok {
		return true
	}
	f := os.NewFile(uintptr(fd), "process")
	defer f.Close()
	stop := context.AfterFunc(ctx, func() { f.SetReadDeadline(time.Unix(1, 0)) }) //nolint:errcheck // a descriptor of a process has deadlines
	defer stop()
	conn, err := f.SyscallConn()
	if err != nil {
		return false
	}
	// It can be read from when its process has ended.
	err = conn.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		return err == nil && n > 0
	})
	return err == nil
}
