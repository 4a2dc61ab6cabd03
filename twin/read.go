package twin

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/sched"
)

// A row of a trace that cannot be read, or asks for what nothing means (no duration, a negative number, a date that is
// none), is left out; how many, why, and the line of the first are kept in the trace and shown in the report. With Strict
// the first such row is an error. A file without the columns that are needed, or without a single row that can be read,
// is always an error.

// Philly are the options of the Philly format: timestamp, duration in seconds, num_gpus, gpu_time and cluster (the
// virtual cluster, which becomes the queue).
type Philly struct {
	Cluster string // only its jobs; all when empty
	PerNode int    // accelerators of a node, 8 when 0: larger jobs take whole nodes
	Strict  bool
}

// sheet is a CSV file with a header, gzip or not.
type sheet struct {
	csv    *csv.Reader
	column map[string]int
	head   []string
	line   int
	left   []LeftOut
	strict bool
}

func open(in io.Reader, strict bool, needed ...string) (*sheet, error) {
	const op = "twin.Read"
	b := bufio.NewReader(in)
	var src io.Reader = b
	if magic, err := b.Peek(2); err == nil && bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, errs.Errorf(op, errs.Corrupt, "the trace begins like a gzip file and is none: %v", err)
		}
		src = z
	}
	s := &sheet{csv: csv.NewReader(&bounded{src, mostBytes}), column: map[string]int{}, strict: strict}
	s.csv.FieldsPerRecord, s.csv.ReuseRecord = -1, true
	head, err := s.csv.Read()
	switch {
	case errors.Is(err, io.EOF):
		return nil, errs.Errorf(op, errs.Invalid, "the trace is empty: its first line names the columns")
	case errs.Is(err, errs.TooLarge):
		return nil, err
	case err != nil:
		return nil, errs.Errorf(op, errs.Corrupt, "the trace has no header that can be read: %w", err)
	}
	for i, h := range head {
		h = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(h, "\ufeff")))
		if _, ok := s.column[h]; ok {
			return nil, errs.Errorf(op, errs.Invalid, "the trace has two columns %q", h)
		}
		s.column[h] = i
		s.head = append(s.head, h)
	}
	for _, n := range needed {
		if _, ok := s.column[n]; !ok {
			return nil, errs.Errorf(op, errs.Invalid, "the trace has no column %q; it has %s", n, strings.Join(s.head, ", "))
		}
	}
	return s, nil
}

// bounded ends with an error where a file is larger than any trace: a small gzip file can hold a huge one.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errs.Errorf("twin.Read", errs.TooLarge, "the trace has more than %v", units.Bytes(mostBytes))
	}
	return n, err
}

// next is the next row; nil at the end.
func (s *sheet) next() ([]string, error) {
	const op = "twin.Read"
	for {
		row, err := s.csv.Read()
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err == nil || errors.Is(err, csv.ErrFieldCount) {
			s.line, _ = s.csv.FieldPos(0)
		}
		var wrong *csv.ParseError
		cause := "a row that is no CSV"
		switch {
		case err == nil && s.line > mostRows:
			return nil, errs.Errorf(op, errs.TooLarge, "the trace has more than %d lines", mostRows)
		case err == nil && len(row) > len(s.head):
			cause = "more columns than the header"
		case err == nil:
			return row, nil
		case errs.Is(err, errs.TooLarge):
			return nil, err
		case !errors.As(err, &wrong):
			return nil, errs.Errorf(op, errs.Corrupt, "the trace breaks off after line %d: %w", s.line, err)
		case wrong.Line > wrong.StartLine: // what came after it was taken for text
			return nil, errs.Errorf(op, errs.Invalid, "line %d of the trace: a quote is opened and not closed before line %d, column %d", wrong.StartLine, wrong.Line, wrong.Column)
		default:
			s.line = wrong.Line
		}
		if err := s.leave(cause); err != nil {
			return nil, err
		}
	}
}

// leave counts a row that is left out.
func (s *sheet) leave(cause string) error {
	if s.strict {
		return errs.Errorf("twin.Read", errs.Invalid, "line %d of the trace: %s", s.line, cause)
	}
	if i := slices.IndexFunc(s.left, func(l LeftOut) bool { return l.Cause == cause }); i >= 0 {
		s.left[i].Rows++
		return nil
	}
	s.left = append(s.left, LeftOut{Cause: cause, Rows: 1, Line: s.line})
	return nil
}

// field is a value of the row, "" when it is not there or says that there is none.
func (s *sheet) field(row []string, name string) string {
	i, ok := s.column[name]
	if !ok || i >= len(row) {
		return ""
	}
	v := strings.TrimSpace(row[i])
	switch strings.ToLower(v) {
	case "nan", "none", "null", "n/a":
		return ""
	}
	return v
}

