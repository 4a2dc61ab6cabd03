package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/app"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/lp"
	"github.com/lineshaft/lineshaft/internal/native"
	"github.com/lineshaft/lineshaft/solve"
)

// solveFlags are the flags of `solve`.
type solveFlags struct {
	format, write string
	highs         string
	relax, warm   bool
	remote        bool
	nodes         int
	gap           float64
	limit         time.Duration
}

func solveCommand(e *env) *cobra.Command {
	var f solveFlags
	cmd := &cobra.Command{
		Use:   "solve FILE",
		Short: "Solve a linear or 0/1 programme, here or on a server",
		Long: `Solve a linear or 0/1 programme: minimise or maximise cᵀx subject to Ax ≤ b. It needs no server.

FILE is in CPLEX's LP format (.lp), in MPS (.mps) or in YAML; - is standard input. The solver is HiGHS,
the one within or, with --highs, a program of your own.
A problem that has no solution ends with code 5, one that a limit stopped before any was found with 7.`,
		Example: `  lineshaft solve examples/solve/tasks.yaml
  lineshaft solve plan.mps --time-limit 1m -o json
  printf 'max\n 3 a + 2 b\nst\n 4 a + 2 b <= 4\nbinary\n a b\nend\n' | lineshaft solve -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if f.warm && len(args) == 0 {
				return nil
			}
			return takes(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.remote {
				return e.solveThere(cmd.Context(), args, f)
			}
			engine, err := e.solver(cmd.Context(), f)
			if err != nil {
				return err
			}
			defer engine.Close()
			if f.warm {
				return e.warmSolver(cmd.Context(), engine)
			}
			return e.solve(cmd.Context(), engine, args[0], f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.format, "format", "", "`form` of the file: lp, mps or yaml (default: by its name, or by its looks)")
	flags.StringVar(&f.write, "write", "", "print the problem in this `form` instead of solving it: lp or mps")
	flags.BoolVar(&f.relax, "relax", false, "let whole variables take fractions: the bound, with the constraints' shadow prices")
	flags.DurationVar(&f.limit, "time-limit", 0, "stop after this `time` with the best found (default: no limit)")
	flags.IntVar(&f.nodes, "nodes", 0, "stop after this `number` of nodes of the search tree; the answer is then the same every time")
	flags.Float64Var(&f.gap, "gap", 0, "how far from the bound is good enough, as a `fraction`: 0.01 for 1 %")
	flags.BoolVar(&f.warm, "warm", false, "compile the solver for this machine now, once, for all further runs; no FILE is needed")
	flags.StringVar(&f.highs, "highs", "", "`path` of HiGHS's own program, which then solves in the place of the one within (or LINESHAFT_HIGHS)")
	flags.BoolVar(&f.remote, "remote", false, "have the server solve it, within its limits of size and time")
	return cmd
}

// solver is the engine within, or one that runs the program named.
func (e *env) solver(ctx context.Context, f solveFlags) (*solve.Engine, error) {
	c := solve.Config{Cache: app.SolverCache()}
	path := f.highs
	switch {
	case f.warm && path != "":
		return nil, errs.Errorf("cli.solver", errs.Invalid, "--warm compiles the solver within; HiGHS's own program (--highs) needs none of it")
	case f.warm || f.write != "":
		return solve.New(c), nil
	case path == "":
		path = e.getenv("LINESHAFT_HIGHS")
	}
	if path != "" {
		h, err := native.Open(ctx, path, 0)
		if err != nil {
			return nil, err
		}
		c.Program = h
	}
	return solve.New(c), nil
}

// solveThere has the server solve the problem.
func (e *env) solveThere(ctx context.Context, args []string, f solveFlags) error {
	if f.warm || f.write != "" || f.highs != "" || len(args) == 0 {
		return errs.Errorf("cli.solveThere", errs.Invalid, "--remote solves a FILE; --warm, --write and --highs work here alone")
	}
	if err := oneOf("--format", f.format, "", "lp", "mps", "yaml"); err != nil {
		return err
	}
	text, err := e.problemText(args[0])
	if err != nil {
		return err
	}
	c, err := e.connect()
	if err != nil {
		return err
	}
	q := api.SolveQuery{Format: solve.Format(f.format), Relax: f.relax, Nodes: f.nodes, Gap: f.gap, TimeLimit: f.limit.Seconds()}
	if q.Format == "" {
		q.Format = solve.FormatOf(args[0], text)
	}
	a, err := c.Solve(ctx, text, q)
	if err != nil {
		return err
	}
	return e.showAnswer(a)
}

func (e *env) warmSolver(ctx context.Context, engine *solve.Engine) error {
	if engine.Warm() {
		e.note("the solver is compiled already")
		return nil
	}
	begin := e.now()
	if err := engine.Compile(ctx); err != nil {
		return err
	}
	e.note("the solver is compiled; it took %v", e.now().Sub(begin).Round(100*time.Millisecond))
	return nil
}

func (e *env) solve(ctx context.Context, engine *solve.Engine, name string, f solveFlags) error {
	if err := oneOf("--write", f.write, "", "lp", "mps"); err != nil {
		return err
	}
	if err := oneOf("--format", f.format, "", "lp", "mps", "yaml"); err != nil {
		return err
	}
	text, err := e.problemText(name)
	if err != nil {
		return err
	}
	p, err := solve.Parse(solve.Format(f.format), name, text)
	if err != nil {
		return errs.Errorf("cli.solve", errs.KindOf(err), "%s: %w", name, err)
	}
	if f.relax {
		p.Relax()
	}
	if f.write != "" {
		return e.writeProblem(p, f.write)
	}
	if engine.Built() && !engine.Warm() && p.Terms() > 2000 {
		e.note("the solver is not compiled yet and works slowly; `lineshaft solve --warm` compiles it once")
	}
	begin := e.now()
	s, err := engine.Solve(ctx, p, solve.Options{
		Nodes: f.nodes, Gap: f.gap, Time: f.limit, Elapsed: func() time.Duration { return e.now().Sub(begin) },
	})
	if err != nil {
		return err
	}
	return e.showAnswer(solve.Describe(p, s))
}

func (e *env) writeProblem(p *solve.Problem, form string) error {
	text := solve.WriteLP
	if form == "mps" {
		text = solve.WriteMPS
	}
	_, err := io.WriteString(e.out, text(p))
	return err
}

// problemText reads the file, or standard input for "-".
func (e *env) problemText(name string) ([]byte, error) {
	const op = "cli.problemText"
	in := e.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fileError(op, err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, solve.MaxSize+1))
	if err != nil {
		return nil, fileError(op, err)
	}
	return text, nil
}

// showAnswer prints the answer. That there is none is told as an error too, so that scripts see it.
func (e *env) showAnswer(a solve.Answer) error {
	const op = "cli.showAnswer"
	if err := e.show(a, func(w io.Writer) { e.answerTable(w, a) }); err != nil {
		return err
	}
	switch {
	case a.Status == lp.Infeasible || a.Status == lp.Unbounded:
		return errs.Errorf(op, errs.Conflict, "the problem is %s: %s", a.Status, a.Reason)
	case a.Objective == nil:
		return errs.Errorf(op, errs.Timeout, "%s", a.Reason)
	}
	return nil
}

func (e *env) answerTable(w io.Writer, a solve.Answer) {
	facts := []any{"status", string(a.Status)}
	if a.Objective != nil {
		facts = append(facts, "objective", decimal(*a.Objective)+" ("+a.Sense+"d)")
		if a.Status == lp.Limit {
			facts = append(facts, "note", a.Reason)
		}
		if a.Bound != nil && *a.Bound != *a.Objective {
			facts = append(facts, "bound", decimal(*a.Bound))
		}
	}
	e.details(w, facts...)
	if a.Objective == nil {
		return
	}
	fmt.Fprintln(w)
	t := newTable("no variables", "VARIABLE", "VALUE>", "REDUCED COST>")
	for _, v := range a.Variables {
		t.row(v.Name, decimal(v.Value), optional(v.ReducedCost))
	}
	e.print(w, t)
	fmt.Fprintln(w)
	t = newTable("no constraints", "CONSTRAINT", "VALUE>", "AT LEAST>", "AT MOST>", "SHADOW PRICE>")
	for _, c := range a.Constraints {
		t.row(c.Name, decimal(c.Value), optional(c.AtLeast), optional(c.AtMost), optional(c.Dual))
	}
	e.print(w, t)
}

func optional(v *float64) string {
	if v == nil {
		return ""
	}
	return decimal(*v)
}

// decimal prints a number to ten digits, which leaves the solver's rounding out.
func decimal(v float64) string { return strconv.FormatFloat(v, 'g', 10, 64) }
