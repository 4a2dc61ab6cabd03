package cli

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/job"
)

// runFlags are what `run` may say of a job.
type runFlags struct {
	spec         job.Spec
	sizes        map[string]*string // by flag, as they are written
	topology     string
	array        job.Array
	notBefore    string
	deadline     string
	timeout      time.Duration
	env, secrets []string
	code         codeFlags
	detach, dry  bool
}

func runCommand(e *env) *cobra.Command {
	var o runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] -- CMD...",
		Short: "Run a program as a job and show its output",
		Long: `Run a program as a job and show its output.

The exit code is the program's. Ctrl-C cancels the job; a second ctrl-C does not wait for its end. The program runs
isolated, in an empty folder of its own, or in a copy of the one that --code names.`,
		Example: `  lineshaft run -- sh -c 'echo hello; nproc'
  lineshaft run --code . --cpu 2 --memory 4GiB -- python3 train.py --epochs 3
  lineshaft run --secret hub-token=HUB_TOKEN --network host -- ./fetch.sh`,
		Args: takes,
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), e, args)
		},
	}
	o.flags(cmd)
	return cmd
}

func (o *runFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SetInterspersed(false) // what follows the program's name is the program's
	f.StringVar(&o.spec.Name, "name", "", "`name` of the job (default the program's)")
	f.Float64Var(&o.spec.Resources.CPU, "cpu", 0, "`cores` (default 1)")
	o.sizes = map[string]*string{}
	size := func(name, usage string) { o.sizes[name] = f.String(name, "", usage) }
	r := &o.spec.Resources
	size("memory", "`size` of memory (default 1GiB)")
	size("disk", "`size` of its folder (default 1GiB)")
	size("storage", "`size` of persistent storage on its node")
	size("bandwidth", "`rate` of its node's network, such as 1Gbit/s")
	f.Float64Var((*float64)(&r.Watts), "watts", 0, "`watts` that it draws at most (default what its accelerators draw)")
	f.IntVar(&r.Accelerators, "accelerators", 0, "`number` of accelerators")
	f.StringVar(&r.Kind, "accelerator-kind", "", "`kind` of them: gpu, npu or tpu (default any)")
	f.Var((*modelsFlag)(&r.Model), "accelerator-model", "`model` of them, or several as 'A100|H100' (default any)")
	size("accelerator-memory", "`size` of the memory that each has at least; with --share what it takes of it")
	f.Float64Var(&r.Share, "share", 0, "`part` of one accelerator, such as 0.25, which others share")
	f.IntVar(&o.spec.Tasks, "tasks", 0, "`number` of processes that start together (default 1)")
	f.IntVar(&o.spec.MinTasks, "min-tasks", 0, "least `number` of them that it runs with: it starts with these, and starts anew with more when there is room")
	f.IntVar(&o.array.Count, "array", 0, "make it this `number` of jobs, each with its place in LINESHAFT_ARRAY_INDEX; implies --detach")
	f.IntVar(&o.array.Limit, "array-limit", 0, "at most this `number` of them run at once")
	f.StringVar(&o.topology, "topology", "", "`level` that its processes share where they can: domain, node or rack; 'rack,hard' rather waits")
	f.StringArrayVarP(&o.env, "env", "e", nil, "`NAME=VALUE` in its environment; for what is secret see --secret")
	f.StringArrayVar(&o.secrets, "secret", nil, "a stored secret as `NAME=VARIABLE` in its environment or NAME=/FILE in memory")
	f.StringArrayVar(&o.spec.Data, "dataset", nil, "`data set` it may read, for example mnist or mnist@1")
	f.StringVar(&o.spec.Isolation.Network, "network", "", "`host` or none")
	f.StringArrayVar(&o.spec.Isolation.Require, "require", nil, "isolation `feature` that must be enforced, as `why` names it")
	f.DurationVar(&o.timeout, "timeout", 0, "end it after this `time`")
	f.StringVar(&o.notBefore, "not-before", "", "earliest `start`: a time such as 2026-03-01T18:00:00Z, or from now on such as 2h")
	f.StringVar(&o.deadline, "deadline", "", "`time` by which it should have ended, as for --not-before")
	f.BoolVar(&o.spec.Deferrable, "deferrable", false, "let it wait for a window of the site's calendar, as far as --deadline allows")
	f.IntVar(&o.spec.Retries, "retries", 0, "run it again so many `times` when it fails")
	f.IntVar(&o.spec.Priority, "priority", 0, "`rank` from -100 to 100; higher goes first")
	f.StringVar(&o.spec.Queue, "queue", "", "`queue` of the server's configuration")
	f.BoolVar(&o.spec.Preemptible, "preemptible", false, "let it be stopped for others; it starts again when there is room")
	f.BoolVarP(&o.detach, "detach", "d", false, "do not wait for it")
	o.code.flags(cmd)
	dryRun(cmd, &o.dry)
	complete(cmd, "accelerator-kind", cobra.FixedCompletions([]string{"gpu", "npu", "tpu"}, cobra.ShellCompDirectiveNoFileComp))
	complete(cmd, "topology", cobra.FixedCompletions([]string{"domain", "node", "rack"}, cobra.ShellCompDirectiveNoFileComp))
	complete(cmd, "network", cobra.FixedCompletions([]string{"host", "none"}, cobra.ShellCompDirectiveNoFileComp))
}

