package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// This file prints help: what a command is for, how it is written, examples, then its own flags. The flags that all
// commands have are told once, by `lineshaft --help`.

// maxHelp is how wide help is written where the terminal is wider.
const maxHelp = 110

func (e *env) help(cmd *cobra.Command, _ []string) {
	w := cmd.OutOrStdout()
	about := cmd.Long
	if about == "" {
		about = cmd.Short
	}
	usage := cmd.UseLine()
	if cmd.HasAvailableSubCommands() {
		usage = strings.TrimSuffix(usage, " [flags]")
		if !cmd.HasParent() {
			usage += " COMMAND"
		} else if !strings.Contains(usage, "[") {
			usage += " [COMMAND]"
		} else {
			usage += "\n  " + cmd.CommandPath() + " COMMAND"
		}
	}
	fmt.Fprintf(w, "%s\n\nUsage:\n  %s\n", strings.TrimSpace(about), usage)
	if len(cmd.Aliases) > 0 {
		fmt.Fprintf(w, "\nAlso:\n  %s\n", strings.Join(cmd.Aliases, ", "))
	}
	if cmd.Example != "" {
		fmt.Fprintf(w, "\nExamples:\n%s\n", cmd.Example)
	}
	if !cmd.HasParent() {
		for _, g := range e.groups {
			fmt.Fprintf(w, "\n%s:\n", g.title)
			writeCommands(w, g.commands)
		}
	} else if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(w, "\nCommands:\n")
		writeCommands(w, cmd.Commands())
	}
	width, _ := e.size(e.out)
	if width == 0 || width > maxHelp {
		width = maxHelp
	}
	own := cmd.LocalFlags()
	own.SortFlags = false
	if own.HasAvailableFlags() {
		fmt.Fprintf(w, "\nFlags:\n%s", own.FlagUsagesWrapped(width))
	}
	if cmd.HasParent() {
		fmt.Fprintf(w, "\nFlags of every command, as `%s --help` says: --data --server --token-file --config --output --quiet\n", cmd.Root().Name())
	} else {
		fmt.Fprintf(w, "\n`%s COMMAND --help` says more about a command. Exit codes: 2 wrongly asked, 3 not allowed, 4 not found,\n5 in conflict with what is there, 6 used up, 7 nobody answers, 8 damaged.\n", cmd.Name())
	}
}

func writeCommands(w io.Writer, commands []*cobra.Command) {
	widest := 0
	for _, c := range commands {
		widest = max(widest, len(c.Name()))
	}
	for _, c := range commands {
		if c.IsAvailableCommand() {
			fmt.Fprintf(w, "  %-*s  %s\n", widest, c.Name(), c.Short)
		}
	}
}
