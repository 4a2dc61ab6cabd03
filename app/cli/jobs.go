package cli

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/job"
)

func jobsCommand(e *env) *cobra.Command {
	var f job.Filter
	var flat bool
	states := []string{"queued", "starting", "running", "stopping", "succeeded", "failed", "canceled"}
	list := listing[job.Job]{
		topic: "jobs",
		fetch: func(ctx context.Context, c *client.Client) ([]job.Job, error) {
			if f.State != "" {
				if err := oneOf("--state", string(f.State), states...); err != nil {
					return nil, err
				}
			}
			f.Fold = f.Array == 0 && !flat
			return c.Jobs(ctx, f)
		},
		table: func(jobs []job.Job) *table {
			t := newTable("no jobs; `lineshaft submit FILE` or `lineshaft run -- CMD` makes one", "ID>", "NAME", "KIND", "STATE", "PROGRESS", "AGE>", "TOOK>", "OWNER", "REASON")
			for _, j := range jobs {
				if m := j.Array; m != nil && m.Members != nil {
					t.row("array/"+m.ID.String(), j.Name, j.Kind, folded(m), members(m), e.age(j.Created), "", j.Owner, "")
					continue
				}
				t.row(j.ID, nameOf(j), j.Kind, j.State, progressOf(j), e.age(j.Created), e.took(j), j.Owner, j.Reason)
			}
			return t
		},
	}.command(e, &cobra.Command{Use: "list", Short: "List jobs, newest first"})
	list.Flags().StringVar((*string)(&f.State), "state", "", "only jobs in this `state`: "+strings.Join(states, ", "))
	list.Flags().StringVar(&f.Owner, "owner", "", "only jobs of this `account`")
	list.Flags().Int64Var((*int64)(&f.Array), "array", 0, "only the jobs of this array, by its `number`")
	list.Flags().BoolVar(&flat, "flat", false, "list the jobs of arrays one by one")
	list.Flags().IntVar(&f.Limit, "limit", 50, "at most this `number`")
	show := &cobra.Command{
		Use: "show JOB", Aliases: []string{"get"},
		Short: "Show one job, or an array as array/ID",
		Args:  takes, ValidArgsFunction: e.completeJobs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if id, ok := arrayID(args[0]); ok {
				return e.showArray(cmd.Context(), id)
			}
			c, id, err := e.job(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			j, err := c.Job(cmd.Context(), id)
			if err != nil {
				return err
			}
			uses, err := c.Uses(cmd.Context(), id)
			if err != nil {
				return err
			}
			return e.show(j, func(w io.Writer) { e.jobDetails(w, j); e.usage(w, uses) })
		},
	}
	cmd := group(&cobra.Command{Use: "jobs [JOB]", Short: "List jobs, or show one", Aliases: []string{"job"}}, list, show, scaleCommand(e))
	complete(cmd, "state", cobra.FixedCompletions(states, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func progressOf(j job.Job) string {
	if j.Kind == job.Service {
		up := 0
		for _, t := range j.Tasks {
			if t.State == job.Running {
				up++
			}
		}
		return fmt.Sprintf("%d/%d up", up, j.Spec.Tasks)
	}
	p := j.Progress
	if p == nil {
		return ""
	}
	s := fmt.Sprintf("%d/%d", p.Epoch, p.Epochs)
	if !ended(j) {
		s = fmt.Sprintf("%.0f%%, %s left", 100*p.Fraction, span(seconds(p.ETASeconds)))
	}
	if p.ValAccuracy > 0 {
		s += fmt.Sprintf(", %.2f%%", 100*p.ValAccuracy)
	}
	return s
}

func (e *env) took(j job.Job) string {
	if j.Started == nil {
		return ""
	}
	end := e.now()
	if j.Finished != nil {
		end = *j.Finished
	}
	return span(end.Sub(*j.Started))
}

func (e *env) jobDetails(w io.Writer, j job.Job) {
	attempt := ""
	if j.Attempt > 0 {
		attempt = fmt.Sprintf("%d, %s left", j.Attempt, strings.Replace(count(j.RetriesLeft, "retrie"), "1 retrie", "1 retry", 1))
	}
	made := ""
	if j.Model != nil {
		made = fmt.Sprintf("%s:%d", j.Model.Name, j.Model.Version)
	}
	timeout := ""
	if j.Spec.Timeout > 0 {
		timeout = time.Duration(j.Spec.Timeout).String()
	}
	e.details(w, "job", j.ID, "array", memberOf(j), "name", j.Name, "kind", j.Kind, "state", j.State, "reason", j.Reason, "owner", j.Owner,
		"command", shellWords(j.Spec.Command), "data", strings.Join(j.Spec.Data, ", "), "code", digest(j.Spec.Code), "each task", asks(j.Spec.Resources), "together", together(j.Spec), "tasks", sizes(j), "timeout", timeout,
		"not before", e.whenPtr(j.Spec.NotBefore), "deadline", e.whenPtr(j.Spec.Deadline), "deferrable", deferrable(j.Spec),
		"attempt", attempt, "progress", progressOf(j), "model", made,
		"created", e.when(j.Created), "started", e.whenPtr(j.Started), "finished", e.whenPtr(j.Finished))
	if len(j.Tasks) == 0 || j.Attempt == 0 {
		return
	}
	fmt.Fprintln(w)
	t := newTable("", "TASK>", "ATTEMPT>", "STATE", "NODE", "PID>", "EXIT>", "RESTARTS>", "REASON")
	for _, k := range j.Tasks {
		pid, exit := "", ""
		if k.PID > 0 && k.State == job.Running {
			pid = itoa(int64(k.PID))
		}
		place := k.Node
		if len(k.Accelerators) > 0 {
			place += " [" + strings.Join(k.Accelerators, ",") + "]"
		}
		if k.Ended != nil {
			exit = itoa(int64(k.ExitCode))
		}
		t.row(k.Index, k.Attempt, k.State, place, pid, exit, k.Restarts, k.Reason)
	}
	e.print(w, t)
}

// usage prints what running tasks use of what they are granted, and what they were promised.
func (e *env) usage(w io.Writer, uses []job.Use) {
	if len(uses) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := newTable("", "TASK>", "RESOURCE", "USES>", "GRANTED>", "PROMISED>", "NOTE")
	for _, u := range uses {
		note := func(what string) string {
			if slices.Contains(u.Fixed, what) {
				return "not held by this machine"
			}
			return ""
		}
		cores := func(v float64) string { return number(math.Round(v*100) / 100) }
		throttled := note("cpu")
		if u.Used.Throttled > 0.01 {
			throttled = fmt.Sprintf("held back %.0f %% of the time", 100*u.Used.Throttled)
		}
		t.row(u.Task, "cores", cores(u.Used.CPU), cores(u.Grant.CPU), cores(u.Promise.CPU), throttled)
		t.row(u.Task, "memory", u.Used.Memory, u.Grant.Memory, u.Promise.Memory, note("memory"))
		t.row(u.Task, "disk", u.Used.Disk, u.Grant.Disk, u.Promise.Disk, note("disk"))
		if u.Promise.Storage > 0 {
			t.row(u.Task, "storage", u.Used.Storage, u.Grant.Storage, u.Promise.Storage, note("storage"))
		}
		if u.Used.Networked || u.Promise.Bandwidth > 0 {
			granted, promised := "any", "any"
			if u.Promise.Bandwidth > 0 {
				granted, promised = u.Grant.Bandwidth.String(), u.Promise.Bandwidth.String()
			}
			t.row(u.Task, "bandwidth", max(u.Used.Send, u.Used.Receive), granted, promised, note("bandwidth"))
		}
	}
	e.print(w, t)
}

// asks is what each task asks for, in words.
func asks(r job.Resources) string {
	s := fmt.Sprintf("%s cores, %s memory, %s disk", number(r.CPU), r.Memory, r.Disk)
	if r.Accelerators > 0 {
		devices := count(r.Accelerators, "accelerator")
		if r.Share > 0 && r.Share < 1 {
			devices = number(r.Share) + " of an accelerator"
		}
		if what := strings.TrimSpace(r.Kind + " " + r.Model.String()); what != "" {
			devices += " (" + what + ")"
		}
		if r.AcceleratorMemory > 0 {
			devices += " with " + r.AcceleratorMemory.String()
		}
		s += ", " + devices
	}
	if r.Storage > 0 {
		s += ", " + r.Storage.String() + " storage"
	}
	if r.Bandwidth > 0 {
		s += ", " + r.Bandwidth.String()
	}
	if r.Watts > 0 {
		s += fmt.Sprintf(", %g W", float64(r.Watts))
	}
	return s
}

// sizes is with how many tasks an elastic job runs, and since when.
func sizes(j job.Job) string {
	if j.Spec.MinTasks == 0 {
		return ""
	}
	s := fmt.Sprintf("%d to %d", j.Spec.MinTasks, j.Spec.Tasks)
	if j.Size > 0 && !ended(j) {
		s = fmt.Sprintf("%d of %s", j.Size, s)
	}
	if r := j.Resized; r != nil {
		s += fmt.Sprintf("; last changed from %d to %d: %s", r.From, r.To, r.Why)
	}
	return s
}

func deferrable(s job.Spec) string {
	if s.Deferrable {
		return "waits for a window, as far as its deadline allows"
	}
	return ""
}

// together is how near the tasks are to be, in words.
func together(s job.Spec) string {
	switch t := s.Topology; {
	case t.Level == "":
		return ""
	case t.Hard:
		return "all tasks in one " + t.Level
	default:
		return "all tasks in one " + t.Level + ", where that is possible"
	}
}

// shellWords writes a command so that a shell would read it the same.
func shellWords(command []string) string {
	words := make([]string, len(command))
	for i, w := range command {
		if w == "" || strings.ContainsAny(w, " \t\n'\"\\$`;&|<>(){}*?[]#~!") {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		words[i] = w
	}
	return strings.Join(words, " ")
}
