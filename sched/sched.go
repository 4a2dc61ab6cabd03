// Package sched decides what runs where. It is pure: a snapshot goes in, a schedule with the reasons of every decision
// comes out; it starts nothing, reads no clock and keeps no state, so the twin and a dry run call the same code.
//
// The queue goes in order of priority, then age, then name; a gang is placed whole or not at all. Each task goes to the
// node where it adds least to the expected fragmentation (fragment.go) at the prices of what others need more
// (price.go). A gang that does not fit moves others of the same plan if that makes room (rearrange.go); else it is passed over
// and smaller ones behind it may start. Hall is the incremental core under Plan, for who places one gang after the other.
//
// How good a plan is, a linear programme says (bound.go): nobody's plan is worth more, and this is what a little more of
// each resource would be worth. Where gangs compete by worth rather than by turn, Hall.Pack searches for the best plan
// and Hall.Best gives small contests to a solver, which is handed in.
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
	"github.com/lineshaft/lineshaft/sched/queue"
)

// Snapshot is all that a plan depends on.
type Snapshot struct {
	Now     time.Time
	Nodes   []fleet.Node
	Racks   []fleet.Rack     // uplinks; a rack that is not listed is not limited
	Caps    []fleet.PowerCap // nested power caps
	Running []Running        // what holds resources now
	Queue   []Gang
	Mix     Mix // the work that is expected; when empty, work like what runs and waits

	Queues       []queue.Queue // the tree; when empty, one queue
	Past         queue.Past    // what was used lately
	Reservations []Reservation // of the calendar
	Windows      []Span        // when deferrable work may start; when empty, at any time
	Policy       Policy
}

// Gang is tasks that start together or not at all.
type Gang struct {
	ID          string
	Queue       string
	User        string
	Priority    int       // higher goes first
	Since       time.Time // in the queue; older goes first
	Deadline    time.Time // none when zero
	Tasks       []int     // indices of the tasks to place
	Min         int       // an elastic gang starts with at least so many of its tasks; 0 is all
	Each        Ask
	Topology    Topology
	Duration    time.Duration // predicted, from its first start; 0 is unknown
	MaxRun      time.Duration // it is ended after so long of running; 0 is never
	Preemptible bool          // it may be stopped for others and goes on from its last checkpoint

	Name       string        // the job's, of which runs repeat
	Array      string        // the job array that it is of; none when empty
	ArrayLimit int           // of an array, so many gangs run at once; 0 is not limited
	NotBefore  time.Time     // it does not start sooner; at once when zero
	Deferrable bool          // it starts in a Window, or where its deadline leaves no other time
	Left       time.Time     // when it was stopped for others; zero when it has not run
	Ran        time.Duration // how long it has run, up to Left, or for what runs up to Started
	Index      float64       // of its forecast (Forecast.Index); 0 is unknown

	Claim []Placement // where it goes on after a move (Relocate): kept for it while it stops, and given to it before all others
}

// Ask is what one task needs. The zero value of a field asks for nothing, or for any.
type Ask struct {
	CPU               float64 // cores
	Memory            units.Bytes
	Disk              units.Bytes // scratch, gone with the task
	Storage           units.Bytes // persistent, of the node's share
	Accelerators      int
	Kind              string              // of the accelerators: gpu, npu, tpu; any when empty
	Models            []string            // one of these; any when empty
	Share             int                 // thousandths of one accelerator, when Accelerators is 1; 0 or 1000 is the whole device
	AcceleratorMemory units.Bytes         // the least that each device has; with Share, what it takes of the device
	Bandwidth         units.BitsPerSecond // of the node's network, and of the rack's uplink when the gang spans racks
	Watts             units.Watts         // its power envelope; when 0, what its devices draw at most
}

// Topology is how close the tasks of a gang are to each other.
type Topology struct {
	Level string // LevelDomain, LevelNode, LevelRack; anywhere when empty
	Hard  bool   // rather wait than be further apart
}

// The levels of Topology: all devices of the gang in one accelerator domain, all tasks on one node, or in one rack.
const (
	LevelDomain = "domain"
	LevelNode   = "node"
	LevelRack   = "rack"
)

// Placement is one task on one node.
type Placement struct {
	Gang         string
	Task         int
	Node         string
	Ask          Ask
	Accelerators []string            // IDs of the devices it has, or has a share of
	Uplink       units.BitsPerSecond // what it takes of its rack's uplink, since its gang spans racks
	Start        time.Time           // when it is planned to start; now when zero
}

// Running is a gang that holds resources now.
type Running struct {
	Gang       Gang // as it was asked for
	Placements []Placement
	Started    time.Time
	Stopping   time.Time // by when it will have stopped, of what was told to; zero when it runs on
	Kept       bool      // it was started as overdue and may finish its Quantum
	More       []int     // tasks that an elastic gang runs without and would start anew for, from the next index on
}

// Schedule is the outcome: one decision for every gang of the queue, in the order in which they were taken.
type Schedule struct {
	Decisions []Decision
	Growths   []Growth // of running gangs with More
}

// Decision is what becomes of one gang: either all its placements, or the reasons why it waits.
type Decision struct {
	Gang       string
	Placements []Placement
	Reasons    []Reason
	Fits       int // on how many nodes its first task fitted

	Turn       *queue.Turn // its place in the line, and its queue's share
	Evictions  []Eviction  // what stops for it: the placements hold when these have stopped
	Earliest   time.Time   // when it is expected to start; unknown when zero
	Confidence float64     // that it starts by Earliest, 0 to 1; 0 says that it does not start sooner and nothing more
	Overdue    bool        // it has waited longer than Policy.Overdue
	Backfilled bool        // it starts ahead of a gang that waits for a reserved place
}

// Reason is one constraint: what was needed, what the best node offered, what ruled the others out.
type Reason struct {
	Constraint string // cpu, memory, disk, accelerators, nodes, gang, …
	Needed     string
	Offered    string
	Detail     string
	Nodes      int      // how many nodes it rules out
	Examples   []string // some of these nodes, by name
}
