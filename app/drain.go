package app

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/serve/upstream"
)

// drained is an executor that lets a replica finish the requests that it has before it is told to end, for as long as its
// job's grace. Should the server end meanwhile, the next one finds the replica still there and stops it again.
type drained struct {
	exec.Tasks
	upstreams *upstream.Upstreams
	log       *slog.Logger

	mu      sync.Mutex
	leaving map[exec.TaskRef]bool
	owned   sync.WaitGroup
}

// Stop does not wait.
func (d *drained) Stop(ctx context.Context, ref exec.TaskRef, grace time.Duration) error {
	n, err := strconv.ParseInt(ref.Job, 10, 64)
	id := job.ID(n)
	if err != nil || grace <= 0 || d.upstreams == nil || !d.upstreams.Serves(id) {
		return d.Tasks.Stop(ctx, ref, grace)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.leaving[ref] {
		return nil // asked before
	}
	if d.leaving == nil {
		d.leaving = map[exec.TaskRef]bool{}
	}
	d.leaving[ref] = true
	d.owned.Go(func() {
		patience, cancel := context.WithTimeout(ctx, grace)
		d.upstreams.Drain(patience, id, ref.Index, ref.Attempt)
		cancel()
		if ctx.Err() == nil {
			if err := d.Tasks.Stop(ctx, ref, grace); err != nil && !errs.Is(err, errs.NotFound) {
				d.log.Warn("jobs: a replica could not be stopped", "task", ref.String(), "err", errs.Trace(err))
			}
		}
		d.mu.Lock()
		delete(d.leaving, ref)
		d.mu.Unlock()
	})
	return nil
}

var _ exec.Tasks = (*drained)(nil)
