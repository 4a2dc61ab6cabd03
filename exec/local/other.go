//go:build !linux

package local

import (
	"context"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
)

// Local stands for an executor where there can be none: the server runs, tasks do not.
type Local struct{}

// New makes one.
func New(Options) (*Local, error) { return &Local{}, nil }

// Hidden handles nothing here.
func Hidden([]string) (code int, handled bool) { return 0, false }

func refuse(op string) error {
	return errs.Errorf(op, errs.Unsupported, "tasks need Linux and this machine runs %s: start the server on Linux to run jobs", runtime.GOOS)
}

// Watch has nothing to tell until ctx ends.
func (*Local) Watch(ctx context.Context, _ func(exec.Status)) error {
	<-ctx.Done()
	return nil
}

// Isolation says that there is none.
func (*Local) Isolation(context.Context) ([]exec.Feature, error) {
	return nil, refuse("local.Isolation")
}

// Start refuses.
func (*Local) Start(context.Context, exec.Task) error { return refuse("local.Start") }

// Stop finds nothing to stop.
func (*Local) Stop(context.Context, exec.TaskRef, time.Duration) error { return nil }

// Observe sees nothing.
func (*Local) Observe(context.Context) ([]exec.Status, error) { return nil, nil }

// Status knows no attempt.
func (*Local) Status(ref exec.TaskRef) (exec.Status, error) {
	return exec.Status{}, errs.Errorf("local.Status", errs.NotFound, "no attempt %v on this machine", ref)
}

// Usage knows no attempt.
func (*Local) Usage(context.Context, exec.TaskRef) (exec.Usage, error) {
	return exec.Usage{}, refuse("local.Usage")
}

// Adjust knows no attempt.
func (*Local) Adjust(context.Context, exec.TaskRef, exec.Limits) error {
	return refuse("local.Adjust")
}

// Remove finds nothing to remove.
func (*Local) Remove(context.Context, exec.TaskRef) error { return nil }

// Forget finds nothing to remove.
func (*Local) Forget(context.Context, string) error { return nil }

// Logs knows no attempt.
func (*Local) Logs(context.Context, exec.TaskRef, int64, bool) (io.ReadCloser, error) {
	return nil, refuse("local.Logs")
}

// Journal is empty.
func (*Local) Journal(_ context.Context, _ exec.TaskRef, offset int64) ([]byte, int64, error) {
	return nil, offset, nil
}

// Output knows no attempt.
func (*Local) Output(context.Context, exec.TaskRef, string) (io.ReadCloser, error) {
	return nil, refuse("local.Output")
}

// OutputPath is always "".
func (*Local) OutputPath(exec.TaskRef, string) string { return "" }

// Shell refuses.
func (*Local) Shell(context.Context, exec.TaskRef, exec.Shell) (int, error) {
	return 0, refuse("local.Shell")
}

// Facts lets the scheduler place any job here, so that its owner reads from Start why it cannot run.
func (*Local) Facts(context.Context) (exec.Facts, error) {
	name, err := os.Hostname()
	return exec.Facts{Name: name, CPU: float64(runtime.NumCPU()), Memory: units.TiB, Disk: units.TiB}, errs.E("local.Facts", errs.Other, err)
}

var (
	_ exec.Tasks   = (*Local)(nil)
	_ exec.Outputs = (*Local)(nil)
	_ exec.Nodes   = (*Local)(nil)
	_ exec.Shells  = (*Local)(nil)
	_ exec.Meters  = (*Local)(nil)
)
