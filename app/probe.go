package app

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/exec/local"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/job"
)

// Isolation runs an empty task in a folder of its own, apart from every data folder, and says what kept it apart.
// Nothing but a real task shows what this machine really enforces.
func Isolation(ctx context.Context) (features []job.Feature, err error) {
	const op = "app.Isolation"
	dir, err := os.MkdirTemp("", "lineshaft-doctor-*")
	if err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	defer os.RemoveAll(dir)
	tasks, err := local.New(local.Options{Dir: filepath.Join(dir, "tasks"), Hide: []string{filepath.Join(dir, "hidden")}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	ref := exec.TaskRef{Job: "1", Attempt: 1}
	err = tasks.Start(ctx, exec.Task{
		Ref: ref, Argv: []string{"true"}, User: "doctor", Policy: exec.Policy{AllowLess: true},
		Limits: exec.Limits{CPU: 1, Memory: 64 * units.MiB, Processes: 16, Disk: units.MiB},
	})
	if err != nil {
		return nil, err
	}
	for {
		st, err := tasks.Status(ref)
		if err != nil {
			return nil, err
		}
		if st.State == exec.Exited || st.State == exec.Lost {
			for _, f := range st.Isolation {
				features = append(features, job.Feature(f))
			}
			if st.ExitCode != 0 || st.State == exec.Lost {
				err = errs.Errorf(op, errs.Unavailable, "an empty task ended with code %d: %s", st.ExitCode, st.Reason)
			}
			return features, err
		}
		select {
		case <-ctx.Done():
			return nil, errs.E(op, errs.Other, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}
