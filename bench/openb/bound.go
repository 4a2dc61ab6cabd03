package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/lineshaft/lineshaft/bench/internal/figure"
	"github.com/lineshaft/lineshaft/bench/internal/openb"
	"github.com/lineshaft/lineshaft/sched"
	"github.com/lineshaft/lineshaft/solve"
)

// solver is HiGHS, compiled; nil when the program was built without it.
func solver(log io.Writer) (*solve.Engine, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	e := solve.New(solve.Config{Cache: filepath.Join(cache, "lineshaft")})
	if !e.Built() {
		fmt.Fprintln(log, "built without HiGHS: no bounds (`make solve/highs/build/highs.wasm` fetches it)")
		return nil, nil
	}
	return e, e.Compile(context.Background())
}

// bound is the list's bound, in the mean over the seeds.
func bound(t *openb.Trace, list string, pods []openb.Pod, seeds []int64, s sched.Solver) (row, error) {
	sum := 0.0
	for _, seed := range seeds {
		b, err := t.Bound(context.Background(), pods, seed, s)
		if err != nil {
			return row{}, err
		}
		sum += b
	}
	return figure.Of(list, "bound", "lp_bound", sum/float64(len(seeds)), "%"), nil
}
