package control

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/upstream"
)

// Input is what the core is told. The types below are all there are.
type Input interface{ input() }

type (
	// Seen is every job that has not ended, as it is now, by ID.
	Seen struct{ Jobs []job.Job }
	// Measured is what the running tasks use.
	Measured struct{ Uses []job.Use }
	// Found is every relocation of running jobs that the scheduler found in the hall as it is now.
	Found struct{ Relocations []job.Relocation }
	// Served is every model in service, as it is now; not nil.
	Served struct{ Services []serve.Service }
	// Wished is how many replicas services should have.
	Wished struct{ Wishes []upstream.Wish }
	// Approved lets a proposed action go ahead.
	Approved struct{ ID, Actor string }
	// ModeSet changes how far a policy may go.
	ModeSet struct {
		Policy string
		Mode   Mode
		Actor  string
	}
	// Done is the answer to an Apply effect; Reason is empty when it went well.
	Done struct {
		ID, Reason string
		Transient  bool
	}
	// Tick lets time pass.
	Tick struct{}
)

func (Seen) input()     {}
func (Measured) input() {}
func (Found) input()    {}
func (Wished) input()   {}
func (Served) input()   {}
func (Approved) input() {}
func (ModeSet) input()  {}
func (Done) input()     {}
func (Tick) input()     {}

// Effect is what the core wants done. The saves of a step must be durable before anything of it is applied.
type Effect interface{ effect() }

type (
	// SaveAction writes an action down.
	SaveAction struct {
		Action Action
		Events []event.Event
	}
	// SaveMode writes a policy's mode down.
	SaveMode struct {
		Policy string
		Mode   Mode
		Events []event.Event
	}
	// Apply carries an action out; the answer is Done. It may come again for the same action after a crash.
	Apply struct{ Action Action }
	// Refused says that the input at that place of the step's arguments was not taken.
	Refused struct {
		Input int
		Err   error
	}
)

func (SaveAction) effect() {}
func (SaveMode) effect()   {}
func (Apply) effect()      {}
func (Refused) effect()    {}

// applyAgain is the pause before an action that could not be applied just now is applied again.
const applyAgain = 5 * time.Second

// self is who acts when no person does.
const self = "service/control"

// Core is the loop's state. It is used by one goroutine; the same inputs give the same effects.
type Core struct {
	policies []Policy
	modes    map[string]Mode
	jobs     []job.Job
	uses     []job.Use
	found    []job.Relocation
	services []serve.Service // nil until they were first seen
	wishes   []upstream.Wish
	looked   bool // jobs were seen: before, nothing is known to be dead or alive
	actions  map[string]*Action
	applying map[string]bool

	now     time.Time
	saves   []Effect
	effects []Effect
}

// NewCore takes up the modes and the actions of a store.
func NewCore(policies []Policy, modes map[string]Mode, actions []Action) *Core {
	c := &Core{policies: policies, modes: map[string]Mode{}, actions: map[string]*Action{}, applying: map[string]bool{}}
	for _, p := range policies {
		c.modes[p.Name] = cmp.Or(modes[p.Name], p.Default)
	}
	for _, a := range actions {
		c.actions[a.ID] = &a
	}
	return c
}

// Mode is a policy's mode; false when there is no such policy.
func (c *Core) Mode(policy string) (Mode, bool) {
	m, ok := c.modes[policy]
	return m, ok
}

// Step takes the inputs in order, then lets the policies look. The saves come first among the effects.
func (c *Core) Step(now time.Time, inputs ...Input) []Effect {
	c.now, c.saves, c.effects = now, nil, nil
	for i, in := range inputs {
		if err := c.take(in); err != nil {
			c.effects = append(c.effects, Refused{Input: i, Err: err})
		}
	}
	if c.looked {
		for _, p := range c.policies {
			c.verify(p)
			c.propose(p)
			c.decide(p)
		}
	}
	c.apply()
	return append(c.saves, c.effects...)
}

func (c *Core) take(in Input) error {
	switch in := in.(type) {
	case Seen:
		c.jobs, c.looked = in.Jobs, true
	case Measured:
		c.uses = in.Uses
	case Found:
		c.found = in.Relocations
	case Served:
		c.services = in.Services
	case Wished:
		c.wishes = in.Wishes
	case Approved:
		return c.approve(in)
	case ModeSet:
		return c.setMode(in)
	case Done:
		c.done(in)
	}
	return nil
}

// state is the policies' view.
func (c *Core) state() State {
	s := State{Now: c.now, Jobs: c.jobs, Uses: c.uses, Relocations: c.found, Services: c.services, Wishes: c.wishes}
	for _, a := range c.ordered() {
		s.Actions = append(s.Actions, *a)
	}
	return s
}

