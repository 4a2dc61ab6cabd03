package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/trust/access"
)

func grantsCommand(e *env) *cobra.Command {
	list := listing[access.Grant]{
		topic: "audit",
		fetch: func(ctx context.Context, c *client.Client) ([]access.Grant, error) { return c.Grants(ctx) },
		table: func(all []access.Grant) *table {
			t := newTable("no grants beyond what the roles may", "ID", "WHO", "MAY", "ON", "BY", "AGE>")
			for _, g := range all {
				t.row(g.ID, whom(g), strings.Join(g.Actions, " "), g.Type+"/"+g.Name, g.By, e.age(g.Created))
			}
			return t
		},
	}.command(e, &cobra.Command{Use: "list", Short: "List what users and roles may beyond their roles"})
	return group(&cobra.Command{Use: "grants", Short: "List what users and roles may beyond their roles; give or take back a grant", Aliases: []string{"grant"}}, list, nil, giveCommand(e), takeCommand(e))
}

func whom(g access.Grant) string {
	if g.User != "" {
		return "user " + g.User
	}
	return "role " + string(g.Role)
}

func giveCommand(e *env) *cobra.Command {
	var g api.NewGrant
	dry := false
	cmd := &cobra.Command{
		Use:   "give TYPE/NAME ACTION...",
		Short: "Let a user, or everyone with a role, do more to a thing, or to all of a type (TYPE/*)",
		Example: `  lineshaft grants give model/mnist export --user alice
  lineshaft grants give 'data/*' export --role developer`,
		Args: takes,
		RunE: func(cmd *cobra.Command, args []string) error {
			const op = "cli.give"
			var ok bool
			if g.Type, g.Name, ok = strings.Cut(args[0], "/"); !ok || g.Type == "" || g.Name == "" {
				return errs.Errorf(op, errs.Invalid, "%q names no thing: write for example model/mnist, or 'model/*' for all models", args[0])
			}
			if (g.User == "") == (g.Role == "") {
				return errs.Errorf(op, errs.Invalid, "say for whom: either --user NAME or --role ROLE")
			}
			g.Actions = args[1:]
			c, err := e.connect()
			if err != nil {
				return err
			}
			made, err := c.CreateGrant(cmd.Context(), g, dry)
			if err != nil {
				return err
			}
			return e.done(made, dry, "%s may %s %s/%s (grant %s)", whom(made), strings.Join(made.Actions, ", "), made.Type, made.Name, made.ID)
		},
	}
	cmd.Flags().StringVar(&g.User, "user", "", "`account` that may")
	cmd.Flags().StringVar(&g.Role, "role", "", "`role` that may")
	complete(cmd, "role", cobra.FixedCompletions(roles(), cobra.ShellCompDirectiveNoFileComp))
	complete(cmd, "user", e.completeUsers())
	dryRun(cmd, &dry)
	return cmd
}

func takeCommand(e *env) *cobra.Command {
	dry := false
	cmd := &cobra.Command{
		Use:   "take ID",
		Short: "Take a grant back",
		Args:  takes, ValidArgsFunction: e.completeGrants(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.connect()
			if err != nil {
				return err
			}
			if err := c.DeleteGrant(cmd.Context(), args[0], dry); err != nil {
				return err
			}
			return e.done(map[string]string{"id": args[0]}, dry, "grant %s is gone", args[0])
		},
	}
	dryRun(cmd, &dry)
	return cmd
}
