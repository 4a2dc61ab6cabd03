package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/trust/access"
)

// roles are those that can be given.
func roles() []string { return []string{"admin", "developer", "viewer", "service"} }

func usersCommand(e *env) *cobra.Command {
	list := listing[access.User]{
		topic: "audit",
		fetch: func(ctx context.Context, c *client.Client) ([]access.User, error) { return c.Users(ctx) },
		table: func(all []access.User) *table {
			t := newTable("no accounts", "NAME", "ROLE", "STATE", "SIGNS IN BY", "LAST SIGN-IN>", "AGE>")
			for _, u := range all {
				state, by, last := "open", "link", ""
				if u.Disabled {
					state = "closed"
				}
				if u.HasPassword {
					by = "password"
				}
				if u.LastSignIn != nil {
					last = e.age(*u.LastSignIn)
				}
				t.row(u.Name, u.Role, state, by, last, e.age(u.Created))
			}
			return t
		},
	}.command(e, &cobra.Command{Use: "list", Short: "List accounts"})
	return group(&cobra.Command{Use: "users", Short: "List accounts; make, change or remove one, or let one in", Aliases: []string{"user"}}, list, nil,
		createUserCommand(e), linkCommand(e), roleCommand(e), passwordCommand(e),
		closeCommand(e, "close", "Close an account: it may not sign in, its tokens are refused", true), closeCommand(e, "open", "Open an account that was closed", false),
		deleteUserCommand(e))
}

func createUserCommand(e *env) *cobra.Command {
	var u api.NewUser
	var password passwordFlags
	dry := false
	cmd := &cobra.Command{
		Use:     "create NAME",
		Short:   "Make an account",
		Long:    "Make an account. Without a password it signs in by a link: `lineshaft users link NAME` makes one.",
		Example: "  lineshaft users create alice --role developer\n  pwgen 20 1 | lineshaft users create bob --role viewer --password-file -",
		Args:    takes,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := oneOf("--role", u.Role, roles()...); err != nil {
				return err
			}
			u.Name = args[0]
			if u.Password, err = password.read(e); err != nil {
				return err
			}
			c, err := e.connect()
			if err != nil {
				return err
			}
			made, err := c.CreateUser(cmd.Context(), u, dry)
			if err != nil {
				return err
			}
			hint := ""
			if u.Password == "" {
				hint = "; let it in with `lineshaft users link " + made.Name + "`"
			}
			return e.done(made, dry, "account %s has the role %s%s", made.Name, made.Role, hint)
		},
	}
	cmd.Flags().StringVar(&u.Role, "role", "viewer", "`role`: "+strings.Join(roles(), ", "))
	complete(cmd, "role", cobra.FixedCompletions(roles(), cobra.ShellCompDirectiveNoFileComp))
	password.flags(cmd)
	dryRun(cmd, &dry)
	return cmd
}

func linkCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "link NAME",
		Short: "Make a link that signs an account in once, within an hour",
		Args:  takes, ValidArgsFunction: e.completeUsers(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.connect()
			if err != nil {
				return err
			}
			l, err := c.LinkUser(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			o, err := c.Overview(cmd.Context())
			if err != nil {
				return err
			}
			url := o.Addresses.Console + l.Path
			return e.show(map[string]string{"url": url, "code": l.Code}, func(w io.Writer) { fmt.Fprintln(w, url) })
		},
	}
}

// changeUser is a command that changes an account.
func (e *env) changeUser(cmd *cobra.Command, what string, change func(args []string) (api.UserChange, error)) *cobra.Command {
	dry := false
	dryRun(cmd, &dry)
	cmd.Args, cmd.ValidArgsFunction = takes, e.completeUsers()
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ch, err := change(args)
		if err != nil {
			return err
		}
		c, err := e.connect()
		if err != nil {
			return err
		}
		u, err := c.ChangeUser(cmd.Context(), args[0], ch, dry)
		if err != nil {
			return err
		}
		return e.done(u, dry, "account %s %s", args[0], what)
	}
	return cmd
}

func roleCommand(e *env) *cobra.Command {
	return e.changeUser(&cobra.Command{Use: "role NAME ROLE", Short: "Change an account's role: " + strings.Join(roles(), ", ")}, "has the new role",
		func(args []string) (api.UserChange, error) {
			return api.UserChange{Role: &args[1]}, oneOf("role", args[1], roles()...)
		})
}

func closeCommand(e *env, name, short string, disabled bool) *cobra.Command {
	what := map[bool]string{true: "is closed", false: "is open"}[disabled]
	return e.changeUser(&cobra.Command{Use: name + " NAME", Short: short}, what,
		func([]string) (api.UserChange, error) { return api.UserChange{Disabled: &disabled}, nil })
}

func passwordCommand(e *env) *cobra.Command {
	var p passwordFlags
	cmd := e.changeUser(&cobra.Command{Use: "password NAME", Short: "Set an account's password, which is asked for or read from a file"}, "has the new password",
		func([]string) (api.UserChange, error) {
			p.ask = true
			text, err := p.read(e)
			return api.UserChange{Password: &text}, err
		})
	p.flags(cmd)
	return cmd
}

func deleteUserCommand(e *env) *cobra.Command {
	dry := false
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Remove an account with its tokens and grants; what it owns stays, for admins",
		Args:  takes, ValidArgsFunction: e.completeUsers(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.connect()
			if err != nil {
				return err
			}
			if err := c.DeleteUser(cmd.Context(), args[0], dry); err != nil {
				return err
			}
			return e.done(map[string]string{"name": args[0]}, dry, "account %s is gone", args[0])
		},
	}
	dryRun(cmd, &dry)
	return cmd
}

// passwordFlags say where a password comes from. It is never an argument: those are seen by everybody on the machine.
type passwordFlags struct {
	file string
	ask  bool
}

func (p *passwordFlags) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.file, "password-file", "", "`file` that holds the password, - for standard input")
}

func (p *passwordFlags) read(e *env) (string, error) {
	if p.file == "" && !p.ask {
		return "", nil
	}
	b, err := e.secret(p.file, "password")
	return string(b), err
}

// maxSecret is how much of a secret is read.
const maxSecret = 64 << 10

// secret reads a secret value from a file, from standard input ("-"), or from the terminal without showing it. One line
// break at the end is the editor's, not the secret's.
func (e *env) secret(file, what string) ([]byte, error) {
	const op = "cli.secret"
	var b []byte
	var err error
	if fd := terminal(e.in); fd >= 0 && (file == "" || file == "-") {
		fmt.Fprintf(e.err, "%s (not shown): ", what)
		b, err = term.ReadPassword(fd)
		fmt.Fprintln(e.err)
		if err != nil {
			return nil, errs.E(op, errs.Canceled, err)
		}
	} else if b, err = e.text(orStdin(file), maxSecret); err != nil {
		return nil, err
	}
	b = []byte(strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"))
	if len(b) == 0 {
		return nil, errs.Errorf(op, errs.Invalid, "the %s is empty", what)
	}
	return b, nil
}

func orStdin(file string) string {
	if file == "" {
		return "-"
	}
	return file
}