// number reads a value that is not negative and not absurd; missing is what an empty one means.
func (s *sheet) number(row []string, name string, missing, most float64) (v float64, cause string) {
	f := s.field(row, name)
	if f == "" {
		if math.IsNaN(missing) {
			return 0, "no " + name
		}
		return missing, ""
	}
	v, err := strconv.ParseFloat(f, 64)
	switch {
	case err != nil || math.IsNaN(v) || math.IsInf(v, 0):
		return 0, name + " is no number"
	case v < 0:
		return 0, name + " is negative"
	case v > most:
		return 0, fmt.Sprintf("%s is beyond %g", name, most)
	}
	return v, ""
}

var needed = math.NaN()

// when reads a time: a date and time (UTC where it names no zone), or a number of seconds.
func when(s string) (time.Time, bool) {
	for _, layout := range []string{"2006-01-02 15:04:05", time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05.999999", "2006-01-02 15:04:05-07:00"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), t.Year() > 1900 && t.Year() < 2200
		}
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v >= 0) || v > 7e9 {
		return time.Time{}, false
	}
	whole, part := math.Modf(v)
	return time.Unix(int64(whole), int64(part*1e9)).UTC(), true
}

func (s *sheet) finish(t Trace) (Trace, error) {
	t.Left = s.left
	if len(t.Jobs) == 0 {
		say := "it has no rows"
		if len(s.left) > 0 {
			l := s.left[0]
			say = fmt.Sprintf("%d rows have %s, the first in line %d", l.Rows, l.Cause, l.Line)
		}
		return t, errs.Errorf("twin.Read", errs.Invalid, "the trace has no job that can be read: %s", say)
	}
	slices.SortStableFunc(t.Jobs, func(a, b Job) int { return a.Submit.Compare(b.Submit) })
	return t, nil
}

// ReadPhilly reads the job list of Microsoft's Philly cluster as Sia's artifacts have it.
func ReadPhilly(in io.Reader, o Philly) (Trace, error) {
	s, err := open(in, o.Strict, "timestamp", "duration", "num_gpus", "cluster")
	if err != nil {
		return Trace{}, err
	}
	if o.PerNode <= 0 {
		o.PerNode = 8
	}
	t := Trace{Name: "philly"}
	if o.Cluster != "" {
		t.Name += " " + o.Cluster
	}
	var clusters []string
	rounded := 0
	for n := 0; ; n++ {
		row, err := s.next()
		if err != nil {
			return t, err
		}
		if row == nil {
			break
		}
		vc := s.field(row, "cluster")
		if len(clusters) < 64 && !slices.Contains(clusters, vc) {
			clusters = append(clusters, strings.Clone(vc))
		}
		if o.Cluster != "" && vc != o.Cluster {
			continue
		}
		j := Job{ID: fmt.Sprintf("job-%d", n), Queue: strings.Clone(vc)}
		at, ok := when(s.field(row, "timestamp"))
		seconds, cause := s.number(row, "duration", needed, mostDuration.Seconds())
		gpus, cause2 := s.number(row, "num_gpus", needed, mostTasks)
		switch {
		case !ok:
			cause = "timestamp is no date"
		case cause == "" && time.Duration(seconds*float64(time.Second)) <= 0:
			cause = "duration is zero"
		case cause == "":
			if cause = cause2; cause == "" && (gpus < 1 || gpus != math.Trunc(gpus)) {
				cause = "num_gpus is no positive whole number"
			}
		}
		if cause != "" {
			if err := s.leave(cause); err != nil {
				return t, err
			}
			continue
		}
		j.Submit, j.Duration = at, time.Duration(seconds*float64(time.Second))
		j.Tasks, j.Each.Accelerators, j.asked = 1, int(gpus), int(gpus)
		if int(gpus) > o.PerNode {
			j.Tasks, j.Each.Accelerators = (int(gpus)+o.PerNode-1)/o.PerNode, o.PerNode
			if int(gpus)%o.PerNode > 0 {
				rounded++
			}
		}
		t.Jobs = append(t.Jobs, j)
	}
	if rounded > 0 {
		t.Treats = append(t.Treats, fmt.Sprintf("%d jobs of more than %d accelerators take whole nodes", rounded, o.PerNode))
	}
	if o.Cluster != "" && len(t.Jobs) == 0 && len(s.left) == 0 {
		return t, errs.Errorf("twin.ReadPhilly", errs.NotFound, "the trace has no virtual cluster %q; it has %s", o.Cluster, strings.Join(clusters, ", "))
	}
	return s.finish(t)
}

