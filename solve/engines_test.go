//go:build engines

package solve_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/lp"
	"github.com/lineshaft/lineshaft/internal/native"
	"github.com/lineshaft/lineshaft/internal/pyenv"
	"github.com/lineshaft/lineshaft/internal/testkit"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/solve"
)

// program is HiGHS's own, as PyPI has it.
func program(t *testing.T, memory units.Bytes) *solve.Engine {
	t.Helper()
	path := testkit.RunPython(t, testkit.Python(t, pyenv.HiGHS()...), "import highsbox, os\nprint(os.path.join(os.path.dirname(highsbox.__file__), 'highs_dist', 'bin', 'highs'))")
	h, err := native.Open(t.Context(), strings.TrimSpace(path), memory)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", t.TempDir())
	t.Cleanup(func() {
		if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
			t.Errorf("solves left %v behind, %v", left, err)
		}
	})
	return solve.New(solve.Config{Program: h})
}

func TestEnginesNativeAnswersTheArticlesProblems(t *testing.T) {
	e := program(t, 0)
	checkArticle(t, e)
	checkNoSolution(t, e)
	for seed := range uint64(60) {
		checkDuality(t, e, seed)
		checkBruteForce(t, e, seed)
	}
}

// near tells whether numbers are the same but for digits that a text leaves out.
func near(a, b float64) bool { return a == b || math.Abs(a-b) <= 1e-8*max(1, math.Abs(a)) }

func TestEnginesNativeGivesTheSolutionOfTheOneWithin(t *testing.T) {
	own, other := engine(t), program(t, 0)
	var problems []*solve.Problem
	files, err := filepath.Glob("../examples/solve/*.*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if filepath.Ext(name) == ".md" {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := solve.Parse("", name, text)
		if err != nil {
			t.Fatal(err)
		}
		problems = append(problems, p)
	}
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 9))
		p := random(r, 1+r.IntN(8), r.IntN(8), lp.Kind(seed%3))
		for i := range p.Rows { // a row without limits, and coefficients of zero
			if seed%4 == 0 && i == 0 {
				p.Rows[i].Lower, p.Rows[i].Upper = lp.NoLower, lp.NoUpper
			}
			if seed%5 == 0 && len(p.Rows[i].Terms) > 1 {
				p.Rows[i].Terms[0].Value = 0
			}
		}
		problems = append(problems, p)
	}
	problems = append(problems, knapsacks(12))
	for i, p := range problems {
		want, err := own.Solve(t.Context(), p, solve.Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := other.Solve(t.Context(), p, solve.Options{})
		if err != nil {
			t.Fatalf("problem %d: %v\n%s", i, err, solve.WriteLP(p))
		}
		same := got.Status == want.Status && (want.X == nil) == (got.X == nil) && (want.X == nil || near(want.Objective, got.Objective)) &&
			near(want.Bound, got.Bound) && (want.Gap == got.Gap || math.Abs(want.Gap-got.Gap) < 1e-6) && got.Nodes == want.Nodes && got.Iteration == want.Iteration
		for _, v := range [][2][]float64{{want.X, got.X}, {want.Activity, got.Activity}, {want.Duals, got.Duals}, {want.Reduced, got.Reduced}} {
			same = same && len(v[0]) == len(v[1]) && (v[0] == nil) == (v[1] == nil)
			for j := range v[0] {
				same = same && near(v[0][j], v[1][j])
			}
		}
		if !same {
			t.Errorf("problem %d\nwithin %+v\nnative %+v\n%s", i, want, got, solve.WriteLP(p))
		}
		if s := solve.Describe(p, got).Solver; got.Reason == "" && s != "HiGHS 1.15.1, native" {
			t.Errorf("problem %d: solver %q", i, s)
		}
	}
}

func TestEnginesNativeIsBounded(t *testing.T) {
	e, p := program(t, 0), knapsacks(60)
	for _, o := range []solve.Options{{Nodes: 2}, {Time: 300 * time.Millisecond, Elapsed: func() time.Duration { return 0 }}} {
		s, err := e.Solve(t.Context(), p, o)
		if err != nil || s.Status != lp.Limit || s.X == nil || s.Bound < s.Objective || s.Gap <= 0 {
			t.Fatalf("%+v: %+v, %v", o, s, err)
		}
		if o.Nodes > 0 {
			again, err := e.Solve(t.Context(), p, o)
			if err != nil || fmt.Sprint(again) != fmt.Sprint(s) {
				t.Fatalf("another answer: %+v, %v", again, err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := e.Solve(ctx, p, solve.Options{}); !errs.Is(err, errs.Timeout) {
		t.Fatal(err)
	}
	big := &solve.Problem{}
	for range 100_000 {
		big.Columns = append(big.Columns, lp.Column{Cost: 1, Upper: lp.NoUpper})
	}
	for i := range 30_000 {
		row := lp.Row{Lower: 1, Upper: lp.NoUpper}
		for j := range 5 {
			row.Terms = append(row.Terms, lp.Term{Column: (i*7 + j*13) % 100_000, Value: 1})
		}
		big.Rows = append(big.Rows, row)
	}
	if _, err := program(t, 80*units.MiB).Solve(t.Context(), big, solve.Options{}); !errs.Is(err, errs.Exhausted) || !strings.Contains(err.Error(), "80 MiB") {
		t.Fatal(err)
	}
}
