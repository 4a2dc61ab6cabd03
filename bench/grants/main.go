// Command grants measures what it brings that grants of running tasks follow their need: two tasks run on this machine,
// each promised half of its cores. One is idle and wakes in the end; the other is always busy on as many threads as
// there are cores. Everything is the product's own: executor, jobs, store and loop, with its default windows.
//
//	go run ./bench/grants [--seconds 60] [--rounds 3] [--json]
//
// Case idle is the work that the busy task gets done in a second while the other is idle, wake how long the other waits
// from its first work until its grant is its promise again, and both the work of each while both are busy. System
// lineshaft has the policy in mode act, promises has it off. The systems take turns; figures are medians of the rounds.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lineshaft/lineshaft/bench/internal/figure"
	"github.com/lineshaft/lineshaft/control"
	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/exec/local"
	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/store"
	"github.com/lineshaft/lineshaft/store/sqlite"
)

func main() {
	if code, ok := local.Hidden(os.Args); ok {
		os.Exit(code)
	}
	if len(os.Args) > 2 && os.Args[1] == "as-task" {
		asTask(os.Args[2] == "idle")
	}
	if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench/grants:", err)
		os.Exit(1)
	}
}

// asTask works on every core and prints every 100 ms how much it did so far. An idle one waits for the file wake first.
func asTask(idle bool) {
	for idle {
		if _, err := os.Stat("wake"); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	var done atomic.Int64
	for range runtime.NumCPU() {
		go func() {
			x := uint64(1)
			for {
				for range 1_000_000 {
					x = x*6364136223846793005 + 1442695040888963407
				}
				if done.Add(1); x == 0 {
					return
				}
			}
		}()
	}
	for {
		fmt.Println(done.Load())
		time.Sleep(100 * time.Millisecond)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("grants", flag.ContinueOnError)
	seconds := flags.Int("seconds", 60, "before the idle task wakes: long enough for the windows of the policy")
	rounds := flags.Int("rounds", 3, "how often each system is measured; the median counts")
	asJSON := flags.Bool("json", false, "print one JSON array of rows")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *seconds < 5 || *rounds < 1 {
		return errors.New("--seconds must be at least 5 and --rounds at least 1")
	}
	figures := map[string][]float64{}
	var rows []figure.Row
	for range *rounds {
		for _, system := range []string{"promises", "lineshaft"} {
			got, err := measure(ctx, system == "lineshaft", time.Duration(*seconds)*time.Second)
			if err != nil {
				return err
			}
			for _, g := range got {
				key := system + " " + g.Case + " " + g.Metric
				if g.System = system; len(figures[key]) == 0 {
					rows = append(rows, g)
				}
				figures[key] = append(figures[key], g.Value)
			}
		}
	}
	for i, r := range rows {
		all := figures[r.System+" "+r.Case+" "+r.Metric]
		slices.Sort(all)
		rows[i].Value = all[len(all)/2]
	}
	return figure.Print(out, rows, *asJSON, figure.Table("%-6s %-10s %-13s %10s %s\n", 2))
}

// hall is the parts of a server that matter here.
type hall struct {
	tasks *local.Local
	jobs  *job.Runner
	loop  *control.Runner
	cores float64
}

// measure runs both tasks once.
func measure(ctx context.Context, follow bool, before time.Duration) ([]figure.Row, error) {
	dir, err := os.MkdirTemp("", "bench-grants-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	db, err := sqlite.Open(ctx, filepath.Join(dir, "db"))
	if err != nil {
		return nil, err
	}
	defer db.Close()
	h := hall{cores: float64(runtime.NumCPU())}
	if h.tasks, err = local.New(local.Options{Dir: filepath.Join(dir, "tasks")}); err != nil {
		return nil, err
	}
	kept := store.New(db, clock.System{}, nil)
	log := slog.New(slog.DiscardHandler)
	h.jobs = job.NewRunner(job.Options{
		Store: kept, Tasks: h.tasks, Outputs: h.tasks, Meters: h.tasks, Clock: clock.System{}, Log: log, Site: job.DefaultSite(nil),
		Nodes: func() []fleet.Node {
			return []fleet.Node{{Name: "here", CPU: h.cores, Memory: 4 * units.GiB, Disk: 4 * units.GiB}}
		},
		Launch:   launch,
		OnFinish: func(context.Context, job.Job) (*job.ModelRef, error) { return nil, nil },
	})
	policy := control.Grants(control.GrantsOptions{})
	if !follow {
		policy.Default = control.Off
	}
	h.loop = control.NewRunner(control.Options{Store: kept, Jobs: h.jobs, Tasks: h.jobs, Policies: []control.Policy{policy}, Clock: clock.System{}, Log: log})
	running, stop := context.WithCancel(ctx)
	var parts sync.WaitGroup
	parts.Go(func() { h.jobs.Run(running) })
	parts.Go(func() { h.tasks.Watch(running, h.jobs.Observed) })
	parts.Go(func() { h.loop.Run(running) })
	defer func() { stop(); parts.Wait() }()
	return h.tell(ctx, before)
}

func launch(_ context.Context, j job.Job, t job.Task) (exec.Task, error) {
	r := j.Spec.Resources
	return exec.Task{
		Ref: job.TaskRef(j, t), Argv: j.Spec.Command, User: j.Owner, Policy: exec.Policy{AllowLess: true},
		Limits: exec.Limits{CPU: r.CPU, Memory: r.Memory, Disk: r.Disk}, Timeout: 10 * time.Minute, // should this program be killed
	}, nil
}

// tell takes the figures of one run.
func (h *hall) tell(ctx context.Context, before time.Duration) ([]figure.Row, error) {
	var ids [2]job.ID
	for i, what := range []string{"idle", "busy"} {
		j, err := h.jobs.Submit(ctx, "user/bench", "bench", job.Spec{
			Name: what, Kind: job.Command, Command: []string{exec.Self, "as-task", what},
			Resources: job.Resources{CPU: h.cores / 2, Memory: 256 * units.MiB, Disk: 256 * units.MiB},
		}, false)
		if err != nil {
			return nil, err
		}
		ids[i] = j.ID
		defer h.end(ctx, j.ID)
	}
	time.Sleep(before - 2*time.Second)
	// The last fifth of the time, in which the policy has settled.
	settled := before / 5
	time.Sleep(2*time.Second - min(settled, 2*time.Second))
	from := h.work(ctx, ids[1])
	time.Sleep(settled)
	idle := (h.work(ctx, ids[1]) - from) / settled.Seconds()

	ref := exec.TaskRef{Job: ids[0].String(), Attempt: 1}
	woken := time.Now()
	if code, err := h.tasks.Shell(ctx, ref, exec.Shell{Argv: []string{"touch", "wake"}}); err != nil || code != 0 {
		return nil, fmt.Errorf("the idle task cannot be woken: %d %w", code, err)
	}
	for time.Since(woken) < time.Minute {
		u, err := h.tasks.Usage(ctx, ref)
		if err == nil && u.Limits.CPU >= h.cores/2 && u.CPU > 0.1 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	wake := time.Since(woken).Seconds()
	time.Sleep(5 * time.Second)
	a, b := h.work(ctx, ids[0]), h.work(ctx, ids[1])
	const together = 10 * time.Second
	time.Sleep(together)
	row := func(name, metric string, v float64, unit string) figure.Row {
		return figure.Row{Case: name, Metric: metric, Value: v, Unit: unit}
	}
	return []figure.Row{
		row("idle", "busy_work", idle, "Msteps/s"), row("wake", "promise_back", wake, "s"),
		row("both", "woken_work", (h.work(ctx, ids[0])-a)/together.Seconds(), "Msteps/s"),
		row("both", "busy_work", (h.work(ctx, ids[1])-b)/together.Seconds(), "Msteps/s"),
	}, nil
}

// work is what a task says that it did so far, in millions of steps.
func (h *hall) work(ctx context.Context, id job.ID) float64 {
	r, err := h.tasks.Logs(ctx, exec.TaskRef{Job: id.String(), Attempt: 1}, 0, false)
	if err != nil {
		return 0
	}
	defer r.Close()
	b, _ := io.ReadAll(r)
	lines := strings.Fields(string(b))
	if len(lines) == 0 {
		return 0
	}
	n, _ := strconv.ParseFloat(lines[len(lines)-1], 64)
	return n
}

// end cancels a job and waits until it has ended.
func (h *hall) end(ctx context.Context, id job.ID) {
	j, err := h.jobs.Cancel(ctx, "user/bench", id)
	for n := 0; err == nil && !j.State.Terminal() && n < 300; n++ {
		time.Sleep(50 * time.Millisecond)
		j, err = h.jobs.Get(ctx, id)
	}
}