// ReadOpenb reads a pod list of Alibaba's openb trace (2023). Its times are seconds from the trace's begin. A pod works
// from when it was scheduled until it was deleted; one that never was scheduled, which the trace has too, from when it
// was created.
func ReadOpenb(in io.Reader, strict bool) (Trace, error) {
	s, err := open(in, strict, "name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "creation_time")
	if err != nil {
		return Trace{}, err
	}
	t := Trace{Name: "openb"}
	epoch := time.Unix(0, 0).UTC().AddDate(53, 0, 0) // 2023
	seen, twice := map[string]bool{}, map[string]int{}
	never := 0
	for {
		row, err := s.next()
		if err != nil {
			return t, err
		}
		if row == nil {
			break
		}
		j := Job{ID: strings.Clone(s.field(row, "name")), Queue: strings.Clone(s.field(row, "qos")), Tasks: 1}
		cause := s.pod(row, &j)
		if cause == "" && j.ID == "" {
			cause = "no name"
		}
		if cause == "" {
			cause = s.life(row, epoch, &j)
		}
		if cause != "" {
			if err := s.leave(cause); err != nil {
				return t, err
			}
			continue
		}
		for name, n := j.ID, 2; seen[j.ID]; n++ { // lists that were sampled have a pod more than once
			j.ID = fmt.Sprintf("%s#%d", name, max(n, twice[name]))
			twice[name] = max(n, twice[name]) + 1
		}
		seen[j.ID] = true
		if s.field(row, "scheduled_time") == "" {
			never++
		}
		t.Jobs = append(t.Jobs, j)
	}
	if never > 0 {
		t.Treats = append(t.Treats, fmt.Sprintf("%d pods that were never scheduled work from creation to deletion", never))
	}
	return s.finish(t)
}

// life reads when a pod came and how long it worked.
func (s *sheet) life(row []string, epoch time.Time, j *Job) (cause string) {
	created, cause := s.number(row, "creation_time", needed, mostSeconds)
	if cause != "" {
		return cause
	}
	scheduled, cause := s.number(row, "scheduled_time", created, mostSeconds)
	if cause != "" {
		return cause
	}
	deleted, cause := s.number(row, "deletion_time", needed, mostSeconds)
	if cause != "" {
		return cause
	}
	j.Submit = epoch.Add(time.Duration(created * float64(time.Second)))
	j.Duration = time.Duration((deleted - scheduled) * float64(time.Second))
	switch {
	case scheduled < created:
		return "scheduled_time is before creation_time"
	case j.Duration <= 0:
		return "deletion_time is not after its start"
	case j.Duration > mostDuration:
		return "it runs for more than ten years"
	}
	return ""
}

// pod reads what a pod asks for.
func (s *sheet) pod(row []string, j *Job) (cause string) {
	cpu, cause := s.number(row, "cpu_milli", 0, 1e9)
	if cause != "" {
		return cause
	}
	memory, cause := s.number(row, "memory_mib", 0, float64(mostMemory/units.MiB))
	if cause != "" {
		return cause
	}
	gpus, cause := s.number(row, "num_gpu", 0, mostDevices)
	if cause != "" {
		return cause
	}
	milli, cause := s.number(row, "gpu_milli", 1000, 1000)
	if cause != "" {
		return cause
	}
	j.Each = sched.Ask{CPU: cpu / 1000, Memory: units.Bytes(memory) * units.MiB, Accelerators: int(gpus)}
	if gpus == 1 && milli > 0 && milli < 1000 {
		j.Each.Share = int(milli)
	}
	if spec := s.field(row, "gpu_spec"); spec != "" && gpus > 0 {
		j.Each.Models = strings.Split(strings.Clone(spec), "|")
	}
	return ""
}

// ReadOpenbNodes reads a node list of the openb trace.
func ReadOpenbNodes(in io.Reader) ([]fleet.Node, error) {
	s, err := open(in, true, "sn", "cpu_milli", "memory_mib", "gpu")
	if err != nil {
		return nil, err
	}
	var out []fleet.Node
	seen := map[string]bool{}
	for {
		row, err := s.next()
		if err != nil || row == nil {
			if err == nil && len(out) == 0 {
				err = errs.Errorf("twin.ReadOpenbNodes", errs.Invalid, "the list has no node")
			}
			return out, err
		}
		n := fleet.Node{Name: strings.Clone(s.field(row, "sn")), Disk: units.TiB}
		cpu, cause := s.number(row, "cpu_milli", needed, 1e9)
		memory, cause2 := s.number(row, "memory_mib", needed, float64(1024*mostMemory/units.MiB))
		gpus, cause3 := s.number(row, "gpu", 0, mostDevices)
		for _, c := range []string{cause, cause2, cause3} {
			if c != "" {
				return nil, s.leave(c)
			}
		}
		n.CPU, n.Memory = cpu/1000, units.Bytes(memory)*units.MiB
		for i := range int(gpus) {
			n.Accelerators = append(n.Accelerators, fleet.Accelerator{ID: strconv.Itoa(i), Model: strings.Clone(s.field(row, "model"))})
		}
		if seen[n.Name] {
			return nil, s.leave("a second node " + strconv.Quote(n.Name))
		}
		if err := n.Validate(); err != nil {
			return nil, errs.Errorf("twin.ReadOpenbNodes", errs.Invalid, "line %d of the list: %w", s.line, err)
		}
		seen[n.Name] = true
		out = append(out, n)
	}
}
