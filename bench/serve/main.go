// Command serve measures what a prediction costs a server: one row by HTTP and JSON or by gRPC, asked by 32 clients at once.
//
//	go run ./bench/serve --data DIR [--json]
//
// DIR holds MNIST's four idx.gz files; without them they are taken from the module cache. The network is that of
// examples/mnist (784-512-512-10), trained for one epoch. The systems, each a process of its own, started here:
//
//   - lineshaft: the product, `lineshaft up`, asked with a token on its serving port;
//   - handler: its serving port alone, without accounts and data folder (what access control costs is the difference);
//   - echo: a bare net/http server that sends the body back, the floor of any Go server;
//   - mlserver: MLServer with the same weights in numpy, at the best of several settings tried first;
//   - bentoml: BentoML, likewise;
//   - lineshaft-grpc, handler-grpc, echo-grpc: the first three by gRPC, with the message that TensorFlow's client sends; each
//     client has a connection of its own;
//   - lineshaft-kserve, lineshaft-kserve-grpc: the first by the Open Inference Protocol, by REST with the tensor as bytes and by
//     gRPC with raw contents, as Triton's client sends them; handler-kserve and handler-kserve-grpc likewise.
//
// CPU time is that of the server's whole process tree from /proc, divided by the requests answered; the clients' is
// not in it. Systems take turns, round after round, and each figure is the median of its rounds. Before that every
// system answers the same 500 images, and all answers are compared with the network's; under load every eighth is.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/lineshaft/lineshaft/bench/internal/figure"
)

type config struct {
	data, binary string
	clients      int
	seconds      float64
	rounds       int
	systems      []string
	json         bool
	profile      string
}

// row is one figure.
type row = figure.Row

func main() {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "child-") {
		if err := child(os.Args[1], os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench/serve:", err)
			os.Exit(1)
		}
		return
	}
	var c config
	systems := ""
	flag.StringVar(&c.data, "data", "", "folder with MNIST's idx.gz files; the module cache where it has none")
	flag.StringVar(&c.binary, "binary", "", "the lineshaft binary; built from this tree where empty")
	flag.IntVar(&c.clients, "clients", 32, "clients at once, each with one connection")
	flag.Float64Var(&c.seconds, "seconds", 5, "length of a round")
	flag.IntVar(&c.rounds, "rounds", 3, "rounds of each system")
	flag.StringVar(&systems, "systems", "lineshaft,handler,echo,mlserver,bentoml,lineshaft-grpc,handler-grpc,echo-grpc,lineshaft-kserve,lineshaft-kserve-grpc", "what is measured")
	flag.BoolVar(&c.json, "json", false, "print one array of rows instead of a table")
	flag.StringVar(&c.profile, "profile", "", "file for a CPU profile of the system handler, or another handler-…")
	flag.Parse()
	c.systems = strings.Split(systems, ",")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	rows, err := run(ctx, c, os.Stderr)
	if err == nil {
		err = report(os.Stdout, rows, c.json)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/serve:", err)
		os.Exit(1)
	}
}

// system is a server that was started.
type system struct {
	name    string
	addr    string
	grpc    string // the address of its gRPC port, where it has two
	pid     int
	request func(image string) []byte // the bytes of a whole HTTP request, or of a gRPC message, for an image's numbers
	open    func() (asker, error)     // a client; nil: by HTTP
	answer  func(body []byte) ([]float32, error)
	stop    func()
}

func run(ctx context.Context, c config, progress io.Writer) ([]row, error) {
	dir, err := os.MkdirTemp("", "bench-serve-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintln(progress, "training the network for one epoch")
	w, err := prepare(c.data, dir)
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, clients := range []int{c.clients, 1} {
		c.clients = clients
		measured, err := one(ctx, c, w, progress)
		if err != nil {
			return nil, err
		}
		rows = append(rows, measured...)
	}
	return rows, nil
}

// one measures all systems with one number of clients, each started anew and set up for that.
func one(ctx context.Context, c config, w *work, progress io.Writer) (rows []row, err error) {
	starters := map[string]func(context.Context, config, *work) (*system, error){
		"lineshaft": startLineshaft, "handler": startHandler, "echo": startEcho, "mlserver": startMLServer,
		"bentoml": startBentoML, "lineshaft-grpc": startLineshaftGRPC, "handler-grpc": startHandlerGRPC, "echo-grpc": startEchoGRPC,
		"lineshaft-kserve": startLineshaftBinary, "handler-kserve": startHandlerBinary, "lineshaft-kserve-grpc": startLineshaftRaw, "handler-kserve-grpc": startHandlerRaw,
	}
	var all []*system
	defer func() {
		for _, s := range all {
			s.stop()
		}
	}()
	for _, name := range c.systems {
		start, ok := starters[name]
		if !ok {
			return nil, fmt.Errorf("there is no system %q", name)
		}
		fmt.Fprintln(progress, "starting", name)
		s, err := start(ctx, c, w)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, s)
		far, right, err := verify(s, w)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if s.answer != nil {
			rows = append(rows, figure.Of(caseName(c), name, "largest_difference", far, "probability"), figure.Of(caseName(c), name, "accuracy_500", right, "share"))
		}
	}
	measured, err := rounds(ctx, c, all, w, progress)
	return append(rows, measured...), err
}

func caseName(c config) string { return fmt.Sprintf("mnist-1-row-%d-clients", c.clients) }

// rounds measures every system in turn and gives the medians.
func rounds(ctx context.Context, c config, all []*system, w *work, progress io.Writer) ([]row, error) {
	results := map[string][]result{}
	for r := range c.rounds + 1 {
		for _, s := range all {
			seconds := c.seconds
			if r == 0 {
				seconds = min(1, seconds) // warm up
			}
			got, err := load(ctx, s, w, c.clients, time.Duration(seconds*float64(time.Second)))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			if r > 0 {
				results[s.name] = append(results[s.name], got)
				fmt.Fprintf(progress, "%d clients, round %d, %-10s %s\n", c.clients, r, s.name, got)
			}
		}
	}
	var rows []row
	for _, s := range all {
		add := func(metric, unit string, of func(result) float64) {
			var values []float64
			for _, r := range results[s.name] {
				values = append(values, of(r))
			}
			slices.Sort(values)
			rows = append(rows, figure.Of(caseName(c), s.name, metric, values[len(values)/2], unit))
		}
		add("server_cpu_per_request", "ms", func(r result) float64 { return r.cpu })
		add("requests_per_second", "1/s", func(r result) float64 { return r.rate })
		add("latency_p50", "ms", func(r result) float64 { return r.p50 })
		add("latency_p99", "ms", func(r result) float64 { return r.p99 })
	}
	return append(rows, ratios(rows)...), nil
}

// ratios compares the CPU time of every system with lineshaft's.
func ratios(rows []row) (out []row) {
	var own float64
	for _, r := range rows {
		if r.System == "lineshaft" && r.Metric == "server_cpu_per_request" {
			own = r.Value
		}
	}
	for _, r := range rows {
		if own > 0 && r.System != "lineshaft" && r.Metric == "server_cpu_per_request" {
			out = append(out, figure.Of(r.Case, r.System, "cpu_over_lineshaft", r.Value/own, "×"))
		}
	}
	return out
}

func report(w io.Writer, rows []row, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(rows)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CASE\tSYSTEM\tMETRIC\tVALUE\tUNIT")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%.4g\t%s\n", r.Case, r.System, r.Metric, r.Value, r.Unit)
	}
	return t.Flush()
}
