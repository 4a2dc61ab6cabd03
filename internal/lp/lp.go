// Package lp is linear programmes as data: what solve reads and answers, and what sched asks. It computes nothing but
// checks.
//
// A Problem is: minimise or maximise Σ cost·x + offset, where every row lies between its lower and upper limit, every
// column between its bounds, and columns marked Integer or Binary take whole values. Rows are sparse. An absent limit is
// an infinity.
//
//	p := lp.Problem{Maximise: true,
//		Columns: []lp.Column{{Name: "a", Cost: 3, Kind: lp.Binary, Upper: 1}, {Name: "b", Cost: 2, Kind: lp.Binary, Upper: 1}},
//		Rows:    []lp.Row{{Name: "cpu", Lower: lp.NoLower, Upper: 4, Terms: []lp.Term{{0, 2}, {1, 1}}}}}
package lp

import (
	"fmt"
	"math"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Absent limits.
var (
	NoLower = math.Inf(-1)
	NoUpper = math.Inf(1)
)

// Bounds on what is taken: far above what the solver's 32-bit memory holds in practice, and far below what overflows.
const (
	MaxColumns = 500_000
	MaxRows    = 500_000
	MaxTerms   = 10_000_000
	MaxCost    = 1e15 // of a cost, a coefficient or a finite bound; larger numbers drown the others' digits
	MinTerm    = 1e-9 // smaller coefficients would be taken for zero
)

// Problem is one programme.
type Problem struct {
	Name     string
	Maximise bool
	Offset   float64 // added to the objective
	Columns  []Column
	Rows     []Row
}

// Column is one variable.
type Column struct {
	Name         string
	Cost         float64
	Lower, Upper float64
	Kind         Kind
}

// Row is one constraint.
type Row struct {
	Name         string
	Lower, Upper float64 // equal for an equation
	Terms        []Term  // each column at most once
}

// Term is a coefficient of a row.
type Term struct {
	Column int // index
	Value  float64
}

// Kind says which values a column takes.
type Kind uint8

// The kinds.
const (
	Continuous Kind = iota
	Integer
	Binary // 0 or 1; the bounds may narrow it
)

func (k Kind) String() string {
	return [...]string{"continuous", "integer", "binary"}[min(int(k), 2)]
}

// Integers counts the columns that take whole values only.
func (p *Problem) Integers() int {
	n := 0
	for _, c := range p.Columns {
		if c.Kind != Continuous {
			n++
		}
	}
	return n
}

// Relax lets every column take fractions.
func (p *Problem) Relax() {
	for i := range p.Columns {
		p.Columns[i].Kind = Continuous
	}
}

// Terms counts the coefficients.
func (p *Problem) Terms() int {
	n := 0
	for _, r := range p.Rows {
		n += len(r.Terms)
	}
	return n
}

// Options of one solve. The zero value solves to optimality without a limit.
//
// A solve that decides something stops by Nodes or Iterations, so that the same problem gives the same answer. Time is
// for people who wait; it needs Elapsed, the time since any fixed moment, because the solver reads no clock itself.
type Options struct {
	Nodes      int           // of the search tree; 0 is no limit
	Iterations int           // of the simplex method, at the root; 0 is no limit
	Gap        float64       // relative distance from the bound that is good enough for whole numbers; 0 is 1e-6
	Time       time.Duration // 0 is no limit
	Elapsed    func() time.Duration
	Start      []float64 // a solution to begin with, by column
	Primal     bool      // the primal simplex method, many times faster where x = 0 is feasible and most of it stays so
}

// Status of a solution.
type Status string

// The statuses.
const (
	Optimal    Status = "optimal"
	Infeasible Status = "infeasible" // no x meets all rows and bounds
	Unbounded  Status = "unbounded"  // the objective has no limit
	Checked    Status = "checked"    // found to be in order, and not solved
	Limit      Status = "limit"      // stopped by a limit of the options; X is the best found, if any
)

// Solution is the answer. Slices are by column or row of the problem; X and Activity are nil where no feasible values
// are known, Duals and Reduced where there is no optimum or the problem has whole numbers.
type Solution struct {
	Status    Status
	Reason    string  // in words, where the status alone says too little
	Objective float64 // of X
	Bound     float64 // no X is better than this; infinite when nothing is known
	Gap       float64 // |Objective − Bound| ÷ |Objective|; infinite without X
	X         []float64
	Activity  []float64 // of the rows
	Duals     []float64 // change of the optimum for one more unit of the row's binding limit
	Reduced   []float64 // the same for the column's binding bound
	Nodes     int
	Iteration int
	Solver    string // which one answered, where it is not the one that Lineshaft carries
}

// Validate refuses what has no meaning: numbers that are none, sizes over the limits, terms of columns that do not
// exist, names given twice. Limits that contradict each other are not refused: such a problem is infeasible.
func (p *Problem) Validate() error {
	const op = "lp.Validate"
	bad := func(format string, args ...any) error { return errs.Errorf(op, errs.Invalid, format, args...) }
	switch {
	case len(p.Columns) > MaxColumns || len(p.Rows) > MaxRows || p.Terms() > MaxTerms:
		return errs.Errorf(op, errs.TooLarge, "the problem has %d columns, %d rows and %d coefficients; at most %d, %d and %d are taken", len(p.Columns), len(p.Rows), p.Terms(), MaxColumns, MaxRows, MaxTerms)
	case !finite(p.Offset):
		return bad("the objective's constant is %v: give a number between -%v and %v", p.Offset, MaxCost, MaxCost)
	}
	names := map[string]bool{}
	for i, c := range p.Columns {
		who := p.ColumnName(i)
		if c.Name != "" && names[c.Name] {
			return bad("column %s is there twice", who)
		}
		names[c.Name] = true
		if !finite(c.Cost) {
			return bad("column %s has cost %v: give a number between -%v and %v", who, c.Cost, MaxCost, MaxCost)
		}
		if why := limits(c.Lower, c.Upper); why != "" {
			return bad("column %s %s", who, why)
		}
		if c.Kind > Binary {
			return bad("column %s has kind %d, which does not exist", who, c.Kind)
		}
		if c.Kind == Binary && (c.Lower < 0 || c.Upper > 1) {
			return bad("column %s is binary and has bounds %v to %v: they must lie within 0 and 1", who, c.Lower, c.Upper)
		}
	}
	clear(names)
	last := make([]int, len(p.Columns)) // the row, from 1, that has the column last
	for i, r := range p.Rows {
		who := p.RowName(i)
		if r.Name != "" && names[r.Name] {
			return bad("row %s is there twice", who)
		}
		names[r.Name] = true
		if why := limits(r.Lower, r.Upper); why != "" {
			return bad("row %s %s", who, why)
		}
		for _, t := range r.Terms {
			switch {
			case t.Column < 0 || t.Column >= len(p.Columns):
				return bad("row %s has a coefficient of column %d; there are %d", who, t.Column, len(p.Columns))
			case last[t.Column] == i+1:
				return bad("row %s has two coefficients of column %s", who, p.ColumnName(t.Column))
			case !finite(t.Value):
				return bad("row %s has coefficient %v of column %s: give a number between -%v and %v", who, t.Value, p.ColumnName(t.Column), MaxCost, MaxCost)
			case t.Value != 0 && math.Abs(t.Value) < MinTerm:
				return bad("row %s has coefficient %v of column %s, which is too near to zero: multiply the row", who, t.Value, p.ColumnName(t.Column))
			}
			last[t.Column] = i + 1
		}
	}
	return nil
}

func finite(v float64) bool { return math.Abs(v) <= MaxCost }

func limits(lower, upper float64) string {
	switch {
	case math.IsNaN(lower) || math.IsNaN(upper):
		return "has a limit that is not a number"
	case math.IsInf(lower, 1) || math.IsInf(upper, -1):
		return fmt.Sprintf("has limits %v to %v: a lower limit cannot be +infinity nor an upper one -infinity", lower, upper)
	case !math.IsInf(lower, 0) && !finite(lower) || !math.IsInf(upper, 0) && !finite(upper):
		return fmt.Sprintf("has limits %v to %v: a finite one lies between -%v and %v; write infinity for none", lower, upper, MaxCost, MaxCost)
	}
	return ""
}

// ColumnName is the column's name, or its place when it has none.
func (p *Problem) ColumnName(i int) string {
	if n := p.Columns[i].Name; n != "" {
		return n
	}
	return fmt.Sprintf("x%d", i+1)
}

// RowName is the row's name, or its place when it has none.
func (p *Problem) RowName(i int) string {
	if n := p.Rows[i].Name; n != "" {
		return n
	}
	return fmt.Sprintf("r%d", i+1)
}

// Contradiction names a column or row whose limits exclude each other, "" when there is none. Whole numbers need one
// between the bounds.
func (p *Problem) Contradiction() string {
	for i, c := range p.Columns {
		lower, upper := c.Lower, c.Upper
		if c.Kind != Continuous {
			lower, upper = math.Ceil(lower), math.Floor(upper)
		}
		if lower > upper {
			return fmt.Sprintf("column %s has no %s value between %v and %v", p.ColumnName(i), c.Kind, c.Lower, c.Upper)
		}
	}
	for i, r := range p.Rows {
		if r.Lower > r.Upper {
			return fmt.Sprintf("row %s must be at least %v and at most %v", p.RowName(i), r.Lower, r.Upper)
		}
	}
	return ""
}

// Evaluate gives the objective and the rows' values at x.
func (p *Problem) Evaluate(x []float64) (objective float64, activity []float64) {
	objective = p.Offset
	for i, c := range p.Columns {
		objective += c.Cost * x[i]
	}
	activity = make([]float64, len(p.Rows))
	for i, r := range p.Rows {
		for _, t := range r.Terms {
			activity[i] += t.Value * x[t.Column]
		}
	}
	return objective, activity
}

// Violation is the largest distance of x from what rows, bounds and whole numbers allow, relative to the limit's size
// where that is above 1, and where it is; 0 and "" when x meets all.
func (p *Problem) Violation(x []float64) (float64, string) {
	worst, where := 0.0, ""
	note := func(by, limit float64, who func() string) {
		if by /= max(1, math.Abs(limit)); by > worst {
			worst, where = by, who()
		}
	}
	for i, c := range p.Columns {
		name := func() string { return "column " + p.ColumnName(i) }
		note(c.Lower-x[i], c.Lower, name)
		note(x[i]-c.Upper, c.Upper, name)
		if c.Kind != Continuous {
			note(math.Abs(x[i]-math.Round(x[i])), 1, name)
		}
		if math.IsNaN(x[i]) {
			return math.Inf(1), name()
		}
	}
	_, activity := p.Evaluate(x)
	for i, r := range p.Rows {
		name := func() string { return "row " + p.RowName(i) }
		note(r.Lower-activity[i], r.Lower, name)
		note(activity[i]-r.Upper, r.Upper, name)
	}
	return worst, where
}
