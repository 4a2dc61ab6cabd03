package twin

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
)

// Columns maps what a job has to the columns of a CSV file: submit, and duration or end, are needed.
type Columns map[string]string

// fields are what a job may have, with what it means.
func fields() map[string]string {
	return map[string]string{
		"id": "name of the job", "submit": "time of submission: a date, or seconds", "duration": "seconds of work", "end": "time at which it ended, with start",
		"start": "time at which it started", "tasks": "tasks that start together", "cpu": "cores of each task", "memory": "of each task, as 4GiB or in bytes",
		"accelerators": "of each task", "model": "accelerator models, as V100|A100", "queue": "queue", "user": "user", "name": "name that repeats from run to run", "priority": "priority",
	}
}

// ParseColumns reads "submit=ts,duration=secs,accelerators=gpus". Fields that are not named have the column of their own
// name, where the file has one.
func ParseColumns(s string) (Columns, error) {
	const op = "twin.ParseColumns"
	c := Columns{}
	if strings.TrimSpace(s) == "" {
		return c, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		field, column, ok := strings.Cut(part, "=")
		field, column = strings.TrimSpace(field), strings.ToLower(strings.TrimSpace(column))
		if !ok || column == "" {
			return nil, errs.Errorf(op, errs.Invalid, "%q names no column: write FIELD=COLUMN, for example submit=timestamp", part)
		}
		if _, known := fields()[field]; !known {
			return nil, errs.Errorf(op, errs.Invalid, "a job has no %q; it has %s", field, strings.Join(slices.Sorted(maps.Keys(fields())), ", "))
		}
		if _, twice := c[field]; twice {
			return nil, errs.Errorf(op, errs.Invalid, "%q is mapped twice", field)
		}
		c[field] = column
	}
	return c, nil
}

func (c Columns) of(field string) string {
	if col, ok := c[field]; ok {
		return col
	}
	return field
}

// ReadCSV reads any CSV file by a map of its columns.
func ReadCSV(in io.Reader, c Columns, strict bool) (Trace, error) {
	var must []string
	for _, col := range c {
		must = append(must, col)
	}
	if !slices.Contains(must, c.of("submit")) {
		must = append(must, c.of("submit"))
	}
	slices.Sort(must)
	s, err := open(in, strict, must...)
	if err != nil {
		return Trace{}, err
	}
	has := func(field string) bool { _, ok := s.column[c.of(field)]; return ok }
	if !has("duration") && (!has("end") || !has("start")) {
		return Trace{}, errs.Errorf("twin.ReadCSV", errs.Invalid, "the trace has no column %q, and not both %q and %q: map one with --columns duration=COLUMN; it has %s",
			c.of("duration"), c.of("start"), c.of("end"), strings.Join(s.head, ", "))
	}
	t := Trace{Name: "csv"}
	seen := map[string]bool{}
	for n := 1; ; n++ {
		row, err := s.next()
		if err != nil {
			return t, err
		}
		if row == nil {
			return s.finish(t)
		}
		j, cause := s.job(row, c, has, n)
		if cause == "" && seen[j.ID] {
			cause = "an id that was there before"
		}
		if cause != "" {
			if err := s.leave(cause); err != nil {
				return t, err
			}
			continue
		}
		seen[j.ID] = true
		t.Jobs = append(t.Jobs, j)
	}
}

// job reads one row.
func (s *sheet) job(row []string, c Columns, has func(string) bool, n int) (j Job, cause string) {
	text := func(field string) string { return strings.Clone(s.field(row, c.of(field))) }
	j = Job{ID: text("id"), Queue: text("queue"), User: text("user"), Name: text("name")}
	if j.ID == "" {
		j.ID = fmt.Sprintf("job-%d", n)
	}
	var ok bool
	if j.Submit, ok = when(text("submit")); !ok {
		return j, c.of("submit") + " is no time"
	}
	if j.Duration, cause = s.duration(row, c, has); cause != "" {
		return j, cause
	}
	whole := func(field string, missing, most float64) int {
		v, why := s.number(row, c.of(field), missing, most)
		if why == "" && v != math.Trunc(v) {
			why = c.of(field) + " is no whole number"
		}
		if why != "" && cause == "" {
			cause = why
		}
		return int(v)
	}
	j.Tasks = whole("tasks", 1, mostTasks)
	j.Each.Accelerators = whole("accelerators", 0, mostDevices)
	j.Priority = whole("priority", 0, 1e6)
	if j.Tasks == 0 && cause == "" {
		cause = c.of("tasks") + " is zero"
	}
	cpu, why := s.number(row, c.of("cpu"), 0, 1e6)
	if why != "" && cause == "" {
		cause = why
	}
	j.Each.CPU = cpu
	if m := text("memory"); m != "" {
		b, err := units.ParseBytes(m)
		if err != nil || b < 0 || b > mostMemory {
			return j, c.of("memory") + " is no size"
		}
		j.Each.Memory = b
	}
	if m := text("model"); m != "" {
		j.Each.Models = strings.Split(m, "|")
	}
	return j, cause
}

func (s *sheet) duration(row []string, c Columns, has func(string) bool) (time.Duration, string) {
	if has("duration") {
		v, cause := s.number(row, c.of("duration"), needed, mostDuration.Seconds())
		if cause == "" && time.Duration(v*float64(time.Second)) <= 0 {
			cause = c.of("duration") + " is zero"
		}
		return time.Duration(v * float64(time.Second)), cause
	}
	from, ok := when(s.field(row, c.of("start")))
	until, ok2 := when(s.field(row, c.of("end")))
	switch {
	case !ok:
		return 0, c.of("start") + " is no time"
	case !ok2:
		return 0, c.of("end") + " is no time"
	case !until.After(from):
		return 0, c.of("end") + " is not after " + c.of("start")
	case until.Sub(from) > mostDuration:
		return 0, "it runs for more than ten years"
	}
	return until.Sub(from), ""
}