// text is the specification that the flags make.
func (o *runFlags) text(command []string) ([]byte, error) {
	const op = "cli.run"
	s := o.spec
	s.Kind, s.Command, s.Timeout = job.Command, command, job.Duration(o.timeout)
	if err := o.quantities(&s.Resources); err != nil {
		return nil, err
	}
	if level, hard, _ := strings.Cut(o.topology, ","); level != "" {
		if hard != "" && hard != "hard" {
			return nil, errs.Errorf(op, errs.Invalid, "--topology %q: write LEVEL or LEVEL,hard", o.topology)
		}
		s.Topology = job.Topology{Level: level, Hard: hard != ""}
	}
	for _, at := range []struct {
		name, text string
		dst        **time.Time
	}{{"not-before", o.notBefore, &s.NotBefore}, {"deadline", o.deadline, &s.Deadline}} {
		if at.text == "" {
			continue
		}
		v, err := moment(at.text, time.Now())
		if err != nil {
			return nil, errs.Errorf(op, errs.Invalid, "--%s: %v", at.name, err)
		}
		*at.dst = &v
	}
	if o.array.Count != 0 || o.array.Limit != 0 {
		s.Array = &o.array
	}
	s.Env = map[string]string{}
	for _, pair := range o.env {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, errs.Errorf(op, errs.Invalid, "--env %q: write NAME=VALUE", pair)
		}
		s.Env[name] = value
	}
	for _, pair := range o.secrets {
		name, to, ok := strings.Cut(pair, "=")
		if !ok || name == "" || to == "" {
			return nil, errs.Errorf(op, errs.Invalid, "--secret %q: write NAME=VARIABLE or NAME=/FILE, of a secret that `lineshaft secrets` lists", pair)
		}
		ref := job.SecretRef{Name: name, Env: to}
		if file, ok := strings.CutPrefix(to, "/"); ok {
			ref = job.SecretRef{Name: name, File: file}
		}
		s.Secrets = append(s.Secrets, ref)
	}
	return json.Marshal(s)
}

// quantities reads the flags that have units.
func (o *runFlags) quantities(r *job.Resources) error {
	for _, name := range slices.Sorted(maps.Keys(o.sizes)) {
		text := *o.sizes[name]
		if text == "" {
			continue
		}
		var err error
		switch name {
		case "memory":
			r.Memory, err = units.ParseBytes(text)
		case "disk":
			r.Disk, err = units.ParseBytes(text)
		case "storage":
			r.Storage, err = units.ParseBytes(text)
		case "accelerator-memory":
			r.AcceleratorMemory, err = units.ParseBytes(text)
		case "bandwidth":
			r.Bandwidth, err = units.ParseBitsPerSecond(text)
		}
		if err != nil {
			return errs.Errorf("cli.run", errs.Invalid, "--%s: %v", name, err)
		}
	}
	return nil
}

// moment reads a time, or how long it is from now.
func moment(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(d).UTC().Truncate(time.Second), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, errs.Errorf("cli.moment", errs.Invalid, "%q is no time: write 2026-03-01T18:00:00Z, or 2h for that long from now", text)
	}
	return t, nil
}

// modelsFlag reads "A100" or "A100|H100".
type modelsFlag job.Models

func (m *modelsFlag) String() string { return job.Models(*m).String() }
func (m *modelsFlag) Type() string   { return "model" }
func (m *modelsFlag) Set(s string) error {
	*m = strings.Split(s, "|")
	return nil
}

func (o *runFlags) run(ctx context.Context, e *env, command []string) error {
	text, err := o.text(command)
	if err != nil {
		return err
	}
	c, j, err := o.code.submit(ctx, e, text, o.dry)
	if err != nil {
		return err
	}
	if o.dry || o.detach || j.Array != nil {
		return e.submitted(j, o.dry)
	}
	e.note("job/%d %s", j.ID, j.Name)
	last, err := e.followOrCancel(ctx, c, j.ID)
	if err != nil {
		return err
	}
	return e.ranTo(last)
}

// followOrCancel follows the job to its end, which ctrl-C brings about; a second ctrl-C ends this program.
func (e *env) followOrCancel(ctx context.Context, c *client.Client, id job.ID) (job.Job, error) {
	on, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	asked := make(chan struct{})
	undo := context.AfterFunc(ctx, func() {
		defer close(asked)
		e.note("canceling job/%d; ctrl-C again does not wait for its end", id)
		if _, err := c.Cancel(on, id, false); err != nil {
			end(err)
		}
	})
	j, err := e.follow(on, c, id)
	if !undo() {
		<-asked
		if cause := context.Cause(on); cause != nil {
			err = cause
		}
	}
	return j, err
}

// ranTo gives the exit code of the program, of the first task that has one.
func (e *env) ranTo(j job.Job) error {
	if j.State == job.Succeeded {
		return nil
	}
	if j.State == job.Canceled {
		e.note("job/%d was canceled", j.ID)
		return exitError{errs.Canceled.ExitCode()}
	}
	for _, t := range j.Tasks {
		if t.ExitCode > 0 {
			e.note("job/%d failed: %s", j.ID, oneLine(j.Reason))
			return exitError{t.ExitCode}
		}
	}
	return outcome(j)
}
