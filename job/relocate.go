package job

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/sched"
)

// Relocation is running jobs that would go on elsewhere, each from its last checkpoint, and what that is good for.
type Relocation struct {
	Moves []Move `json:"moves"`

	Starts   string     `json:"starts,omitempty"`   // the waiting job, or replica "12.3" of one, that starts then and does not now
	Name     string     `json:"name,omitempty"`     // that job's
	Earliest *time.Time `json:"earliest,omitempty"` // when it is expected to start otherwise; nobody knows when absent
	Frees    []string   `json:"frees,omitempty"`    // accelerators that stand empty then, "node/0"

	Unit  string  `json:"unit"`  // what cost and gain count: accelerators, or cores where none are involved
	Holds float64 `json:"holds"` // what stands still while the jobs move
	Gains float64 `json:"gains"` // what starts to work, or stands empty for whole
}

// Move is one job of a relocation. Attempt is the job's that moves: asked twice, the second finds a newer one.
type Move struct {
	Job     ID             `json:"job"`
	Name    string         `json:"name"`
	Attempt int            `json:"attempt"`
	Grace   Duration       `json:"grace"` // that it has to write a checkpoint
	From    []PlannedPlace `json:"from"`
	To      []PlannedPlace `json:"to"` // of all its tasks, in the same order
}

// Relocations looks for moves of preemptible jobs that start a waiting one or empty an accelerator (sched.Relocate). It
// plans, and so may take a while.
func (r *Runner) Relocations(ctx context.Context) ([]Relocation, error) {
	var snap sched.Snapshot
	jobs := map[ID]Job{}
	err := r.call(ctx, func(l *loop) error {
		if l.broken {
			return l.step() // says so: the core is ahead of what is written
		}
		snap, _ = l.core.snapshot(l.o.Nodes())
		snap.Now = l.o.Clock.Now()
		for _, j := range l.core.Jobs() {
			jobs[j.ID] = j
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []Relocation
	for _, found := range sched.Relocate(snap, sched.Plan(snap).Decisions, sched.RelocateOptions{}) {
		out = append(out, relocation(found, jobs))
	}
	return out, nil
}

func relocation(found sched.Relocation, jobs map[ID]Job) Relocation {
	out := Relocation{Unit: "accelerators", Starts: found.Starts}
	for _, g := range found.Gangs {
		number, _, _ := strings.Cut(g.Gang, ".")
		j := jobs[parseID(number)]
		m := Move{Job: j.ID, Name: j.Name, Attempt: j.Attempt, Grace: j.Spec.Grace}
		m.From, m.To = placed(g.From), placed(g.To)
		for _, p := range g.To {
			out.Holds += devices(p.Ask)
		}
		out.Moves = append(out.Moves, m)
	}
	for _, f := range found.Frees {
		out.Frees = append(out.Frees, f.Node+"/"+strings.Join(f.Accelerators, ","))
		out.Gains++
	}
	if found.Starts == "" {
		return out
	}
	number, _, replica := strings.Cut(found.Starts, ".")
	j := jobs[parseID(number)]
	tasks := float64(len(j.Tasks))
	if replica {
		tasks = 1
	}
	out.Name = j.Name
	if out.Gains = tasks * devices(j.gang().Each); out.Gains == 0 {
		out.Unit, out.Gains, out.Holds = "cores", tasks*j.Spec.Resources.CPU, 0
		for _, g := range found.Gangs {
			for _, p := range g.To {
				out.Holds += p.Ask.CPU
			}
		}
	}
	if !found.Earliest.IsZero() {
		out.Earliest = &found.Earliest
	}
	return out
}

// devices is how many accelerators a task has, a share as a part.
func devices(a sched.Ask) float64 {
	if a.Accelerators == 1 && a.Share > 0 {
		return float64(a.Share) / 1000
	}
	return float64(a.Accelerators)
}

// Relocate has the jobs stop and go on where the moves say. Asked again for the same attempts it does nothing, so a caller
// that does not know whether it was heard may repeat itself. Places that are not free any more are errs.Conflict, and
// then nothing moves.
func (r *Runner) Relocate(ctx context.Context, actor, reason string, moves []Move) error {
	return r.call(ctx, func(l *loop) error {
		return l.step(Relocate{Moves: moves, Reason: reason, Nodes: l.o.Nodes(), Actor: actor})
	})
}

func (c *Core) relocate(in Relocate) error {
	const op = "job.Relocate"
	var going []*Job
	var places []sched.Placement
	for _, m := range in.Moves {
		j, err := c.active(op, m.Job)
		switch {
		case err != nil:
			return err
		case j.Attempt > m.Attempt || j.State == Stopping && slices.EqualFunc(j.Claim, m.To, PlannedPlace.same):
			continue // it has heard already
		case j.State != Running:
			return errs.Errorf(op, errs.Conflict, "job %d is %s: only a running job can move", j.ID, j.State)
		case !j.Spec.Preemptible:
			return errs.Errorf(op, errs.Denied, "job %d may not be stopped for others: `preemptible: true` in its spec allows it", j.ID)
		}
		if !slices.EqualFunc(j.held(), m.From, PlannedPlace.same) {
			return errs.Errorf(op, errs.Conflict, "job %d does not lie any more where it lay when this was planned", j.ID)
		}
		j.Claim = m.To
		for i, p := range j.gang().Claim {
			if !m.To[i].same(m.From[i]) {
				places = append(places, p)
			}
		}
		j.Claim = nil
		going = append(going, j)
	}
	snap, _ := c.snapshot(in.Nodes)
	if !sched.Free(snap, places) {
		return errs.Errorf(op, errs.Conflict, "the places that the jobs were to move to are not free any more")
	}
	for _, j := range going {
		i := slices.IndexFunc(in.Moves, func(m Move) bool { return m.Job == j.ID })
		at := c.now
		j.Preempted, j.Claim = &at, in.Moves[i].To
		c.noteBy(j, "job.moved", in.Actor)
		c.end(j, Queued, "moved to "+in.Moves[i].Where()+": "+in.Reason)
	}
	return nil
}

// held is where the job's live tasks are.
func (j *Job) held() (out []PlannedPlace) {
	for _, t := range j.Tasks {
		if t.State.Live() {
			out = append(out, PlannedPlace{t.Index, t.Node, t.Accelerators, t.Uplink})
		}
	}
	return out
}

func (p PlannedPlace) same(q PlannedPlace) bool {
	return p.Task == q.Task && p.Node == q.Node && slices.Equal(p.Accelerators, q.Accelerators)
}

// Where is the new places in words, those that change: "n2/0,1".
func (m Move) Where() string {
	var out []string
	for i, p := range m.To {
		if i < len(m.From) && p.same(m.From[i]) {
			continue
		}
		s := p.Node
		if len(p.Accelerators) > 0 {
			s += "/" + strings.Join(p.Accelerators, ",")
		}
		if len(m.To) > 1 {
			s += " (task " + strconv.Itoa(p.Task) + ")"
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}
