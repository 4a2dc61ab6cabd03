package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/serve/requestlog"
)

func requestsCommand(e *env) *cobra.Command {
	limit := 20
	cmd := &cobra.Command{
		Use:   "log MODEL",
		Short: "Show the newest requests to a model that were kept, with the answers; each reading is recorded",
		Long: `Show the newest requests to a model that were kept, with the answers. A server keeps none unless it is started with
--request-log PART; what it keeps is sealed, holds tensors alone (no tokens, no addresses), and goes after a week or when it
is more than a gibibyte. Admins may read it, and who has a grant for the action log; each reading is in the audit log.`,
		Example: "  lineshaft services log mnist --limit 5\n  lineshaft services log mnist -o json\n  lineshaft grants give service/mnist log --user alice",
		Args:    takes, ValidArgsFunction: e.completeServices(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.connect()
			if err != nil {
				return err
			}
			all, err := c.Requests(cmd.Context(), args[0], limit)
			if err != nil {
				return err
			}
			return e.show(list(all), func(w io.Writer) {
				t := newTable("no request to "+args[0]+" was kept yet", "AGE>", "VERSION>", "TOOK>", "ASKED", "ANSWERED")
				for _, r := range all {
					answered := tensorsText(r.Out)
					if r.Error != "" {
						answered = r.Error
					}
					t.row(e.age(r.Time), r.Version, millis(r.TookMs), tensorsText(r.In), answered)
				}
				e.print(w, t)
			})
		},
	}
	cmd.Flags().IntVar(&limit, "limit", limit, "how many `requests`, up to 1000")
	return cmd
}

// tensorsText names tensors; -o json has their values.
func tensorsText(all []requestlog.Tensor) string {
	var out []string
	for _, t := range all {
		out = append(out, fmt.Sprintf("%s %s %v", t.Name, t.Type, t.Shape))
	}
	return strings.Join(out, ", ")
}
