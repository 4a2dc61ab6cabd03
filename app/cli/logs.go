package cli

import (
	"github.com/spf13/cobra"
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
			c, err := e.connect()
			if err != nil {
				return err
			}
			id, err := jobID(ctx, c, args[0])
			if err != nil {
				return err
			}
			return e.copyLog(ctx, c, id, task, offset, follow, e.out)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "wait for more until the task ends")
	cmd.Flags().IntVarP(&task, "task", "t", 0, "`number` of the task")
	cmd.Flags().Int64Var(&offset, "offset", 0, "pass over this many `bytes`")
	return cmd
}
