package cli

import (
	"github.com/spf13/cobra"
)

func keysCommand(e *env) *cobra.Command {
	dry := false
	rotate := &cobra.Command{
		Use:   "rotate",
		Short: "Make a new key-encryption key and wrap every data key with it",
		Args:  takes,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := e.connect()
			if err != nil {
				return err
			}
			r, err := c.RotateKeys(cmd.Context(), dry)
			if err != nil {
				return err
			}
			return e.done(r, dry, "%s wrapped under the new key %s", count(r.Rewrapped, "data key"), r.Key)
		},
	}
	dryRun(rotate, &dry)
	return group(&cobra.Command{Use: "keys", Short: "Rotate the keys under which everything is sealed"}, nil, nil, rotate)
}
