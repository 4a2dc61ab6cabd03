package cli

import (
	"github.com/spf13/cobra"
)

// complete sets how a flag's values are completed. It only fails for a flag that the command does not have.
func complete(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err)
	}
}
