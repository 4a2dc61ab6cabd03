//go:build linux

package local

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
)

// adjustWait is how long a shim may take to carry out a change of limits.
const adjustWait = 5 * time.Second

// Usage reads what the attempt's shim measured last.
func (l *Local) Usage(_ context.Context, ref exec.TaskRef) (exec.Usage, error) {
	const op = "local.Usage"
	if _, err := l.runs(op, ref); err != nil {
		return exec.Usage{}, err
	}
	g, err := readGauge(l.folder(ref))
	if errors.Is(err, os.ErrNotExist) || err == nil && g.Usage.Time.IsZero() {
		return exec.Usage{}, errs.Errorf(op, errs.Unavailable, "attempt %v has not been measured yet", ref)
	}
	return g.Usage, errs.E(op, errs.Other, err)
}

// runs finds the shim of a running attempt.
func (l *Local) runs(op string, ref exec.TaskRef) (identity, error) {
	var id identity
	dir := l.folder(ref)
	if !exists(filepath.Join(dir, intentFile)) {
		return id, errs.Errorf(op, errs.NotFound, "no attempt %v on this machine", ref)
	}
	if exists(filepath.Join(dir, exitFile)) || readJSON(filepath.Join(dir, shimFile), &id) != nil || !id.Shim.alive() {
		return id, errs.Errorf(op, errs.Conflict, "attempt %v does not run", ref)
	}
	return id, nil
}

// Adjust writes the limits down and lets the attempt's shim carry them out.
func (l *Local) Adjust(ctx context.Context, ref exec.TaskRef, want exec.Limits) error {
	const op = "local.Adjust"
	one := l.one(ref)
	one.Lock()
	defer one.Unlock()
	id, err := l.runs(op, ref)
	if err != nil {
		return err
	}
	dir := l.folder(ref)
	var in intent
	if err := readJSON(filepath.Join(dir, intentFile), &in); err != nil {
		return errs.E(op, errs.Other, err)
	}
	if want, err = within(want, in.Task.Limits); err != nil {
		return err
	}
	told, err := readGauge(dir)
	if err != nil { // nor would a shim that does not measure outlive the signal
		return errs.Errorf(op, errs.Unavailable, "the limits of attempt %v cannot be changed: its shim does not measure: %v", ref, err)
	}
	var last order
	readJSON(filepath.Join(dir, limitsFile), &last) //nolint:errcheck // the first
	o := order{Number: max(last.Number, told.Order) + 1, Limits: want}
	if err := writeDurably(filepath.Join(dir, limitsFile), o); err != nil {
		return diskFault(op, err)
	}
	if err := id.Shim.signal(signalled); err != nil {
		return errs.E(op, errs.Other, err)
	}
	for end := time.Now().Add(adjustWait); ; time.Sleep(2 * time.Millisecond) {
		told, err := readGauge(dir)
		switch {
		case err == nil && told.Order >= o.Number && told.Trouble != "":
			return errs.Errorf(op, errs.Unavailable, "the machine does not take the limits of attempt %v: %s", ref, told.Trouble)
		case err == nil && told.Order >= o.Number:
			return nil
		case ctx.Err() != nil:
			return errs.E(op, errs.Other, ctx.Err())
		case time.Now().After(end):
			if _, err := l.runs(op, ref); err != nil {
				return err
			}
			return errs.Errorf(op, errs.Unavailable, "the shim of attempt %v has not changed the limits within %v", ref, adjustWait)
		}
	}
}

// within fills in what is not to change and refuses what cannot be given while the attempt runs.
func within(want, promise exec.Limits) (exec.Limits, error) {
	const op = "local.Adjust"
	want.Processes, want.Accelerators = promise.Processes, promise.Accelerators
	def(&want.CPU, promise.CPU)
	def(&want.Bandwidth, promise.Bandwidth)
	if want.CPU < 0 || want.CPU > float64(runtime.NumCPU()) && want.CPU > promise.CPU || want.Bandwidth < 0 {
		return want, errs.Errorf(op, errs.Invalid, "%v cores and %v cannot be given: this machine has %d cores", want.CPU, want.Bandwidth, runtime.NumCPU())
	}
	for _, b := range []struct {
		what    string
		want    *units.Bytes
		promise units.Bytes
	}{{"memory", &want.Memory, promise.Memory}, {"disk", &want.Disk, promise.Disk}, {"storage", &want.Storage, promise.Storage}} {
		def(b.want, b.promise)
		if *b.want < 0 || *b.want > b.promise {
			return want, errs.Errorf(op, errs.Invalid, "%v of %s cannot be given to a task that was promised %v: it could not be taken back", *b.want, b.what, b.promise)
		}
	}
	return want, nil
}

var _ exec.Meters = (*Local)(nil)
