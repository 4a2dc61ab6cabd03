// Command milp measures the scheduler's planning of contested batches: gangs of different worth that do not all fit. The
// instances are whole-number programmes (16 nodes and 60 gangs to 64 and 200), read into nodes and gangs; every plan is
// checked against the programme as it is written down.
//
//	go run ./bench/milp [--data DIR] [--instances g64x200s1,…] [--mip 300] [--highs PATH] [--json]
//
// System greedy is Pack without its search, lineshaft is Pack as the product uses it, lineshaft+mip is Exact, which
// gives small contests to HiGHS's branch and bound (warm-started, stopped by nodes), and highs is HiGHS on the programme
// as it is written down, stopped by --mip nodes. The bound is that of Relax, gap the distance of the plan from it.
// With --highs the same are measured with HiGHS's own program, as bound-native and highs-native.
// Times are medians of --rounds; HiGHS is compiled before they are taken.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/bench/internal/figure"
	"github.com/lineshaft/lineshaft/internal/lp"
	"github.com/lineshaft/lineshaft/internal/native"
	"github.com/lineshaft/lineshaft/sched"
	"github.com/lineshaft/lineshaft/solve"
)

// row is one figure of the table.
type row = figure.Row

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench/milp:", err)
		os.Exit(1)
	}
}

type options struct {
	rounds, nodes int
	engine        *solve.Engine // nil when the program was built without HiGHS
	native        *solve.Engine // nil where no program was named
}

func run(ctx context.Context, args []string, out, log io.Writer) error {
	flags := flag.NewFlagSet("milp", flag.ContinueOnError)
	data := flags.String("data", "../shared/data/sched/milp", "folder with the instances")
	names := flags.String("instances", "g16x60s1,g32x100s1,g64x200s1,g64x200s2,g64x200s3", "instances")
	rounds := flags.Int("rounds", 5, "how often each is measured; the median counts")
	nodes := flags.Int("mip", 300, "nodes of HiGHS's search on the programme as it is written down; 0 leaves it out")
	program := flags.String("highs", "", "HiGHS's own program, measured beside the one within")
	asJSON := flags.Bool("json", false, "print one JSON array of rows")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *rounds < 1 || *nodes < 0 {
		return errors.New("--rounds must be at least 1 and --mip at least 0")
	}
	o := options{rounds: *rounds, nodes: *nodes}
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	engine := solve.New(solve.Config{Cache: filepath.Join(cache, "lineshaft")})
	defer engine.Close()
	if engine.Built() {
		if err := engine.Compile(ctx); err != nil {
			return err
		}
		o.engine = engine
	} else {
		fmt.Fprintln(log, "built without HiGHS: no bounds (`make solve/highs/build/highs.wasm` fetches it)")
	}
	if *program != "" {
		h, err := native.Open(ctx, *program, 0)
		if err != nil {
			return err
		}
		o.native = solve.New(solve.Config{Program: h})
	}
	var rows []row
	for name := range strings.SplitSeq(*names, ",") {
		in, err := read(*data, name)
		if err != nil {
			return err
		}
		got, err := measure(ctx, in, o)
		if err != nil {
			return err
		}
		rows = append(rows, got...)
	}
	return figure.Print(out, rows, *asJSON, figure.Table("%-10s %-14s %-14s %12s %s\n", 3))
}

// median runs work some times and gives the median of its milliseconds.
func median(rounds int, work func() error) (float64, error) {
	var took []float64
	for range rounds {
		begin := time.Now()
		if err := work(); err != nil {
			return 0, err
		}
		took = append(took, float64(time.Since(begin).Microseconds())/1000)
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

func measure(ctx context.Context, in *instance, o options) (rows []row, err error) {
	var bound sched.Bound
	if o.engine != nil {
		took, err := median(o.rounds, func() (err error) {
			bound, err = sched.Relax(ctx, in.fresh(), in.gangs, in.value, o.engine, lp.Options{})
			return err
		})
		if err != nil {
			return nil, err
		}
		rows = append(rows, figure.Of(in.name, "bound", "worth", bound.Worth, ""), figure.Of(in.name, "bound", "time", took, "ms"))
	}
	system := func(name string, rounds int, plan func() ([]sched.Decision, error)) error {
		var decisions []sched.Decision
		took, err := median(rounds, func() (err error) {
			decisions, err = plan()
			return err
		})
		if err != nil {
			return err
		}
		worth, err := in.check(decisions)
		if err != nil {
			return err
		}
		rows = append(rows, figure.Of(in.name, name, "worth", worth, ""), figure.Of(in.name, name, "time", took, "ms"))
		if o.engine != nil {
			rows = append(rows, figure.Of(in.name, name, "gap", 100*bound.Gap(worth), "%"))
		}
		return nil
	}
	for _, s := range []struct {
		name   string
		effort int
	}{{"greedy", 1}, {"lineshaft", sched.DefaultEffort}} {
		if err := system(s.name, o.rounds, func() ([]sched.Decision, error) {
			return in.fresh().Pack(in.gangs, in.value, s.effort), nil
		}); err != nil {
			return nil, err
		}
	}
	if o.engine == nil {
		return rows, nil
	}
	var best sched.Bound
	err = system("lineshaft+mip", 1, func() (d []sched.Decision, err error) {
		d, best, err = in.fresh().Best(ctx, in.gangs, in.value, o.engine, lp.Options{Nodes: 50})
		return d, err
	})
	if err != nil {
		return nil, err
	}
	rows = append(rows, figure.Of(in.name, "lineshaft+mip", "bound", best.Worth, ""))
	if o.nodes > 0 {
		if rows, err = in.highs(ctx, "highs", o.engine, o, bound, rows); err != nil {
			return nil, err
		}
	}
	if o.native == nil {
		return rows, nil
	}
	took, err := median(o.rounds, func() (err error) {
		bound, err = sched.Relax(ctx, in.fresh(), in.gangs, in.value, o.native, lp.Options{})
		return err
	})
	if err != nil {
		return nil, err
	}
	rows = append(rows, figure.Of(in.name, "bound-native", "worth", bound.Worth, ""), figure.Of(in.name, "bound-native", "time", took, "ms"))
	if o.nodes > 0 {
		return in.highs(ctx, "highs-native", o.native, o, bound, rows)
	}
	return rows, nil
}

// highs solves the programme as it is written down.
func (in *instance) highs(ctx context.Context, name string, engine *solve.Engine, o options, bound sched.Bound, rows []row) ([]row, error) {
	begin := time.Now()
	s, err := engine.Solve(ctx, &in.problem, lp.Options{Nodes: o.nodes})
	if err != nil {
		return nil, err
	}
	return append(rows,
		figure.Of(in.name, name, "worth", s.Objective, ""), figure.Of(in.name, name, "time", float64(time.Since(begin).Microseconds())/1000, "ms"),
		figure.Of(in.name, name, "gap", 100*bound.Gap(s.Objective), "%"), figure.Of(in.name, name, "bound", s.Bound, "")), nil
}

// fresh is the empty hall; making it is part of what is measured.
func (in *instance) fresh() *sched.Hall {
	mix := make(sched.Mix, len(in.gangs))
	for i, g := range in.gangs {
		mix[i] = sched.Weighted{Ask: g.Each, Weight: float64(len(g.Tasks))}
	}
	return sched.NewHall(in.nodes, nil, nil, mix)
}
