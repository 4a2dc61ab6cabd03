package cli

import (
	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/internal/errs"
)

func completionCommand(e *env) *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print the completion script of a shell: bash, zsh, fish or powershell",
		Long: `Print the completion script of a shell: bash, zsh, fish or powershell. It completes commands, flags, and what the
server has: jobs, models, data sets, machines, accounts. That of bash wants the package bash-completion.`,
		Example: `  source <(lineshaft completion bash)
  lineshaft completion zsh > "${fpath[1]}/_lineshaft"
  lineshaft completion fish > ~/.config/fish/completions/lineshaft.fish`,
		Args:      takes,
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("shell", args[0], shells...); err != nil {
				return err
			}
			root := cmd.Root()
			write := map[string]func() error{
				"bash":       func() error { return root.GenBashCompletionV2(e.out, true) },
				"zsh":        func() error { return root.GenZshCompletion(e.out) },
				"fish":       func() error { return root.GenFishCompletion(e.out, true) },
				"powershell": func() error { return root.GenPowerShellCompletionWithDesc(e.out) },
			}[args[0]]
			return errs.E("cli.completion", errs.Other, write())
		},
	}
}
