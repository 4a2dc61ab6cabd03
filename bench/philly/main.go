// Command philly replays virtual clusters of Microsoft's Philly trace in virtual time under several policies of the
// product's own scheduler: sched.Plan plans every moment, twin only lets time pass. Nodes have 8 GPUs; jobs of more take
// whole nodes. SRTF, SJF and EASY are told the true durations; srtf stops one job at a time, at
// least as large, as our first simulator did, srtf-any whatever makes room; FIFO and LAS (Tiresias-like) need none; lineshaft predicts
// them online from what has ended, by virtual cluster and number of GPUs.
//
//	go run ./bench/philly --data DIR [--vcs ee9e8c:18,6c71a0:6] [--policies fifo,easy,sjf,srtf,srtf-any,las,lineshaft] [--json]
//
// DIR holds philly_jobs_sia.csv.gz. A virtual cluster without a number of nodes is sized for 85 % load. Every policy that
// stops jobs runs twice: stopping for free, and at a cost of 5 minutes, during which the job holds its GPUs and does no
// work.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/bench/internal/figure"
	"github.com/lineshaft/lineshaft/twin"
)

// row is one figure of the table.
type row = figure.Row

const (
	perNode = 8
	load    = 0.85
	file    = "philly_jobs_sia.csv.gz"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench/philly:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, log io.Writer) error {
	flags := flag.NewFlagSet("philly", flag.ContinueOnError)
	data := flags.String("data", filepath.Join("..", "shared", "data", "sched", "philly"), "folder with "+file)
	vcs := flags.String("vcs", "ee9e8c:18,6c71a0:6", "virtual clusters, with their nodes; without a number sized for 85 % load")
	names := flags.String("policies", "fifo,easy,sjf,srtf,srtf-any,las,lineshaft", "what to run (ours is lineshaft)")
	cost := flags.Duration("cost", 5*time.Minute, "what being stopped costs a job, beside the free case")
	asJSON := flags.Bool("json", false, "print one JSON array of rows")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *cost < 0 {
		return errors.New("--cost must not be negative")
	}
	var chosen []twin.Rule
	for name := range strings.SplitSeq(*names, ",") {
		rule, err := twin.Named(name)
		if err != nil {
			return err
		}
		chosen = append(chosen, rule)
	}
	var rows []row
	for vc := range strings.SplitSeq(*vcs, ",") {
		more, err := cluster(ctx, filepath.Join(*data, file), vc, chosen, *cost, log)
		if err != nil {
			return err
		}
		rows = append(rows, more...)
	}
	return figure.Print(out, rows, *asJSON, table)
}

// cluster runs one virtual cluster under all systems.
func cluster(ctx context.Context, path, vc string, chosen []twin.Rule, cost time.Duration, log io.Writer) ([]row, error) {
	name, count, sized := strings.Cut(vc, ":")
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w; give the folder of the Philly job list with --data", err)
	}
	defer f.Close()
	trace, err := twin.ReadPhilly(f, twin.Philly{Cluster: name, PerNode: perNode})
	if err != nil {
		return nil, err
	}
	nodes := trace.Size(perNode, load)
	if sized {
		if nodes, err = strconv.Atoi(count); err != nil || nodes < 1 {
			return nil, fmt.Errorf("%q is no number of nodes: write for example ee9e8c:18", count)
		}
	}
	var rows []row
	begin := time.Now()
	for _, c := range []time.Duration{0, cost} {
		at := fmt.Sprintf("%s:%d free", name, nodes)
		if c > 0 {
			at = fmt.Sprintf("%s:%d cost %v", name, nodes, c)
		}
		base, better := 0.0, 0.0
		for _, s := range chosen {
			if c > 0 && !s.Policy.Preempt.Order {
				continue
			}
			o := twin.Options{
				Name: s.Name, Nodes: twin.Nodes(nodes, perNode), Policy: s.Policy, Elapsed: func() time.Duration { return time.Since(begin) },
			}
			if err := o.Know(s.Know); err != nil {
				return nil, err
			}
			o.Policy.Preempt.Cost = c
			was := time.Now()
			r, err := twin.Replay(ctx, trace, o)
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(log, "%s %s: mean JCT %.2f h, longest wait %.1f h, %d stops, %.1f s\n", at, s.Name, r.JCT.Mean/3600, r.Longest/3600, r.Stops, time.Since(was).Seconds())
			switch s.Name {
			case "srtf":
				base = r.JCT.Mean
			case "srtf-any":
				better = r.JCT.Mean
			}
			rows = append(rows, figures(at, s.Name, r)...)
		}
		if base > 0 {
			rows = ratios(rows, at, "mean_jct_over_srtf", base)
		}
		if better > 0 {
			rows = ratios(rows, at, "mean_jct_over_srtf_any", better)
		}
		if cost == 0 {
			break
		}
	}
	return rows, nil
}

