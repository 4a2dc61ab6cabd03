// Package cli is the command line of Lineshaft: one file per command, each over the API's own client.
//
// What a command finds out goes to standard output, in the form that --output names; what it says on the way (progress,
// notices, errors) goes to standard error, so that output can be piped. A command ends with the exit code of its error's
// kind (internal/errs): 2 what was asked is wrong, 3 not allowed, 4 not found, 5 in the way of something there, 6 used up,
// 7 nobody answers, 8 damaged.
package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/app"
	"github.com/lineshaft/lineshaft/internal/errs"
)

// env is what every command works with: the streams, the environment and the global flags.
type env struct {
	in      io.Reader
	out     io.Writer
	err     io.Writer
	environ []string
	now     func() time.Time

	data, config      string
	server, tokenFile string
	output            string
	quiet             bool

	groups []commandGroup
}

// Main runs the command line and gives the exit code. args are those of the process, its own name first.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second interrupt ends the program at once
	e := &env{in: stdin, out: stdout, err: stderr, environ: os.Environ(), now: time.Now}
	root := rootCommand(e)
	root.SetArgs(args[1:])
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return e.exit(ctx, root.ExecuteContext(ctx))
}

// exitError ends the program with the code of another one, which has said itself what it had to say.
type exitError struct{ code int }

func (exitError) Error() string { return "" }

// exit tells the error and gives its code.
func (e *env) exit(ctx context.Context, err error) int {
	var other exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &other):
		return other.code
	case ctx.Err() != nil && errs.Is(err, errs.Canceled):
		return errs.Canceled.ExitCode() // whoever pressed ctrl-C knows
	}
	e.say("lineshaft: %s", err)
	return errs.KindOf(err).ExitCode()
}

// commandGroup is a part of the help.
type commandGroup struct {
	title    string
	commands []*cobra.Command
}

func rootCommand(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "lineshaft",
		Short: "Production management for AI data centres: data, training, registry, serving on one shaft",
		Long: `Production management for AI data centres: data, training, registry, serving on one shaft.

Start with:
  lineshaft up --demo              start here, train a network on MNIST, serve it, ask it
  lineshaft submit train.yaml -f   train your own and follow it
  lineshaft why job/1              why a job is as it is`,
		Version:           app.Version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:              cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	root.SetVersionTemplate("lineshaft {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(e.help)
	f := root.PersistentFlags()
	f.StringVar(&e.data, "data", "", "data `folder` (default ~/.lineshaft, or LINESHAFT_DATA); its socket is the way to the server here")
	f.StringVar(&e.config, "config", "", "configuration `file` (default config.yaml in the data folder)")
	f.StringVar(&e.server, "server", "", "`URL` of a server elsewhere, with a token (or LINESHAFT_SERVER)")
	f.StringVar(&e.tokenFile, "token-file", "", "`file` that holds the token (or LINESHAFT_TOKEN holds it)")
	f.StringVarP(&e.output, "output", "o", "table", "`form` of what is printed: table, json or yaml")
	f.BoolVarP(&e.quiet, "quiet", "q", false, "say nothing on the way")
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return e.checkOutput() }
	complete(root, "output", cobra.FixedCompletions([]string{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	e.groups = e.commands()
	for _, g := range e.groups {
		root.AddCommand(g.commands...)
	}
	return root
}

// commands is everything there is, in the order of the help.
func (e *env) commands() []commandGroup {
	return []commandGroup{
		{"Jobs", []*cobra.Command{
			submitCommand(e), runCommand(e), jobsCommand(e), logsCommand(e), metricsCommand(e), execCommand(e), whyCommand(e), queueCommand(e), cancelCommand(e), retryCommand(e),
		}},
		{"Data, models and services", []*cobra.Command{
			dataCommand(e), modelsCommand(e), deployCommand(e), undeployCommand(e), rolloutCommand(e), rollbackCommand(e), servicesCommand(e), upstreamsCommand(e), predictCommand(e),
		}},
		{"Machines and the loop", []*cobra.Command{
			statusCommand(e), fleetCommand(e), cordonCommand(e), uncordonCommand(e), reservationsCommand(e), policiesCommand(e), actionsCommand(e), approveCommand(e),
		}},
		{"Access", []*cobra.Command{
			usersCommand(e), tokensCommand(e), grantsCommand(e), secretsCommand(e), keysCommand(e), auditCommand(e),
		}},
		{"This program", []*cobra.Command{
			upCommand(e), serveCommand(e), configCommand(e), doctorCommand(e), runtimeCommand(e), kerasCommand(e), solveCommand(e), twinCommand(e), completionCommand(e), versionCommand(e),
		}},
	}
}
