package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/app"
	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/twin"
)

func twinCommand(e *env) *cobra.Command {
	return group(&cobra.Command{
		Use:   "twin",
		Short: "The hall in virtual time: replay traces of jobs under the real scheduler",
		Long:  "The hall in virtual time: what would happen, under the scheduler that plans the real one. It needs no server.",
	}, nil, nil, replayCommand(e), learnCommand(e), judgeCommand(e))
}

// replayFlags are the flags of `twin replay`.
type replayFlags struct {
	format, columns, cluster string
	strict                   bool
	nodes                    string
	perNode                  int
	load                     float64
	policy, durations, rule  string
	cost, half               time.Duration
	html                     string
}

func replayCommand(e *env) *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay TRACE",
		Short: "Replay a trace of jobs and report waits, allocation and fairness",
		Long: `Replay a trace of jobs in virtual time and report how long they waited and how full the hall was. It needs no server.

TRACE is a CSV file with a header, gzip or not; - is standard input. Its format is openb (Alibaba's GPU trace of 2023),
philly (Microsoft's, as Sia's artifacts have it) or csv: any table of jobs, with the columns named by --columns.
A csv needs submit, and duration or start and end; it may have id, tasks, cpu, memory, accelerators, model, queue, user,
name and priority. Rows that cannot be read are left out, counted and named in the report; --strict refuses the file.

Policies:
` + policyHelp(),
		Example: `  lineshaft twin replay philly_jobs_sia.csv.gz --format philly --cluster ee9e8c --nodes 18x8 --html report.html
  lineshaft twin replay openb_pod_list_default.csv.gz --format openb --nodes openb_node_list_gpu_node.csv.gz
  lineshaft twin replay jobs.csv --columns submit=queued_at,duration=seconds,accelerators=gpus --policy easy -o json`,
		Args: takes,
		RunE: func(cmd *cobra.Command, args []string) error { return e.replay(cmd.Context(), args[0], f) },
	}
	traceFlags(cmd, &f)
	flags := cmd.Flags()
	flags.StringVar(&f.policy, "policy", "lineshaft", "`name` of the policy")
	flags.StringVar(&f.rule, "rule", "", "`file` of a learned rule, under which the policy is replayed")
	flags.StringVar(&f.durations, "durations", "", "what the scheduler `knows` of durations: predicted, known or unknown (default: what the policy needs)")
	flags.DurationVar(&f.cost, "cost", 0, "`time` that a job loses each time it is stopped for others")
	flags.DurationVar(&f.half, "half-life", 0, "`time` after which past use counts half among queues (default: it does not count)")
	flags.StringVar(&f.html, "html", "", "write a report with charts to this `file`")
	complete(cmd, "durations", cobra.FixedCompletions(twin.Knowledge(), cobra.ShellCompDirectiveNoFileComp))
	var names []string
	for _, r := range twin.Rules() {
		names = append(names, r.Name)
	}
	complete(cmd, "policy", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// traceFlags are those of every command that reads traces.
func traceFlags(cmd *cobra.Command, f *replayFlags) {
	flags := cmd.Flags()
	flags.StringVar(&f.format, "format", "csv", "`form` of the trace: openb, philly or csv")
	flags.StringVar(&f.columns, "columns", "", "`FIELD=COLUMN,...`: where a csv has what a job has")
	flags.StringVar(&f.cluster, "cluster", "", "only this virtual `cluster` of a philly trace")
	flags.BoolVar(&f.strict, "strict", false, "refuse a trace with a row that cannot be read")
	flags.StringVar(&f.nodes, "nodes", "", "the hall: `18x8` is 18 nodes of 8 accelerators, 18x8:H100+4x4:V100 has two models; or an openb node list\n(default: as many nodes as carry the trace at --load)")
	flags.IntVar(&f.perNode, "per-node", 8, "`number` of accelerators of a node where the hall is sized; larger jobs of a philly trace take whole nodes of it")
	flags.Float64Var(&f.load, "load", 0.85, "`part` of the hall that the trace takes where the hall is sized")
	complete(cmd, "format", cobra.FixedCompletions([]string{"openb", "philly", "csv"}, cobra.ShellCompDirectiveNoFileComp))
}

func policyHelp() string {
	var b strings.Builder
	for _, r := range twin.Rules() {
		fmt.Fprintf(&b, "  %-12s  %s; durations %s\n", r.Name, r.About, r.Know)
	}
	return b.String()
}

func (e *env) replay(ctx context.Context, name string, f replayFlags) error {
	const op = "cli.replay"
	if err := f.check(); err != nil {
		return err
	}
	if _, err := os.Lstat(f.html); f.html != "" && err == nil { // now, not after a long replay
		return errs.Errorf(op, errs.Exists, "%s is there already; remove it or choose another name", f.html)
	}
	rule, err := twin.Named(f.policy)
	if err != nil {
		return err
	}
	o := twin.Options{Name: rule.Name, Policy: rule.Policy, Half: f.half}
	o.Policy.Preempt.Cost = f.cost
	if f.rule != "" {
		learned, err := app.ReadRule(f.rule)
		if err != nil {
			return err
		}
		if o.Policy = learned.In(o.Policy); o.Policy.Learned == "" {
			e.note("the rule %s is not used: %s", learned.Name, learned.Why)
		}
	}
	if err := o.Know(cmp.Or(f.durations, rule.Know)); err != nil {
		return err
	}
	trace, err := e.readTrace(name, f)
	if err != nil {
		return err
	}
	if o.Nodes, err = hall(trace, f); err != nil {
		return err
	}
	begin := e.now()
	o.Elapsed = func() time.Duration { return e.now().Sub(begin) }
	bar := e.bar()
	o.Progress = e.told(bar, "replaying", "jobs")
	report, err := twin.Replay(ctx, trace, o)
	bar.clear()
	if err != nil {
		return err
	}
	if f.html != "" {
		if err := writeFile(f.html, 0o644, report.WriteHTML); err != nil {
			return err
		}
		e.note("wrote %s", f.html)
	}
	return e.show(report, func(w io.Writer) {
		var pairs []any
		for _, row := range report.Rows() {
			pairs = append(pairs, row[0], row[1])
		}
		e.details(w, pairs...)
		if len(report.Queues) > 1 {
			fmt.Fprintln(w)
			e.queueTable(w, report)
		}
	})
}

func (f replayFlags) check() error {
	const op = "cli.replay"
	if err := oneOf("--format", f.format, "openb", "philly", "csv"); err != nil {
		return err
	}
	switch {
	case f.columns != "" && f.format != "csv":
		return errs.Errorf(op, errs.Invalid, "--columns is for --format csv; %s has its own", f.format)
	case f.cluster != "" && f.format != "philly":
		return errs.Errorf(op, errs.Invalid, "--cluster is for --format philly")
	case f.perNode < 1 || f.perNode > 1024:
		return errs.Errorf(op, errs.Invalid, "--per-node %d: give 1 to 1024", f.perNode)
	case !(f.load > 0) || f.load > 10:
		return errs.Errorf(op, errs.Invalid, "--load %v: give a part above 0, for example 0.85", f.load)
	case f.cost < 0 || f.half < 0:
		return errs.Errorf(op, errs.Invalid, "--cost and --half-life must not be negative")
	}
	return nil
}

// readTrace reads the file, or standard input for "-".
func (e *env) readTrace(name string, f replayFlags) (t twin.Trace, err error) {
	const op = "cli.readTrace"
	in := e.in
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return t, fileError(op, err)
		}
		defer file.Close()
		if info, err := file.Stat(); err == nil && info.IsDir() {
			return t, errs.Errorf(op, errs.Invalid, "%s is a folder; a trace is a CSV file", name)
		}
		in = file
	}
	switch f.format {
	case "openb":
		t, err = twin.ReadOpenb(in, f.strict)
	case "philly":
		t, err = twin.ReadPhilly(in, twin.Philly{Cluster: f.cluster, PerNode: f.perNode, Strict: f.strict})
	default:
		var c twin.Columns
		if c, err = twin.ParseColumns(f.columns); err == nil {
			t, err = twin.ReadCSV(in, c, f.strict)
		}
	}
	if err != nil {
		return t, errs.Errorf(op, errs.KindOf(err), "%s: %w", name, err)
	}
	return t, nil
}