func figures(at, name string, r twin.Report) []row {
	hours := func(metric string, v float64) row { return figure.Of(at, name, metric, v/3600, "h") }
	rows := []row{
		hours("mean_jct", r.JCT.Mean), hours("p50_jct", r.JCT.P50), hours("p99_jct", r.JCT.P99), hours("mean_wait", r.Wait.Mean),
		hours("p99_wait", r.Wait.P99), hours("longest_wait_at_a_stretch", r.Longest), hours("makespan", r.Makespan),
		figure.Of(at, name, "preemptions", float64(r.Stops), ""),
		figure.Of(at, name, "allocation", 100*r.Allocation, "%"),
		figure.Of(at, name, "decisions_per_second", r.PerSecond, "1/s"),
	}
	if p := r.Prediction; p != nil {
		rows = append(rows, figure.Of(at, name, "prediction_factor", p.Factor, "x"), figure.Of(at, name, "prediction_within_2x", 100*p.Twice, "%"), figure.Of(at, name, "prediction_low_to_high", 100*p.Inside, "%"))
	}
	return rows
}

// ratios sets every mean against oracle SRTF's of the same case.
func ratios(rows []row, at, metric string, base float64) []row {
	for _, r := range slices.Clone(rows) {
		if r.Case == at && r.Metric == "mean_jct" {
			rows = append(rows, figure.Of(at, r.System, metric, r.Value*3600/base, "x"))
		}
	}
	return rows
}

func table(out io.Writer, rows []row) {
	metrics := []string{"mean_jct", "mean_jct_over_srtf", "mean_jct_over_srtf_any", "p50_jct", "p99_jct", "longest_wait_at_a_stretch", "preemptions", "makespan", "prediction_factor"}
	fmt.Fprintf(out, "| case | policy |")
	for _, m := range metrics {
		fmt.Fprintf(out, " %s |", strings.ReplaceAll(m, "_", " "))
	}
	fmt.Fprintf(out, "\n|---|---|%s\n", strings.Repeat("---|", len(metrics)))
	type key struct{ at, system string }
	var keys []key
	values := map[key]map[string]row{}
	for _, r := range rows {
		k := key{r.Case, r.System}
		if values[k] == nil {
			values[k] = map[string]row{}
			keys = append(keys, k)
		}
		values[k][r.Metric] = r
	}
	for _, k := range keys {
		fmt.Fprintf(out, "| %s | %s |", k.at, k.system)
		for _, m := range metrics {
			r, ok := values[k][m]
			if !ok {
				fmt.Fprint(out, " |")
				continue
			}
			fmt.Fprintf(out, " %s |", strings.TrimSpace(strconv.FormatFloat(r.Value, 'f', digits(r), 64)+" "+r.Unit))
		}
		fmt.Fprintln(out)
	}
}

func digits(r row) int {
	switch r.Unit {
	case "":
		return 0
	case "x", "h":
		return 2
	}
	return 1
}
