package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/control"
)

func policiesCommand(e *env) *cobra.Command {
	list := listing[control.PolicyInfo]{
		topic: "actions",
		fetch: func(ctx context.Context, c *client.Client) ([]control.PolicyInfo, error) { return c.Policies(ctx) },
		table: func(all []control.PolicyInfo) *table {
			t := newTable("no policies", "POLICY", "MODE", "ABOUT")
			for _, p := range all {
				t.row(p.Name, p.Mode, p.About)
			}
			return t
		},
	}.command(e, &cobra.Command{Use: "list", Short: "List the policies of the loop with their modes"})
	dry := false
	set := &cobra.Command{
		Use:   "set POLICY MODE",
		Short: "Say how far a policy may go: off, advise (a person approves) or act",
		Args:  takes,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return []cobra.Completion{"off", "advise", "act"}, cobra.ShellCompDirectiveNoFileComp
			}
			return e.completePolicies()(cmd, args, typed)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("mode", args[1], "off", "advise", "act"); err != nil {
				return err
			}
			c, err := e.connect()
			if err != nil {
				return err
			}
			p, err := c.SetMode(cmd.Context(), args[0], control.Mode(args[1]), dry)
			if err != nil {
				return err
			}
			return e.done(p, dry, "policy %s: %s", args[0], args[1])
		},
	}
	dryRun(set, &dry)
	return group(&cobra.Command{Use: "policies", Short: "List the policies of the loop, or set how far one may go", Aliases: []string{"policy"}}, list, nil, set)
}