func (c *Core) ordered() []*Action {
	return slices.SortedFunc(maps.Values(c.actions), func(a, b *Action) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID))
	})
}

// move changes an action's state by the table and notes the save; false when the table has no such row.
func (c *Core) move(a *Action, to ActionState, outcome, actor string) bool {
	if !a.State.May(to) {
		return false
	}
	a.State, a.Outcome, a.Changed = to, outcome, c.now
	c.save(a, actor)
	return true
}

func (c *Core) save(a *Action, actor string) {
	c.saves = append(c.saves, SaveAction{Action: *a, Events: []event.Event{
		event.New("actions", "action."+string(a.State), "action/"+a.ID, actor, *a),
	}})
}

// verify asks the policy how its open actions went, and forgets the closed ones that no longer matter.
func (c *Core) verify(p Policy) {
	s := c.state()
	for _, a := range c.ordered() {
		switch {
		case a.Policy != p.Name:
		case !a.State.Open():
			if c.now.Sub(a.Changed) > p.Memory {
				delete(c.actions, a.ID)
			}
		case c.applying[a.ID]: // its answer comes first
		default:
			if to, outcome := p.Verify(s, *a); to == Verified || to == Failed {
				c.move(a, to, outcome, self)
			}
		}
	}
}

func (c *Core) propose(p Policy) {
	if c.modes[p.Name] == Off {
		return
	}
	for _, a := range p.Propose(c.state()) {
		if c.actions[a.ID] != nil {
			continue
		}
		a.Policy, a.Mode, a.State, a.Time, a.Changed = p.Name, c.modes[p.Name], Proposed, c.now, c.now
		c.actions[a.ID] = &a
		c.save(&a, self)
	}
}

// decide lets the proposed actions of a policy that may act go ahead, and takes those back that it no longer may.
func (c *Core) decide(p Policy) {
	act := c.modes[p.Name] == Act
	for _, a := range c.ordered() {
		switch {
		case a.Policy != p.Name:
		case a.State == Proposed && (act || a.Return && c.modes[p.Name] == Advise) && !a.Hold:
			c.move(a, Decided, "", self)
		case a.State == Decided && !act && a.By == "" && !a.Return && !c.applying[a.ID]:
			c.move(a, Proposed, "the policy's mode is "+string(c.modes[p.Name])+": a person decides", self)
		}
	}
}

// apply asks for what is decided and due, once at a time.
func (c *Core) apply() {
	if !c.looked {
		return
	}
	for _, a := range c.ordered() {
		if a.State == Decided && !c.applying[a.ID] && !c.now.Before(a.NotBefore) {
			c.applying[a.ID] = true
			c.effects = append(c.effects, Apply{Action: *a})
		}
	}
}

func (c *Core) done(in Done) {
	delete(c.applying, in.ID)
	a := c.actions[in.ID]
	switch {
	case a == nil:
	case in.Reason == "":
		c.move(a, Applied, "", self)
	case in.Transient:
		a.NotBefore, a.Outcome = c.now.Add(applyAgain), "could not be applied yet: "+in.Reason
		c.save(a, self)
	default:
		c.move(a, Failed, "could not be applied: "+in.Reason, self)
	}
}

func (c *Core) approve(in Approved) error {
	const op = "control.Approve"
	a := c.actions[in.ID]
	switch {
	case a == nil:
		return errs.Errorf(op, errs.NotFound, "no open action %q; `lineshaft advice` lists them", in.ID)
	case a.State != Proposed:
		return errs.Errorf(op, errs.Conflict, "action %s is %s: only a proposed action can be approved", in.ID, a.State)
	}
	a.By, a.NotBefore = in.Actor, c.now
	c.move(a, Decided, "", in.Actor)
	return nil
}

func (c *Core) setMode(in ModeSet) error {
	const op = "control.SetMode"
	if _, ok := c.modes[in.Policy]; !ok {
		return errs.Errorf(op, errs.NotFound, "no policy %q; `lineshaft advice` lists them", in.Policy)
	}
	if _, err := ParseMode(string(in.Mode)); err != nil {
		return err
	}
	c.modes[in.Policy] = in.Mode
	c.saves = append(c.saves, SaveMode{Policy: in.Policy, Mode: in.Mode, Events: []event.Event{
		event.New("actions", "policy.mode_set", "policy/"+in.Policy, in.Actor, map[string]string{"policy": in.Policy, "mode": string(in.Mode)}),
	}})
	return nil
}
