package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/serve/upstream"
)

func upstreamsCommand(e *env) *cobra.Command {
	return listing[upstream.Status]{
		topic: "services",
		fetch: func(ctx context.Context, c *client.Client) ([]upstream.Status, error) { return c.Upstreams(ctx) },
		table: func(all []upstream.Status) *table {
			t := newTable("no service has servers of its own; a job with kind: service and `serve` is one", "SERVICE", "JOB>", "WELL>", "REPLICAS>", "WANTED>", "UNDER WAY>", "WAITING>", "REQUESTS>", "ERRORS>", "RETRIES>")
			for _, u := range all {
				id, replicas, wanted, well := "", itoa(int64(len(u.Servers))), "", 0
				for _, s := range u.Servers {
					if s.State == "well" {
						well++
					}
				}
				if u.Job != 0 {
					id = u.Job.String()
				}
				if u.Wish != nil {
					replicas, wanted = fmt.Sprint(u.Wish.Replicas), fmt.Sprint(u.Wish.Decision.Replicas)
				}
				t.row(u.Name, id, fmt.Sprint(well), replicas, wanted, fmt.Sprint(u.InFlight), fmt.Sprint(u.Waiting), thousands(u.Requests), thousands(u.Errors), thousands(u.Retries))
			}
			return t
		},
	}.command(e, &cobra.Command{Use: "upstreams", Short: "List the services that servers of their own answer, with their replicas and load", Args: cobra.NoArgs})
}
