package job

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/sched"
	"github.com/lineshaft/lineshaft/sched/queue"
)

// Input is what the core is told. The types below are all there are.
type Input interface{ input() }

type (
	// Submitted brings a job that the store has accepted and numbered.
	Submitted struct{ Job Job }
	// CancelRequested asks a job to end.
	CancelRequested struct {
		ID    ID
		Actor string
	}
	// RetryRequested asks for another run of a job that has ended; Job is its record.
	RetryRequested struct {
		Job   Job
		Actor string
	}
	// SetReplicas changes how many replicas a service has.
	SetReplicas struct {
		ID    ID
		N     int
		Actor string
	}
	// RestartReplica starts a dead replica of a service again. Attempt is the one that died: asked twice, the second
	// finds a newer attempt and does nothing.
	RestartReplica struct {
		ID             ID
		Index, Attempt int
		Actor          string
	}
	// Relocate stops jobs so that they go on elsewhere: all that have not moved yet, or none.
	Relocate struct {
		Moves  []Move
		Reason string
		Nodes  []fleet.Node
		Actor  string
	}
	// TaskObserved is what an executor says of one attempt.
	TaskObserved struct{ Status exec.Status }
	// Observed is everything the executor knows, as it was when the jobs in Fresh had nothing under way since; for
	// those, a task that is not listed does not exist.
	Observed struct {
		Statuses []exec.Status
		Fresh    func(ID) bool
	}
	// StartFailed says that an attempt could not be started. A transient failure is tried again.
	StartFailed struct {
		Ref       exec.TaskRef
		Reason    string
		Transient bool
	}
	// FinishDone is the answer to a Finish effect; Reason is empty when it went well.
	FinishDone struct {
		ID        ID
		Model     *ModelRef
		Reason    string
		Transient bool
	}
	// JournalRead is what a task wrote about itself.
	JournalRead struct {
		ID             ID
		Index, Attempt int
		Progress       *Progress
		Metrics        []Metric
	}
	// PlanTick asks for a plan over the nodes, and for what is due by now. It belongs in a step of its own, after the
	// writes of the one before.
	PlanTick struct {
		Nodes    []fleet.Node
		Reserved []sched.Reservation // of the calendar
	}
)

func (Submitted) input()       {}
func (CancelRequested) input() {}
func (RetryRequested) input()  {}
func (SetReplicas) input()     {}
func (RestartReplica) input()  {}
func (Relocate) input()        {}
func (TaskObserved) input()    {}
func (Observed) input()        {}
func (StartFailed) input()     {}
func (FinishDone) input()      {}
func (JournalRead) input()     {}
func (PlanTick) input()        {}

// Effect is what the core wants done. Every SaveJob of a step must be durable before any other effect of it is carried
// out; effects of one job are carried out in order.
type Effect interface{ effect() }

type (
	// SaveJob writes the record with its events.
	SaveJob struct {
		Job    Job
		Events []event.Event
	}
	// StartTask starts an attempt; the answer is a TaskObserved or a StartFailed.
	StartTask struct {
		Job  Job
		Task Task
	}
	// StopTask ends an attempt, politely for Grace.
	StopTask struct {
		Ref   exec.TaskRef
		Grace time.Duration
	}
	// RemoveTask frees what an old attempt left on disk.
	RemoveTask struct{ Ref exec.TaskRef }
	// ForgetJob frees everything that a job which ended long ago left on disk.
	ForgetJob struct{ ID ID }
	// Finish registers what a job made; the answer is a FinishDone.
	Finish struct{ Job Job }
	// Refused says that the input at that place of the step's arguments was not taken.
	Refused struct {
		Input int
		Err   error
	}
)

func (SaveJob) effect()    {}
func (StartTask) effect()  {}
func (StopTask) effect()   {}
func (RemoveTask) effect() {}
func (ForgetJob) effect()  {}
func (Finish) effect()     {}
func (Refused) effect()    {}

// Core is the state of every job that has not ended. It is used by one goroutine; the same inputs give the same
// effects.
type Core struct {
	jobs      map[ID]*Job
	site      Site
	predictor *sched.Predictor
	forecasts map[ID]sched.Forecast // of what waits
	outlook   outlook
	reserved  []sched.Reservation // of the calendar, as last told
	ready     bool                // the executor's truth was compared with ours once; nothing starts before
	finishing map[ID]bool

	past    queue.Past // what was used up to the last change of what is held
	held    []queue.Use
	saved   time.Time // when past was last written
	unsaved bool

	// What the current step has collected.
	now     time.Time
	notes   map[ID][]note
	effects []Effect
}

// note is an event to come: its data is the job as the step leaves it.
type note struct {
	kind, actor string
	quiet       bool
	data        any
}

