package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
)

func logsCommand(e *env) *cobra.Command {
	var follow bool
	var task int
	var offset int64
	cmd := &cobra.Command{
		Use:   "logs JOB",
		Short: "Print what a job's task wrote",
		Args:  takes, ValidArgsFunction: e.completeJobs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, id, err := e.job(ctx, args[0])
			if err != nil {
				return err
			}
			if follow {
				return e.tail(ctx, c.Retrying(serverBack), id, task, offset, e.out)
			}
			_, err = copyLog(ctx, c, id, task, offset, false, e.out)
			return err
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "wait for more until the job ends")
	cmd.Flags().IntVarP(&task, "task", "t", 0, "`number` of the task")
	cmd.Flags().Int64Var(&offset, "offset", 0, "pass over this many `bytes`")
	return cmd
}

// allLogs writes the logs of all tasks of a job until it ends; of several tasks each line has the task's number before it.
func (e *env) allLogs(ctx context.Context, c *client.Client, j job.Job) error {
	if len(j.Tasks) == 1 {
		return e.tail(ctx, c, j.ID, 0, 0, e.out)
	}
	var all sync.WaitGroup
	var out sync.Mutex
	failed := make([]error, len(j.Tasks))
	for i := range j.Tasks {
		all.Go(func() {
			w := &prefixed{w: e.out, mu: &out, prefix: fmt.Sprintf("[%d] ", i)}
			if failed[i] = e.tail(ctx, c, j.ID, i, 0, w); w.rest != "" {
				_, _ = w.Write([]byte("\n")) // the task's last line had no end
			}
		})
	}
	all.Wait()
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}

// tail writes a task's log until its job ends: one attempt after the other, and on from where it was when the stream
// broke off or the server restarted.
func (e *env) tail(ctx context.Context, c *client.Client, id job.ID, task int, offset int64, w io.Writer) error {
	for attempt := 0; ; {
		j, err := c.Job(ctx, id)
		if err != nil {
			return err
		}
		if task >= len(j.Tasks) {
			return errs.Errorf("cli.tail", errs.NotFound, "job/%d has no task %d: its tasks are 0 to %d", id, task, len(j.Tasks)-1)
		}
		over := ended(j) // what is read after that is all there is
		if now := j.Tasks[task].Attempt; now > attempt {
			if attempt > 0 {
				offset = 0
			}
			attempt = now
		}
		if attempt > 0 {
			n, err := copyLog(ctx, c, id, task, offset, !over, w)
			offset += n
			if err != nil && !errs.Is(err, errs.Unavailable) && !errs.Is(err, errs.NotFound) {
				return err
			}
		}
		if over {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookOften):
		}
	}
}

// copyLog writes a log from an offset on, and tells how many bytes that were.
func copyLog(ctx context.Context, c *client.Client, id job.ID, task int, offset int64, follow bool, w io.Writer) (int64, error) {
	const op = "cli.copyLog"
	r, err := c.Logs(ctx, id, task, offset, follow)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	n, err := io.Copy(w, r)
	if err != nil && ctx.Err() != nil {
		return n, errs.E(op, errs.Other, ctx.Err())
	}
	return n, errs.E(op, errs.Unavailable, err)
}

// prefixed writes whole lines with a prefix before each.
type prefixed struct {
	w      io.Writer
	mu     *sync.Mutex // of w
	prefix string
	rest   string // of a line whose end has not come
}

func (p *prefixed) Write(b []byte) (int, error) {
	text := p.rest + string(b)
	end := strings.LastIndexByte(text, '\n') + 1
	if p.rest = text[end:]; end == 0 {
		return len(b), nil
	}
	var out strings.Builder
	for line := range strings.Lines(text[:end]) {
		out.WriteString(p.prefix + line)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := io.WriteString(p.w, out.String()); err != nil {
		return 0, err
	}
	return len(b), nil
}
