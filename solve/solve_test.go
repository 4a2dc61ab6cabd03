package solve_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/lp"
	"github.com/lineshaft/lineshaft/solve"
)

// engine interprets, which is quick enough for small problems; the compiled one is for the campaign.
func engine(t testing.TB) *solve.Engine {
	e := solve.New(solve.Config{})
	if !e.Built() {
		t.Fatal("this tree has no HiGHS yet: run `make solve/highs/build/highs.wasm`")
	}
	t.Cleanup(e.Close)
	return e
}

func answer(t *testing.T, e *solve.Engine, text string, o solve.Options) *solve.Solution {
	t.Helper()
	p, err := solve.Parse("", "", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.Solve(context.Background(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheArticlesProblemsHaveTheirAnswers(t *testing.T) { checkArticle(t, engine(t)) }

func checkArticle(t *testing.T, e *solve.Engine) {
	t.Helper()
	tasks := "tasks: {task1: {cpu: 2, gpu: 4, value: 3}, task2: {cpu: 1, gpu: 2, value: 2}}\navailable: {cpu: 4, gpu: 4}\n"
	if s := answer(t, e, tasks, solve.Options{}); s.Status != lp.Optimal || s.Objective != 3 || fmt.Sprint(s.X) != "[1 0]" || s.Duals != nil || s.Gap != 0 {
		t.Fatalf("%+v", s)
	}
	linear := "c: [-3, -2]\nA: [[2, 1], [4, 2]]\nb: [4, 4]\n"
	if s := answer(t, e, linear, solve.Options{}); s.Objective != -4 || fmt.Sprint(s.X) != "[0 2]" || fmt.Sprint(s.Duals) != "[0 -1]" || fmt.Sprint(s.Reduced) != "[1 0]" {
		t.Fatalf("%+v", s)
	}
}

func TestWhatHasNoSolutionSaysSo(t *testing.T) { checkNoSolution(t, engine(t)) }

func checkNoSolution(t *testing.T, e *solve.Engine) {
	t.Helper()
	for text, want := range map[string]string{
		"min\n x\nst\n x + y >= 3\n x + y <= 1\nend\n":                    "infeasible no values meet all constraints and bounds at once; loosen one of them",
		"min\n x\nst\n x + y >= 3\nbounds\n x <= -1\nend\n":               "infeasible no values meet all constraints: column x has no continuous value between 0 and -1",
		"min\n x\nst\n 2 x + y = 3\nbounds\n 0.2<=x<=0.8\ngen\n x\nend\n": "infeasible no values meet all constraints: column x has no integer value between 0.2 and 0.8",
		"max\n x\nst\n x - y <= 3\nend\n":                                 "unbounded the objective grows without limit; a constraint or an upper bound is missing",
		"min\n x\nst\n x - y <= 3\nbounds\n x free\nend\n":                "unbounded the objective falls without limit; a constraint or a lower bound is missing",
		"max\n x\nst\n x - y <= 3\ngeneral\n x y\nend\n":                  "unbounded the objective grows without limit; a constraint or an upper bound is missing",
		"max\n x\nst\n x - y <= 3\n 2 x - 2 y = 1\ngeneral\n x y\nend\n":  "infeasible no values meet all constraints and bounds at once; loosen one of them",

		"min\n 7\nst\nend\n": "optimal ",
	} {
		p, err := solve.ParseLP([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		s, err := e.Solve(context.Background(), p, solve.Options{})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		a := solve.Describe(p, s)
		if got := string(a.Status) + " " + a.Reason; got != want {
			t.Errorf("%s\ngot  %s\nwant %s", text, got, want)
		}
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	e := solve.New(solve.Config{})
	nan, inf := math.NaN(), math.Inf(1)
	one := func(c lp.Column, r ...lp.Row) *solve.Problem {
		return &solve.Problem{Columns: []lp.Column{c}, Rows: r}
	}
	row := func(lower, upper float64, terms ...lp.Term) lp.Row {
		return lp.Row{Lower: lower, Upper: upper, Terms: terms}
	}
	for want, p := range map[string]*solve.Problem{
		"cost NaN":                one(lp.Column{Cost: nan}),
		"cost +Inf":               one(lp.Column{Cost: inf}),
		"constant is NaN":         {Offset: nan},
		"is not a number":         one(lp.Column{Lower: nan}),
		"cannot be +infinity":     one(lp.Column{Lower: inf, Upper: inf}),
		"write infinity":          one(lp.Column{Upper: 1e16}),
		"within 0 and 1":          one(lp.Column{Upper: 2, Kind: lp.Binary}),
		"kind 9":                  one(lp.Column{Kind: 9}),
		"row r1 has limits":       one(lp.Column{}, row(inf, inf)),
		"there are 1":             one(lp.Column{}, row(0, 1, lp.Term{Column: 1, Value: 1})),
		"two coefficients":        one(lp.Column{}, row(0, 1, lp.Term{Value: 1}, lp.Term{Value: 1})),
		"coefficient NaN":         one(lp.Column{}, row(0, 1, lp.Term{Value: nan})),
		"coefficient 1e+300":      one(lp.Column{}, row(0, 1, lp.Term{Value: 1e300})),
		"too near to zero":        one(lp.Column{}, row(0, 1, lp.Term{Value: 1e-12})),
		"column a is there twice": {Columns: []lp.Column{{Name: "a"}, {Name: "a"}}},
		"row a is there twice":    {Rows: []lp.Row{{Name: "a"}, {Name: "a"}}},
	} {
		_, err := e.Solve(context.Background(), p, solve.Options{})
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	for _, o := range []solve.Options{{Nodes: -1}, {Gap: nan}, {Gap: 2}, {Time: time.Second}, {Start: []float64{1, 2}}} {
		if _, err := e.Solve(context.Background(), one(lp.Column{}), o); !errs.Is(err, errs.Invalid) {
			t.Errorf("options %+v: %v", o, err)
		}
	}
}

// random is a problem that may be infeasible, unbounded or neither.
func random(r *rand.Rand, columns, rows int, kind lp.Kind) *solve.Problem {
	p := &solve.Problem{Maximise: r.IntN(2) == 0, Offset: float64(r.IntN(5))}
	for range columns {
		c := lp.Column{Cost: float64(r.IntN(21) - 10), Upper: lp.NoUpper, Kind: kind}
		switch {
		case kind == lp.Binary:
			c.Upper = 1
		case r.IntN(3) == 0:
			c.Upper = float64(r.IntN(10))
		case r.IntN(6) == 0:
			c.Lower = lp.NoLower
		}
		p.Columns = append(p.Columns, c)
	}
	for range rows {
		row := lp.Row{Lower: lp.NoLower, Upper: lp.NoUpper}
		for j := range columns {
			if v := r.IntN(13) - 4; v != 0 && r.IntN(3) > 0 {
				row.Terms = append(row.Terms, lp.Term{Column: j, Value: float64(v)})
			}
		}
		limit := float64(r.IntN(20))
		switch r.IntN(5) {
		case 0:
			row.Lower = limit - 10
		case 1:
			row.Lower, row.Upper = limit-5, limit+5
		case 2:
			if kind != lp.Binary {
				row.Lower, row.Upper = limit, limit
				break
			}
			fallthrough
		default:
			row.Upper = limit
		}
		p.Rows = append(p.Rows, row)
	}
	return p
}

// dualObjective is what the duals and reduced costs prove, and how far they are from proving it: a price on a limit that
// does not bind, or a reduced cost that the rows' prices do not give.
func dualObjective(p *solve.Problem, s *solve.Solution) (objective, wrong float64) {
	objective = p.Offset
	price := func(v, lower, upper float64) {
		if math.Abs(v) < 1e-9 {
			return
		}
		limit := upper
		if (v > 0) != p.Maximise {
			limit = lower
		}
		if math.IsInf(limit, 0) {
			wrong = max(wrong, math.Abs(v))
			return
		}
		objective += v * limit
	}
	left := make([]float64, len(p.Columns))
	for i, r := range p.Rows {
		price(s.Duals[i], r.Lower, r.Upper)
		for _, t := range r.Terms {
			left[t.Column] += s.Duals[i] * t.Value
		}
	}
	for i, c := range p.Columns {
		price(s.Reduced[i], c.Lower, c.Upper)
		wrong = max(wrong, math.Abs(c.Cost-left[i]-s.Reduced[i]))
	}
	return objective, wrong
}

// checkDuality solves the random programme and holds the answer against its own proof.
func checkDuality(t *testing.T, e *solve.Engine, seed uint64) lp.Status {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 7))
	p := random(r, 1+r.IntN(8), r.IntN(8), lp.Continuous)
	s, err := e.Solve(context.Background(), p, solve.Options{Primal: seed%2 == 0})
	if err != nil {
		t.Fatalf("seed %d: %v\n%s", seed, err, solve.WriteLP(p))
	}
	if s.Status != lp.Optimal {
		return s.Status
	}
	proved, wrong := dualObjective(p, s)
	if wrong > 1e-6 || math.Abs(proved-s.Objective) > 1e-6*max(1, math.Abs(s.Objective)) {
		t.Fatalf("seed %d: objective %v, the duals prove %v (wrong by %v)\n%s%+v", seed, s.Objective, proved, wrong, solve.WriteLP(p), s)
	}
	if by, where := p.Violation(s.X); by > 1e-6 {
		t.Fatalf("seed %d: %s is broken by %v", seed, where, by)
	}
	return s.Status
}

func TestDualsProveTheOptimum(t *testing.T) {
	e, seen := engine(t), map[lp.Status]int{}
	for seed := range uint64(36) {
		seen[checkDuality(t, e, seed)]++
	}
	if seen[lp.Optimal] < 9 || seen[lp.Infeasible] == 0 || seen[lp.Unbounded] == 0 {
		t.Fatalf("the random problems are one-sided: %v", seen)
	}
}

// checkBruteForce compares with the best of all 2ⁿ choices.
func checkBruteForce(t *testing.T, e *solve.Engine, seed uint64) lp.Status {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 8))
	n := 1 + r.IntN(8)
	p := random(r, n, 1+r.IntN(5), lp.Binary)
	best, found, x := 0.0, false, make([]float64, n)
	var choice []float64
	for bits := range 1 << n {
		for i := range x {
			x[i] = float64(bits >> i & 1)
		}
		if by, _ := p.Violation(x); by > 0 {
			continue
		}
		if v, _ := p.Evaluate(x); !found || p.Maximise && v > best || !p.Maximise && v < best {
			best, found, choice = v, true, append(choice[:0], x...)
		}
	}
	o := solve.Options{}
	if found && seed%2 == 0 {
		o.Start = choice
	}
	s, err := e.Solve(context.Background(), p, o)
	if err != nil {
		t.Fatalf("seed %d: %v\n%s", seed, err, solve.WriteLP(p))
	}
	if found != (s.Status == lp.Optimal) || found && math.Abs(s.Objective-best) > 1e-6 || !found && s.Status != lp.Infeasible {
		t.Fatalf("seed %d: best %v (found %v), got %+v\n%s", seed, best, found, s, solve.WriteLP(p))
	}
	return s.Status
}

func TestTheBestOfAllChoicesIsFound(t *testing.T) {
	e, seen := engine(t), map[lp.Status]int{}
	for seed := range uint64(10) {
		seen[checkBruteForce(t, e, seed)]++
	}
	if seen[lp.Optimal] < 4 || seen[lp.Infeasible] == 0 {
		t.Fatalf("the random problems are one-sided: %v", seen)
	}
}

// knapsacks is a problem that takes long to prove.
func knapsacks(n int) *solve.Problem {
	r := rand.New(rand.NewPCG(1, 2))
	p := &solve.Problem{Maximise: true}
	for range n {
		p.Columns = append(p.Columns, lp.Column{Cost: float64(100 + r.IntN(100)), Upper: 1, Kind: lp.Binary})
	}
	for range 5 {
		row := lp.Row{Lower: lp.NoLower}
		for j := range n {
			v := float64(100 + r.IntN(100))
			row.Upper += v / 3
			row.Terms = append(row.Terms, lp.Term{Column: j, Value: v})
		}
		row.Upper = math.Floor(row.Upper)
		p.Rows = append(p.Rows, row)
	}
	return p
}

func TestASolveThatDecidesGivesTheSameEveryTime(t *testing.T) {
	e, p := engine(t), knapsacks(60)
	for i := range p.Columns {
		p.Columns[i].Kind = lp.Continuous
	}
	for _, o := range []solve.Options{{}, {Iterations: 1}} {
		first, err := e.Solve(context.Background(), p, o)
		if err != nil || (first.Status == lp.Limit) != (o.Iterations == 1) {
			t.Fatalf("%+v, %v", first, err)
		}
		again, err := e.Solve(context.Background(), p, o)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(first) {
			t.Fatalf("%v\n%+v\n%+v", err, first, again)
		}
	}
}

func TestTimeAndCancellationEndASolve(t *testing.T) {
	e, p := engine(t), knapsacks(25)
	ticks := time.Duration(0)
	s, err := e.Solve(context.Background(), p, solve.Options{Time: time.Second, Elapsed: func() time.Duration { ticks += 50 * time.Millisecond; return ticks }})
	if err != nil || s.Status != lp.Limit {
		t.Fatalf("%+v, %v", s, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	calls := 0
	_, err = e.Solve(ctx, p, solve.Options{Elapsed: func() time.Duration {
		if calls++; calls == 30 {
			cancel()
		}
		return 0
	}})
	if !errs.Is(err, errs.Canceled) {
		t.Fatal(err)
	}
	late, stop := context.WithDeadline(context.Background(), time.Unix(0, 0))
	defer stop()
	if _, err := e.Solve(late, p, solve.Options{}); !errs.Is(err, errs.Timeout) {
		t.Fatal(err)
	}
	if s := answer(t, e, "max\n x\nst\n x <= 2\nend\n", solve.Options{}); s.Objective != 2 {
		t.Fatalf("the engine does not go on: %+v", s)
	}
}

func TestMemoryIsLimited(t *testing.T) {
	e := solve.New(solve.Config{Memory: 22 << 20})
	defer e.Close()
	p := &solve.Problem{}
	for range 100_000 {
		p.Columns = append(p.Columns, lp.Column{Cost: 1, Upper: lp.NoUpper})
	}
	for i := range 30_000 {
		row := lp.Row{Lower: 1, Upper: lp.NoUpper}
		for j := range 5 {
			row.Terms = append(row.Terms, lp.Term{Column: (i*7 + j*13) % 100_000, Value: 1})
		}
		p.Rows = append(p.Rows, row)
	}
	if _, err := e.Solve(context.Background(), p, solve.Options{}); !errs.Is(err, errs.Exhausted) || !strings.Contains(err.Error(), "22 MiB") {
		t.Fatal(err)
	}
}

func TestSolvesGoOnBesideEachOtherAndThroughClose(t *testing.T) {
	e := engine(t)
	p, err := solve.ParseLP([]byte(article))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			for range 3 {
				if s, err := e.Solve(context.Background(), p, solve.Options{}); err != nil || s.Objective != 3 {
					t.Errorf("%+v, %v", s, err)
				}
			}
		})
	}
	e.Close()
	all.Wait()
}
