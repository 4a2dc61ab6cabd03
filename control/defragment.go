package control

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/job"
)

// DefragmentOptions tune the moving of running jobs. A zero field takes the default.
type DefragmentOptions struct {
	Restart time.Duration // from the end of a stopped job until it works again, besides its grace; 30 s
	Horizon time.Duration // a gain counts for so long at most, and for so long when nobody knows how long it lasts; 1 h
	Margin  float64       // how many times its cost a move must gain; 2
	Settle  time.Duration // within which what has moved must run; 10 min
	Pause   time.Duration // from one stop of a job for others to the next; 1 h
}

func (o DefragmentOptions) defaults() DefragmentOptions {
	o.Restart = cmp.Or(o.Restart, 30*time.Second)
	o.Horizon = cmp.Or(o.Horizon, time.Hour)
	o.Settle = cmp.Or(o.Settle, 10*time.Minute)
	o.Pause = cmp.Or(o.Pause, time.Hour)
	o.Margin = cmp.Or(o.Margin, 2)
	return o
}

// relocateJobs is the verb: stop jobs with grace, and let them go on elsewhere from their last checkpoints.
const relocateJobs = "relocate_jobs"

const defragmentName = "defragment"

// Defragment is the reaction to room that is there and of no use because it lies apart: running jobs that may be stopped
// move together, so that a waiting job starts or an accelerator stands empty for whole. It is proposed where the gain
// is worth Margin times the cost, and verified by all that moved running in their new places.
//
// Cost is what stands still meanwhile: what the jobs hold, times grace and restart. Gain is what works sooner: what the
// waiting job asks for, times how much sooner it starts; or the accelerators that stand empty, times Horizon.
func Defragment(o DefragmentOptions) Policy {
	d := defragment{o.defaults()}
	return Policy{
		Name:    defragmentName,
		About:   "moves running jobs that may be stopped together, where that starts a waiting job or empties an accelerator",
		Default: Advise,
		Memory:  time.Minute,
		Propose: d.propose,
		Verify:  d.verify,
	}
}

type defragment struct{ DefragmentOptions }

func (d defragment) propose(s State) []Action {
	for _, a := range s.Actions {
		if a.Verb == relocateJobs && (a.State == Decided || a.State == Applied) {
			return nil // one at a time: the next is looked for in the hall as it is then
		}
	}
	var out []Action
	for _, r := range s.Relocations {
		cost, gain := d.weigh(s.Now, r)
		if gain < d.Margin*cost || d.lately(s, r) {
			continue
		}
		out = append(out, d.action(s.Now, r, cost, gain))
	}
	return out
}

// weigh gives cost and gain in accelerator-seconds, or core-seconds.
func (d defragment) weigh(now time.Time, r job.Relocation) (cost, gain float64) {
	var still time.Duration
	for _, m := range r.Moves {
		still = max(still, time.Duration(m.Grace)+d.Restart)
	}
	sooner := d.Horizon
	if r.Earliest != nil {
		sooner = min(max(r.Earliest.Sub(now), 0), d.Horizon)
	}
	return r.Holds * still.Seconds(), r.Gains * sooner.Seconds()
}

// lately tells whether one of the jobs was stopped for others within Pause.
func (d defragment) lately(s State, r job.Relocation) bool {
	for _, m := range r.Moves {
		if j, ok := s.Job(m.Job); !ok || j.Preempted != nil && s.Now.Sub(*j.Preempted) < d.Pause {
			return true
		}
	}
	return false
}

func (d defragment) action(now time.Time, r job.Relocation, cost, gain float64) Action {
	a := Action{
		ID: relocationID(r), Verb: relocateJobs, Moves: r.Moves,
		Subject: "job/" + r.Moves[0].Job.String(),
		Evidence: []Fact{
			{"cost_" + strings.TrimSuffix(r.Unit, "s") + "_seconds", fmt.Sprintf("%.0f", cost)},
			{"gain_" + strings.TrimSuffix(r.Unit, "s") + "_seconds", fmt.Sprintf("%.0f", gain)},
			{"stands_still", fmt.Sprintf("%g %s", r.Holds, r.Unit)},
			{"restart_assumed", d.Restart.String()},
		},
	}
	for _, m := range r.Moves {
		a.Reasons = append(a.Reasons, fmt.Sprintf("job %d (%s) may be stopped and would go on from its last checkpoint at %s", m.Job, m.Name, m.Where()))
	}
	switch {
	case r.Starts != "":
		a.Subject = "job/" + r.Starts
		when := "nobody knows when"
		if r.Earliest != nil {
			when = "in " + r.Earliest.Sub(now).Round(time.Second).String()
		}
		a.Reasons = append([]string{fmt.Sprintf("job %s (%s) would start at once, otherwise %s", r.Starts, r.Name, when)}, a.Reasons...)
	case len(r.Frees) > 0:
		a.Reasons = append([]string{"accelerator " + strings.Join(r.Frees, ", ") + " would stand empty, of which only parts are taken now"}, a.Reasons...)
	}
	return a
}

// relocationID names what moves where.
func relocationID(r job.Relocation) string {
	body, _ := json.Marshal(r.Moves)
	sum := sha256.Sum256(body)
	id := "act_relocate"
	for _, m := range r.Moves {
		id += "_" + m.Job.String()
	}
	return id + "_" + hex.EncodeToString(sum[:4])
}

func (d defragment) verify(s State, a Action) (ActionState, string) {
	switch a.State {
	case Decided:
		return "", "" // its owner says whether it can still be, and has perhaps heard of it already
	case Proposed:
		for _, r := range s.Relocations {
			if relocationID(r) == a.ID {
				return "", ""
			}
		}
		return Failed, "overtaken: the hall has changed, and this would not be worth it now"
	}
	waits := 0
	for _, m := range a.Moves {
		j, ok := s.Job(m.Job)
		switch {
		case !ok: // it has come to its end
		case j.Attempt <= m.Attempt || j.State != job.Running:
			waits++
		case !lies(j, m):
			return Failed, fmt.Sprintf("job %d went on at another place than it was moved to", m.Job)
		}
	}
	took := s.Now.Sub(a.Changed).Round(time.Second)
	switch {
	case waits == 0:
		return Verified, fmt.Sprintf("all that moved runs in its new place, after %v", took)
	case took > d.Settle:
		return Failed, fmt.Sprintf("%d of %d jobs that moved do not run again after %v", waits, len(a.Moves), took)
	}
	return "", ""
}

// lies tells whether the job is where it was moved to.
func lies(j job.Job, m job.Move) bool {
	for _, p := range m.To {
		if p.Task < len(j.Tasks) && (j.Tasks[p.Task].Node != p.Node || !slices.Equal(j.Tasks[p.Task].Accelerators, p.Accelerators)) {
			return false
		}
	}
	return true
}
