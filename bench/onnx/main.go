// Command onnx measures what it costs to have ONNX Runtime in a process of its own: MNIST's network
// (784-512-512-10, float32, weights of no meaning) tensor in to tensor out, beside ONNX Runtime's C API called in a loop.
//
//	go run ./bench/onnx [--rounds 9] [--turn 1s] [--hidden 512] [--library PATH] [--json]
//
// System direct is a program in C that is compiled here (gcc): one session, one thread a call, values made once and
// outputs bound beforehand. System lineshaft is the product's runtime without its queue: tensors of Go to the worker's
// shared memory, one message there and one back, outputs of Go; its processor time is that of this process and of the
// worker together. System queue is the same behind serve/batch, as every request passes it. Both compute with the same
// library and file. Turns go round; figures are medians over rounds. With several callers there are as many threads (direct),
// or lanes (lineshaft).
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/lineshaft/lineshaft/bench/internal/figure"
	"github.com/lineshaft/lineshaft/internal/testkit/onnxfile"
	"github.com/lineshaft/lineshaft/serve/onnx"
)

const inputs, outputs = 784, 10

// turn is what one system did in one turn.
type turn struct {
	calls      float64
	wall, used time.Duration
	sum        float64 // of the outputs, each times its place in the row
}

// system computes rows rows a call, callers calls at a time, for a while.
type system interface {
	turn(ctx context.Context, rows, callers int, d time.Duration) (turn, error)
	close()
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench/onnx:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, log io.Writer) error {
	flags := flag.NewFlagSet("onnx", flag.ContinueOnError)
	rounds := flags.Int("rounds", 9, "how often each is measured; the median counts")
	length := flags.Duration("turn", time.Second, "how long a turn takes")
	library := flags.String("library", "", "ONNX Runtime's library; fetched when empty")
	hidden := flags.Int("hidden", 512, "units of the two hidden layers; with 8 next to nothing is computed, and what is left is the way")
	asJSON := flags.Bool("json", false, "print one JSON array of rows")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "lineshaft-bench-onnx-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if *library == "" {
		fmt.Fprintln(log, "fetching ONNX Runtime", onnx.Release)
		if *library, err = onnx.Install(ctx, dir, onnx.Source{Index: os.Getenv("PIP_INDEX_URL")}); err != nil {
			return err
		}
	}
	file := onnxfile.MLP(inputs, *hidden, *hidden, outputs).Bytes()
	path := filepath.Join(dir, "mlp.onnx")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		return err
	}
	systems, err := start(ctx, dir, *library, path, file)
	if err != nil {
		return err
	}
	for _, s := range systems {
		defer s.system.close()
	}
	rows, err := measure(ctx, systems, *rounds, *length, log)
	if err != nil {
		return err
	}
	return figure.Print(out, rows, *asJSON, table)
}

// named is a system with its name.
type named struct {
	name   string
	system system
}

// load is one kind of turn.
type load struct{ rows, callers int }

func (l load) String() string { return fmt.Sprintf("%d rows, %d at a time", l.rows, l.callers) }

func measure(ctx context.Context, systems []named, rounds int, length time.Duration, log io.Writer) ([]figure.Row, error) {
	loads := []load{{1, 1}, {32, 1}, {64, 1}, {1, 2}, {32, 2}, {64, 2}}
	got := map[string][]turn{}
	for round := range rounds + 1 { // the first warms up
		for _, l := range loads {
			sums := map[string]float64{}
			for i := range systems {
				s := systems[(i+round)%len(systems)]
				t, err := s.system.turn(ctx, l.rows, l.callers, length)
				if err != nil {
					return nil, fmt.Errorf("%s, %v: %w", s.name, l, err)
				}
				if sums[s.name] = t.sum; math.Abs(t.sum-sums["direct"]) > 1e-3*float64(l.rows) && sums["direct"] != 0 {
					return nil, fmt.Errorf("%s, %v: answers sum up to %v, the C API's to %v", s.name, l, t.sum, sums["direct"])
				}
				if round > 0 {
					got[s.name+l.String()] = append(got[s.name+l.String()], t)
				}
			}
		}
		fmt.Fprintf(log, "round %d of %d\n", round, rounds)
	}
	var out []figure.Row
	for _, l := range loads {
		for _, s := range systems {
			turns := got[s.name+l.String()]
			calls := func(of func(turn) float64) float64 { return median(turns, of) }
			out = append(out,
				figure.Of(l.String(), s.name, "cpu a call", calls(func(t turn) float64 { return t.used.Seconds() * 1e6 / t.calls }), "µs"),
				figure.Of(l.String(), s.name, "wall a call", calls(func(t turn) float64 { return t.wall.Seconds() * 1e6 / t.calls }), "µs"),
				figure.Of(l.String(), s.name, "rows a second", calls(func(t turn) float64 { return float64(l.rows) * t.calls / t.wall.Seconds() }), "rows/s"))
		}
	}
	return out, nil
}

func median(turns []turn, of func(turn) float64) float64 {
	v := make([]float64, len(turns))
	for i, t := range turns {
		v[i] = of(t)
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// table has a line for each load and system, with the relation to the C API.
func table(w io.Writer, rows []figure.Row) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "load\tsystem\tCPU µs\twall µs\trows/s\tCPU over direct µs\trows/s of direct\trows a CPU s of direct\t")
	direct := map[string]float64{}
	for i := 0; i+2 < len(rows); i += 3 {
		cpu, wall, speed := rows[i], rows[i+1], rows[i+2]
		if cpu.System == "direct" {
			direct["cpu"], direct["speed"] = cpu.Value, speed.Value
		}
		fmt.Fprintf(t, "%s\t%s\t%.1f\t%.1f\t%.0f\t%+.1f\t%.0f %%\t%.0f %%\t\n", cpu.Case, cpu.System, cpu.Value, wall.Value, speed.Value, cpu.Value-direct["cpu"], 100*speed.Value/direct["speed"], 100*direct["cpu"]/cpu.Value)
	}
	t.Flush()
}