// hall is the nodes that were asked for: a file with them, their number, or as many as carry the trace.
func hall(t twin.Trace, f replayFlags) ([]fleet.Node, error) {
	const op = "cli.hall"
	if f.nodes == "" {
		return twin.Nodes(t.Size(f.perNode, f.load), f.perNode), nil
	}
	file, err := os.Open(f.nodes)
	if err != nil {
		nodes, wrong := twin.ParseNodes(f.nodes)
		if wrong != nil && strings.ContainsAny(f.nodes, "./\\") {
			return nil, fileError(op, err)
		}
		return nodes, wrong
	}
	defer file.Close()
	nodes, err := twin.ReadOpenbNodes(file)
	if err != nil {
		return nil, errs.Errorf(op, errs.KindOf(err), "%s: %w", f.nodes, err)
	}
	return nodes, nil
}

// told tells how far something is that takes a while: a bar on a terminal, a line now and then elsewhere.
func (e *env) told(b *bar, doing, what string) func(done, all int) {
	const every, line = 200 * time.Millisecond, 15 * time.Second
	drawn, told := e.now(), e.now()
	return func(done, all int) {
		now := e.now()
		if now.Sub(drawn) >= every {
			drawn = now
			b.draw(doing, float64(done)/float64(all), fmt.Sprintf("%d of %d %s", done, all, what))
		}
		if b.width == 0 && now.Sub(told) >= line {
			told = now
			e.note("%s: %d of %d %s are done", doing, done, all, what)
		}
	}
}

func (e *env) queueTable(w io.Writer, r twin.Report) {
	t := newTable("no queues", "QUEUE", "JOBS>", "SHARE>", strings.ToUpper(r.Unit)+">", "MEAN JCT>", "P99 JCT>", "MEAN WAIT>", "P99 WAIT>")
	hours := func(v float64) string { return fmt.Sprintf("%.2f h", v/3600) }
	for _, q := range r.Queues {
		t.row(q.Queue, q.Jobs, fmt.Sprintf("%.1f %%", 100*q.Share), fmt.Sprintf("%.1f", q.Rate), hours(q.JCT.Mean), hours(q.JCT.P99), hours(q.Wait.Mean), hours(q.Wait.P99))
	}
	e.print(w, t)
}
