package solve

import (
	"context"
	"math"
	"sync"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/lp"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/solve/highs"
)

// Problem is package lp's.
type Problem = lp.Problem

// Options is package lp's.
type Options = lp.Options

// Solution is package lp's.
type Solution = lp.Solution

// Config of an engine.
type Config struct {
	Cache  string      // folder of compiled modules, the user's own, never the data folder; none when empty
	Memory units.Bytes // the most that one solve may take; 0 is highs.DefaultMemory

	// Program, where there is one, works in the place of the HiGHS that this binary carries; its memory is its own affair.
	Program Program
}

// Engine solves problems with HiGHS. It loads it when first asked, keeps it, and gives every solve an instance of its
// own. Its methods may be called from any goroutine.
type Engine struct {
	config Config

	mu       sync.Mutex
	current  *loaded   // nil before the first solve
	compiled bool      // the current one is
	old      []*loaded // replaced, and perhaps still in use
}

// loaded is a module and the solves that run on it. Solves are added under the engine's lock, while it is the current one.
type loaded struct {
	*highs.Module
	users sync.WaitGroup
}

// New makes an engine; it loads nothing yet.
func New(c Config) *Engine { return &Engine{config: c} }

// Built says whether there is a HiGHS: this binary carries it, or a program was named.
func (e *Engine) Built() bool { return e.config.Program != nil || highs.Built() }

// Warm says whether solves run as machine code now, or will from the next on: the compiled module is loaded or in the
// cache. Otherwise an interpreter serves.
func (e *Engine) Warm() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.config.Program != nil || e.compiled || highs.Built() && highs.Cached(e.config.Cache)
}

