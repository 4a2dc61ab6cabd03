package solve

import (
	"fmt"
	"math"

	"github.com/lineshaft/lineshaft/internal/lp"
	"github.com/lineshaft/lineshaft/solve/highs"
)

// Answer is a solution with the problem's names, as the command line and the API show it. What is unknown or infinite is
// absent.
type Answer struct {
	Name        string       `json:"name,omitempty"`
	Status      lp.Status    `json:"status" enum:"optimal,infeasible,unbounded,limit,checked"`
	Reason      string       `json:"reason,omitempty"` // in words
	Sense       string       `json:"sense"`            // minimise, maximise
	Objective   *float64     `json:"objective,omitempty"`
	Bound       *float64     `json:"bound,omitempty"` // nothing is better than this
	Gap         *float64     `json:"gap,omitempty"`   // relative distance between the two
	Variables   []Variable   `json:"variables"`       // empty without a solution
	Constraints []Constraint `json:"constraints"`
	Nodes       int          `json:"nodes"`
	Iterations  int          `json:"iterations"`
	Solver      string       `json:"solver"`
}

// Variable is a column's value. ReducedCost is the change of the optimum for one more unit of the bound that it rests on.
type Variable struct {
	Name        string   `json:"name"`
	Value       float64  `json:"value"`
	Kind        string   `json:"kind"`
	ReducedCost *float64 `json:"reduced_cost,omitempty"`
}

// Constraint is a row's value. Dual, its shadow price, is the change of the optimum for one more unit of the limit that
// binds.
type Constraint struct {
	Name    string   `json:"name"`
	Value   float64  `json:"value"`
	AtLeast *float64 `json:"at_least,omitempty"`
	AtMost  *float64 `json:"at_most,omitempty"`
	Dual    *float64 `json:"dual,omitempty"`
}

// Describe puts the names to a solution.
func Describe(p *Problem, s *Solution) Answer {
	a := Answer{
		Name: p.Name, Status: s.Status, Reason: words(p, s), Sense: "minimise", Nodes: s.Nodes, Iterations: s.Iteration,
		Variables: []Variable{}, Constraints: []Constraint{}, Solver: s.Solver,
	}
	if a.Solver == "" {
		a.Solver = "HiGHS " + highs.Version
	}
	if p.Maximise {
		a.Sense = "maximise"
	}
	if s.Status == lp.Optimal || s.Status == lp.Limit {
		a.Bound = known(s.Bound)
	}
	if s.X == nil {
		return a
	}
	a.Objective, a.Gap = known(s.Objective), known(s.Gap)
	for i, c := range p.Columns {
		v := Variable{Name: p.ColumnName(i), Value: s.X[i], Kind: c.Kind.String()}
		if s.Reduced != nil {
			v.ReducedCost = known(s.Reduced[i])
		}
		a.Variables = append(a.Variables, v)
	}
	for i, r := range p.Rows {
		c := Constraint{Name: p.RowName(i), Value: s.Activity[i], AtLeast: known(r.Lower), AtMost: known(r.Upper)}
		if s.Duals != nil {
			c.Dual = known(s.Duals[i])
		}
		a.Constraints = append(a.Constraints, c)
	}
	return a
}

// words says how it stands, where there is more to say than the numbers.
func words(p *Problem, s *Solution) string {
	switch {
	case s.Status == lp.Infeasible && s.Reason != "":
		return "no values meet all constraints: " + s.Reason
	case s.Status == lp.Infeasible:
		return "no values meet all constraints and bounds at once; loosen one of them"
	case s.Status == lp.Unbounded && p.Maximise:
		return "the objective grows without limit; a constraint or an upper bound is missing"
	case s.Status == lp.Unbounded:
		return "the objective falls without limit; a constraint or a lower bound is missing"
	case s.Status == lp.Limit && s.X == nil:
		return "stopped by a limit before any solution was found; allow more"
	case s.Status == lp.Limit:
		return fmt.Sprintf("stopped by a limit; this is the best found, at most %.2g %% from the optimum", 100*s.Gap)
	}
	return ""
}

func known(v float64) *float64 {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return nil
	}
	return &v
}
