// Package job owns the life of a job: submit, admit, place, watch, finish, in file order.
//
// A job is what a person asks for; a task is one process of it. Batch jobs and services are alike: a service is a job
// that should not end, a replica is a task. The core (Core, in step.go) is single-threaded: it turns events into a new
// state and effects and neither reads a clock nor starts a process. A runner writes the effects down, carries them out
// through exec and feeds what happened back as events, so the same core runs the hall and the twin.
//
// Invariants: what was accepted is not lost; attempts are numbered and fenced, so that no two attempts of a task run
// at once; every state change is a row of Transitions.
package job

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
)

// ID numbers jobs, from 1.
type ID int64

// String is the bare number.
func (i ID) String() string { return strconv.FormatInt(int64(i), 10) }

// Kind says who provides the program.
type Kind string

// The kinds of job.
const (
	Train   Kind = "train"   // the built-in trainer runs Spec.Train
	Command Kind = "command" // a program of the user's
	Service Kind = "service" // a program that should not end; its tasks are replicas
)

// State is where a job is in its life.
type State string

// The states of a job.
const (
	Queued    State = "queued"
	Starting  State = "starting"
	Running   State = "running"
	Stopping  State = "stopping"
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Canceled  State = "canceled"
)

// Spec is what the submitter wrote. Fields that are absent have the defaults of Spec.Defaults; unknown fields are errors.
type Spec struct {
	Name    string            `json:"name" yaml:"name"`
	Kind    Kind              `json:"kind,omitempty" yaml:"kind,omitempty"`
	Command []string          `json:"command,omitempty" yaml:"command,omitempty"`
	Env     map[string]string `json:"env,omitempty" yaml:"env,omitempty"`
	Secrets []SecretRef       `json:"secrets,omitempty" yaml:"secrets,omitempty"`
	Code    string            `json:"code,omitempty" yaml:"code,omitempty"` // digest of an uploaded folder
	Data    []string          `json:"data,omitempty" yaml:"data,omitempty"` // data sets the task may read, "mnist" or "mnist@1"
	Train   json.RawMessage   `json:"train,omitempty" yaml:"train,omitempty"`
	Tasks   int               `json:"tasks,omitempty" yaml:"tasks,omitempty"`
	// MinTasks makes the job elastic: it starts with at least so many of its tasks, grows when there is room, and shrinks for
	// others where Preemptible lets it, each time from its last checkpoint.
	MinTasks  int        `json:"min_tasks,omitempty" yaml:"min_tasks,omitempty"`
	Array     *Array     `json:"array,omitempty" yaml:"array,omitempty"` // many such jobs
	Resources Resources  `json:"resources" yaml:"resources"`
	Topology  Topology   `json:"topology,omitzero" yaml:"topology,omitempty"`  // how near the tasks are to each other
	Priority  int        `json:"priority,omitempty" yaml:"priority,omitempty"` // -100 to 100
	Queue     string     `json:"queue,omitempty" yaml:"queue,omitempty"`       // of the server's queues; "default" when empty
	Deadline  *time.Time `json:"deadline,omitempty" yaml:"deadline,omitempty"` // near it, the job goes first
	NotBefore *time.Time `json:"not_before,omitempty" yaml:"not_before,omitempty"`
	// Deferrable lets the job wait for a window of the site's calendar, unless its deadline leaves no other time.
	Deferrable bool     `json:"deferrable,omitempty" yaml:"deferrable,omitempty"`
	Retries    int      `json:"retries,omitempty" yaml:"retries,omitempty"`
	Timeout    Duration `json:"timeout,omitempty" yaml:"timeout,omitempty"`
	Grace      Duration `json:"grace,omitempty" yaml:"grace,omitempty"` // between SIGTERM and SIGKILL
	// Preemptible lets the scheduler stop the job for others; it goes back to the queue with its last checkpoint.
	Preemptible bool      `json:"preemptible,omitempty" yaml:"preemptible,omitempty"`
	Register    string    `json:"register,omitempty" yaml:"register,omitempty"` // model to register the result as
	Isolation   Isolation `json:"isolation" yaml:"isolation,omitempty"`
	Image       string    `json:"image,omitempty" yaml:"image,omitempty"`
	Serve       *Serve    `json:"serve,omitempty" yaml:"serve,omitempty"` // how a service is asked
	Scale       *Scale    `json:"scale,omitempty" yaml:"scale,omitempty"` // how its replicas follow the load
}

