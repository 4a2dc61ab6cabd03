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
	s := &sheet{csv: csv.NewReader(src), column: map[string]int{}, strict: strict}
	s.csv.FieldsPerRecord, s.csv.LazyQuotes, s.csv.ReuseRecord = -1, true, true
	head, err := s.csv.Read()
	if err != nil {
		return nil, errs.Errorf(op, errs.Invalid, "the trace has no header that can be read: %v", err)
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

// next is the next row; nil at the end.
func (s *sheet) next() ([]string, error) {
	for {
		row, err := s.csv.Read()
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		s.line, _ = s.csv.FieldPos(0)
		var wrong *csv.ParseError
		switch {
		case err == nil && s.line > mostRows:
			return nil, errs.Errorf("twin.Read", errs.TooLarge, "the trace has more than %d lines", mostRows)
		case err == nil:
			return row, nil
		case !errors.As(err, &wrong):
			return nil, errs.Errorf("twin.Read", errs.Corrupt, "the trace breaks off after line %d: %v", s.line, err)
		}
		s.line = wrong.Line
		if err := s.leave("a row that is no CSV"); err != nil {
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
		case cause == "" && seconds <= 0:
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

// ReadOpenb reads a pod list of Alibaba's openb trace (2023). Its times are seconds from the trace's begin. A pod that has
// not been deleted when the trace ends runs until its last moment.
func ReadOpenb(in io.Reader, strict bool) (Trace, error) {
	s, err := open(in, strict, "name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "creation_time")
	if err != nil {
		return Trace{}, err
	}
	t := Trace{Name: "openb"}
	epoch := time.Unix(0, 0).UTC().AddDate(53, 0, 0) // 2023
	seen := map[string]int{}
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
			var from, until float64
			from, cause = s.number(row, "creation_time", needed, 1e10)
			j.Submit = epoch.Add(time.Duration(from * float64(time.Second)))
			if start, c := s.number(row, "scheduled_time", from, 1e10); c == "" && start >= from {
				from = start
			}
			if cause == "" {
				until, cause = s.number(row, "deletion_time", needed, 1e10)
			}
			if cause == "" && until <= from {
				cause = "deletion_time is not after its start"
			}
			j.Duration = time.Duration((until - from) * float64(time.Second))
		}
		if cause != "" {
			if err := s.leave(cause); err != nil {
				return t, err
			}
			continue
		}
		if n := seen[j.ID]; n > 0 {
			seen[j.ID]++
			j.ID = fmt.Sprintf("%s#%d", j.ID, n+1)
		}
		seen[j.ID]++
		t.Jobs = append(t.Jobs, j)
	}
	return s.finish(t)
}

// pod reads what a pod asks for.
func (s *sheet) pod(row []string, j *Job) (cause string) {
	cpu, cause := s.number(row, "cpu_milli", 0, 1e9)
	if cause != "" {
		return cause
	}
	memory, cause := s.number(row, "memory_mib", 0, 1e12)
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
		memory, cause2 := s.number(row, "memory_mib", needed, 1e12)
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
		if err := n.Validate(); err != nil {
			return nil, err
		}
		out = append(out, n)
	}
}
