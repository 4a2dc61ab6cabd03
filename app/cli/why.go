package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
)

func whyCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "why JOB",
		Short: "Say why a job is as it is, from the record of the decisions that made it so",
		Example: `  lineshaft why job/12
  lineshaft why mnist`,
		Args: takes, ValidArgsFunction: e.completeJobs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if kind, _, ok := strings.Cut(args[0], "/"); ok && kind != "job" {
				return errs.Errorf("cli.why", errs.Unsupported, "no reasons are kept for a %s; `lineshaft why job/ID` explains jobs", kind)
			}
			c, id, err := e.job(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			x, err := c.Why(cmd.Context(), id)
			if err != nil {
				return err
			}
			return e.show(x, func(w io.Writer) { e.explain(w, x) })
		},
	}
}

func (e *env) explain(w io.Writer, x job.Explanation) {
	fmt.Fprintln(w, clean(x.Summary))
	if len(x.Reasons) > 0 {
		fmt.Fprintln(w)
		t := newTable("", "CONSTRAINT", "NEEDED", "OFFERED", "DETAIL")
		for _, r := range x.Reasons {
			t.row(r.Constraint, r.Needed, r.Offered, r.Detail)
		}
		e.print(w, t)
	}
	e.expect(w, x.Outlook)
	if len(x.Isolation) > 0 {
		fmt.Fprintln(w)
		t := newTable("", "ISOLATION", "ENFORCED", "DETAIL")
		for _, f := range x.Isolation {
			t.row(f.Name, yesNo(f.Enforced), f.Detail)
		}
		e.print(w, t)
	}
}

// expect prints what a waiting job can expect, and what would start it now.
func (e *env) expect(w io.Writer, o *job.Outlook) {
	if o == nil {
		return
	}
	fmt.Fprintln(w)
	pairs := []any{"position", fmt.Sprintf("%d of %d", o.Position, o.Of), "queue", o.Queue}
	if o.Resource != "" {
		pairs = append(pairs, "holds", fmt.Sprintf("%.1f%% of the %s", 100*o.Share, o.Resource))
	}
	if o.Earliest != nil {
		pairs = append(pairs, "starts", fmt.Sprintf("in %s at the latest, as far as is known (%.0f%% sure)", short(o.Earliest.Sub(e.now())), 100*o.Confidence))
	}
	e.details(w, pairs...)
	if len(o.Changes) == 0 {
		return
	}
	fmt.Fprintln(w, "\nEach of these alone would start it now:")
	t := newTable("", "CHANGE", "FROM", "TO", "THAT IS")
	for _, c := range o.Changes {
		means := c.Means
		if len(c.Stops) > 0 {
			means += "; it would stop " + strings.Join(c.Stops, ", ")
		}
		t.row(c.Field, c.From, c.To, means)
	}
	e.print(w, t)
}
