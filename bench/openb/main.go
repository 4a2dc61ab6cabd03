// Command openb measures how much of a shared GPU cluster each placement policy gets to use, by the protocol of FGD
// (Weng et al., USENIX ATC 2023) on Alibaba's trace "openb": the pods of a list are shuffled by the seed, uniform
// resamples of the list are appended until requests reach 1.3 times the GPUs, each pod is placed once or dropped, none
// leaves. The figure is the GPU allocated, in % of capacity, when arrivals reach 100 % of capacity, mean over the seeds.
//
//	go run ./bench/openb [--data DIR] [--lists default,gpuspec33] [--seeds 42-51] [--policies ours,fgd] [--json]
//
// Policies: ours (Lineshaft's scheduler, without and with migrations: systems lineshaft and lineshaft+migrate), fgd,
// bestfit, dotprod, packing, clustering, random. Where HiGHS is built in, system bound is what no policy can reach, by
// linear programming with foresight (mean over the seeds). DIR holds openb_node_list_gpu_node.csv and openb_pod_list_NAME.csv, or
// these with .gz. Ours and fgd are told the mix of the list, not the order, as FGD's authors do; with --learn ours learns
// it from the arrivals alone.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lineshaft/lineshaft/bench/internal/figure"
	"github.com/lineshaft/lineshaft/bench/internal/openb"
	"github.com/lineshaft/lineshaft/sched"
)

// row is one figure of the table.
type row = figure.Row

type options struct {
	data     string
	lists    []string
	policies []string
	seeds    []int64
	jobs     int
	learn    bool
	weights  sched.Weights
	asJSON   bool
}

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench/openb:", err)
		os.Exit(1)
	}
}

func run(args []string, out, log io.Writer) error {
	o := options{weights: sched.DefaultWeights()}
	flags := flag.NewFlagSet("openb", flag.ContinueOnError)
	flags.StringVar(&o.data, "data", "../shared/data/sched/openb", "folder with the trace")
	lists := flags.String("lists", "default,cpu050,gpushare40,multigpu20,gpuspec10,gpuspec33", "pod lists")
	seeds := flags.String("seeds", "42-51", "seeds: 42-51 or 1,2,3")
	policies := flags.String("policies", "ours,fgd,bestfit,dotprod,random", "policies, of "+strings.Join(known(), " "))
	flags.IntVar(&o.jobs, "j", runtime.NumCPU(), "runs at a time")
	flags.BoolVar(&o.learn, "learn", false, "let ours learn the mix from the arrivals instead of being told it")
	flags.Float64Var(&o.weights.Congestion, "congestion", o.weights.Congestion, "weight of ours")
	flags.Float64Var(&o.weights.Scarcity, "scarcity", o.weights.Scarcity, "weight of ours")
	flags.BoolVar(&o.asJSON, "json", false, "print one JSON array of rows")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err error
	if o.seeds, err = parseSeeds(*seeds); err != nil {
		return err
	}
	o.lists = strings.Split(*lists, ",")
	for p := range strings.SplitSeq(*policies, ",") {
		switch p {
		case "ours":
			o.policies = append(o.policies, ours, migrating)
		default:
			if !slices.Contains(known(), p) {
				return fmt.Errorf("no policy %q; there are %s", p, strings.Join(known(), " "))
			}
			o.policies = append(o.policies, p)
		}
	}
	if o.jobs < 1 {
		return errors.New("-j must be at least 1")
	}
	rows, err := measure(o, log)
	if err != nil {
		return err
	}
	return figure.Print(out, rows, o.asJSON, figure.Table("%-12s %-18s %-22s %10s %s\n", 2))
}

func parseSeeds(s string) (out []int64, err error) {
	for part := range strings.SplitSeq(s, ",") {
		from, to, ok := strings.Cut(part, "-")
		if !ok {
			to = from
		}
		a, err := strconv.ParseInt(from, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("seeds %q: write 42-51 or 1,2,3", s)
		}
		b, err := strconv.ParseInt(to, 10, 64)
		if err != nil || b < a || b-a > 10_000 {
			return nil, fmt.Errorf("seeds %q: write 42-51 or 1,2,3", s)
		}
		for ; a <= b; a++ {
			out = append(out, a)
		}
	}
	return out, nil
}

// result is one run.
type result struct {
	at100      float64
	decisions  int
	placed     int
	migrations int
	took       time.Duration
}

func measure(o options, log io.Writer) ([]row, error) {
	t, err := openb.Read(o.data)
	if err != nil {
		return nil, err
	}
	engine, err := solver(log)
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, list := range o.lists {
		pods, err := t.Pods(o.data, list)
		if err != nil {
			return nil, err
		}
		if engine != nil {
			r, err := bound(t, list, pods, o.seeds, engine)
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(log, "%s %s %s %.2f %s\n", r.Case, r.System, r.Metric, r.Value, r.Unit)
			rows = append(rows, r)
		}
		for _, policy := range o.policies {
			results := make([]result, len(o.seeds))
			gate := make(chan struct{}, o.jobs)
			var wait sync.WaitGroup
			for i, seed := range o.seeds {
				gate <- struct{}{}
				wait.Go(func() {
					results[i] = simulate(t, o, policy, pods, seed)
					<-gate
				})
			}
			wait.Wait()
			got := figures(list, policy, results)
			for _, r := range got {
				fmt.Fprintf(log, "%s %s %s %.2f %s\n", r.Case, r.System, r.Metric, r.Value, r.Unit)
			}
			rows = append(rows, got...)
		}
	}
	return rows, nil
}

func figures(list, policy string, results []result) []row {
	var mean, square, decisions, placed, moves, seconds float64
	n := float64(len(results))
	for _, r := range results {
		mean += r.at100 / n
		decisions += float64(r.decisions)
		placed += float64(r.placed) / n
		moves += float64(r.migrations) / n
		seconds += r.took.Seconds()
	}
	for _, r := range results {
		square += (r.at100 - mean) * (r.at100 - mean)
	}
	rows := []row{
		figure.Of(list, policy, "alloc_at_100", mean, "%"),
		figure.Of(list, policy, "alloc_at_100_sd", math.Sqrt(square/max(n-1, 1)), "%"),
		figure.Of(list, policy, "decisions_per_second", decisions/seconds, "1/s"),
	}
	if policy == migrating {
		rows = append(rows, figure.Of(list, policy, "migrations", moves, ""), figure.Of(list, policy, "migrations_per_placed", 100*moves/placed, "%"))
	}
	return rows
}