// Resources is what one task asks for.
type Resources struct {
	CPU          float64     `json:"cpu,omitempty" yaml:"cpu,omitempty"` // cores
	Memory       units.Bytes `json:"memory,omitempty" yaml:"memory,omitempty"`
	Disk         units.Bytes `json:"disk,omitempty" yaml:"disk,omitempty"` // of the task's own folder
	Processes    int         `json:"processes,omitempty" yaml:"processes,omitempty"`
	Accelerators int         `json:"accelerators,omitempty" yaml:"accelerators,omitempty"`
	Kind         string      `json:"kind,omitempty" yaml:"kind,omitempty"`   // of the accelerators: gpu, npu or tpu; any when empty
	Model        Models      `json:"model,omitempty" yaml:"model,omitempty"` // of the accelerators
	// Share is the part of one accelerator that the task takes, from 0.001 to 1; the whole device when 0.
	Share float64 `json:"share,omitempty" yaml:"share,omitempty"`
	// AcceleratorMemory is the least that each accelerator has; with Share, what the task takes of the device.
	AcceleratorMemory units.Bytes         `json:"accelerator_memory,omitempty" yaml:"accelerator_memory,omitempty"`
	Storage           units.Bytes         `json:"storage,omitempty" yaml:"storage,omitempty"`     // persistent, of the node's
	Bandwidth         units.BitsPerSecond `json:"bandwidth,omitempty" yaml:"bandwidth,omitempty"` // of the node's network
	Watts             units.Watts         `json:"watts,omitempty" yaml:"watts,omitempty"`         // power envelope; what its accelerators draw at most when 0
}

// Topology is how near the tasks of a job are to each other.
type Topology struct {
	Level string `json:"level" yaml:"level"`                   // domain (accelerators that are joined), node or rack
	Hard  bool   `json:"hard,omitempty" yaml:"hard,omitempty"` // rather wait than be further apart
}

// SecretRef gives a task a stored secret, as an environment variable or as a file in memory.
type SecretRef struct {
	Name string `json:"name" yaml:"name"`
	Env  string `json:"env,omitempty" yaml:"env,omitempty"`
	File string `json:"file,omitempty" yaml:"file,omitempty"`
}

// Isolation lists the features that must be enforced for the job to run at all, by the names that `why` prints.
type Isolation struct {
	Require []string `json:"require,omitempty" yaml:"require,omitempty"`
	Network string   `json:"network,omitempty" yaml:"network,omitempty"` // host (default) or none
}

// Duration reads "90s" or "2h" and prints the same.
type Duration time.Duration

// MarshalJSON writes Go's duration notation.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// MarshalYAML writes Go's duration notation.
func (d Duration) MarshalYAML() (any, error) { return time.Duration(d).String(), nil }

// UnmarshalJSON reads Go's duration notation, or a number of seconds.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var text string
	var seconds float64
	if json.Unmarshal(b, &seconds) == nil {
		if seconds < -maxSeconds || seconds > maxSeconds {
			return errs.Errorf("job.Duration", errs.Invalid, "%s seconds are too many", b)
		}
		*d = Duration(seconds * float64(time.Second))
		return nil
	}
	if err := json.Unmarshal(b, &text); err != nil {
		return errs.Errorf("job.Duration", errs.Invalid, "%s is not a duration: write for example 90s, 30m or 2h", b)
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		return errs.Errorf("job.Duration", errs.Invalid, "%q is not a duration: write for example 90s, 30m or 2h", text)
	}
	*d = Duration(v)
	return nil
}

// maxSeconds is 100 years; time.Duration holds 292.
const maxSeconds = 100 * 366 * 24 * 3600

