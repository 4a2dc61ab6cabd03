package api_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/lp"
	"github.com/lineshaft/lineshaft/solve"
)

// solver answers every problem with ones, as long as it is let.
type solver struct {
	asked chan solve.Options
	wait  bool
}

func (s solver) Solve(ctx context.Context, p *solve.Problem, o solve.Options) (*solve.Solution, error) {
	if s.asked != nil {
		s.asked <- o
	}
	if s.wait {
		<-ctx.Done()
		return nil, errs.E("solver.Solve", errs.Other, ctx.Err())
	}
	x := make([]float64, len(p.Columns))
	for i := range x {
		x[i] = 1
	}
	objective, activity := p.Evaluate(x)
	return &solve.Solution{Status: lp.Optimal, Objective: objective, Bound: objective, X: x, Activity: activity}, nil
}

func TestAProblemIsSolvedForWhoeverMay(t *testing.T) {
	h := newHall(t)
	s := solver{asked: make(chan solve.Options, 1)}
	h.o.Solver = s
	h.listen()
	const text = "tasks: {a: {cpu: 2, value: 3}}\navailable: {cpu: 4}\n"
	a, err := h.client("dan").Solve(t.Context(), []byte(text), api.SolveQuery{Nodes: 7, Gap: 0.5, TimeLimit: 3})
	if err != nil || a.Status != lp.Optimal || *a.Objective != 3 || a.Variables[0].Name != "a" || a.Constraints[0].Value != 2 {
		t.Fatalf("%+v, %v", a, err)
	}
	if o := <-s.asked; o.Nodes != 7 || o.Gap != 0.5 || o.Time != 3*time.Second || o.Elapsed == nil {
		t.Fatalf("%+v", o)
	}
	if a, err := h.client("dan").Solve(t.Context(), []byte("max\n x\nst\n x <= 1\nend\n"), api.SolveQuery{}); err != nil || *a.Objective != 1 {
		t.Fatalf("%+v, %v", a, err)
	}
	if o := <-s.asked; o.Time != 10*time.Second {
		t.Fatalf("a problem without a limit of time gets %v", o.Time)
	}
	if a, err := h.client("dan").Solve(t.Context(), []byte(text), api.SolveQuery{Change: api.Change{DryRun: true}}); err != nil || a.Status != lp.Checked || a.Objective != nil {
		t.Fatalf("%+v, %v", a, err)
	}
	_, err = h.client("dan").Solve(t.Context(), []byte("max\n x\nst\n x <= y\nend\n"), api.SolveQuery{})
	if !errs.Is(err, errs.Invalid) || !strings.HasPrefix(err.Error(), "line 4, column 7: a number must follow") {
		t.Fatal(err)
	}
	for query, want := range map[string]int{"time_limit=900": 400, "nodes=-1": 400, "format=cplex": 400, "gap=2": 400, "nods=1": 400} {
		if a := h.as("dan", "POST", "/api/v1/solve?"+query, text); a.code != want {
			t.Errorf("%s: %d %s", query, a.code, a.body)
		}
	}
	if a := h.as("dan", "POST", "/api/v1/solve", strings.Repeat("\\\n", 5<<20)); a.code != http.StatusRequestEntityTooLarge {
		t.Errorf("%d %s", a.code, a.body)
	}
}

func TestProblemsDoNotTakeTheWholeMachine(t *testing.T) {
	h := newHall(t)
	s := solver{asked: make(chan solve.Options, 100), wait: true}
	h.o.Solver, h.o.Timeout = s, time.Hour
	h.listen()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 100)
	started := 0
	for {
		answers := make(chan error, 1)
		go func() {
			_, err := h.client("dan").Solve(ctx, []byte("max\n x\nst\n x <= 1\nend\n"), api.SolveQuery{})
			answers <- err
		}()
		select {
		case <-s.asked:
			started++
			go func() { done <- <-answers }()
			continue
		case err := <-answers:
			if !errs.Is(err, errs.Exhausted) || started == 0 {
				t.Fatalf("after %d: %v", started, err)
			}
		}
		break
	}
	stop()
	for range started {
		if err := <-done; !errs.Is(err, errs.Canceled) {
			t.Error(err)
		}
	}
}
