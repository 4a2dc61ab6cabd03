package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/trust/secret"
)

func secretsCommand(e *env) *cobra.Command {
	list := listing[secret.Secret]{
		topic: "audit",
		fetch: func(ctx context.Context, c *client.Client) ([]secret.Secret, error) { return c.Secrets(ctx) },
		table: func(all []secret.Secret) *table {
			t := newTable("no secrets; `lineshaft secrets set NAME` keeps one", "NAME", "OWNER", "UPDATED>")
			for _, s := range all {
				t.row(s.Name, s.Owner, e.age(s.Updated))
			}
			return t
		},
	}.command(e, &cobra.Command{Use: "list", Short: "List secrets by name; nobody is shown a value"})
	return group(&cobra.Command{Use: "secrets", Short: "List the secrets that jobs may use; set or delete one", Aliases: []string{"secret"}}, list, nil, setSecretCommand(e), deleteSecretCommand(e))
}

func setSecretCommand(e *env) *cobra.Command {
	file := ""
	dry := false
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Keep a secret, sealed; its value is asked for, or read from a file or standard input",
		Long: `Keep a secret, sealed; its value is asked for, or read from a file or standard input. It is never an argument, which
everybody on the machine could read. One line break at the end does not belong to it.`,
		Example: "  lineshaft secrets set hub-token < token.txt\n  lineshaft run --secret hub-token=HUB_TOKEN -- ./fetch.sh",
		Args:    takes, ValidArgsFunction: e.completeSecrets(),
		RunE: func(cmd *cobra.Command, args []string) error {
			value, err := e.secret(file, "value of "+args[0])
			if err != nil {
				return err
			}
			c, err := e.connect()
			if err != nil {
				return err
			}
			s, err := c.SetSecret(cmd.Context(), args[0], value, dry)
			if err != nil {
				return err
			}
			return e.done(s, dry, "secret %s is kept, sealed", args[0])
		},
	}
	cmd.Flags().StringVar(&file, "from-file", "", "`file` that holds the value, - for standard input")
	_ = cmd.MarkFlagFilename("from-file") // only fails for a flag that is not there
	dryRun(cmd, &dry)
	return cmd
}

func deleteSecretCommand(e *env) *cobra.Command {
	dry := false
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Forget a secret; jobs that name it fail from then on",
		Args:  takes, ValidArgsFunction: e.completeSecrets(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.connect()
			if err != nil {
				return err
			}
			if err := c.DeleteSecret(cmd.Context(), args[0], dry); err != nil {
				return err
			}
			return e.done(map[string]string{"name": args[0]}, dry, "secret %s is gone", args[0])
		},
	}
	dryRun(cmd, &dry)
	return cmd
}
