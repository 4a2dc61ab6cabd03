package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/control"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
)

func whyCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "why JOB",
		Short: "Say why a job is as it is, from the record of the decisions that made it so",
		Example: `  lineshaft why job/12
  lineshaft why action/act_restart_12_0_3
  lineshaft why mnist`,
		Args: takes, ValidArgsFunction: e.completeJobs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch kind, name, ok := strings.Cut(args[0], "/"); {
			case ok && kind == "action":
				return e.whyAction(cmd.Context(), name)
			case ok && kind == "array":
			case ok && kind != "job":
				return errs.Errorf("cli.why", errs.Unsupported, "%q: `lineshaft why job/ID` explains a job, `lineshaft why array/ID` the first of an array that waits, `lineshaft why action/ID` what the loop did", args[0])
			}
			c, id, err := e.whyOf(cmd.Context(), args[0])
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

// whyOf finds the job that is to be explained.
func (e *env) whyOf(ctx context.Context, ref string) (*client.Client, job.ID, error) {
	array, ok := arrayID(ref)
	if !ok {
		return e.job(ctx, ref)
	}
	c, err := e.connect()
	if err != nil {
		return nil, 0, err
	}
	id, err := e.waiting(ctx, c, array)
	return c, id, err
}

// whyAction prints what an action of the loop rests on and what came of it.
func (e *env) whyAction(ctx context.Context, id string) error {
	c, err := e.connect()
	if err != nil {
		return err
	}
	all, err := c.Actions(ctx, false)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(a control.Action) bool { return a.ID == id })
	if i < 0 {
		return errs.Errorf("cli.why", errs.NotFound, "no action %q among the newest %d; `lineshaft actions` lists them", id, len(all))
	}
	a := all[i]
	return e.show(a, func(w io.Writer) {
		pairs := []any{
			"action", a.ID, "decided", e.when(a.Time), "policy", fmt.Sprintf("%s (%s)", a.Policy, a.Mode), "does", a.Verb + " " + a.Subject,
			"because", strings.Join(a.Reasons, "\n"), "state", a.State, "outcome", a.Outcome, "approved by", a.By,
		}
		for _, f := range a.Evidence {
			pairs = append(pairs, f.Name, f.Value)
		}
		e.details(w, pairs...)
	})
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
	switch {
	case o.Earliest == nil:
	case o.Confidence == 0:
		pairs = append(pairs, "starts", "not before "+e.when(*o.Earliest))
	default:
		pairs = append(pairs, "starts", fmt.Sprintf("in %s at the latest, as far as is known (%.0f%% sure)", short(o.Earliest.Sub(e.now())), 100*o.Confidence))
	}
	pairs = append(pairs, "planned by rule", o.Rule)
	e.details(w, pairs...)
	e.appraisal(w, o.Plan)
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

// appraisal prints how good the plan is and what is scarce.
func (e *env) appraisal(w io.Writer, a *job.Appraisal) {
	if a == nil {
		return
	}
	fmt.Fprintf(w, "\nThe plan is at most %.1f%% below the best there could be", 100*a.Gap)
	if len(a.Prices) == 0 {
		fmt.Fprintln(w, ".")
		return
	}
	fmt.Fprintln(w, ". What is scarce for all that runs and waits, and what\none more of it would be worth, as a part of the hall:")
	t := newTable("", "SCARCE", "WHERE", "ONE MORE>")
	for _, p := range a.Prices[:min(len(a.Prices), 5)] {
		where := p.Where
		if p.Nodes > 1 {
			where = fmt.Sprintf("%s and %d like it", p.Where, p.Nodes-1)
		}
		name := p.Resource
		if p.Model != "" {
			name += " " + p.Model
		}
		t.row(name, where, number(p.Worth))
	}
	e.print(w, t)
}
