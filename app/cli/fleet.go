package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/errs"
)

func fleetCommand(e *env) *cobra.Command {
	return listing[fleet.Node]{
		topic: "fleet",
		fetch: func(ctx context.Context, c *client.Client) ([]fleet.Node, error) { return c.Fleet(ctx) },
		table: func(nodes []fleet.Node) *table {
			known := knownOf(nodes)
			head := []string{"NODE", "STATE", "CPU>", "MEMORY>", "DISK>", "ACCELERATORS"}
			for _, f := range known {
				head = append(head, f.name)
			}
			t := newTable("no nodes", append(head, "REASON")...)
			for _, n := range nodes {
				state := "ready"
				if n.Cordoned {
					state = "cordoned"
				}
				row := []any{n.Name, state, number(n.CPU), n.Memory, n.Disk, acceleratorsText(n)}
				for _, f := range known {
					row = append(row, f.text(n))
				}
				t.row(append(row, n.Reason)...)
			}
			return t
		},
	}.command(e, &cobra.Command{Use: "fleet", Short: "List the machines", Aliases: []string{"nodes"}})
}

// siteFact is a column of what the site's configuration tells of a node.
type siteFact struct {
	name string
	text func(fleet.Node) string
}

// knownOf are the columns of which any of the nodes has something.
func knownOf(nodes []fleet.Node) []siteFact {
	return slices.DeleteFunc([]siteFact{
		{"RACK", func(n fleet.Node) string { return n.Rack }},
		{"FEED", func(n fleet.Node) string { return n.Feed }},
		{"IDLE>", func(n fleet.Node) string { return quantity(n.IdleWatts) }},
		{"AT MOST>", func(n fleet.Node) string { return quantity(n.MaxWatts) }},
		{"NETWORK>", func(n fleet.Node) string { return quantity(n.Bandwidth) }},
		{"STORAGE>", func(n fleet.Node) string { return quantity(n.Storage) }},
	}, func(f siteFact) bool {
		return !slices.ContainsFunc(nodes, func(n fleet.Node) bool { return f.text(n) != "" })
	})
}

// quantity writes what is not zero.
func quantity[T interface {
	comparable
	fmt.Stringer
}](v T) string {
	var zero T
	if v == zero {
		return ""
	}
	return v.String()
}

func acceleratorsText(n fleet.Node) string {
	if len(n.Accelerators) == 0 {
		return ""
	}
	return fmt.Sprintf("%d × %s", len(n.Accelerators), n.Accelerators[0].Model)
}

func cordonCommand(e *env) *cobra.Command {
	var reason string
	var dry bool
	cmd := &cobra.Command{
		Use:     "cordon NODE",
		Short:   "Let a machine take no new work; what runs there runs on",
		Example: `  lineshaft cordon rack1-node2 --reason "fan replaced today"`,
		Args:    takes, ValidArgsFunction: e.completeNodes(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if reason == "" {
				return errs.Errorf("cli.cordon", errs.Invalid, "say why with --reason TEXT: whoever finds the machine idle will ask")
			}
			c, err := e.connect()
			if err != nil {
				return err
			}
			n, err := c.Cordon(cmd.Context(), args[0], reason, dry)
			if err != nil {
				return err
			}
			return e.done(n, dry, "%s takes no new work: %s", args[0], reason)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "`text` that says why")
	dryRun(cmd, &dry)
	return cmd
}

func uncordonCommand(e *env) *cobra.Command {
	dry := false
	cmd := &cobra.Command{
		Use:   "uncordon NODE",
		Short: "Let a machine take work again",
		Args:  takes, ValidArgsFunction: e.completeNodes(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.connect()
			if err != nil {
				return err
			}
			n, err := c.Uncordon(cmd.Context(), args[0], dry)
			if err != nil {
				return err
			}
			return e.done(n, dry, "%s takes work again", args[0])
		},
	}
	dryRun(cmd, &dry)
	return cmd
}
