// Package control is the loop: observe, foresee, decide, act, verify.
//
// A Policy is a function of an immutable State to actions, each with its reasons and evidence; it never acts. The core
// (Core, in step.go) keeps the actions: it decides them by the policy's mode, and turns them into effects. A runner
// writes an action down before it applies it, and applies it by calling the owner of the thing (job restarts a
// replica). One file holds one reaction: restart.go.
//
// Invariants: an action is written before it is applied; its ID is made of what it is about, so that the same need is
// one action however often it is seen; applying twice does what applying once does; what was decided and not confirmed
// is applied again after a crash; an action that was applied is verified, and says how it went.
package control

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/upstream"
)

// Mode is how far a policy may go by itself.
type Mode string

// The modes.
const (
	Off    Mode = "off"    // it proposes nothing
	Advise Mode = "advise" // it proposes, a person approves
	Act    Mode = "act"    // it acts
)

// ParseMode reads a mode.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case Off, Advise, Act:
		return m, nil
	}
	return "", errs.Errorf("control.ParseMode", errs.Invalid, "mode %q is not known: use off, advise or act", s)
}

// ActionState is where an action is in its life.
type ActionState string

// The states of an action.
const (
	Proposed ActionState = "proposed" // waits for a person
	Decided  ActionState = "decided"  // will be applied, from NotBefore on
	Applied  ActionState = "applied"  // the owner has taken it; whether it helped is not known yet
	Verified ActionState = "verified" // it helped
	Failed   ActionState = "failed"   // it did not, or there was no need any more; Outcome says which
)

// Transitions is every change of state an action can make.
var Transitions = [...]struct{ From, To ActionState }{
	{Proposed, Decided},
	{Proposed, Failed},
	{Decided, Applied},
	{Decided, Proposed}, // the policy's mode was taken back
	{Decided, Failed},
	{Applied, Verified},
	{Applied, Failed},
}

// May reports whether the table has the row.
func (s ActionState) May(to ActionState) bool {
	for _, t := range Transitions {
		if t.From == s && t.To == to {
			return true
		}
	}
	return false
}

// Open reports whether the action is not at its end.
func (s ActionState) Open() bool { return s != Verified && s != Failed }

// Action is one thing that a policy wants done, from the proposal to its outcome.
type Action struct {
	ID       string       `json:"id"` // of what it is about: act_restart_12_0_3
	Time     time.Time    `json:"time"`
	Policy   string       `json:"policy"`
	Mode     Mode         `json:"mode"`    // of the policy when it was proposed
	Subject  string       `json:"subject"` // job/12
	Verb     string       `json:"verb"`    // restart_task
	Target   Target       `json:"target"`
	Grant    *GrantChange `json:"grant,omitempty"`    // of adjust_grant
	Replicas *Replicas    `json:"replicas,omitempty"` // of set_replicas
	Moves    []job.Move   `json:"moves,omitempty"`    // of jobs that go on elsewhere
	Release  *ReleaseMove `json:"release,omitempty"`  // of a model in service
	Reasons  []string     `json:"reasons"`
	Evidence []Fact       `json:"evidence"`
	State    ActionState  `json:"state"`
	Outcome  string       `json:"outcome"`
	Hold     bool         `json:"hold,omitempty"`   // a person decides, whatever the mode
	By       string       `json:"by,omitempty"`     // who approved it
	Return   bool         `json:"return,omitempty"` // it gives back what was promised: nobody need approve it

	NotBefore time.Time `json:"not_before,omitzero"` // the earliest time to apply it
	Changed   time.Time `json:"changed"`             // when it came into its state
}

// Target is what the verb is done to.
type Target struct {
	Job     job.ID `json:"job,omitempty"`
	Task    int    `json:"task"`
	Attempt int    `json:"attempt,omitempty"` // the one that died
}

// GrantChange is one resource of a running task of which it may use more or less.
type GrantChange struct {
	Resource string    `json:"resource"`
	From     string    `json:"from"`
	To       string    `json:"to"`
	Change   job.Grant `json:"change"`
}

// Fact is one piece of what a decision rests on.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// State is what policies see. They do not change it.
type State struct {
	Now         time.Time
	Jobs        []job.Job        // that have not ended, by ID
	Uses        []job.Use        // of the tasks that run, as far as they are measured, by job and task
	Relocations []job.Relocation // of running jobs, as last looked for
	Services    []serve.Service  // models in service; nil until they are known
	Wishes      []upstream.Wish  // how many replicas services should have, by job
	Actions     []Action         // open ones, and closed ones as long as they matter; oldest first
}

// Job finds a job that has not ended by its number.
func (s State) Job(id job.ID) (job.Job, bool) {
	i, ok := slices.BinarySearchFunc(s.Jobs, id, func(j job.Job, id job.ID) int { return cmp.Compare(j.ID, id) })
	if !ok {
		return job.Job{}, false
	}
	return s.Jobs[i], true
}

// Policy is one reaction.
type Policy struct {
	Name    string
	About   string // one sentence for a person
	Default Mode
	// Memory is how long closed actions stay in State.Actions.
	Memory time.Duration
	// Propose gives the actions that are needed now. One whose ID is in State.Actions is passed over.
	Propose func(State) []Action
	// Verify looks at an open action: Verified or Failed with the outcome ends it, anything else leaves it as it is.
	// For one that is not applied yet, Failed means that there is no need any more.
	Verify func(State, Action) (ActionState, string)
}

// Filter narrows a listing of actions; zero fields do not narrow.
type Filter struct {
	Open  bool      // only those not at their end
	Since time.Time // only those that changed at or after it
	Limit int
}

// Store keeps the journal of actions and the policies' modes.
type Store interface {
	// PutAction writes the action under its ID, over an older state of it.
	PutAction(ctx context.Context, a Action, events ...event.Event) error
	// ListActions lists newest first by Time.
	ListActions(ctx context.Context, f Filter) ([]Action, error)
	PutMode(ctx context.Context, policy string, m Mode, events ...event.Event) error
	// Modes are the modes that were ever set, by policy.
	Modes(ctx context.Context) (map[string]Mode, error)
}
