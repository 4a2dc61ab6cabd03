// Command native measures our own runtime beside ONNX Runtime on MNIST's network (784-512-512-10): one thread, batches
// of 1 to 256 rows, in float32 and with smaller weights.
//
//	go run ./bench/native [--data DIR] [--rounds 15] [--json]
//
// Each system is a process of its own that waits while another has its turn; turns go round, and figures are medians
// over rounds of the time of one call: processor time and wall time. ONNX Runtime is driven by its C API through a
// program in C that is compiled here, with inputs and outputs bound beforehand, one thread and all optimisations of the
// graph; int8 is its own dynamic quantisation, per channel. Ours is nn.Predictor. All get the same 256 rows, in two
// kinds: MNIST's test images, of which four pixels in five are zero, and noise that is nowhere zero. The network is
// trained for one epoch first, so that answers are not noise, and each system's answers are compared by a sum.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/lineshaft/lineshaft/bench/internal/figure"
)

type options struct {
	data    string
	rounds  int
	turn    time.Duration
	batches []int
	systems []string
	inputs  []string
	asJSON  bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench/native:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, log io.Writer) error {
	if len(args) > 0 && args[0] == "child" {
		return child(args[1:], os.Stdin, out)
	}
	var o options
	flags := flag.NewFlagSet("native", flag.ContinueOnError)
	flags.StringVar(&o.data, "data", "", "folder with MNIST's four files (default: from the module cache)")
	flags.IntVar(&o.rounds, "rounds", 15, "rounds of which the median is told")
	flags.DurationVar(&o.turn, "turn", 200*time.Millisecond, "about how long a turn takes")
	batches := flags.String("batches", "1,8,32,64,256", "rows of a call")
	systems := flags.String("systems", "lineshaft,onnxruntime,lineshaft-int8,onnxruntime-int8,lineshaft-bf16", "what is measured")
	inputs := flags.String("inputs", "digits,noise", "rows that are asked")
	flags.BoolVar(&o.asJSON, "json", false, "print one JSON array of rows")
	if err := flags.Parse(args); err != nil {
		return err
	}
	o.systems, o.inputs = strings.Split(*systems, ","), strings.Split(*inputs, ",")
	for b := range strings.SplitSeq(*batches, ",") {
		n, err := strconv.Atoi(b)
		if err != nil || n < 1 || n > asked {
			return fmt.Errorf("--batches %q: numbers from 1 to %d", *batches, asked)
		}
		o.batches = append(o.batches, n)
	}
	dir, err := os.MkdirTemp("", "bench-native-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := prepare(ctx, o, dir, log); err != nil {
		return err
	}
	var rows []figure.Row
	for _, input := range o.inputs {
		more, err := measure(ctx, o, dir, input, log)
		if err != nil {
			return err
		}
		rows = append(rows, more...)
	}
	return figure.Print(out, rows, o.asJSON, table)
}

// measure lets all systems take turns on one kind of input.
func measure(ctx context.Context, o options, dir, input string, log io.Writer) ([]figure.Row, error) {
	var all []*system
	defer func() {
		for _, s := range all {
			s.close()
		}
	}()
	for _, name := range o.systems {
		s, err := start(ctx, dir, name, input)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	var rows []figure.Row
	for _, batch := range o.batches {
		fmt.Fprintf(log, "%s, %d rows a call\n", input, batch)
		times := make([]int, len(all))
		for i, s := range all {
			a, err := s.turn(batch, 20)
			if err != nil {
				return nil, err
			}
			times[i] = max(20, int(o.turn.Seconds()/max(a.Wall/20, 1e-7)))
			if far := math.Abs(a.Sum-all[0].sum) / math.Abs(a.Sum); i > 0 && far > 0.02 {
				return nil, fmt.Errorf("%s answers something else than %s: sums %v and %v", s.name, all[0].name, a.Sum, all[0].sum)
			}
			s.sum, s.wall, s.cpu = a.Sum, nil, nil
		}
		for range o.rounds {
			for i, s := range all {
				a, err := s.turn(batch, times[i])
				if err != nil {
					return nil, err
				}
				s.wall, s.cpu = append(s.wall, a.Wall/float64(times[i])), append(s.cpu, a.CPU/float64(times[i]))
			}
		}
		at := fmt.Sprintf("%s-%d", input, batch)
		for _, s := range all {
			rows = append(rows,
				figure.Of(at, s.name, "cpu_us", 1e6*median(s.cpu), "µs"),
				figure.Of(at, s.name, "wall_us", 1e6*median(s.wall), "µs"),
				figure.Of(at, s.name, "least_us", 1e6*slices.Min(s.wall), "µs"))
		}
	}
	return rows, nil
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	return (v[n/2] + v[(n-1)/2]) / 2
}

// table has a line for each case and system, with its ratio to ONNX Runtime in float32.
func table(out io.Writer, rows []figure.Row) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	defer w.Flush()
	fmt.Fprintln(w, "case\tsystem\tCPU µs\twall µs\tleast µs\t/ onnxruntime, CPU\t")
	peer := map[string]float64{}
	for _, r := range rows {
		if r.System == "onnxruntime" && r.Metric == "cpu_us" {
			peer[r.Case] = r.Value
		}
	}
	for i := 0; i+2 < len(rows); i += 3 {
		r, ratio := rows[i], ""
		if p := peer[r.Case]; p > 0 {
			ratio = fmt.Sprintf("%.2f", r.Value/p)
		}
		fmt.Fprintf(w, "%s\t%s\t%.1f\t%.1f\t%.1f\t%s\t\n", r.Case, r.System, r.Value, rows[i+1].Value, rows[i+2].Value, ratio)
	}
}