// NewCore takes up the jobs of a store. Until it is told Observed, it starts nothing.
//
// From the jobs that have ended it learns how long such jobs take; they are given in the order in which they were
// submitted.
func NewCore(jobs []Job, site Site) *Core {
	c := &Core{jobs: map[ID]*Job{}, finishing: map[ID]bool{}, site: site, predictor: sched.NewPredictor(), forecasts: map[ID]sched.Forecast{}}
	for _, j := range jobs {
		c.expect(&j)
		if j.State.Terminal() {
			c.learn(&j)
			continue
		}
		own := j.clone()
		c.jobs[j.ID] = &own
	}
	return c
}

// Job is the record of a job that has not ended.
func (c *Core) Job(id ID) (Job, bool) {
	j, ok := c.jobs[id]
	if !ok {
		return Job{}, false
	}
	return j.clone(), true
}

// Jobs are the records of all jobs that have not ended, by ID.
func (c *Core) Jobs() []Job {
	out := make([]Job, 0, len(c.jobs))
	for _, id := range c.ids() {
		out = append(out, c.jobs[id].clone())
	}
	return out
}

// Step takes the inputs in order. The saves come first among the effects.
func (c *Core) Step(now time.Time, inputs ...Input) []Effect {
	c.now, c.notes, c.effects = now, map[ID][]note{}, nil
	for i, in := range inputs {
		if err := c.take(in); err != nil {
			c.effects = append(c.effects, Refused{Input: i, Err: err})
		}
	}
	c.account()
	return c.collect()
}

func (c *Core) take(in Input) error {
	switch in := in.(type) {
	case Submitted:
		own := in.Job.clone()
		c.jobs[own.ID] = &own
		c.expect(&own)
	case CancelRequested:
		return c.cancel(in)
	case RetryRequested:
		return c.retry(in)
	case SetReplicas:
		return c.setReplicas(in)
	case RestartReplica:
		return c.restartReplica(in)
	case Relocate:
		return c.relocate(in)
	case AdjustGrant:
		return c.adjustGrant(in)
	case TaskObserved:
		c.observe(in.Status)
	case Observed:
		c.adopt(in)
	case StartFailed:
		c.startFailed(in)
	case FinishDone:
		c.finishDone(in)
	case JournalRead:
		c.journal(in)
	case PlanTick:
		c.due()
		c.reserved = in.Reserved
		c.plan(in.Nodes)
	}
	return nil
}

// collect turns what was noted into saves, and lets go of the jobs that ended.
func (c *Core) collect() []Effect {
	out := make([]Effect, 0, len(c.notes)+len(c.effects))
	for _, id := range slices.Sorted(maps.Keys(c.notes)) {
		j := c.jobs[id].clone()
		save := SaveJob{Job: j}
		for _, n := range c.notes[id] {
			e := event.New("jobs", n.kind, "job/"+id.String(), n.actor, n.data)
			if n.data == nil {
				e = event.New("jobs", n.kind, "job/"+id.String(), n.actor, j)
			}
			e.Quiet = n.quiet
			save.Events = append(save.Events, e)
		}
		out = append(out, save)
		if j.State.Terminal() {
			delete(c.jobs, id)
			delete(c.finishing, id)
		}
	}
	return append(out, c.effects...)
}

// self is who acts when nobody asked.
const self = "service/job"

func (c *Core) note(j *Job, kind string) { c.noteBy(j, kind, self) }

func (c *Core) noteBy(j *Job, kind, actor string) {
	c.notes[j.ID] = append(c.notes[j.ID], note{kind: kind, actor: actor})
}

func (c *Core) quiet(j *Job, kind string, data any) {
	c.notes[j.ID] = append(c.notes[j.ID], note{kind: kind, actor: self, quiet: true, data: data})
}

func (c *Core) do(e Effect) { c.effects = append(c.effects, e) }

// move changes the state by the table; a cause that has no row changes nothing and is false.
func (c *Core) move(j *Job, on Cause) bool {
	to, ok := j.State.After(on)
	j.State = to
	return ok
}

func (c *Core) ids() []ID { return slices.Sorted(maps.Keys(c.jobs)) }

// active finds a job that has not ended.
func (c *Core) active(op string, id ID) (*Job, error) {
	j, ok := c.jobs[id]
	if !ok {
		return nil, errs.Errorf(op, errs.Conflict, "job %d is not active: it has ended or never was; `lineshaft jobs` lists them", id)
	}
	return j, nil
}

// ref names an attempt of the job's task for the executor.
func (j *Job) ref(index, attempt int) exec.TaskRef {
	return exec.TaskRef{Job: j.ID.String(), Index: index, Attempt: attempt}
}

// parseRef is the job of a reference; false when it is none of ours.
func parseRef(r exec.TaskRef) (ID, bool) {
	id := parseID(r.Job)
	return id, id > 0
}

// parseID is the job of a number; 0 when it is none.
func parseID(s string) ID {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return ID(n)
}

// clone shares nothing that a step changes in place. Spec, progress and times are replaced, never written into.
func (j Job) clone() Job {
	j.Tasks = slices.Clone(j.Tasks)
	return j
}
