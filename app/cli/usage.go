package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/nearest"
)

// This file says what is wrong with a command line itself, with the nearest right name.

const opUsage = "cli.usage"

func flagError(cmd *cobra.Command, err error) error {
	if typed := cmd.Flags().Args(); cmd.HasSubCommands() && len(typed) > 0 { // the flag is that of a command mistyped
		return unknownCommand(cmd, typed[0])
	}
	msg := err.Error()
	if name, ok := strings.CutPrefix(msg, "unknown flag: --"); ok {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		if best := nearest.Name(name, names); best != "" {
			return errs.Errorf(opUsage, errs.Invalid, "unknown flag --%s; did you mean --%s?", name, best)
		}
		msg = "unknown flag --" + name
	}
	return errs.Errorf(opUsage, errs.Invalid, "%s; `%s --help` lists the flags", msg, cmd.CommandPath())
}

func unknownCommand(cmd *cobra.Command, name string) error {
	if best := nearestCommand(cmd, name); best != "" {
		return errs.Errorf(opUsage, errs.Invalid, "unknown command %q; did you mean `%s %s`?", name, cmd.CommandPath(), best)
	}
	return errs.Errorf(opUsage, errs.Invalid, "unknown command %q; `%s --help` lists what there is", name, cmd.CommandPath())
}

func nearestCommand(cmd *cobra.Command, name string) string {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(append(names, c.Name()), c.Aliases...)
		}
	}
	return nearest.Name(name, names)
}

// words are the arguments in a command's Use line: NAME is needed, [NAME] is not, NAME... is one or more.
func words(cmd *cobra.Command) []string {
	return slices.DeleteFunc(strings.Fields(cmd.Use)[1:], func(w string) bool { return w == "--" || w == "[flags]" })
}

// arguments is how many arguments a command takes.
func arguments(cmd *cobra.Command) (least, most int) {
	for _, w := range words(cmd) {
		optional := strings.HasPrefix(w, "[")
		if !optional {
			least++
		}
		if most++; strings.HasSuffix(strings.TrimSuffix(w, "]"), "...") {
			most = 1 << 20
		}
	}
	return least, most
}

// takes checks the number of arguments against the command's Use line.
func takes(cmd *cobra.Command, args []string) error {
	words := words(cmd)
	least, most := arguments(cmd)
	usage := "`" + cmd.CommandPath()
	if len(words) > 0 {
		usage += " " + strings.Join(words, " ")
	}
	usage += "`"
	switch {
	case len(args) < least:
		return errs.Errorf(opUsage, errs.Invalid, "%s is missing: %s", words[len(args)], usage)
	case len(args) > most:
		return errs.Errorf(opUsage, errs.Invalid, "%q is one argument too many: %s", args[most], usage)
	}
	return nil
}

// group makes a command out of sub-commands. Called alone it does what list does, with one name what show does; either
// may be nil.
func group(c *cobra.Command, list, show *cobra.Command, rest ...*cobra.Command) *cobra.Command {
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0 && list != nil:
			return list.RunE(cmd, nil)
		case len(args) == 0:
			return errs.Errorf(opUsage, errs.Invalid, "say what to do: `%s --help` lists it", cmd.CommandPath())
		case len(args) == 1 && show != nil:
			err := show.RunE(cmd, args)
			if best := nearestCommand(cmd, args[0]); best != "" && errs.Is(err, errs.NotFound) {
				return errs.Errorf(opUsage, errs.NotFound, "%w; or did you mean `%s %s`?", err, cmd.CommandPath(), best)
			}
			return err
		}
		return unknownCommand(cmd, args[0])
	}
	if list != nil {
		c.AddCommand(list)
		c.Flags().AddFlagSet(list.Flags())
	}
	if show != nil {
		c.AddCommand(show)
		c.ValidArgsFunction = show.ValidArgsFunction
	}
	c.AddCommand(rest...)
	return c
}

// dryRun adds the flag to a command that changes things.
func dryRun(cmd *cobra.Command, dst *bool) {
	cmd.Flags().BoolVarP(dst, "dry-run", "n", false, "say what would happen and change nothing")
}

// oneOf refuses a value that is not among the choices.
func oneOf(what, value string, choices ...string) error {
	for _, c := range choices {
		if value == c {
			return nil
		}
	}
	hint := "choose " + strings.Join(choices, ", ")
	if best := nearest.Name(value, choices); best != "" {
		hint = fmt.Sprintf("did you mean %q?", best)
	}
	return errs.Errorf(opUsage, errs.Invalid, "%s %q is not known; %s", what, value, hint)
}
