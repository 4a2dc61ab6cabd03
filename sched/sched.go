// Package sched decides what runs where. It is pure: a snapshot goes in, a schedule with the reasons of every decision
// comes out; it starts nothing, reads no clock and keeps no state, so the twin and a dry run call the same code.
//
// Today's scheduler is first fit: the queue in order of priority, then age, then name; a gang is placed whole or not at
// all; each task goes to the first node, by name, that has room. A gang that does not fit is passed over and smaller
// ones behind it may start. The seam is Plan and its two types: a better scheduler replaces the function's body.
//
//	s := sched.Plan(sched.Snapshot{Nodes: nodes, Running: running, Queue: queue})
//	for _, d := range s.Decisions { … d.Placements, or d.Reasons … }
//
// The reasons are the record of the decision: the console, the command line and `why` print these and compute none.
package sched

import (
	"time"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/units"
)

// Snapshot is all that a plan depends on.
type Snapshot struct {
	Nodes   []fleet.Node
	Running []Placement // what holds resources now
	Queue   []Gang
}

// Gang is tasks that start together or not at all.
type Gang struct {
	ID       string
	Priority int       // higher goes first
	Since    time.Time // in the queue; older goes first
	Tasks    []int     // indices of the tasks to place
	Each     Ask
}

// Ask is what one task needs.
type Ask struct {
	CPU          float64 // cores
	Memory       units.Bytes
	Disk         units.Bytes
	Accelerators int
	Model        string // of the accelerators; any when empty
}

// Placement is one task on one node.
type Placement struct {
	Gang         string
	Task         int
	Node         string
	Ask          Ask
	Accelerators []string // IDs of the devices it has
}

// Schedule is the outcome: one decision for every gang of the queue, in the order in which they were taken.
type Schedule struct {
	Decisions []Decision
}

// Decision is what becomes of one gang: either all its placements, or the reasons why it waits.
type Decision struct {
	Gang       string
	Placements []Placement
	Reasons    []Reason
}

// Reason is one constraint: what was needed, what the best node offered, what ruled the others out.
type Reason struct {
	Constraint string // cpu, memory, disk, accelerators, nodes, gang
	Needed     string
	Offered    string
	Detail     string
}
