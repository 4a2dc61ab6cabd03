package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/sched/queue"
)

func queueCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "queue", Aliases: []string{"queues"},
		Short: "Show the queues' shares, the power caps, and what waits in the order of turns, with the expected starts",
		Args:  takes,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := e.connect()
			if err != nil {
				return err
			}
			v, err := c.Plan(cmd.Context())
			if err != nil {
				return err
			}
			return e.show(v, func(w io.Writer) { e.plan(w, v) })
		},
	}
}

func (e *env) plan(w io.Writer, v job.PlanView) {
	t := newTable("", "QUEUE", "IN", "WEIGHT>", "SHARE>", "OF", "LATELY>", "GUARANTEED", "LIMIT", "RUNNING>", "WAITING>")
	for _, q := range v.Queues {
		t.row(q.Name, q.Parent, number(q.Weight), percentage(q.Share), q.Resource, percentage(q.Lately), amount(q.Guaranteed), amount(q.Limit), q.Running, q.Waiting)
		for _, u := range q.By {
			t.row("user "+u.User, q.Name, "", percentage(u.Share), u.Resource, percentage(u.Lately), "", "", "", "")
		}
	}
	e.print(w, t)
	if v.Rule != "" {
		fmt.Fprintf(w, "\nPlanned by the learned rule %s.\n", clean(v.Rule))
	}
	if len(v.Caps) > 0 {
		fmt.Fprintln(w)
		t = newTable("", "POWER CAP", "UNDER", "LIMIT>", "DRAWN>", "USED>", "IDLE>", "LEFT>")
		for _, c := range v.Caps {
			t.row(c.Name, c.Parent, c.Watts, c.Drawn, fmt.Sprintf("%.0f%%", 100*float64(c.Drawn/c.Watts)), c.Idle, c.Watts-c.Drawn)
		}
		e.print(w, t)
	}
	if len(v.Waiting) == 0 {
		return
	}
	fmt.Fprintln(w)
	t = newTable("", "TURN>", "JOB>", "NAME", "QUEUE", "PRIORITY>", "WAITS>", "STARTS", "OWNER", "REASON")
	for _, j := range v.Waiting {
		starts := ""
		if j.Earliest != nil {
			starts = "in " + short(max(j.Earliest.Sub(v.Now), time.Second))
			if starts += fmt.Sprintf(" (%.0f%%)", 100*j.Confidence); j.Confidence == 0 {
				starts = "after " + short(max(j.Earliest.Sub(v.Now), time.Second))
			}
		}
		t.row(j.Position, j.Job, j.Name, j.Queue, j.Priority, short(v.Now.Sub(j.Since)), starts, j.Owner, j.Reason)
	}
	e.print(w, t)
	e.appraisal(w, v.Appraisal)
}

func percentage(part float64) string { return fmt.Sprintf("%.1f%%", 100*part) }

// amount writes what is not zero.
func amount(a queue.Amount) string {
	var out []string
	for _, part := range []struct {
		some bool
		text string
	}{
		{a.CPU > 0, number(a.CPU) + " cores"},
		{a.Memory > 0, a.Memory.String()},
		{a.Accelerators > 0, number(a.Accelerators) + " accelerators"},
		{a.Storage > 0, a.Storage.String() + " storage"},
		{a.Bandwidth > 0, a.Bandwidth.String()},
		{a.Watts > 0, a.Watts.String()},
	} {
		if part.some {
			out = append(out, part.text)
		}
	}
	return strings.Join(out, ", ")
}
