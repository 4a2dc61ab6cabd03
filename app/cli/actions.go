package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/control"
)

func actionsCommand(e *env) *cobra.Command {
	open := false
	cmd := listing[control.Action]{
		topic: "actions",
		fetch: func(ctx context.Context, c *client.Client) ([]control.Action, error) { return c.Actions(ctx, open) },
		table: func(all []control.Action) *table {
			t := newTable("no actions: the loop has had no reason to act", "ACTION", "AGE>", "POLICY", "STATE", "VERB", "SUBJECT", "REASONS", "OUTCOME")
			for _, a := range all {
				t.row(a.ID, e.age(a.Time), a.Policy, a.State, a.Verb, a.Subject, strings.Join(a.Reasons, "; "), a.Outcome)
			}
			return t
		},
	}.command(e, &cobra.Command{Use: "actions", Short: "List what the loop advises, decided and did, with its reasons", Aliases: []string{"advice"}})
	cmd.Flags().BoolVar(&open, "open", false, "only those that are not at their end")
	return cmd
}

func approveCommand(e *env) *cobra.Command {
	dry := false
	cmd := &cobra.Command{
		Use:   "approve ACTION",
		Short: "Let a proposed action go ahead",
		Args:  takes, ValidArgsFunction: e.completeActions(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.connect()
			if err != nil {
				return err
			}
			a, err := c.Approve(cmd.Context(), args[0], dry)
			if err != nil {
				return err
			}
			return e.done(a, dry, "%s goes ahead: %s %s", a.ID, a.Verb, a.Subject)
		},
	}
	dryRun(cmd, &dry)
	return cmd
}
