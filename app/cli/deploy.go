package cli

import (
	"github.com/spf13/cobra"
)

func deployCommand(e *env) *cobra.Command {
	dry := false
	var p releaseFlags
	cmd := &cobra.Command{
		Use:   "deploy MODEL",
		Short: "Serve a version of a model, and return when it answers",
		Long: `Serve a version of a model, and return when it answers: the newest, MODEL:VERSION, or MODEL@ALIAS.

Where another version of the model answers, it goes on until the new one is ready, then ends its requests and is freed.

With one of --canary, --split, --shadow and --blue-green both stay, and a release leads from one to the other
(` + "`lineshaft rollout MODEL`" + ` shows it):
  --canary 10%    10 % of the requests that name no version, then more by steps while nothing is worse; judged and taken
                  back by itself unless --manual
  --split 20%     20 %, until you change it
  --shadow 5%     copies of 5 %, whose answers are compared and dropped
  --blue-green    none, until ` + "`lineshaft rollout switch MODEL`" + ` leads all of them over, and back`,
		Example: "  lineshaft deploy mnist:3\n  lineshaft deploy mnist@prod\n  lineshaft deploy mnist:4 --canary 10%",
		Args:    takes, ValidArgsFunction: e.completeModels(),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
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
			plan, err := p.plan(n)
			if err != nil {
				return err
			}
			b := e.bar()
			b.draw("loading "+r.name+":"+itoa(n), -1, "")
			if plan != nil {
				s, err := c.SetRelease(ctx, r.name, *plan, dry)
				b.clear()
				if err != nil {
					return err
				}
				return e.released(s, dry)
			}
			s, err := c.Deploy(ctx, r.name, n, "", dry)
			b.clear()
			if err != nil {
				return err
			}
			return e.done(s, dry, "%s:%d answers; ask it with `lineshaft predict %s --help`", r.name, n, r.name)
		},
	}
	p.add(cmd)
	dryRun(cmd, &dry)
	return cmd
}

func undeployCommand(e *env) *cobra.Command {
	dry := false
	cmd := &cobra.Command{
		Use:   "undeploy MODEL",
		Short: "Serve a model no more",
		Args:  takes, ValidArgsFunction: e.completeServices(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.connect()
			if err != nil {
				return err
			}
			if err := c.Undeploy(cmd.Context(), args[0], dry); err != nil {
				return err
			}
			return e.done(map[string]string{"model": args[0]}, dry, "%s is no longer served; its versions stay in the registry", args[0])
		},
	}
	dryRun(cmd, &dry)
	return cmd
}
