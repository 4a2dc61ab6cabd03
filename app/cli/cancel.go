package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/job"
)

func cancelCommand(e *env) *cobra.Command {
	return e.jobChange(&cobra.Command{Use: "cancel JOB...", Short: "End jobs"}, "is to end",
		func(ctx context.Context, c *client.Client, id job.ID, dry bool) (job.Job, error) {
			return c.Cancel(ctx, id, dry)
		})
}

func retryCommand(e *env) *cobra.Command {
	return e.jobChange(&cobra.Command{Use: "retry JOB...", Short: "Run jobs that failed or were canceled again, from their last checkpoint"}, "runs again",
		func(ctx context.Context, c *client.Client, id job.ID, dry bool) (job.Job, error) {
			return c.Retry(ctx, id, dry)
		})
}

// jobChange is a command that does one thing to each of the jobs it names.
func (e *env) jobChange(cmd *cobra.Command, what string, change func(context.Context, *client.Client, job.ID, bool) (job.Job, error)) *cobra.Command {
	dry := false
	dryRun(cmd, &dry)
	cmd.Args, cmd.ValidArgsFunction = takes, e.completeJobs()
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		c, err := e.connect()
		if err != nil {
			return err
		}
		for _, ref := range args {
			id, err := jobID(ctx, c, ref)
			if err != nil {
				return err
			}
			j, err := change(ctx, c, id, dry)
			if err != nil {
				return err
			}
			if err := e.done(j, dry, "job/%d %s %s (%s)", j.ID, j.Name, what, j.State); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}
