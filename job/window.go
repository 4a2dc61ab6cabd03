package job

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/sched"
)

// Window is a time that comes every week, in which deferrable work may start. It reads
//
//	Mon-Fri 22:00-06:00 Europe/Berlin
//	Sat,Sun 00:00-24:00
//	daily 01:00-05:30 UTC
//
// The days are those on which it begins; one whose end is not after its begin lasts into the next day. Without a time zone
// the machine's own holds.
type Window struct {
	text     string
	days     [7]bool // by time.Weekday
	from, to int     // minutes since midnight; to is at most 2 days
	zone     *time.Location
}

// weekdays in the order in which people write them.
var weekdays = [...]string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}

// ParseWindow reads a window.
func ParseWindow(s string) (Window, error) {
	w := Window{zone: time.Local}
	wrong := func(format string, args ...any) error {
		return errs.Errorf("job.ParseWindow", errs.Invalid, `window %.100q: %s; write for example "Mon-Fri 22:00-06:00 Europe/Berlin"`, s, fmt.Sprintf(format, args...))
	}
	part := strings.Fields(s)
	if len(part) < 2 || len(part) > 3 {
		return w, wrong("give days, a time from-to and, where it is not the machine's own, a time zone")
	}
	if err := w.readDays(part[0]); err != nil {
		return w, wrong("%v", err)
	}
	from, to, both := strings.Cut(part[1], "-")
	var ok [2]bool
	w.from, ok[0] = minutes(from)
	w.to, ok[1] = minutes(to)
	if !both || !ok[0] || !ok[1] || w.from == 24*60 {
		return w, wrong("%q is no time of day from-to, such as 22:00-06:00", part[1])
	}
	if w.to <= w.from {
		w.to += 24 * 60
	}
	if len(part) == 3 {
		zone, err := time.LoadLocation(part[2])
		if err != nil || strings.EqualFold(part[2], "local") {
			return w, wrong("there is no time zone %q: name one such as UTC or Asia/Shanghai", part[2])
		}
		w.zone = zone
	}
	w.text = strings.Join(part, " ")
	return w, nil
}

func (w *Window) readDays(s string) error {
	if strings.EqualFold(s, "daily") {
		w.days = [7]bool{true, true, true, true, true, true, true}
		return nil
	}
	day := func(s string) (int, error) {
		i := slices.IndexFunc(weekdays[:], func(d string) bool { return strings.EqualFold(d, s) })
		if i < 0 {
			return 0, fmt.Errorf("there is no day %q; there are %s, and daily", s, strings.Join(weekdays[:], ", "))
		}
		return i, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		first, last, span := strings.Cut(part, "-")
		if !span {
			last = first
		}
		from, err := day(first)
		if err != nil {
			return err
		}
		to, err := day(last)
		if err != nil {
			return err
		}
		for i := from; ; i = (i + 1) % 7 {
			w.days[(i+1)%7] = true // time.Weekday begins with Sunday
			if i == to {
				break
			}
		}
	}
	return nil
}

// minutes reads 00:00 to 24:00.
func minutes(s string) (int, bool) {
	hour, minute, ok := strings.Cut(s, ":")
	h, err1 := strconv.ParseUint(hour, 10, 8)
	m, err2 := strconv.ParseUint(minute, 10, 8)
	if !ok || err1 != nil || err2 != nil || len(minute) != 2 || m > 59 || h*60+m > 24*60 {
		return 0, false
	}
	return int(h*60 + m), true
}

// String is the window as it reads.
func (w Window) String() string { return w.text }

// MarshalText writes the window as it reads.
func (w Window) MarshalText() ([]byte, error) { return []byte(w.text), nil }

// UnmarshalText reads a window.
func (w *Window) UnmarshalText(b []byte) (err error) {
	*w, err = ParseWindow(string(b))
	return err
}

// ahead is how far windows are laid out: the next one of every week is known.
const ahead = 8

// Spans are the windows from now on as moments, in order; one that is open is among them.
func Spans(windows []Window, now time.Time) (out []sched.Span) {
	for _, w := range windows {
		if w.zone == nil {
			continue
		}
		y, m, d := now.In(w.zone).Date()
		for k := -2; k <= ahead; k++ {
			if !w.days[time.Date(y, m, d+k, 12, 0, 0, 0, w.zone).Weekday()] {
				continue
			}
			// As the clock on the wall shows it, also where it is put forward or back.
			s := sched.Span{From: time.Date(y, m, d+k, 0, w.from, 0, 0, w.zone), To: time.Date(y, m, d+k, 0, w.to, 0, 0, w.zone)}
			if s.To.After(now) && s.From.Before(s.To) {
				out = append(out, s)
			}
		}
	}
	slices.SortFunc(out, func(a, b sched.Span) int { return a.From.Compare(b.From) })
	return out
}
