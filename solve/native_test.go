package solve_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/lp"
	"github.com/lineshaft/lineshaft/solve"
)

// told is a program that answers with files and keeps what it was asked.
type told struct {
	solution, log         []byte
	model, options, start string
}

func (p *told) Version() string { return "9.9" }

func (p *told) Run(_ context.Context, model, options, start string, _ int64) (solution, log []byte, err error) {
	p.model, p.options, p.start = model, options, start
	return p.solution, p.log, nil
}

func recorded(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mixed has two columns and rows; what HiGHS 1.15.1 wrote for it is in testdata.
func mixed(kind lp.Kind) *solve.Problem {
	return &solve.Problem{
		Name: "a name", Maximise: true, Columns: []lp.Column{{Name: "näme with space", Cost: 3, Upper: 1, Kind: kind}, {Cost: 2, Upper: 1, Kind: kind}},
		Rows: []lp.Row{{Lower: lp.NoLower, Upper: 5, Terms: []lp.Term{{Column: 0, Value: 4}, {Column: 1, Value: 2}}}, {Lower: 0.5, Upper: lp.NoUpper, Terms: []lp.Term{{Column: 0, Value: 1}, {Column: 1, Value: 1}}}},
	}
}

func TestAProgramIsAskedWithNeutralNamesAndItsFilesAreRead(t *testing.T) {
	h := &told{solution: recorded(t, "mip.sol"), log: []byte(strings.NewReplacer("Nodes             0", "Nodes             17", "LP iterations     0", "LP iterations     23", "Dual bound        3", "Dual bound        3.5").Replace(string(recorded(t, "mip.log"))))}
	e := solve.New(solve.Config{Program: h})
	p := mixed(lp.Binary)
	s, err := e.Solve(t.Context(), p, solve.Options{Nodes: 7, Start: []float64{1, 0}})
	if err != nil || s.Status != lp.Optimal || s.Objective != 3 || s.Bound != 3.5 || fmt.Sprint(s.X) != "[1 0]" || s.Duals != nil || s.Nodes != 17 || s.Iteration != 23 {
		t.Fatalf("%+v, %v", s, err)
	}
	if h.options != "mip_rel_gap = 1e-06\nmip_max_nodes = 7\nthreads = 1\nrandom_seed = 0\n" || strings.Contains(h.model, "name") || !strings.Contains(h.model, " C0 R0 4\n") || !strings.Contains(h.start, "# Columns 2\nC0 1\nC1 0\n# Rows 2\nR0 4\nR1 1\n") {
		t.Fatalf("%s\n%s\n%s", h.options, h.model, h.start)
	}
	if a := solve.Describe(p, s); a.Solver != "HiGHS 9.9, native" || !e.Built() || !e.Warm() {
		t.Fatal(a.Solver)
	}
	h.solution, h.log = recorded(t, "linear.sol"), recorded(t, "linear.log")
	s, err = e.Solve(t.Context(), mixed(lp.Continuous), solve.Options{Primal: true})
	if err != nil || s.Objective != 4.25 || fmt.Sprint(s.X, s.Duals, s.Reduced) != "[0.75 1] [0.75 0] [0 0.5]" || s.Iteration != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	if !strings.Contains(h.options, "simplex_strategy = 4\n") || h.start != "" {
		t.Fatal(h.options)
	}
}

func TestAnAnswerThatIsNoneIsRefused(t *testing.T) {
	good := string(recorded(t, "linear.sol"))
	for was, is := range map[string]string{
		good:                     "",
		"Model status":           "Status",
		"\nOptimal":              "\nSolve error",
		"Objective 4.25":         "Value 4.25",
		"# Columns 2":            "# Columns 2000000000",
		"C1 1":                   "C2 1",
		"C0 0.75":                "C0 NaN",
		"R0 5":                   "R0",
		"# Dual solution values": "# Basis",
	} {
		text := strings.Replace(good, was, is, 1)
		if text == good {
			t.Fatalf("%q is not in it", was)
		}
		e := solve.New(solve.Config{Program: &told{solution: []byte(text)}})
		if s, err := e.Solve(t.Context(), mixed(lp.Continuous), solve.Options{}); err == nil || s != nil {
			t.Errorf("%q: %+v", is, s)
		}
	}
	e := solve.New(solve.Config{Program: &told{solution: []byte(strings.Replace(good, "C0 0.75", "C0 7", 1))}})
	if _, err := e.Solve(t.Context(), mixed(lp.Continuous), solve.Options{}); !errs.Is(err, errs.Corrupt) {
		t.Errorf("an answer that breaks its bound: %v", err)
	}
}

func FuzzAProgramsFilesAreReadSafely(f *testing.F) {
	for _, name := range []string{"mip", "linear"} {
		f.Add(recorded(f, name+".sol"), recorded(f, name+".log"))
	}
	f.Fuzz(func(t *testing.T, solution, log []byte) {
		for _, kind := range []lp.Kind{lp.Continuous, lp.Binary} {
			p := mixed(kind)
			s, err := solve.New(solve.Config{Program: &told{solution: solution, log: log}}).Solve(t.Context(), p, solve.Options{})
			if err != nil || s.X == nil {
				continue
			}
			if by, where := p.Violation(s.X); by > 1e-5 {
				t.Fatalf("%s is broken by %v", where, by)
			}
		}
	})
}
