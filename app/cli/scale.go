package cli

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/internal/errs"
)

func scaleCommand(e *env) *cobra.Command {
	dry := false
	cmd := &cobra.Command{
		Use:   "scale JOB REPLICAS",
		Short: "Change how many replicas a service has",
		Args:  takes, ValidArgsFunction: e.completeJobs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			n, err := strconv.Atoi(args[1])
			if err != nil || n < 0 {
				return errs.Errorf("cli.scale", errs.Invalid, "%q is no number of replicas", args[1])
			}
			c, id, err := e.job(ctx, args[0])
			if err != nil {
				return err
			}
			j, err := c.SetReplicas(ctx, id, n, dry)
			if err != nil {
				return err
			}
			return e.done(j, dry, "job/%d %s is to have %s", j.ID, j.Name, count(n, "replica"))
		},
	}
	dryRun(cmd, &dry)
	return cmd
}
