// Command autoscale compares rules that scale a service: ours that learns (serve/scale), Kubernetes' horizontal pod
// autoscaler and Knative's, in virtual time, on a trace of Azure's and on days that are made by a seed.
//
//	go run ./bench/autoscale [--data DIR] [--json] [--tune]
//
// A replica works on two requests at once and needs 30 s to start; requests wait in one queue. A request violates the
// SLO when it begins more than a second after it came. A replica costs from the moment that it is wanted until it is
// gone. Every rule starts with 2 replicas and may have 1 to 60; HPA and KPA aim at 70 % of a replica's two requests.
//
// What is reported was not what the parameters of ours (price, sharpness, memory, drain) were chosen on: those are the
// first 25 minutes of Azure's trace and the days of seeds 1 to 3, which --tune runs. Every run begins at the trace's
// begin, and what comes in the first part (25 minutes of Azure's trace, an hour of a day) is not counted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/lineshaft/lineshaft/bench/internal/figure"
	"github.com/lineshaft/lineshaft/serve/scale"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench/autoscale:", err)
		os.Exit(1)
	}
}

const (
	slots  = 2
	start  = 30 * time.Second
	slo    = time.Second
	most   = 60
	target = 0.7 * slots
)

// segment is a trace, of which what comes from from on is counted.
type segment struct {
	name        string
	trace       []request
	from, until time.Duration
}

func run(_ context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("autoscale", flag.ContinueOnError)
	data := flags.String("data", "../shared/data", "folder of the data sets")
	asJSON := flags.Bool("json", false, "print one JSON array of rows")
	tune := flags.Bool("tune", false, "run what the parameters were chosen on, with several prices")
	seeds := flags.Int("seeds", 5, "days that are made, from seed 11 on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *seeds < 1 {
		return errors.New("--seeds must be at least 1")
	}
	// A model that reads 2500 tokens a second and writes 22, each for one request.
	az, err := azure(*data, cost{2500, 22})
	if err != nil {
		return err
	}
	var segments []segment
	day := func(seed uint64) segment {
		return segment{fmt.Sprintf("day %d", seed), diurnal(seed, 1, 4, 1500*time.Millisecond), time.Hour, 24 * time.Hour}
	}
	if *tune {
		segments = append(segments, segment{"azure 5-25 min", part(az, 0, 25*time.Minute), 5 * time.Minute, 25 * time.Minute}, day(1), day(2), day(3))
	} else {
		segments = append(segments, segment{"azure 25-57 min", az, 25 * time.Minute, 57 * time.Minute})
		for i := range *seeds {
			segments = append(segments, day(11+uint64(i)))
		}
	}
	rows := measure(segments, *tune)
	return figure.Print(out, rows, *asJSON, figure.Table("%-16s %-20s %-12s %10s %s\n", 3))
}

// system is a rule with its name; each run needs a new one.
type system struct {
	name string
	make func() rule
}

func systems(tune bool) []system {
	ours := func(price float64) func() rule {
		return func() rule {
			return policy{scale.New(scale.Options{Min: 1, Max: most, Capacity: slots, Start: start, SLO: slo, Price: price})}
		}
	}
	all := []system{
		{"lineshaft", ours(0)},
		{"HPA", func() rule { return newHPA(target) }},
		{"KPA", func() rule { return policy{scale.New(scale.Options{Min: 1, Max: most, Target: target})} }},
	}
	if tune {
		for _, price := range []float64{10, 15, 25, 40} {
			all = append(all, system{fmt.Sprintf("lineshaft, price %g", price), ours(price)})
		}
	}
	return all
}

func measure(segments []segment, tune bool) (rows []figure.Row) {
	for _, s := range segments {
		h := hall{slots: slots, start: start, slo: slo, first: 2, min: 1, max: most, from: s.from}
		for _, sys := range systems(tune) {
			o := simulate(h, sys.make(), s.trace, s.until)
			rows = append(rows,
				figure.Of(s.name, sys.name, "violations", 100*o.part(), "%"),
				figure.Of(s.name, sys.name, "held", o.hours(), "replica-hours"),
				figure.Of(s.name, sys.name, "mean wait", o.waited.Seconds()/float64(max(1, o.requests)), "s"),
				figure.Of(s.name, sys.name, "starts", float64(o.starts), ""),
			)
		}
	}
	return rows
}
