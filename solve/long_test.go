//go:build long

package solve_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/lp"
	"github.com/lineshaft/lineshaft/solve"
)

// compiled is an engine that runs machine code, from a cache of the test's own.
func compiled(t *testing.T) (e *solve.Engine, cache string) {
	t.Helper()
	cache = t.TempDir()
	e = solve.New(solve.Config{Cache: cache})
	t.Cleanup(e.Close)
	if e.Warm() {
		t.Fatal("warm before anything was compiled")
	}
	if err := e.Compile(context.Background()); err != nil {
		t.Fatal(err)
	}
	return e, cache
}

func TestLongTheCacheServesEveryEngine(t *testing.T) {
	_, cache := compiled(t)
	other := solve.New(solve.Config{Cache: cache})
	defer other.Close()
	if !other.Warm() {
		t.Fatal("the second engine does not find what the first compiled")
	}
	for seed := range uint64(20) {
		checkBruteForce(t, other, seed)
	}
}

func TestCampaignOfRandomProgrammes(t *testing.T) {
	e, _ := compiled(t)
	for seed := uint64(100); seed < 3100; seed++ {
		checkDuality(t, e, seed)
		checkBruteForce(t, e, seed)
	}
}

func TestLongCompiledAndInterpretedAgree(t *testing.T) {
	e, _ := compiled(t)
	p := knapsacks(40)
	var first string
	for _, with := range []*solve.Engine{e, e, engine(t)} {
		s, err := with.Solve(context.Background(), p, solve.Options{Nodes: 2})
		if err != nil {
			t.Fatal(err)
		}
		if s.Status != lp.Limit || s.X == nil || s.Gap <= 0 || s.Bound < s.Objective {
			t.Fatalf("2 nodes should not suffice: %+v", s)
		}
		if a := solve.Describe(p, s); !strings.HasPrefix(a.Reason, "stopped by a limit; this is the best found, at most ") || *a.Bound != s.Bound {
			t.Fatalf("%+v", a)
		}
		if first == "" {
			first = fmt.Sprint(s)
		}
		if fmt.Sprint(s) != first {
			t.Fatalf("another answer:\n%+v\n%s", s, first)
		}
	}
}
