// Command sched measures how many placements a second the scheduler makes on one core, with the reasons of every decision
// kept as in production: the trace openb's nodes, repeated to the wanted number, and its pods in seeded order.
//
//	go run ./bench/sched [--data DIR] [--nodes 1000,1213,2000,5000,10000] [--list default] [--seed 1] [--json]
//
// Case fill places pods until they ask for all GPUs. Case churn goes on at a full hall: a random pod leaves, and arrivals
// are tried until one is placed, so that many decisions are refusals with their reasons. Case gangs fills the hall with
// gangs of 1 to 16 tasks, half of them bound to one rack. Case plan is one whole snapshot: a hall is made from nodes
// that are half full and 500 pods that wait are decided.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/lineshaft/lineshaft/bench/internal/figure"
	"github.com/lineshaft/lineshaft/bench/internal/openb"
)

// row is one figure of the table.
type row = figure.Row

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench/sched:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("sched", flag.ContinueOnError)
	data := flags.String("data", "../shared/data/sched/openb", "folder with the trace openb")
	list := flags.String("list", "default", "pod list")
	sizes := flags.String("nodes", "1000,1213,2000,5000,10000", "numbers of nodes")
	seed := flags.Uint64("seed", 1, "seed of the order")
	rounds := flags.Int("rounds", 3, "how often each is measured; the median counts")
	asJSON := flags.Bool("json", false, "print one JSON array of rows")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *rounds < 1 {
		return errors.New("--rounds must be at least 1")
	}
	t, err := openb.Read(*data)
	if err != nil {
		return err
	}
	pods, err := t.Pods(*data, *list)
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(1)
	var rows []row
	for text := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 1_000_000 {
			return fmt.Errorf("--nodes %q: write numbers from 1 to 1000000, such as 1000,5000", text)
		}
		rows = append(rows, measure(newWork(t, pods, n, *seed), *rounds)...)
	}
	return figure.Print(out, rows, *asJSON, figure.Table("%-12s %-10s %-24s %12s %s\n", 1))
}
