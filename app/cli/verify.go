package cli

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/internal/errs"
)

func verifyCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "verify MODEL",
		Short: "Read a version to its end and compare it with its digest; needs the right to export, and is audited",
		Args:  takes, ValidArgsFunction: e.completeModels(),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, v, err := e.version(ctx, args[0])
			if err != nil {
				return err
			}
			sum := sha256.New()
			if _, err := e.export(ctx, c, v, v.Format, sum); err != nil {
				return err
			}
			got := "sha256:" + hex.EncodeToString(sum.Sum(nil))
			if got != v.Digest {
				return errs.Errorf("cli.verify", errs.Corrupt, "%s:%d is damaged: its bytes have the digest %s, recorded is %s", v.Model, v.Version, got, v.Digest)
			}
			return e.done(v, false, "%s:%d is whole: %s, %s", v.Model, v.Version, size(v.Size), v.Digest)
		},
	}
}
