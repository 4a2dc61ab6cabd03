package solve

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/lp"
	"github.com/lineshaft/lineshaft/solve/highs"
)

// Program is HiGHS as a program of the user's own, which an engine has work in the place of the one it carries.
// Run is given the problem in free MPS, HiGHS's options and a solution to begin with ("" for none), each as a file's
// text, and gives the solution file, of at most limit bytes, and the end of the log.
type Program interface {
	Version() string
	Run(ctx context.Context, model, options, start string, limit int64) (solution, log []byte, err error)
}

// outside runs the program once.
func outside(ctx context.Context, h Program, p *Problem, o Options) (outcome, error) {
	const op = "solve.outside"
	var start string
	if o.Start != nil {
		start = writeStart(p, o.Start)
	}
	// A line of each of the file's three parts, of a name and a number, for each column and row.
	limit := int64(64<<10) + 160*int64(len(p.Columns)+len(p.Rows))
	text, log, err := h.Run(ctx, WriteMPS(neutral(p)), writeOptions(p, o), start, limit)
	if err != nil {
		return outcome{}, err
	}
	out, err := parseSolution(text, len(p.Columns), len(p.Rows))
	if err != nil {
		return outcome{}, errs.Errorf(op, errs.KindOf(err), "the solver's answer: %w", err)
	}
	parseLog(log, &out)
	return out, nil
}

// neutral is the problem without the user's names, which MPS may not be able to carry.
func neutral(p *Problem) *Problem {
	n := *p
	n.Name = "problem"
	n.Columns, n.Rows = make([]lp.Column, len(p.Columns)), make([]lp.Row, len(p.Rows))
	for i, c := range p.Columns {
		c.Name = "C" + strconv.Itoa(i)
		n.Columns[i] = c
	}
	for i, r := range p.Rows {
		r.Name = "R" + strconv.Itoa(i)
		n.Rows[i] = r
	}
	return &n
}

// writeOptions is HiGHS's options file.
func writeOptions(p *Problem, o Options) string {
	var b strings.Builder
	for _, s := range settings(p, o) {
		switch v := s.value.(type) {
		case int:
			fmt.Fprintf(&b, "%s = %d\n", s.name, min(v, math.MaxInt32))
		default:
			fmt.Fprintf(&b, "%s = %v\n", s.name, v)
		}
	}
	return b.String() + "threads = 1\nrandom_seed = 0\n"
}

// writeStart is a solution file with the values to begin with.
func writeStart(p *Problem, x []float64) string {
	var b strings.Builder
	objective, activity := p.Evaluate(x)
	fmt.Fprintf(&b, "Model status\nNot Set\n\n# Primal solution values\nFeasible\nObjective %v\n", objective)
	for _, part := range []struct {
		head, prefix string
		values       []float64
	}{{"# Columns", "C", x}, {"# Rows", "R", activity}} {
		fmt.Fprintf(&b, "%s %d\n", part.head, len(part.values))
		for i, v := range part.values {
			b.WriteString(part.prefix + strconv.Itoa(i) + " " + plain(v) + "\n")
		}
	}
	return b.String() + "\n# Dual solution values\nNone\n\n# Basis\nHiGHS_basis_file v2\nNone\n"
}

// outcomes are the statuses of a solution file that answer something.
func outcomes() map[string]highs.Status {
	return map[string]highs.Status{
		"Empty": highs.Empty, "Optimal": highs.Optimal, "Infeasible": highs.Infeasible,
		"Primal infeasible or unbounded": highs.UnboundedOrInfeasible, "Unbounded": highs.Unbounded,
		"Time limit reached": highs.TimeLimit, "Iteration limit reached": highs.IterationLimit, "Solution limit reached": highs.SolutionLimit,
	}
}

// parseSolution reads a solution file in HiGHS's raw style, of a problem with neutral names. What it cannot read is of
// kind Corrupt; that the solver ran out of memory, Exhausted.
func parseSolution(text []byte, columns, rows int) (outcome, error) {
	const op = "solve.parseSolution"
	in := &answerText{rest: string(text)}
	out := outcome{bound: math.NaN()}
	in.want("Model status")
	name := in.next()
	status, ok := outcomes()[name]
	switch {
	case in.err != nil:
		return out, in.err
	case name == "Memory limit reached":
		return out, errs.Errorf(op, errs.Exhausted, "the solver needs more memory than it may use; make the problem smaller")
	case !ok:
		return out, errs.Errorf(op, errs.Other, "the solver gives no answer (%.40q)", name)
	}
	out.status = status
	in.want("# Primal solution values")
	if state := in.next(); state != "None" {
		if objective := in.next(); !strings.HasPrefix(objective, "Objective ") {
			in.fail("Objective")
		}
		x := in.values("# Columns", "C", columns)
		in.values("# Rows", "R", rows)
		if state == "Feasible" {
			out.x = x
		}
	}
	in.want("# Dual solution values")
	if state := in.next(); state != "None" {
		reduced := in.values("# Columns", "C", columns)
		duals := in.values("# Rows", "R", rows)
		out.reduced, out.duals = reduced, duals
	}
	return out, in.err
}

// answerText reads a text by its lines that are not empty; after the first failure it gives nothing more.
type answerText struct {
	rest string
	line int
	err  error
}

func (l *answerText) next() string {
	for l.err == nil {
		if l.rest == "" {
			l.err = errs.Errorf("solve.answerText", errs.Corrupt, "it ends after line %d", l.line)
			break
		}
		var s string
		s, l.rest, _ = strings.Cut(l.rest, "\n")
		l.line++
		if s = strings.TrimSpace(s); s != "" {
			return s
		}
	}
	return ""
}

func (l *answerText) fail(want string) {
	if l.err == nil {
		l.err = errs.Errorf("solve.answerText", errs.Corrupt, "line %d should be %s", l.line, want)
	}
}

func (l *answerText) want(s string) {
	if l.next() != s {
		l.fail(s)
	}
}

// values reads a heading with a count and as many lines of a name and a number.
func (l *answerText) values(head, prefix string, n int) []float64 {
	l.want(head + " " + strconv.Itoa(n))
	if l.err != nil {
		return nil
	}
	out := make([]float64, n)
	for i := range out {
		name, number, _ := strings.Cut(l.next(), " ")
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if name != prefix+strconv.Itoa(i) || err != nil || math.IsNaN(v) {
			l.fail(prefix + strconv.Itoa(i) + " and a number")
			return nil
		}
		out[i] = v
	}
	return out
}

// parseLog reads the bound, nodes and iterations from the report at the log's end. What is not there stays unknown.
func parseLog(log []byte, out *outcome) {
	for line := range strings.Lines(string(log)) {
		line = strings.TrimSpace(line)
		number := func(label string) (string, bool) {
			v, ok := strings.CutPrefix(line, label)
			return strings.TrimSpace(v), ok
		}
		count := func(label string, to *int) {
			if v, ok := number(label); ok {
				if n, err := strconv.Atoi(v); err == nil && n >= 0 {
					*to = n
				}
			}
		}
		count("Nodes ", &out.nodes)
		count("LP iterations ", &out.iterations)
		count("Simplex   iterations:", &out.iterations)
		if v, ok := number("Dual bound "); ok {
			if b, err := strconv.ParseFloat(v, 64); err == nil && !math.IsNaN(b) {
				out.bound = b
			}
		}
	}
}