// Job is a job's record.
type Job struct {
	ID          ID         `json:"id"`
	Name        string     `json:"name"`
	Kind        Kind       `json:"kind"`
	Owner       string     `json:"owner"` // account name
	State       State      `json:"state"`
	Reason      string     `json:"reason"` // why it is in this state, for a person
	Priority    int        `json:"priority"`
	Spec        Spec       `json:"spec"`
	Attempt     int        `json:"attempt"`      // of the job as a whole, from 1
	RetriesLeft int        `json:"retries_left"` // before a failure is final
	Created     time.Time  `json:"created"`
	Started     *time.Time `json:"started,omitempty"`
	Finished    *time.Time `json:"finished,omitempty"`
	Progress    *Progress  `json:"progress,omitempty"`
	Tasks       []Task     `json:"tasks"`
	Model       *ModelRef  `json:"model,omitempty"`      // what Spec.Register made
	Reasons     []Reason   `json:"reasons,omitempty"`    // why it waits, from the scheduler's own record
	Next        State      `json:"next,omitempty"`       // where a stopping job goes when its last task has ended
	Lost        int        `json:"lost,omitempty"`       // attempts lost in a row to the machine, without progress
	NotBefore   *time.Time `json:"not_before,omitempty"` // the earliest next try
	Preempted   *time.Time `json:"preempted,omitempty"`  // when it was last stopped for others
	Outlook     *Outlook   `json:"outlook,omitempty"`    // of a dry run
	Array       *Member    `json:"array,omitempty"`      // which job of an array it is

	Claim []PlannedPlace `json:"claim,omitempty"` // where it goes on after it was told to move or to change its size

	Size    int     `json:"size,omitempty"`    // of an elastic job: with how many tasks its attempt started
	Resized *Resize `json:"resized,omitempty"` // the last change of that
}

// Task is one process of a job.
type Task struct {
	Index     int        `json:"index"`
	Attempt   int        `json:"attempt"` // fenced: only the newest counts
	State     State      `json:"state"`
	Node      string     `json:"node,omitempty"`
	PID       int        `json:"pid,omitempty"`
	ExitCode  int        `json:"exit_code"`
	Reason    string     `json:"reason,omitempty"`
	Started   *time.Time `json:"started,omitempty"`
	Ended     *time.Time `json:"ended,omitempty"`
	Isolation []Feature  `json:"isolation,omitempty"`
	Restarts  int        `json:"restarts,omitempty"` // of a service's replica
	Port      int        `json:"port,omitempty"`     // on which it is to answer

	Grant        *Grant              `json:"grant,omitempty"`        // what it may use now, where that is not what was promised
	Accelerators []string            `json:"accelerators,omitempty"` // devices given, as the executor names them
	Uplink       units.BitsPerSecond `json:"uplink,omitempty"`       // taken of the rack's uplink, by a job that spans racks
}

// Resize is a change of an elastic job's size.
type Resize struct {
	Time time.Time `json:"time"`
	From int       `json:"from"`
	To   int       `json:"to"` // as planned: it starts with what there is then
	Why  string    `json:"why"`
}

// Feature is one part of the isolation and whether it is really enforced.
type Feature struct {
	Name     string `json:"name"`
	Enforced bool   `json:"enforced"`
	Detail   string `json:"detail"`
}

// Reason is one constraint of a decision: what was needed, what was offered.
type Reason struct {
	Constraint string `json:"constraint"`
	Needed     string `json:"needed"`
	Offered    string `json:"offered"`
	Detail     string `json:"detail"`

	Nodes    int      `json:"nodes,omitempty"`    // how many nodes it rules out
	Examples []string `json:"examples,omitempty"` // some of these nodes, by name
}

// Progress is how far a training job is.
type Progress struct {
	Epoch       int     `json:"epoch"`
	Epochs      int     `json:"epochs"`
	Fraction    float64 `json:"fraction"` // of the whole, 0 to 1
	ETASeconds  float64 `json:"eta_seconds"`
	Loss        float64 `json:"loss"`
	Accuracy    float64 `json:"accuracy"`
	ValLoss     float64 `json:"val_loss"`
	ValAccuracy float64 `json:"val_accuracy"`
}

// Metric is one point of a run's curve.
type Metric struct {
	Seq   int64     `json:"seq"`
	Time  time.Time `json:"time"`
	Step  int64     `json:"step"`
	Epoch int       `json:"epoch"`
	Name  string    `json:"name"`
	Value float64   `json:"value"`
}

// ModelRef names a version of the registry.
type ModelRef struct {
	Name    string `json:"name"`
	Version int64  `json:"version"`
}
