package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/serve"
)

func batchingCommand(e *env) *cobra.Command {
	var b serve.Batching
	var slo, wait time.Duration
	reset, dry := false, false
	cmd := &cobra.Command{
		Use:   "batching MODEL",
		Short: "Set how requests to a model are queued and joined",
		Long: `Set how requests to a model in service are queued and joined. It holds at once, for all its versions.

Requests that wait are computed together: as many as the model answers most of a second, and so few that each is in time.
No worker ever waits for a batch to fill. Flags that are not given go back to what the runtime chooses; --reset
leaves all of it to the runtime. Without flags the settings are shown.`,
		Example: "  lineshaft services batching mnist --slo 100ms\n  lineshaft services batching mnist --sizes 1,8,32 --max-queue 500\n  lineshaft services batching mnist --reset",
		Args:    takes, ValidArgsFunction: e.completeServices(),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := e.connect()
			if err != nil {
				return err
			}
			set := 0
			for _, name := range []string{"slo", "max-rows", "sizes", "preferred", "max-queue", "max-wait", "late", "weight", "workers", "pad-variable", "priority"} {
				if cmd.Flags().Changed(name) {
					set++
				}
			}
			if set == 0 && !reset {
				s, err := c.Service(ctx, args[0])
				if err != nil {
					return err
				}
				return e.done(s, false, "%s: %s", s.Model, batchingText(s.Batching))
			}
			if set > 0 && reset {
				return errs.Errorf("cli.batching", errs.Invalid, "--reset leaves everything to the runtime: give it alone")
			}
			b.SLO, b.Wait = job.Duration(slo), job.Duration(wait)
			to := &b
			if reset {
				to = nil
			}
			s, err := c.SetBatching(ctx, args[0], to, dry)
			if err != nil {
				return err
			}
			return e.done(s, dry, "%s: %s", s.Model, batchingText(s.Batching))
		},
	}
	f := cmd.Flags()
	f.DurationVar(&slo, "slo", 0, "the `time` in which requests are to be answered that bring no shorter deadline; what cannot be is refused at once")
	f.IntVar(&b.MaxRows, "max-rows", 0, "`rows` of the largest batch")
	f.IntSliceVar(&b.Sizes, "sizes", nil, "the only `sizes` of batches; between them batches are filled up")
	f.IntSliceVar(&b.Preferred, "preferred", nil, "`sizes` that are chosen where enough requests wait")
	f.IntVar(&b.MaxQueue, "max-queue", 0, "`rows` that may wait; more are refused")
	f.DurationVar(&wait, "max-wait", 0, "the longest `time` that a request waits before it is computed, else it is refused")
	f.BoolVar(&b.Late, "late", false, "with --max-wait: computes such requests last instead of refusing them")
	f.Float64Var(&b.Weight, "weight", 0, "the model's `share` of the cores beside other busy models (default 1)")
	f.IntVar(&b.Workers, "workers", 0, "`batches` that are computed at once, at most")
	f.BoolVar(&b.PadVariable, "pad-variable", false, "join requests of different sizes, filled up to the largest")
	f.IntVar(&b.Priority, "priority", 0, "`priority` of requests that bring none; higher goes first")
	f.BoolVar(&reset, "reset", false, "leave all of it to the runtime")
	dryRun(cmd, &dry)
	return cmd
}

// batchingText says the settings in a line.
func batchingText(b *serve.Batching) string {
	if b == nil {
		return "batches as the runtime chooses, no time to answer in"
	}
	var out []string
	say := func(is bool, format string, args ...any) {
		if is {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	say(b.SLO > 0, "answers within %v", time.Duration(b.SLO))
	say(b.MaxRows > 0, "batches of up to %d rows", b.MaxRows)
	say(len(b.Sizes) > 0, "batches of %s rows only", sizesText(b.Sizes))
	say(len(b.Preferred) > 0, "batches of %s rows preferred", sizesText(b.Preferred))
	say(b.MaxQueue > 0, "up to %d rows wait", b.MaxQueue)
	say(b.Wait > 0 && !b.Late, "none waits longer than %v", time.Duration(b.Wait))
	say(b.Wait > 0 && b.Late, "who waited longer than %v goes last", time.Duration(b.Wait))
	say(b.Weight > 0, "weight %g", b.Weight)
	say(b.Workers > 0, "%d batches at once", b.Workers)
	say(b.PadVariable, "different sizes are filled up")
	say(b.Priority != 0, "priority %d", b.Priority)
	if len(out) == 0 {
		return "batches as the runtime chooses"
	}
	return strings.Join(out, ", ")
}

func sizesText(sizes []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(sizes), " ", ", "), "[]")
}

// queueText says what waits and what was joined.
func queueText(q *serve.Queue) string {
	if q == nil {
		return ""
	}
	text := fmt.Sprintf("%s waiting, %s rows a batch", thousands(int64(q.Waiting)), number(q.MeanRows))
	if q.WaitP99Ms > 0 {
		text += fmt.Sprintf(", waits p50 %s, p99 %s", millis(q.WaitP50Ms), millis(q.WaitP99Ms))
	}
	if n := q.ShedFull + q.ShedLate; n > 0 {
		text += fmt.Sprintf(", %s refused (%s late, %s full)", thousands(n), thousands(q.ShedLate), thousands(q.ShedFull))
	}
	return text
}
