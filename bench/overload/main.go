// Command overload measures what the serving port does under more load than it can carry, and while versions are swapped.
//
//	go run ./bench/overload [--json]
//
// The server is a process of its own, started here: the serving port alone, with a network of random weights behind the
// queue of serve/batch. It runs on the first processor, the clients on the second, so that they do not take each other's
// time. Two parts:
//
// overload: requests come at random moments whether or not earlier ones were answered (an open loop), and count where they
// are answered within the deadline, from the moment at which they were due. First clients that wait for their answers
// find the capacity; then come rates around it, whose best goodput is the peak; then ten times the capacity; and
// at last, without a pause, four fifths of it: how long until requests are answered in time again.
//
// swap: 32 clients ask without a pause while two versions replace each other; every answer is held against both networks
// and must be one of theirs. Phases of 2 s with one swap after the other take turns with phases without any.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/lineshaft/lineshaft/bench/internal/figure"
)

type config struct {
	cases    string
	rows     int // of a request
	width    int // of the network's layers
	slo      time.Duration
	deadline time.Duration
	times    float64
	length   time.Duration
	rounds   int
	clients  int
	phases   int
	apart    bool
	json     bool
	profile  string
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == "child" {
		if err := child(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "bench/overload:", err)
			os.Exit(1)
		}
		return
	}
	var c config
	flag.StringVar(&c.cases, "cases", "overload,swap", "what is measured")
	flag.IntVar(&c.rows, "rows", 8, "rows of a request under overload")
	flag.IntVar(&c.width, "width", 4096, "width of the network's two hidden layers under overload")
	flag.DurationVar(&c.slo, "slo", time.Second, "the service's time to answer in")
	flag.DurationVar(&c.deadline, "deadline", 1200*time.Millisecond, "the clients'")
	flag.Float64Var(&c.times, "times", 10, "the overload, in capacities")
	flag.DurationVar(&c.length, "length", 8*time.Second, "of each phase")
	flag.IntVar(&c.rounds, "rounds", 3, "rounds; figures are medians")
	flag.IntVar(&c.clients, "clients", 32, "clients at once where clients wait for answers")
	flag.IntVar(&c.phases, "phases", 4, "phases of 2 s of a round with swaps, and as many without")
	flag.BoolVar(&c.apart, "apart", true, "server and clients each on a processor of their own")
	flag.BoolVar(&c.json, "json", false, "print one array of rows instead of a table")
	flag.StringVar(&c.profile, "profile", "", "file for a CPU profile of the server")
	flag.Parse()
	if c.apart && os.Getenv("BENCH_APART") == "" {
		done, err := alone()
		switch {
		case done && err != nil:
			os.Exit(1) // it has said why
		case done:
			return
		}
		fmt.Fprintln(os.Stderr, "bench/overload: server and clients share the processors:", err)
		c.apart = false
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	rows, err := run(ctx, c, os.Stderr)
	if err == nil {
		err = report(os.Stdout, rows, c.json)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/overload:", err)
		os.Exit(1)
	}
}

// alone runs this program anew on the second processor; false where that cannot be.
func alone() (done bool, err error) {
	self, err := os.Executable()
	if err != nil {
		return false, err
	}
	taskset, err := exec.LookPath("taskset")
	if err != nil {
		return false, err
	}
	cmd := exec.Command(taskset, append([]string{"-c", "1", self}, os.Args[1:]...)...)
	cmd.Env = append(os.Environ(), "BENCH_APART=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return true, cmd.Run()
}

func run(ctx context.Context, c config, progress io.Writer) ([]figure.Row, error) {
	dir, err := os.MkdirTemp("", "bench-overload-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var rows []figure.Row
	for _, name := range strings.Split(c.cases, ",") {
		part, ok := map[string]func(context.Context, config, string, io.Writer) (map[string]float64, error){
			"overload": overload, "swap": func(ctx context.Context, c config, dir string, w io.Writer) (map[string]float64, error) {
				return swap(ctx, c, dir, 512, w)
			}, "swap-large": func(ctx context.Context, c config, dir string, w io.Writer) (map[string]float64, error) {
				return swap(ctx, c, dir, 2048, w)
			},
		}[name]
		if !ok {
			return nil, fmt.Errorf("there is no case %q: overload, swap, swap-large", name)
		}
		all := map[string][]float64{}
		for range c.rounds {
			got, err := part(ctx, c, dir, progress)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			for metric, v := range got {
				all[metric] = append(all[metric], v)
			}
		}
		rows = append(rows, medians(name, all)...)
	}
	return rows, nil
}

// medians makes rows of what the rounds measured; a metric is "name unit".
func medians(name string, all map[string][]float64) (rows []figure.Row) {
	metrics := make([]string, 0, len(all))
	for metric := range all {
		metrics = append(metrics, metric)
	}
	slices.Sort(metrics)
	for _, metric := range metrics {
		values := slices.Sorted(slices.Values(all[metric]))
		what, unit, _ := strings.Cut(metric, " ")
		rows = append(rows, figure.Of(name, "lineshaft", what, values[len(values)/2], unit))
	}
	return rows
}

func report(w io.Writer, rows []figure.Row, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(rows)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CASE\tMETRIC\tVALUE\tUNIT")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%s\t%.4g\t%s\n", r.Case, r.Metric, r.Value, r.Unit)
	}
	return t.Flush()
}
