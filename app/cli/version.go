package cli

import (
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/app"
)

func versionCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  takes,
		RunE: func(*cobra.Command, []string) error {
			v := map[string]string{"version": app.Version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
			return e.show(v, func(w io.Writer) {
				e.details(w, "lineshaft", v["version"], "go", v["go"], "platform", v["platform"])
			})
		},
	}
}
