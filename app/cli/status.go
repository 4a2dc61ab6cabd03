package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/client"
)

func statusCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the server and the hall at a glance",
		Args:  takes,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := e.connect()
			if err != nil {
				return err
			}
			o, me, err := glance(cmd.Context(), c)
			if err != nil {
				return err
			}
			return e.show(o, func(w io.Writer) { e.statusDetails(w, o, me) })
		},
	}
}

func glance(ctx context.Context, c *client.Client) (api.Overview, api.Me, error) {
	me, err := c.Me(ctx)
	if err != nil {
		return api.Overview{}, me, err
	}
	o, err := c.Overview(ctx)
	return o, me, err
}

func (e *env) statusDetails(w io.Writer, o api.Overview, me api.Me) {
	var jobs []string
	for _, state := range slices.Sorted(maps.Keys(o.Jobs)) {
		jobs = append(jobs, fmt.Sprintf("%d %s", o.Jobs[state], state))
	}
	if len(jobs) == 0 {
		jobs = []string{"none"}
	}
	cordoned := 0
	for _, n := range o.Nodes {
		if n.Cordoned {
			cordoned++
		}
	}
	nodes := count(len(o.Nodes), "node")
	if cordoned > 0 {
		nodes += fmt.Sprintf(", %d cordoned", cordoned)
	}
	serving := count(o.Services, "model") + " in service"
	if o.RPS > 0 {
		serving += fmt.Sprintf(", %s requests a second, slowest p99 %s", rate(o.RPS), millis(o.P99Ms))
	}
	e.details(w, "server", "Lineshaft "+o.Version+", up "+span(seconds(o.UptimeSeconds)), "you", fmt.Sprintf("%s, role %s, by %s", me.Name, me.Role, me.Via),
		"console", o.Addresses.Console, "serving", o.Addresses.Serving+" (REST), "+o.Addresses.ServingGRPC+" (gRPC)", "hall", nodes,
		"in use", fmt.Sprintf("%s of %s cores, %s of %s memory", number(o.CPUUsed), number(o.CPUTotal), o.MemoryUsed, o.MemoryTotal),
		"jobs", strings.Join(jobs, ", "), "models", itoa(int64(o.Models)), "services", serving, "actions", fmt.Sprintf("%d in the last day", o.Actions24h))
}
