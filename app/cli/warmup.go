package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/model"
)

func warmupCommand(e *env) *cobra.Command {
	file, remove, dry := "", false, false
	cmd := &cobra.Command{
		Use:   "warmup MODEL",
		Short: "Store requests that a version answers before it answers others, or show that it has some",
		Long: `Store requests that a version answers each time it is loaded, before it answers others: the first caller then does not pay
for what happens once, and a version that cannot answer them is not served. They are kept sealed with the version.

The file holds bodies of the predict call: {"requests": [{"instances": [[1, 2, 3]]}, …]}, a list of bodies, or one.`,
		Example: "  lineshaft models warmup mnist:3 --file requests.json\n  lineshaft models warmup mnist:3\n  lineshaft models warmup mnist:3 --remove",
		Args:    takes, ValidArgsFunction: e.completeModels(),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if file != "" && remove {
				return errs.Errorf("cli.warmup", errs.Invalid, "--file stores requests and --remove takes them away: give one")
			}
			r, err := parseModel(args[0])
			if err != nil {
				return err
			}
			c, err := e.connect()
			if err != nil {
				return err
			}
			n, err := r.resolve(ctx, c)
			if err != nil {
				return err
			}
			switch {
			case remove:
				if err := c.DeleteWarmup(ctx, r.name, n, dry); err != nil {
					return err
				}
				return e.done(map[string]any{"model": r.name, "version": n}, dry, "%s:%d has no warm-up requests any more", r.name, n)
			case file == "":
				w, err := c.Warmup(ctx, r.name, n)
				if err != nil {
					return err
				}
				return e.done(w, false, "%s:%d answers %s (%s) each time it is loaded, stored %s by %s", r.name, n, count(w.Requests, "warm-up request"), size(w.Size), e.when(w.Created), w.Creator)
			}
			body, err := e.text(file, model.MaxAttachment)
			if err != nil {
				return err
			}
			w, err := c.SetWarmup(ctx, r.name, n, body, dry)
			if err != nil {
				return err
			}
			return e.done(w, dry, "%s:%d answers %s each time it is loaded", r.name, n, count(w.Requests, "warm-up request"))
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "`file` with the requests, as JSON; - is standard input")
	cmd.Flags().BoolVar(&remove, "remove", false, "remove the version's warm-up requests")
	dryRun(cmd, &dry)
	return cmd
}

func idleCommand(e *env) *cobra.Command {
	dry := false
	cmd := &cobra.Command{
		Use:   "idle MODEL DURATION",
		Short: "Let a model leave memory after a time without a request, until one comes; never keeps it there",
		Long: `Let the versions of a model leave memory after a time without a request. The first request brings the version back; it and
those that come meanwhile wait, up to 256 of them and as long as their deadlines allow (30 s where they have none).`,
		Example: "  lineshaft services idle mnist 10m\n  lineshaft services idle mnist never",
		Args:    takes,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return []cobra.Completion{"never", "5m", "1h"}, cobra.ShellCompDirectiveNoFileComp
			}
			return e.completeServices()(cmd, args, typed)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			after := time.Duration(0)
			if args[1] != "never" {
				var err error
				if after, err = time.ParseDuration(args[1]); err != nil {
					return errs.Errorf("cli.idle", errs.Invalid, "%q is no duration: write for example 90s, 10m or never", args[1])
				}
			}
			c, err := e.connect()
			if err != nil {
				return err
			}
			s, err := c.SetIdle(cmd.Context(), args[0], api.Idle{After: job.Duration(after)}, dry)
			if err != nil {
				return err
			}
			if after == 0 {
				return e.done(s, dry, "%s stays in memory", s.Model)
			}
			return e.done(s, dry, "%s leaves memory after %v without a request, until one comes", s.Model, after)
		},
	}
	dryRun(cmd, &dry)
	return cmd
}
