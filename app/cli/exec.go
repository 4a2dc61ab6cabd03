package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/internal/errs"
)

func execCommand(e *env) *cobra.Command {
	var tty bool
	var task int
	cmd := &cobra.Command{
		Use:   "exec JOB [flags] -- [CMD...]",
		Short: "Run a program inside the sandbox of a running job; a shell without CMD",
		Long: `Run a program inside the sandbox of a running job: it sees what the job sees and is bound by the same limits. Without
CMD it is a shell. The exit code is the program's.`,
		Example: `  lineshaft exec -t 12
  lineshaft exec mnist -- ls -l
  tar c data | lineshaft exec 12 -- tar x`,
		Args: takes, ValidArgsFunction: e.completeJobs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if len(args) > 1 && cmd.ArgsLenAtDash() != 1 {
				return noDash(args)
			}
			if len(args) == 1 && !cmd.Flags().Changed("tty") { // a shell at a terminal wants one
				tty = terminal(e.in) >= 0 && terminal(e.out) >= 0
			}
			c, id, err := e.job(ctx, args[0])
			if err != nil {
				return err
			}
			p := client.Program{Argv: args[1:], TTY: tty, Stdin: e.in, Stdout: e.out, Stderr: e.err}
			run := func(ctx context.Context, p client.Program) (int, error) { return c.Exec(ctx, id, task, p) }
			code, err := 0, error(nil)
			if tty {
				code, err = e.atTerminal(ctx, p, run)
			} else {
				code, err = run(ctx, p)
			}
			if err == nil && code != 0 {
				err = exitError{code}
			}
			return err
		},
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if typed := cmd.Flags().Args(); len(typed) > 1 {
			return noDash(append(typed, "…"))
		}
		return flagError(cmd, err)
	})
	cmd.Flags().BoolVarP(&tty, "tty", "t", false, "give it a terminal")
	cmd.Flags().IntVar(&task, "task", 0, "`number` of the task")
	return cmd
}

func noDash(args []string) error {
	return errs.Errorf("cli.exec", errs.Invalid, "write -- before the program, so that its flags are its own: `lineshaft exec %s -- %s`", args[0], shellWords(args[1:]))
}

// atTerminal hands this terminal over to the program: every key goes to it, ctrl-C too, and it hears of each new size.
func (e *env) atTerminal(ctx context.Context, p client.Program, run func(context.Context, client.Program) (int, error)) (int, error) {
	const op = "cli.exec"
	fd := terminal(e.in)
	if fd < 0 {
		return 0, errs.Errorf(op, errs.Invalid, "standard input is no terminal: leave out -t")
	}
	old, err := term.MakeRaw(fd)
	if err != nil {
		return 0, errs.E(op, errs.Other, err)
	}
	defer term.Restore(fd, old) //nolint:errcheck // nothing is left to do where it fails
	p.Term, p.Size = e.getenv("TERM"), e.execSize()
	sizes := make(chan api.ExecSize, 1)
	p.Resize = sizes
	winch := make(chan os.Signal, 1)
	signal.Notify(winch, syscall.SIGWINCH)
	defer signal.Stop(winch)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-winch:
			}
			select {
			case sizes <- e.execSize():
			case <-ctx.Done():
				return
			}
		}
	}()
	defer func() { cancel(); <-done }()
	return run(ctx, p)
}

func (e *env) execSize() api.ExecSize {
	width, height := e.size(e.in)
	return api.ExecSize{Rows: uint16(min(height, 10000)), Cols: uint16(min(width, 10000))} //nolint:gosec // small enough
}
