package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/lp"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/sched"
)

// instance is a batch of gangs that compete for the nodes, as a file has it: a programme whose first rows say that a
// gang's tasks are as many as it has or none, and whose others are the GPUs, cores and GiB of each node.
type instance struct {
	name    string
	problem lp.Problem // as it is written down
	nodes   []fleet.Node
	gangs   []sched.Gang
	worth   map[string]float64
	column  map[[2]string]int // by gang and node: its tasks there
	chosen  map[string]int    // by gang: whether it is placed
}

// file is the instance's JSON: columns, rows by starts, indices and values, and where they are limited.
type file struct {
	NC    int       `json:"nc"`
	NR    int       `json:"nr"`
	Cost  []float64 `json:"cost"`
	Lower []float64 `json:"lo"`
	Upper []float64 `json:"up"`
	Whole []int     `json:"integ"`
	RowLo []float64 `json:"rl"`
	RowUp []float64 `json:"ru"`
	Start []int     `json:"st"`
	Index []int     `json:"ai"`
	Value []float64 `json:"av"`
}

func read(dir, name string) (*instance, error) {
	text, err := os.ReadFile(filepath.Join(dir, name+".json"))
	if err != nil {
		return nil, fmt.Errorf("%w: give the folder of the gang placement instances with --data", err)
	}
	var f file
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(f.Cost) != f.NC || len(f.Lower) != f.NC || len(f.Upper) != f.NC || len(f.Whole) != f.NC ||
		len(f.RowLo) != f.NR || len(f.RowUp) != f.NR || len(f.Start) < f.NR || len(f.Index) != len(f.Value) {
		return nil, fmt.Errorf("%s: its lists have not the lengths that it says", name)
	}
	in := &instance{name: name, worth: map[string]float64{}, column: map[[2]string]int{}, chosen: map[string]int{}}
	in.problem.Maximise = true
	for i := range f.NC {
		c := lp.Column{Cost: f.Cost[i], Lower: f.Lower[i], Upper: f.Upper[i]}
		if f.Whole[i] != 0 {
			c.Kind = lp.Integer
		}
		in.problem.Columns = append(in.problem.Columns, c)
	}
	for i := range f.NR {
		r := lp.Row{Lower: f.RowLo[i], Upper: f.RowUp[i]}
		if r.Lower <= -1e20 {
			r.Lower = lp.NoLower
		}
		end := len(f.Index)
		if i+1 < len(f.Start) {
			end = f.Start[i+1]
		}
		for k := f.Start[i]; k < end; k++ {
			r.Terms = append(r.Terms, lp.Term{Column: f.Index[k], Value: f.Value[k]})
		}
		in.problem.Rows = append(in.problem.Rows, r)
	}
	if err := in.problem.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return in, in.hall()
}

// hall reads nodes and gangs out of the programme.
func (in *instance) hall() error {
	rows := in.problem.Rows
	gangs := 0
	for gangs < len(rows) && rows[gangs].Lower == 0 && rows[gangs].Upper == 0 {
		gangs++
	}
	if gangs == 0 || (len(rows)-gangs)%3 != 0 {
		return fmt.Errorf("%s: not the rows of a gang placement", in.name)
	}
	needs := map[int][3]float64{}
	nodeOf := map[int]string{}
	for n := range (len(rows) - gangs) / 3 {
		node := fleet.Node{Name: fmt.Sprintf("node%02d", n+1)}
		for k, r := range rows[gangs+3*n : gangs+3*n+3] {
			for _, t := range r.Terms {
				v := needs[t.Column]
				v[k] = t.Value
				needs[t.Column] = v
				nodeOf[t.Column] = node.Name
			}
		}
		node.CPU, node.Memory = rows[gangs+3*n+1].Upper, units.Bytes(rows[gangs+3*n+2].Upper)*units.GiB
		for d := range int(rows[gangs+3*n].Upper) {
			node.Accelerators = append(node.Accelerators, fleet.Accelerator{ID: strconv.Itoa(d), Model: "gpu"})
		}
		in.nodes = append(in.nodes, node)
	}
	for i, r := range rows[:gangs] {
		g := sched.Gang{ID: fmt.Sprintf("gang%03d", i+1)}
		for _, t := range r.Terms {
			node, ok := nodeOf[t.Column]
			if !ok {
				in.worth[g.ID], in.chosen[g.ID] = in.problem.Columns[t.Column].Cost, t.Column
				for task := range int(math.Round(-t.Value)) {
					g.Tasks = append(g.Tasks, task)
				}
				continue
			}
			in.column[[2]string{g.ID, node}] = t.Column
			need := needs[t.Column]
			g.Each = sched.Ask{Accelerators: int(need[0]), CPU: need[1], Memory: units.Bytes(need[2]) * units.GiB}
		}
		in.gangs = append(in.gangs, g)
	}
	return nil
}

// value is what a gang is worth.
func (in *instance) value(g sched.Gang) float64 { return in.worth[g.ID] }

// check holds a plan against the programme as it is written down, and gives its worth.
func (in *instance) check(plan []sched.Decision) (float64, error) {
	x := make([]float64, len(in.problem.Columns))
	for _, d := range plan {
		if len(d.Placements) > 0 {
			x[in.chosen[d.Gang]] = 1
		}
		for _, p := range d.Placements {
			c, ok := in.column[[2]string{d.Gang, p.Node}]
			if !ok {
				return 0, fmt.Errorf("%s: the plan has %s on %s, where it may not be", in.name, d.Gang, p.Node)
			}
			x[c]++
		}
	}
	if by, where := in.problem.Violation(x); by > 0 {
		return 0, fmt.Errorf("%s: the plan breaks %s by %v", in.name, where, by)
	}
	worth, _ := in.problem.Evaluate(x)
	return worth, nil
}
