package cli

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/calendar"
	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/internal/errs"
)

func reservationsCommand(e *env) *cobra.Command {
	list := listing[calendar.Reservation]{
		topic: "fleet",
		fetch: func(ctx context.Context, c *client.Client) ([]calendar.Reservation, error) {
			return c.Reservations(ctx)
		},
		table: func(all []calendar.Reservation) *table {
			t := newTable("nothing is reserved; `lineshaft reservations add NAME` reserves nodes or accelerators", "NAME", "FOR", "FROM", "TO", "ROOM", "BY", "REASON")
			for _, r := range all {
				t.row(r.Name, reservedFor(r), calendarTime(r.From), calendarTime(r.To), roomText(r.Room), r.Owner, r.Reason)
			}
			return t
		},
	}.command(e, &cobra.Command{Use: "list", Short: "List the reservations that are not over, by their begin"})
	return group(&cobra.Command{
		Use: "reservations", Aliases: []string{"reservation"},
		Short: "List what is reserved for whom and when; reserve nodes or accelerators, or give them back",
	}, list, nil, addReservationCommand(e), deleteReservationCommand(e))
}

func reservedFor(r calendar.Reservation) string {
	var out []string
	if r.User != "" {
		out = append(out, "user "+r.User)
	}
	if r.Queue != "" {
		out = append(out, "queue "+r.Queue)
	}
	return strings.Join(out, ", ")
}

func roomText(room []calendar.Room) string {
	var out []string
	for _, r := range room {
		text := r.Node
		if len(r.Accelerators) > 0 {
			text += "[" + strings.Join(r.Accelerators, ",") + "]"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

// calendarTime is a time of the calendar, in the time zone of whoever reads it.
func calendarTime(t time.Time) string { return t.Local().Format("2006-01-02 15:04 MST") }

func addReservationCommand(e *env) *cobra.Command {
	var q calendar.Request
	var from, to, span string
	dry := false
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Reserve nodes or accelerators for a user or a queue",
		Long: `Reserve nodes or accelerators for a user or a queue, from one moment to another. What is reserved is one of --node
(these), --nodes (so many) and --accelerators (so many); it is chosen now, and told.

Until then others start there only with a timeout that ends before, or where they are preemptible; these are stopped when
it begins. What runs there already and can do neither stays, and is told as being in the way.`,
		Example: `  lineshaft reservations add course --user alice --node gpu-1 --from "2026-12-07 09:00" --to "2026-12-07 18:00"
  lineshaft reservations add sprint --queue vision --accelerators 16 --model H100 --from 2h --for 48h --dry-run`,
		Args: takes,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			q.Name = args[0]
			if q.From, err = e.readTime("--from", from, e.now()); err != nil {
				return err
			}
			begin := q.From
			if begin.IsZero() {
				begin = e.now()
			}
			switch {
			case (to == "") == (span == ""):
				return errs.Errorf("cli.reserve", errs.Invalid, "say until when, with --to TIME or --for DURATION")
			case span != "":
				d, err := time.ParseDuration(span)
				if err != nil || d <= 0 {
					return errs.Errorf("cli.reserve", errs.Invalid, "--for %q is not a duration: write for example 90m or 48h", span)
				}
				q.To = begin.Add(d)
			default:
				if q.To, err = e.readTime("--to", to, begin); err != nil {
					return err
				}
			}
			c, err := e.connect()
			if err != nil {
				return err
			}
			r, err := c.Reserve(cmd.Context(), q, dry)
			if err != nil {
				return err
			}
			if err := e.done(r, dry, "%s is reserved for %s from %s to %s: %s", r.Name, reservedFor(r.Reservation), calendarTime(r.From), calendarTime(r.To), roomText(r.Room)); err != nil {
				return err
			}
			if len(r.InTheWay) > 0 {
				e.say("in the way: %s; each runs there, is not preemptible and has no timeout that ends before", strings.Join(r.InTheWay, ", "))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.User, "user", "", "the `user` whose jobs may use it")
	f.StringVar(&q.Queue, "queue", "", "the `queue` whose jobs may use it")
	f.StringVar(&from, "from", "", "`time` of its begin: \"2026-12-07 09:00\", 09:00, or 2h for that long from now (default now)")
	f.StringVar(&to, "to", "", "`time` of its end")
	f.StringVar(&span, "for", "", "how long it lasts, instead of --to: `duration` such as 48h")
	f.StringSliceVar(&q.Nodes, "node", nil, "`name` of a node, whole; may be repeated")
	f.IntVar(&q.Count, "nodes", 0, "so `many` nodes, whole")
	f.IntVar(&q.Accelerators, "accelerators", 0, "so `many` accelerators")
	f.StringVar(&q.Model, "model", "", "`model` of the accelerators")
	f.StringVar(&q.Reason, "reason", "", "`text` that says what for")
	dryRun(cmd, &dry)
	return cmd
}

// readTime reads a time as people write it: in their own time zone, as a time of day (the next after base), or so long from
// now. Empty is the zero time.
func (e *env) readTime(flag, s string, base time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := moment(s, e.now()); err == nil {
		return t, nil
	}
	for _, form := range []string{"2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(form, s, time.Local); err == nil {
			return t, nil
		}
	}
	if hour, minute, ok := strings.Cut(s, ":"); ok {
		h, err1 := strconv.Atoi(hour)
		m, err2 := strconv.Atoi(minute)
		if err1 == nil && err2 == nil && h >= 0 && h < 24 && m >= 0 && m < 60 {
			y, mo, d := base.Local().Date()
			t := time.Date(y, mo, d, h, m, 0, 0, time.Local)
			if !t.After(base) {
				t = time.Date(y, mo, d+1, h, m, 0, 0, time.Local)
			}
			return t, nil
		}
	}
	return time.Time{}, errs.Errorf("cli.readTime", errs.Invalid, "%s %q is not a time: write for example %q, %q, 18:00, or 2h for that long from now", flag, s, "2026-12-07 09:00", "2026-12-07T09:00:00+01:00")
}

func deleteReservationCommand(e *env) *cobra.Command {
	dry := false
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Give reserved room back",
		Args:  takes,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.connect()
			if err != nil {
				return err
			}
			if err := c.DeleteReservation(cmd.Context(), args[0], dry); err != nil {
				return err
			}
			return e.done(map[string]string{"name": args[0]}, dry, "reservation %s is gone", args[0])
		},
	}
	dryRun(cmd, &dry)
	return cmd
}
