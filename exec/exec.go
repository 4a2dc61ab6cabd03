// Package exec says how tasks are run, without saying where: job starts, stops and observes task attempts through Tasks,
// control acts on machines through Nodes. exec/local runs processes on this machine.
//
// An attempt is named by TaskRef and happens at most once: starting it again is no new start, and a start of an attempt
// older than one that was seen is refused. What an executor knows it keeps on disk, so that a server that was killed
// learns by Observe what ran on and what ended without it.
package exec

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/lineshaft/lineshaft/internal/units"
)

// TaskRef names one attempt of one task of a job.
type TaskRef struct {
	Job     string `json:"job"`
	Index   int    `json:"index"`
	Attempt int    `json:"attempt"` // from 1, rising
}

// String is "12.0#3".
func (r TaskRef) String() string { return fmt.Sprintf("%s.%d#%d", r.Job, r.Index, r.Attempt) }

// Self as Argv[0] is this very program.
const Self = "lineshaft:self"

// Task is everything that is needed to start one attempt.
type Task struct {
	Ref     TaskRef           `json:"ref"`
	Argv    []string          `json:"argv"`
	Env     map[string]string `json:"env,omitempty"`
	User    string            `json:"user"` // account name: each has a user ID of its own where the server may give it
	Files   []File            `json:"files,omitempty"`
	Inherit []Inherit         `json:"-"` // never written down
	Secrets []Secret          `json:"-"` // never written down
	Limits  Limits            `json:"limits"`
	Policy  Policy            `json:"policy"`
	Timeout time.Duration     `json:"timeout,omitempty"` // 0: none
	Grace   time.Duration     `json:"grace,omitempty"`   // between SIGTERM and SIGKILL
	Network bool              `json:"network"`           // false: no network but the task's own loopback
}

// File is put into the task's work folder before it starts. One that is unpacked is a tar archive, gzipped or not, of
// plain files, folders and links that stay inside; Name is the folder that it is unpacked into, "." for work itself.
type File struct {
	Name   string                        `json:"name"` // relative to the work folder
	Unpack bool                          `json:"unpack,omitempty"`
	Data   []byte                        `json:"-"`
	Mode   uint32                        `json:"mode"`
	Open   func() (io.ReadCloser, error) `json:"-"` // instead of Data
}

// Inherit is an open descriptor that the task gets; LINESHAFT_FD_<NAME> says which.
type Inherit struct {
	Name string
	Path string // opened for reading by the server
	Data []byte // instead of Path: from memory
}

// Secret is a value the task gets, as an environment variable or as a file in memory.
type Secret struct {
	Env   string
	File  string
	Value []byte
}

// Limits bound a task; zero is no limit of its own.
type Limits struct {
	CPU          float64     `json:"cpu,omitempty"`
	Memory       units.Bytes `json:"memory,omitempty"`
	Processes    int         `json:"processes,omitempty"`
	Disk         units.Bytes `json:"disk,omitempty"` // of the task's folder
	Accelerators []string    `json:"accelerators,omitempty"`
	Share        float64     `json:"share,omitempty"` // of the one accelerator; all of it when 0
	// Storage is of the out folder alone, what the task leaves; Disk is then without it.
	Storage   units.Bytes         `json:"storage,omitempty"`
	Bandwidth units.BitsPerSecond `json:"bandwidth,omitempty"` // of the network in each direction, the task's own machine excepted
}

// Policy says which isolation must be enforced.
type Policy struct {
	Require   []string `json:"require,omitempty"`
	AllowLess bool     `json:"allow_less,omitempty"` // start although something else cannot be enforced
	Spare     []string `json:"spare,omitempty"`      // start although these cannot: nobody asked for them
}

// State is where an attempt is.
type State string

// The states of an attempt.
const (
	Starting State = "starting"
	Running  State = "running"
	Exited   State = "exited"
	Lost     State = "lost" // its shim died without a word; nothing of it runs any more
)

// Status is what is known of an attempt.
type Status struct {
	Ref       TaskRef   `json:"ref"`
	State     State     `json:"state"`
	PID       int       `json:"pid,omitempty"`
	Started   time.Time `json:"started,omitzero"`
	Ended     time.Time `json:"ended,omitzero"`
	ExitCode  int       `json:"exit_code"`
	Signal    string    `json:"signal,omitempty"`
	Reason    string    `json:"reason,omitempty"` // oom, timeout, disk, storage, canceled, or what went wrong
	Isolation []Feature `json:"isolation,omitempty"`
}

// Feature is one part of the isolation and whether it is enforced.
type Feature struct {
	Name     string `json:"name"`
	Enforced bool   `json:"enforced"`
	Detail   string `json:"detail"`
}

// Tasks starts, stops and observes task attempts.
type Tasks interface {
	// Start returns once the attempt is written down and its shim runs.
	Start(ctx context.Context, t Task) error
	// Stop asks the attempt to end, and kills all of it after grace. It does not wait. An attempt that ended, or is not
	// known, is no error.
	Stop(ctx context.Context, ref TaskRef, grace time.Duration) error
	// Observe lists every attempt whose folder is there.
	Observe(ctx context.Context) ([]Status, error)
	// Remove deletes an ended attempt's folder.
	Remove(ctx context.Context, ref TaskRef) error
	// Forget deletes all that is kept of a job, logs included. One of which something still runs is errs.Conflict.
	Forget(ctx context.Context, job string) error
}

// Outputs reads what a task left.
type Outputs interface {
	// Logs reads standard output and error from offset on; follow waits for more until the attempt ends.
	Logs(ctx context.Context, ref TaskRef, offset int64, follow bool) (io.ReadCloser, error)
	// Journal reads whole lines of the task's metrics journal from offset, and says where to go on.
	Journal(ctx context.Context, ref TaskRef, offset int64) (lines []byte, next int64, err error)
	// Output opens a file of the task's out folder: a regular file, no link.
	Output(ctx context.Context, ref TaskRef, name string) (io.ReadCloser, error)
}

// Shell is a program to run beside a task, inside its sandbox: the same namespaces, user, rules and limits.
type Shell struct {
	Argv   []string // empty: a shell
	Term   string   // what TERM says, where TTY is set
	TTY    bool     // on a terminal of its own, else on three pipes
	Size   Size     // of the terminal; zero is 24 by 80
	Resize <-chan Size
	Stdin  io.Reader // nil: empty. One read may still wait when Shell returns: whoever owns the reader ends it
	Stdout io.Writer
	Stderr io.Writer // nil, or with a terminal: as Stdout
}

// Size is a terminal's.
type Size struct{ Rows, Cols uint16 }

// Shells runs programs beside tasks.
type Shells interface {
	// Shell runs a program until it ends and gives its exit code, 128 plus the signal where one killed it. The end of ctx,
	// or of the attempt, ends it too. An attempt that does not run is errs.Conflict, one that is not here errs.NotFound.
	Shell(ctx context.Context, ref TaskRef, s Shell) (code int, err error)
}

// Facts describe a machine.
type Facts struct {
	Name         string
	CPU          float64
	Memory       units.Bytes
	Disk         units.Bytes
	Accelerators []Accelerator
}

// Accelerator is one device.
type Accelerator struct {
	Index  string
	Model  string
	Memory units.Bytes
}

// Nodes describes the machines and acts on them.
type Nodes interface {
	Facts(ctx context.Context) (Facts, error)
}
