package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/serve"
)

func servicesCommand(e *env) *cobra.Command {
	list := listing[serve.Service]{
		topic: "services",
		fetch: func(ctx context.Context, c *client.Client) ([]serve.Service, error) { return c.Services(ctx) },
		table: func(services []serve.Service) *table {
			t := newTable("no model is in service; `lineshaft deploy MODEL` serves one", "MODEL", "VERSIONS", "REQUESTS>", "ERRORS>", "PER SECOND>", "P50>", "P99>", "SINCE>")
			for _, s := range services {
				t.row(s.Model, versionsText(s), thousands(s.Requests), thousands(s.Errors), rate(s.RPS), millis(s.P50Ms), millis(s.P99Ms), e.age(s.Created))
			}
			return t
		},
	}.command(e, &cobra.Command{Use: "list", Short: "List the models in service"})
	show := &cobra.Command{
		Use: "show MODEL", Aliases: []string{"get"},
		Short: "Show a model in service with its versions",
		Args:  takes, ValidArgsFunction: e.completeServices(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.connect()
			if err != nil {
				return err
			}
			s, err := c.Service(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return e.show(s, func(w io.Writer) { e.serviceDetails(w, s) })
		},
	}
	return group(&cobra.Command{Use: "services [MODEL]", Short: "List the models in service, or show one", Aliases: []string{"service"}}, list, show, batchingCommand(e), idleCommand(e), driftCommand(e), requestsCommand(e))
}

func versionsText(s serve.Service) string {
	var out []string
	for _, v := range s.Versions {
		text := itoa(v.Version)
		if v.Asleep {
			text += " asleep"
		}
		if v.State != "AVAILABLE" {
			text += " " + strings.ToLower(string(v.State))
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func millis(ms float64) string {
	if ms == 0 {
		return ""
	}
	return number(ms) + " ms"
}

func (e *env) serviceDetails(w io.Writer, s serve.Service) {
	e.details(w, "model", s.Model, "requests", thousands(s.Requests), "errors", thousands(s.Errors), "per second", rate(s.RPS),
		"p50", millis(s.P50Ms), "p99", millis(s.P99Ms), "queue", queueText(s.Queue), "batching", batchingText(s.Batching), "since", e.when(s.Created))
	e.releaseDetails(w, s)
	fmt.Fprintln(w)
	t := newTable("no versions", "VERSION>", "STATE", "LABELS", "MEMORY>", "REQUESTS>", "ERRORS>", "LOADED>", "ERROR")
	for _, v := range s.Versions {
		state := string(v.State)
		if v.Asleep {
			state += " asleep"
		}
		t.row(v.Version, state, strings.Join(v.Labels, ", "), size(v.MemoryBytes), thousands(v.Requests), thousands(v.Errors), e.age(v.Loaded), v.Error)
	}
	e.print(w, t)
}