// Compile compiles HiGHS into the cache where it is not yet: about 20 s of one core, once for each user, processor and
// version. Solves that begin afterwards, in any process, are some 30 times faster. Without a cache the compiled module
// serves this engine alone. A program needs no compiling.
func (e *Engine) Compile(ctx context.Context) error {
	if e.config.Program != nil {
		return nil
	}
	m, err := highs.Load(ctx, highs.Config{Compile: true, Cache: e.config.Cache, Memory: e.config.Memory})
	if err != nil {
		return errs.E("solve.Compile", errs.Other, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.compiled {
		m.Close()
		return nil
	}
	e.replace(m)
	return nil
}

// replace makes m the module of all further solves. The interpreter's is kept until Close, because solves may run on it.
func (e *Engine) replace(m *highs.Module) {
	if e.current != nil {
		e.old = append(e.old, e.current)
	}
	e.current, e.compiled = &loaded{Module: m}, true
}

// load gives the module for a solve, compiled as soon as the cache has it. The solve ends with users.Done.
func (e *Engine) load(ctx context.Context) (*loaded, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.compiled && highs.Cached(e.config.Cache) {
		m, err := highs.Load(ctx, highs.Config{Compile: true, Cache: e.config.Cache, Memory: e.config.Memory})
		if err != nil {
			return nil, err
		}
		e.replace(m)
	}
	if e.current == nil {
		m, err := highs.Load(ctx, highs.Config{Memory: e.config.Memory})
		if err != nil {
			return nil, err
		}
		e.current = &loaded{Module: m}
	}
	e.current.users.Add(1)
	return e.current, nil
}

// Close waits for solves to end and frees all memory. The engine can be used again; it loads HiGHS anew.
func (e *Engine) Close() {
	e.mu.Lock()
	all := e.old
	if e.current != nil {
		all = append(all, e.current)
	}
	e.current, e.old, e.compiled = nil, nil, false
	e.mu.Unlock()
	for _, m := range all {
		m.users.Wait()
		m.Close()
	}
}

// Solve answers the problem. Errors are of kind Invalid or TooLarge for what Validate refuses, Exhausted when memory
// does not suffice, Timeout and Canceled when ctx ends first, Unsupported when the binary was built without HiGHS.
// That a problem has no solution is not an error: the status says so.
func (e *Engine) Solve(ctx context.Context, p *Problem, o Options) (*Solution, error) {
	const op = "solve.Solve"
	if err := check(p, o); err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	if s := trivial(p); s != nil {
		return s, nil
	}
	if h := e.config.Program; h != nil {
		s, err := answer(p, o, func(p *Problem, o Options) (outcome, error) { return outside(ctx, h, p, o) })
		if s != nil {
			s.Solver = "HiGHS " + h.Version() + ", native"
		}
		return s, errs.E(op, errs.Other, err)
	}
	m, err := e.load(ctx)
	if err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	defer m.users.Done()
	s, err := answer(p, o, func(p *Problem, o Options) (outcome, error) { return inside(ctx, m.Module, p, o) })
	return s, errs.E(op, errs.Other, err)
}

func check(p *Problem, o Options) error {
	const op = "solve.check"
	if err := p.Validate(); err != nil {
		return err
	}
	switch {
	case o.Nodes < 0 || o.Iterations < 0 || o.Time < 0 || !(o.Gap >= 0) || o.Gap > 1:
		return errs.Errorf(op, errs.Invalid, "limits of nodes, iterations and time must not be negative, and a gap lies between 0 and 1")
	case o.Time > 0 && o.Elapsed == nil:
		return errs.Errorf(op, errs.Invalid, "a limit of time needs a clock")
	case o.Start != nil && len(o.Start) != len(p.Columns):
		return errs.Errorf(op, errs.Invalid, "the solution to begin with has %d values for %d columns", len(o.Start), len(p.Columns))
	}
	return nil
}

// trivial answers what needs no solver: contradictions, and problems without columns.
func trivial(p *Problem) *Solution {
	if why := p.Contradiction(); why != "" {
		return &Solution{Status: lp.Infeasible, Reason: why}
	}
	if len(p.Columns) > 0 {
		return nil
	}
	for i, r := range p.Rows {
		if r.Lower > 0 || r.Upper < 0 {
			return &Solution{Status: lp.Infeasible, Reason: "row " + p.RowName(i) + " has no columns and asks for a value that is not 0"}
		}
	}
	return &Solution{
		Status: lp.Optimal, Objective: p.Offset, Bound: p.Offset,
		X: []float64{}, Reduced: []float64{}, Activity: make([]float64, len(p.Rows)), Duals: make([]float64, len(p.Rows)),
	}
}

// answer runs HiGHS, and once more where it cannot tell infeasible from unbounded.
func answer(p *Problem, o Options, solver func(*Problem, Options) (outcome, error)) (*Solution, error) {
	status, s, err := run(p, o, solver)
	if err != nil {
		return nil, err
	}
	whole := p.Integers() > 0
	if status == highs.UnboundedOrInfeasible || status == highs.Unbounded && whole {
		// Without costs nothing is unbounded: what is left is whether any x is feasible.
		flat := *p
		flat.Columns = make([]lp.Column, len(p.Columns))
		for i, c := range p.Columns {
			c.Cost = 0
			flat.Columns[i] = c
		}
		again := o
		again.Start = nil
		probe, _, err := run(&flat, again, solver)
		switch {
		case err != nil:
			return nil, err
		case probe == highs.Optimal:
			s = &Solution{Status: lp.Unbounded}
		case probe == highs.Infeasible:
			s = &Solution{Status: lp.Infeasible}
		default:
			s = &Solution{Status: lp.Limit, Bound: unknown(p), Gap: math.Inf(1)}
		}
	}
	return s, nil
}

// unknown is the bound when nothing is known.
func unknown(p *Problem) float64 {
	if p.Maximise {
		return math.Inf(1)
	}
	return math.Inf(-1)
}

// outcome is what one run of HiGHS leaves.
type outcome struct {
	status            highs.Status
	x, reduced, duals []float64 // x is nil unless feasible
	bound             float64   // the search tree's; NaN where there is none
	nodes, iterations int
}

// run is one run of HiGHS, checked.
func run(p *Problem, o Options, solver func(*Problem, Options) (outcome, error)) (highs.Status, *Solution, error) {
	out, err := solver(p, o)
	if err != nil {
		return 0, nil, err
	}
	s := &Solution{Iteration: max(out.iterations, 0), Nodes: max(out.nodes, 0)}
	switch out.status {
	case highs.Optimal, highs.Empty:
		s.Status = lp.Optimal
	case highs.Infeasible:
		s.Status = lp.Infeasible
	case highs.Unbounded, highs.UnboundedOrInfeasible:
		s.Status = lp.Unbounded
	case highs.TimeLimit, highs.IterationLimit, highs.SolutionLimit:
		s.Status = lp.Limit
	default:
		return 0, nil, errs.Errorf("solve.run", errs.Other, "the solver gives no answer (%s)", out.status)
	}
	if s.Status == lp.Optimal || s.Status == lp.Limit {
		err = values(out, p, s)
	}
	return out.status, s, errs.E("solve.run", errs.Other, err)
}

// inside is one instance's work.
func inside(ctx context.Context, m *highs.Module, p *Problem, o Options) (outcome, error) {
	const feasible = 2 // kHighsSolutionStatusFeasible
	h, err := m.New(ctx, o.Elapsed)
	if err != nil {
		return outcome{}, err
	}
	defer h.Close()
	if err := configure(h, p, o); err != nil {
		return outcome{}, err
	}
	if err := h.Run(); err != nil {
		return outcome{}, err
	}
	out := outcome{status: h.Status(), iterations: h.Int("simplex_iteration_count"), nodes: h.Int("mip_node_count"), bound: math.NaN()}
	if p.Integers() > 0 {
		out.bound = h.Float("mip_dual_bound")
	}
	if h.Int("primal_solution_status") == feasible {
		out.x, out.reduced, _, out.duals, err = h.Solution()
	}
	return out, firstOf(err, h.Err())
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func configure(h *highs.Instance, p *Problem, o Options) error {
	if err := h.Pass(p); err != nil {
		return err
	}
	for _, s := range settings(p, o) {
		if err := h.Set(s.name, s.value); err != nil {
			return err
		}
	}
	if o.Start != nil {
		return h.Start(o.Start)
	}
	return nil
}

// setting is an option by HiGHS's name.
type setting struct {
	name  string
	value any // an int or a float64
}

// settings are the options that are not HiGHS's defaults.
func settings(p *Problem, o Options) []setting {
	const primal = 4 // kSimplexStrategyPrimal
	gap := o.Gap
	if gap == 0 {
		gap = 1e-6
	}
	out := []setting{{"mip_rel_gap", gap}}
	for _, s := range []struct {
		setting
		when bool
	}{
		{setting{"mip_max_nodes", o.Nodes}, o.Nodes > 0},
		{setting{"simplex_iteration_limit", o.Iterations}, o.Iterations > 0},
		{setting{"time_limit", o.Time.Seconds()}, o.Time > 0},
		{setting{"simplex_strategy", primal}, o.Primal && p.Integers() == 0},
	} {
		if s.when {
			out = append(out, s.setting)
		}
	}
	return out
}

// tolerance is how far a value may lie beyond a limit. HiGHS works with 1e-7 and 1e-6 on scaled problems.
const tolerance = 1e-5

// values reads what HiGHS found and checks it against the problem: nobody plans by an x that breaks a row.
func values(out outcome, p *Problem, s *Solution) error {
	whole := p.Integers() > 0
	s.Bound, s.Gap = unknown(p), math.Inf(1)
	if whole && !math.IsNaN(out.bound) {
		s.Bound = out.bound
	}
	if out.x == nil {
		return nil
	}
	x := out.x
	for i, c := range p.Columns {
		if c.Kind != lp.Continuous && math.Abs(x[i]-math.Round(x[i])) < tolerance {
			x[i] = math.Round(x[i])
		}
		x[i] += 0 // no negative zeros
	}
	if by, where := p.Violation(x); by > tolerance {
		return errs.Errorf("solve.values", errs.Corrupt, "the solver's answer breaks %s by %g; this is a fault of the solver, or the problem's numbers are too far apart", where, by)
	}
	s.X = x
	s.Objective, s.Activity = p.Evaluate(x)
	if !whole && s.Status == lp.Optimal {
		s.Bound, s.Duals, s.Reduced = s.Objective, out.duals, out.reduced
		for _, v := range [][]float64{s.Duals, s.Reduced} {
			for i := range v {
				v[i] += 0
			}
		}
	}
	if p.Maximise && s.Bound < s.Objective || !p.Maximise && s.Bound > s.Objective {
		s.Bound = s.Objective // by a rounding
	}
	s.Gap = math.Abs(s.Objective-s.Bound) / max(math.Abs(s.Objective), 1e-9)
	return nil
}
