package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/control"
	"github.com/lineshaft/lineshaft/data"
	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/trust/access"
	"github.com/lineshaft/lineshaft/trust/secret"
)

// complete sets how a flag's values are completed. It only fails for a flag that the command does not have.
func complete(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err)
	}
}

// completeWithin is how long a person who pressed tab waits for a server.
const completeWithin = time.Second

// naming is what a listing offers for completion: each with a few words about it.
type naming[T any] func(item T) (name, about string)

// completeFrom asks the server quickly; one that does not answer offers nothing.
func completeFrom[T any](e *env, fetch func(ctx context.Context, c *client.Client) ([]T, error), name naming[T]) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		const nothing = cobra.ShellCompDirectiveNoFileComp
		if _, most := arguments(cmd); len(args) >= most {
			return nil, nothing
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
		defer cancel()
		c, err := e.connect()
		if err != nil {
			return nil, nothing
		}
		items, err := fetch(ctx, c)
		if err != nil {
			return nil, nothing
		}
		var out []cobra.Completion
		for _, item := range items {
			out = append(out, cobra.CompletionWithDesc(name(item)))
		}
		return out, nothing | cobra.ShellCompDirectiveKeepOrder
	}
}

func (e *env) completeJobs() cobra.CompletionFunc {
	return completeFrom(e, func(ctx context.Context, c *client.Client) ([]job.Job, error) {
		return c.Jobs(ctx, job.Filter{Limit: 50})
	},
		func(j job.Job) (string, string) {
			return j.ID.String(), j.Name + ", " + string(j.State) + ", " + e.age(j.Created) + " ago"
		})
}

func (e *env) completeModels() cobra.CompletionFunc {
	return completeFrom(e, func(ctx context.Context, c *client.Client) ([]model.Model, error) { return c.Models(ctx) },
		func(m model.Model) (string, string) { return m.Name, count(m.Versions, "version") })
}

func (e *env) completeServices() cobra.CompletionFunc {
	return completeFrom(e, func(ctx context.Context, c *client.Client) ([]serve.Service, error) { return c.Services(ctx) },
		func(s serve.Service) (string, string) { return s.Model, "version " + versionsText(s) })
}

func (e *env) completeData() cobra.CompletionFunc {
	return completeFrom(e, func(ctx context.Context, c *client.Client) ([]data.Set, error) { return c.DataSets(ctx) },
		func(s data.Set) (string, string) { return s.Name, s.Format + ", " + size(s.Size) })
}

func (e *env) completeNodes() cobra.CompletionFunc {
	return completeFrom(e, func(ctx context.Context, c *client.Client) ([]fleet.Node, error) { return c.Fleet(ctx) },
		func(n fleet.Node) (string, string) { return n.Name, number(n.CPU) + " cores" })
}

func (e *env) completePolicies() cobra.CompletionFunc {
	return completeFrom(e, func(ctx context.Context, c *client.Client) ([]control.PolicyInfo, error) { return c.Policies(ctx) },
		func(p control.PolicyInfo) (string, string) { return p.Name, string(p.Mode) })
}

func (e *env) completeActions() cobra.CompletionFunc {
	return completeFrom(e, func(ctx context.Context, c *client.Client) ([]control.Action, error) { return c.Actions(ctx, true) },
		func(a control.Action) (string, string) { return a.ID, a.Verb + " " + a.Subject })
}

func (e *env) completeUsers() cobra.CompletionFunc {
	return completeFrom(e, func(ctx context.Context, c *client.Client) ([]access.User, error) { return c.Users(ctx) },
		func(u access.User) (string, string) { return u.Name, string(u.Role) })
}

func (e *env) completeTokens() cobra.CompletionFunc {
	return completeFrom(e, func(ctx context.Context, c *client.Client) ([]access.Token, error) { return c.Tokens(ctx) },
		func(t access.Token) (string, string) { return t.ID, t.Name + " " + t.User })
}

func (e *env) completeGrants() cobra.CompletionFunc {
	return completeFrom(e, func(ctx context.Context, c *client.Client) ([]access.Grant, error) { return c.Grants(ctx) },
		func(g access.Grant) (string, string) { return g.ID, whom(g) + " on " + g.Type + "/" + g.Name })
}

func (e *env) completeSecrets() cobra.CompletionFunc {
	return completeFrom(e, func(ctx context.Context, c *client.Client) ([]secret.Secret, error) { return c.Secrets(ctx) },
		func(s secret.Secret) (string, string) { return s.Name, s.Owner })
}
