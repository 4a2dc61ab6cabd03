package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/job"
)

func cancelCommand(e *env) *cobra.Command {
	return e.jobChange(&cobra.Command{Use: "cancel JOB...", Short: "End jobs, or all of an array as array/ID"}, "is to end", "are to end", (*client.Client).Cancel, (*client.Client).CancelArray)
}

func retryCommand(e *env) *cobra.Command {
	return e.jobChange(&cobra.Command{Use: "retry JOB...", Short: "Run jobs that failed or were canceled again, from their last checkpoint; those of an array as array/ID"}, "runs again", "run again",
		(*client.Client).Retry, (*client.Client).RetryArray)
}

// jobChange is a command that does one thing to each of the jobs it names.
func (e *env) jobChange(cmd *cobra.Command, what, many string, change, changeAll func(*client.Client, context.Context, job.ID, bool) (job.Job, error)) *cobra.Command {
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
			if array, ok := arrayID(ref); ok {
				j, err := changeAll(c, ctx, array, dry)
				if err != nil {
					return err
				}
				if err := e.done(j, dry, "array/%d %s: its jobs %s (%s)", array, j.Name, many, members(j.Array)); err != nil {
					return err
				}
				continue
			}
			id, err := jobID(ctx, c, ref)
			if err != nil {
				return err
			}
			j, err := change(c, ctx, id, dry)
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
