package api

import (
	"context"
	"net/http"
	"runtime"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/lp"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/solve"
	"github.com/lineshaft/lineshaft/trust/access"
)

// Solver solves linear and 0/1 programmes; *solve.Engine does.
type Solver interface {
	Solve(ctx context.Context, p *solve.Problem, o solve.Options) (*solve.Solution, error)
}

// Bounds of a problem that is solved for somebody.
const (
	problemLimit = 8 * units.MiB
	solveTime    = 10 * time.Second // when the caller does not say
)

// SolveQuery says how to solve.
type SolveQuery struct {
	Change
	Format    solve.Format `query:"format" enum:"lp,mps,yaml" doc:"of the body; found by its looks when absent"`
	Relax     bool         `query:"relax" doc:"let whole variables take fractions: the bound, with the constraints' shadow prices"`
	Nodes     int          `query:"nodes" minimum:"0" doc:"stop after so many nodes of the search tree; 0 is no limit"`
	Gap       float64      `query:"gap" minimum:"0" maximum:"1" doc:"how far from the bound is good enough: 0.01 is 1 %"`
	TimeLimit float64      `query:"time_limit" minimum:"0" maximum:"50" doc:"stop after so many seconds with the best found; 10 when absent"`
}

func (s *server) solveRoutes() {
	s.solving = make(chan struct{}, max(1, runtime.NumCPU()/2))
	stream(s, route{
		method: http.MethodPost, path: "/solve", summary: "Solve a linear or 0/1 programme, given in CPLEX's LP format, MPS, YAML or JSON",
		takes: "text/plain application/yaml application/json", answer: typeOf[solve.Answer](),
	}, s.solve)
}

// solve reads the problem and solves it, as many at a time as leave the machine's other half free.
func (s *server) solve(w http.ResponseWriter, r *http.Request, in *SolveQuery) error {
	const op = "api.solve"
	if err := s.allow(r.Context(), "solve", access.Resource{Type: "problem"}); err != nil {
		return err
	}
	if s.o.Solver == nil {
		return errs.Errorf(op, errs.Unsupported, "this server has no solver")
	}
	text, err := read(w, r, min(s.o.BodyLimit, int64(problemLimit)))
	if err != nil {
		return err
	}
	select {
	case s.solving <- struct{}{}:
		defer func() { <-s.solving }()
	default:
		return errs.Errorf(op, errs.Exhausted, "%d problems are being solved, as many as this server takes at a time: try again in a moment, or use `lineshaft solve`, which needs no server", cap(s.solving))
	}
	p, err := solve.Parse(in.Format, "", text)
	if err != nil {
		return err
	}
	if in.Relax {
		p.Relax()
	}
	if in.DryRun {
		return writeJSON(w, solve.Describe(p, &solve.Solution{Status: lp.Checked}))
	}
	o := solve.Options{Nodes: in.Nodes, Gap: in.Gap, Time: time.Duration(in.TimeLimit * float64(time.Second))}
	if o.Time == 0 {
		o.Time = min(solveTime, s.o.Timeout*4/5)
	}
	begin := s.o.Clock.Now()
	o.Elapsed = func() time.Duration { return s.o.Clock.Now().Sub(begin) }
	answer, err := s.o.Solver.Solve(r.Context(), p, o)
	if err != nil {
		return err
	}
	return writeJSON(w, solve.Describe(p, answer))
}
