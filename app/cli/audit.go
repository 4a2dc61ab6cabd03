package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/trust/audit"
)

func auditCommand(e *env) *cobra.Command {
	var f audit.Filter
	list := listing[audit.Entry]{
		topic: "audit",
		fetch: func(ctx context.Context, c *client.Client) ([]audit.Entry, error) { return c.Audit(ctx, f) },
		table: func(all []audit.Entry) *table {
			t := newTable("no entries", "SEQ>", "TIME", "ACTOR", "ACTION", "SUBJECT", "OUTCOME")
			for _, a := range all {
				t.row(a.Seq, a.Time.Local().Format("2006-01-02 15:04:05"), a.Actor, a.Action, a.Subject, a.Outcome)
			}
			return t
		},
	}.command(e, &cobra.Command{Use: "list", Short: "List who did what, newest first"})
	list.Flags().StringVar(&f.Actor, "actor", "", "only what this `actor` did, for example user/admin")
	list.Flags().StringVar(&f.Action, "action", "", "only this `action`, or all that begin with it: job.")
	list.Flags().Int64Var(&f.Before, "before", 0, "only entries with a smaller `number`")
	list.Flags().IntVar(&f.Limit, "limit", 50, "at most this `number`")
	verify := &cobra.Command{
		Use:   "verify",
		Short: "Walk the whole log and check that no entry was changed, removed or put in between",
		Args:  takes,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := e.connect()
			if err != nil {
				return err
			}
			r, err := c.VerifyAudit(cmd.Context())
			if err != nil {
				return err
			}
			if err := e.show(r, func(w io.Writer) { fmt.Fprintln(w, oneLine(r.Message)) }); err != nil || r.OK {
				return err
			}
			return errs.Errorf("cli.audit", errs.Corrupt, "the audit log is damaged at entry %d", r.Broken)
		},
	}
	return group(&cobra.Command{Use: "audit", Short: "List who did what, or check that the log is whole"}, list, nil, verify)
}
