package twin

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/sched"
)

// Job is one job of a trace.
type Job struct {
	ID          string
	Queue, User string
	Name        string
	Priority    int
	Submit      time.Time
	Duration    time.Duration // of its work, when nothing stops it
	Tasks       int           // 1 when 0
	Each        sched.Ask     // of each task
	MaxRun      time.Duration
	asked       int // accelerators in all, where whole nodes are taken for fewer
}

// Trace is jobs, and what of the file was not taken.
type Trace struct {
	Name   string
	Jobs   []Job
	Left   []LeftOut    // rows that were left out, by cause
	Treats []string     // what was done to the others, in words
	Nodes  []fleet.Node // where the trace names them
}

// LeftOut counts rows that were left out for one cause.
type LeftOut struct {
	Cause string `json:"cause"`
	Rows  int    `json:"rows"`
	Line  int    `json:"line"` // of the first
}

// most bounds what a trace may ask for: beyond it a number is a mistake of the trace.
const (
	mostDuration = 10 * 365 * 24 * time.Hour
	mostTasks    = 1 << 16
	mostDevices  = 1 << 10 // of one task
	mostRows     = 10_000_000
	mostBytes    = 1 << 30
	mostSeconds  = 4e9            // from a trace's begin
	mostMemory   = 64 * units.TiB // of one task
)

// validate refuses what no hall runs.
func (j *Job) validate() error {
	const op = "twin.Job"
	switch {
	case j.ID == "":
		return errs.Errorf(op, errs.Invalid, "a job of the trace has no name")
	case j.Duration <= 0 || j.Duration > mostDuration:
		return errs.Errorf(op, errs.Invalid, "job %s runs for %v: a duration is above 0 and at most ten years", j.ID, j.Duration)
	case j.Tasks < 0 || j.Tasks > mostTasks:
		return errs.Errorf(op, errs.Invalid, "job %s has %d tasks: give 1 to %d", j.ID, j.Tasks, mostTasks)
	case j.Submit.IsZero():
		return errs.Errorf(op, errs.Invalid, "job %s has no time of submission", j.ID)
	case !(j.Each.CPU >= 0) || math.IsInf(j.Each.CPU, 0) || j.Each.Memory < 0 || j.Each.Memory > mostMemory || j.Each.Accelerators < 0 || j.Each.Accelerators > mostDevices:
		return errs.Errorf(op, errs.Invalid, "job %s asks for %v cores, %v and %d accelerators a task: none may be negative or beyond any machine", j.ID, j.Each.CPU, j.Each.Memory, j.Each.Accelerators)
	}
	return nil
}

func (j *Job) gang() sched.Gang {
	n := max(j.Tasks, 1)
	g := sched.Gang{
		ID: j.ID, Queue: j.Queue, User: j.User, Name: j.Name, Priority: j.Priority, Since: j.Submit, Each: j.Each, MaxRun: j.MaxRun,
		Tasks: make([]int, n), Preemptible: true,
	}
	for i := range g.Tasks {
		g.Tasks[i] = i
	}
	return g
}

// shape names what two jobs have in common that fit equally.
func (j *Job) shape() string {
	return fmt.Sprintf("%d %v %d %d %s %s %d", j.Tasks, j.Each.CPU, j.Each.Memory, j.Each.Accelerators, j.Each.Kind, strings.Join(j.Each.Models, "|"), j.Each.Share)
}

// Nodes are n nodes of the given number of accelerators, with cores, memory and disk that no job of a trace without these
// runs out of.
func Nodes(n, accelerators int) []fleet.Node {
	out := make([]fleet.Node, n)
	for i := range out {
		out[i] = fleet.Node{Name: fmt.Sprintf("node-%04d", i), CPU: 1024, Memory: 16 * units.TiB, Disk: 64 * units.TiB}
		for d := range accelerators {
			out[i].Accelerators = append(out[i].Accelerators, fleet.Accelerator{ID: fmt.Sprint(d)})
		}
	}
	return out
}

// ParseNodes reads "18x8": 18 nodes of 8 accelerators; "18x8+4x4:V100" adds four of another model.
func ParseNodes(s string) ([]fleet.Node, error) {
	const op = "twin.ParseNodes"
	var out []fleet.Node
	for part := range strings.SplitSeq(s, "+") {
		size, model, _ := strings.Cut(strings.TrimSpace(part), ":")
		var n, d int
		if got, err := fmt.Sscanf(size+"\n", "%dx%d\n", &n, &d); err != nil || got != 2 || n < 1 || n > 100_000 || d < 0 || d > mostDevices {
			return nil, errs.Errorf(op, errs.Invalid, "%q is no set of nodes: write for example 18x8, or 18x8:H100+4x4:V100 (nodes x accelerators:model)", part)
		}
		for _, node := range Nodes(n, d) {
			node.Name = fmt.Sprintf("node-%04d", len(out))
			for i := range node.Accelerators {
				node.Accelerators[i].Model = model
			}
			out = append(out, node)
		}
	}
	return out, nil
}

// Size is how many 8-accelerator nodes carry the trace at the given load: all its accelerator-time over the time in which
// jobs came; at least what its largest job needs.
func (t Trace) Size(perNode int, load float64) int {
	var work float64
	var first, last time.Time
	largest := 1
	for i := range t.Jobs {
		j := &t.Jobs[i]
		n := max(j.Tasks, 1)
		asked := float64(n * j.Each.Accelerators)
		if j.asked > 0 {
			asked = float64(j.asked)
		}
		work += asked * j.Duration.Seconds()
		if first.IsZero() || j.Submit.Before(first) {
			first = j.Submit
		}
		if j.Submit.After(last) {
			last = j.Submit
		}
		largest = max(largest, int(math.Ceil(float64(n*j.Each.Accelerators)/float64(perNode))))
	}
	span := last.Sub(first).Seconds()
	if span <= 0 || load <= 0 {
		return largest
	}
	return max(largest, int(math.Ceil(work/span/float64(perNode)/load)))
}
