package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/trust/access"
)

func tokensCommand(e *env) *cobra.Command {
	list := listing[access.Token]{
		topic: "audit",
		fetch: func(ctx context.Context, c *client.Client) ([]access.Token, error) { return c.Tokens(ctx) },
		table: func(all []access.Token) *table {
			t := newTable("no tokens; `lineshaft tokens create` makes one", "ID", "NAME", "USER", "ROLE", "SCOPES", "EXPIRES IN>", "LAST USED>", "AGE>")
			for _, k := range all {
				last := "never"
				if k.LastUsed != nil {
					last = e.age(*k.LastUsed)
				}
				t.row(k.ID, k.Name, k.User, k.Role, strings.Join(k.Scopes, " "), short(k.Expires.Sub(e.now())), last, e.age(k.Created))
			}
			return t
		},
	}.command(e, &cobra.Command{Use: "list", Short: "List tokens"})
	return group(&cobra.Command{Use: "tokens", Short: "List the keys of programs; make or revoke one", Aliases: []string{"token"}}, list, nil, createTokenCommand(e), revokeTokenCommand(e))
}

func createTokenCommand(e *env) *cobra.Command {
	var t api.NewToken
	var ttl time.Duration
	dry := false
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a token; it is shown this once",
		Long: `Make a token; it is shown this once.

A scope limits it to an action ("read", which lists too) or to an action and the name of a thing ("predict:mnist").`,
		Example: `  lineshaft tokens create --role service --scope predict:mnist --name kiosk
  lineshaft tokens create --role viewer -o json | jq -r .token > token && chmod 600 token`,
		Args: takes,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if t.Role != "" {
				if err := oneOf("--role", t.Role, roles()...); err != nil {
					return err
				}
			}
			c, err := e.connect()
			if err != nil {
				return err
			}
			t.TTL = job.Duration(ttl)
			made, err := c.CreateToken(cmd.Context(), t, dry)
			if err != nil {
				return err
			}
			if dry {
				return e.done(made, true, "a token of %s with the role %s", made.User, made.Role)
			}
			if err := e.show(made, func(w io.Writer) { fmt.Fprintln(w, made.Secret) }); err != nil {
				return err
			}
			e.note("token %s of %s, role %s, for %s; it is shown this once: keep it in a file of mode 600 and use --token-file", made.ID, made.User, made.Role, short(made.Expires.Sub(e.now())))
			return nil
		},
	}
	cmd.Flags().StringVar(&t.Name, "name", "", "what it is for, in `words`")
	cmd.Flags().StringVar(&t.User, "user", "", "`account` it belongs to (default yours)")
	cmd.Flags().StringVar(&t.Role, "role", "", "`role` (default yours): "+strings.Join(roles(), ", "))
	cmd.Flags().StringArrayVar(&t.Scopes, "scope", nil, "limit it to this `scope`; may be given more than once")
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "how `long` it lives (default 2160h, 90 days)")
	complete(cmd, "role", cobra.FixedCompletions(roles(), cobra.ShellCompDirectiveNoFileComp))
	dryRun(cmd, &dry)
	return cmd
}

func revokeTokenCommand(e *env) *cobra.Command {
	dry := false
	cmd := &cobra.Command{
		Use:   "revoke ID",
		Short: "End a token",
		Args:  takes, ValidArgsFunction: e.completeTokens(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.connect()
			if err != nil {
				return err
			}
			if err := c.RevokeToken(cmd.Context(), args[0], dry); err != nil {
				return err
			}
			return e.done(map[string]string{"id": args[0]}, dry, "token %s is refused from now on", args[0])
		},
	}
	dryRun(cmd, &dry)
	return cmd
}
