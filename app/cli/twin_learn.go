package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/app"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/sched/learn"
	"github.com/lineshaft/lineshaft/twin"
)

// learnFlags are the flags of `twin learn`, beside what it shares with `twin replay`.
type learnFlags struct {
	replayFlags
	measure, knobs  string
	windows, orders int
	train, validate string
	tolerance       float64
	seed            uint64
	rounds, arms    int
	name, write     string
}

func learnCommand(e *env) *cobra.Command {
	var f learnFlags
	cmd := &cobra.Command{
		Use:   "learn TRACE...",
		Short: "Learn the scheduler's weights from traces, and whether they may be used",
		Long: `Learn the numbers of the scheduler's policy by replaying traces, and write a rule file. It needs no server.

A bandit tries numbers on the training episodes; the best are then compared once with the default on the validation
episodes. They are used where the 95 % confidence interval of the mean gain lies at or above zero and no validation
episode is worse by more than --tolerance. Else the file says default, and why. ` + "`lineshaft twin judge`" + ` tests a rule
on episodes that were held out.

Each trace is cut into --windows parts of equally many jobs that follow each other in time; the episodes are their
numbers. Measure jct replays a window; the figure is the mean completion time. Measure allocation fills the empty hall with
a window's jobs in some random orders, and none leaves; the figure is what is allocated when arrivals reach the hall's
capacity. With --windows 0 it takes the whole trace, and the numbers are seeds of its order: then validation knows other
orders, and no other work.

Knobs: ` + knobHelp(),
		Example: `  lineshaft twin learn openb_pod_list_gpuspec33.csv.gz --format openb --nodes openb_node_list_gpu_node.csv.gz \
    --measure allocation --windows 20 --train 1-8 --validate 9-14 --write rule.yaml
  lineshaft twin learn jobs.csv --measure jct --windows 12 --train 1-6 --validate 7-9 --write rule.yaml
  lineshaft up --rule rule.yaml`,
		Args: takes,
		RunE: func(cmd *cobra.Command, args []string) error { return e.learn(cmd.Context(), args, f) },
	}
	traceFlags(cmd, &f.replayFlags)
	flags := cmd.Flags()
	flags.StringVar(&f.measure, "measure", twin.JCT, "what is made better: allocation or jct")
	flags.StringVar(&f.knobs, "knobs", "", "`NAMES` of what is learned, or of their groups places and times (default: places for allocation, both for jct)")
	flags.IntVar(&f.windows, "windows", 10, "`number` of parts into which a trace is cut by time; 0, for allocation, leaves it whole")
	flags.IntVar(&f.orders, "orders", 3, "`number` of random orders in which a window is filled; their mean counts")
	flags.StringVar(&f.train, "train", "1-6", "`numbers` of the training episodes, of every trace")
	flags.StringVar(&f.validate, "validate", "7-10", "`numbers` of the validation episodes")
	flags.Float64Var(&f.tolerance, "tolerance", 0.5, "how much worse one validation episode may be: `points` of allocation, or percent of the completion time")
	flags.StringVar(&f.policy, "policy", "lineshaft", "`name` of the policy whose numbers are learned")
	flags.DurationVar(&f.cost, "cost", 0, "`time` that a job loses each time it is stopped for others")
	flags.Uint64Var(&f.seed, "seed", 1, "of the search: the same `seed` finds the same")
	flags.IntVar(&f.rounds, "rounds", 3, "`number` of rounds, each nearer to the best so far")
	flags.IntVar(&f.arms, "arms", 32, "`number` of settings that a round tries")
	flags.StringVar(&f.name, "name", "", "`name` of the rule (default: of its file)")
	flags.StringVar(&f.write, "write", "rule.yaml", "the rule `file` to write")
	complete(cmd, "measure", cobra.FixedCompletions(twin.Measures(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func judgeCommand(e *env) *cobra.Command {
	var f replayFlags
	var test string
	cmd := &cobra.Command{
		Use:   "judge RULE TRACE...",
		Short: "Test a learned rule on episodes that were held out",
		Long: `Test a learned rule on episodes that were held out, and write the outcome into its file. The verdict stays as it is:
whoever chooses by a test has no test left. Each time is counted in the file, and episodes that the rule was trained or
validated on are refused. Measure, windows, policy and cost are the rule's.`,
		Example: `  lineshaft twin judge rule.yaml openb_pod_list_gpuspec33.csv.gz --format openb --nodes openb_node_list_gpu_node.csv.gz --test 15-20`,
		Args:    takes,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.judge(cmd.Context(), args[0], args[1:], f, test)
		},
	}
	traceFlags(cmd, &f)
	cmd.Flags().StringVar(&test, "test", "", "`numbers` of the episodes, of every trace, for example 15-20")
	return cmd
}

func knobHelp() string {
	var b strings.Builder
	for _, group := range []string{learn.Places, learn.Times} {
		var names []string
		for _, k := range learn.Knobs(group) {
			names = append(names, k.Name)
		}
		fmt.Fprintf(&b, "\n  %-8s  %s", group, strings.Join(names, ", "))
	}
	return b.String()
}

func (e *env) learn(ctx context.Context, names []string, f learnFlags) error {
	const op = "cli.learn"
	if err := f.check(); err != nil {
		return err
	}
	if err := oneOf("--measure", f.measure, twin.Measures()...); err != nil {
		return err
	}
	if _, err := os.Lstat(f.write); err == nil {
		return errs.Errorf(op, errs.Exists, "%s is there already; remove it or choose another name with --write", f.write)
	}
	f.name = cmp.Or(f.name, strings.ToLower(strings.TrimSuffix(filepath.Base(f.write), filepath.Ext(f.write))))
	if err := learn.CheckName(f.name); err != nil {
		return err
	}
	if !(f.tolerance >= 0) {
		return errs.Errorf(op, errs.Invalid, "--tolerance must not be negative")
	}
	knobs, err := learn.Named(strings.Split(cmp.Or(f.knobs, map[string]string{twin.Allocation: learn.Places, twin.JCT: learn.Places + "," + learn.Times}[f.measure]), ",")...)
	if err != nil {
		return err
	}
	s, err := e.study(names, f.replayFlags, twin.Study{Measure: f.measure, Windows: f.windows, Orders: f.orders})
	if err != nil {
		return err
	}
	train, err := episodes(s, "--train", f.train)
	if err != nil {
		return err
	}
	validate, err := episodes(s, "--validate", f.validate)
	if err != nil {
		return err
	}
	for _, v := range validate {
		if slices.Contains(train, v) {
			return errs.Errorf(op, errs.Invalid, "%s is both in --train and in --validate: what was learned on cannot judge", s.Label(v))
		}
	}
	bar := e.bar()
	rule, err := s.Learn(ctx, knobs, train, validate, f.tolerance, learn.Options{Seed: f.seed, Rounds: f.rounds, Arms: f.arms, Told: e.told(bar, "learning", "replays")})
	bar.clear()
	if err != nil {
		return err
	}
	rule.Name, rule.Setting.Policy, rule.Setting.Cost = f.name, s.Options.Name, f.cost.Seconds()
	text, err := rule.YAML()
	if err != nil {
		return err
	}
	if err := writeFile(f.write, 0o644, func(w io.Writer) error { _, err := w.Write(text); return err }); err != nil {
		return err
	}
	e.note("wrote %s", f.write)
	return e.showRule(rule)
}

// study is the traces in their hall.
func (e *env) study(names []string, f replayFlags, s twin.Study) (twin.Study, error) {
	for _, name := range names {
		t, err := e.readTrace(name, f)
		if err != nil {
			return s, err
		}
		t.Name = strings.TrimSuffix(strings.TrimSuffix(filepath.Base(name), ".gz"), ".csv")
		if f.cluster != "" {
			t.Name += ":" + f.cluster
		}
		s.Traces = append(s.Traces, t)
	}
	rule, err := twin.Named(f.policy)
	if err != nil {
		return s, err
	}
	s.Options.Name, s.Options.Policy, s.Options.Half = rule.Name, rule.Policy, f.half
	s.Options.Policy.Preempt.Cost = f.cost
	if err := s.Options.Know(cmp.Or(f.durations, rule.Know)); err != nil {
		return s, err
	}
	if s.Options.Nodes, err = hall(s.Traces[0], f); err != nil {
		return s, err
	}
	return s, s.Check()
}

// episodes are those of a list of numbers, "1-6,9".
func episodes(s twin.Study, flag, list string) ([]twin.Episode, error) {
	const op = "cli.episodes"
	var numbers []int
	for part := range strings.SplitSeq(list, ",") {
		from, to, ok := strings.Cut(strings.TrimSpace(part), "-")
		if !ok {
			to = from
		}
		a, err := strconv.Atoi(from)
		b, err2 := strconv.Atoi(to)
		if err != nil || err2 != nil || a < 0 || b < a || b-a >= learn.MostEpisodes {
			return nil, errs.Errorf(op, errs.Invalid, "%s %q: write numbers, for example 1-6 or 1,2,9", flag, list)
		}
		for ; a <= b; a++ {
			if slices.Contains(numbers, a) {
				return nil, errs.Errorf(op, errs.Invalid, "%s names %d twice", flag, a)
			}
			numbers = append(numbers, a)
		}
	}
	out, err := s.Episodes(numbers)
	if err == nil && len(out) > learn.MostEpisodes {
		err = errs.Errorf(op, errs.Invalid, "%s makes %d episodes of %d traces: at most %d", flag, len(out), len(s.Traces), learn.MostEpisodes)
	}
	return out, err
}

func (e *env) judge(ctx context.Context, file string, names []string, f replayFlags, test string) error {
	const op = "cli.judge"
	rule, err := app.ReadRule(file)
	if err != nil {
		return err
	}
	f.policy, f.cost = rule.Setting.Policy, time.Duration(rule.Setting.Cost*float64(time.Second))
	if err := f.check(); err != nil {
		return err
	}
	if test == "" {
		return errs.Errorf(op, errs.Invalid, "--test is missing: name the episodes that were held out, for example --test 15-20")
	}
	s, err := e.study(names, f, twin.Study{Measure: rule.Measure.Name, Windows: rule.Setting.Windows, Orders: rule.Setting.Orders})
	if err != nil {
		return err
	}
	list, err := episodes(s, "--test", test)
	if err != nil {
		return err
	}
	bar := e.bar()
	part, err := s.Test(ctx, rule, list, e.told(bar, "testing", "replays"))
	bar.clear()
	if err != nil {
		return err
	}
	rule.Test = &part
	text, err := rule.YAML()
	if err != nil {
		return err
	}
	if err := replaceFile(file, 0o644, func(w io.Writer) error { _, err := w.Write(text); return err }); err != nil {
		return err
	}
	e.note("wrote the test into %s", file)
	return e.showRule(rule)
}

// showRule prints what was learned.
func (e *env) showRule(r learn.Rule) error {
	return e.show(r, func(w io.Writer) {
		var traces []string
		for _, t := range r.Setting.Traces {
			traces = append(traces, fmt.Sprintf("%s, %d jobs", t.Name, t.Jobs))
		}
		e.details(w,
			"rule", r.Name,
			"traces", strings.Join(traces, "; "),
			"hall", fmt.Sprintf("%d nodes, %d accelerators", r.Setting.Nodes, r.Setting.Accelerators),
			"measure", r.Measure.Name+": "+r.Setting.Protocol,
			"search", fmt.Sprintf("%d settings tried in %d replays; seed %d", r.Search.Tried, r.Search.Pulls, r.Search.Seed),
			"default", r.Default, "learned", r.Learned)
		fmt.Fprintln(w)
		t := newTable("", "", "EPISODES>", "DEFAULT>", "LEARNED>", "GAIN>", "95 % INTERVAL>", "WORST>")
		t.row(partRow(r, "training", &r.Training)...)
		t.row(partRow(r, "validation", &r.Validation)...)
		if r.Test != nil {
			t.row(partRow(r, "test", r.Test)...)
		}
		e.print(w, t)
		fmt.Fprintln(w)
		verdict := []any{"verdict", r.Verdict + ": " + r.Why}
		if r.Test != nil && r.Test.Looks > 1 {
			verdict = append(verdict, "test", fmt.Sprintf("looked at %d times: it says less each time", r.Test.Looks))
		}
		e.details(w, verdict...)
	})
}

func partRow(r learn.Rule, name string, p *learn.Part) []any {
	mean := func(v []float64) string {
		sum := 0.0
		for _, x := range v {
			sum += x / float64(len(v))
		}
		return strconv.FormatFloat(sum, 'f', 3, 64) + " " + r.Measure.Unit
	}
	c, unit := p.Result, r.Measure.GainUnit()
	return []any{
		name, len(p.Episodes), mean(c.Default), mean(c.Learned), fmt.Sprintf("%+.3f %s", c.Gain, unit),
		fmt.Sprintf("%+.3f to %+.3f", c.Low, c.High), fmt.Sprintf("%+.3f", c.Worst),
	}
}
