package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/serve"
)

func driftCommand(e *env) *cobra.Command {
	take, dry := false, false
	cmd := &cobra.Command{
		Use:   "drift MODEL",
		Short: "Show whether what a model is asked and answers is distributed as in its training",
		Long: `Show, for each version in service, whether what it was asked in the last hour, and what it answered, is distributed as
in its training. The built-in trainer keeps how its data was distributed with the version; for other models
--take-reference makes what was lately asked the reference.

PSI is the population stability index, less what chance makes of it; KS the distance of the distributions, with the limit
that chance passes once in a hundred looks. "some" is a PSI above 0.1, "drift" one above 0.25, both with KS beyond its limit.`,
		Example: "  lineshaft services drift mnist\n  lineshaft services drift mnist:3 --take-reference",
		Args:    takes, ValidArgsFunction: e.completeServices(),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			r, err := parseModel(args[0])
			if err != nil {
				return err
			}
			c, err := e.connect()
			if err != nil {
				return err
			}
			if take {
				t, err := c.TakeReference(ctx, r.name, r.version, dry)
				if err != nil {
					return err
				}
				return e.done(t, dry, "%s: drift is told from here on, from %s of requests", args[0], count(t.Rows, "row"))
			}
			s, err := c.Service(ctx, r.name)
			if err != nil {
				return err
			}
			return e.show(s, func(w io.Writer) { e.driftDetails(w, s, r.version) })
		},
	}
	cmd.Flags().BoolVar(&take, "take-reference", false, "make what was lately asked the reference, where training left none")
	dryRun(cmd, &dry)
	return cmd
}

func (e *env) driftDetails(w io.Writer, s serve.Service, version int64) {
	for _, v := range s.Versions {
		if v.State != serve.Available || version != 0 && v.Version != version {
			continue
		}
		d := v.Drift
		if d == nil {
			fmt.Fprintf(w, "%s:%d has nothing to compare with yet; `lineshaft services drift %[1]s:%[2]d --take-reference` makes the requests of late its reference\n", s.Model, v.Version)
			continue
		}
		e.details(w, "version", v.Version, "state", string(d.State), "rows looked at", thousands(d.Rows), "since", e.when(d.Since), "compared with", fmt.Sprintf("%s rows of %s", thousands(d.Of), d.Source))
		if len(d.Worst) == 0 {
			continue
		}
		fmt.Fprintln(w)
		t := newTable("", "FEATURE", "PSI>", "KS>", "LIMIT>", "STATE")
		for _, f := range d.Worst {
			t.row(f.Name, fmt.Sprintf("%.3f", f.PSI), fmt.Sprintf("%.3f", f.KS), fmt.Sprintf("%.3f", f.Limit), string(f.State))
		}
		e.print(w, t)
	}
}
