package twin

import (
	"cmp"
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/sched"
)

// Rule is a policy by name, with what the scheduler is told of durations unless somebody asks otherwise.
type Rule struct {
	Name   string
	About  string
	Policy sched.Policy
	Know   string // a name of Knowledge
}

// What the scheduler knows of durations.
const (
	Predicted = "predicted" // online, from what has ended
	Known     = "known"     // from the trace: for comparison, no real hall has that
	Unknown   = "unknown"
)

// Knowledge is what Options.Know takes.
func Knowledge() []string { return []string{Predicted, Known, Unknown} }

// Rules are the named policies: the product's own first.
func Rules() []Rule {
	stop := sched.Preemption{Order: true, Margin: 1}
	one := sched.Preemption{Order: true, Margin: 1, One: true}
	return []Rule{
		{"lineshaft", "the product's own: least expected work first, by predictions; every wait is bounded", sched.WithForesight(), Predicted},
		{"fifo", "by age, nobody passes", sched.Policy{Backfill: sched.Strict}, Unknown},
		{"pass", "by age, whatever fits starts", sched.Policy{}, Unknown},
		{"easy", "by age, who does not delay the first may pass", sched.Policy{Backfill: sched.EASY}, Known},
		{"conservative", "by age, who delays nobody may pass", sched.Policy{Backfill: sched.Conservative}, Known},
		{"sjf", "shortest first", sched.Policy{Order: sched.SJF}, Known},
		{"srtf", "shortest remaining time first, stopping one at least as large for each of the first three", sched.Policy{Order: sched.SRTF, Preempt: one, Depth: 3}, Known},
		{"srtf-any", "shortest remaining time first, stopping whatever makes room", sched.Policy{Order: sched.SRTF, Preempt: stop}, Known},
		{"las", "least attained service first, stopping others", sched.Policy{Order: sched.LAS, Preempt: stop}, Unknown},
	}
}

// Named finds a rule; "ours" and no name at all are the product's own.
func Named(name string) (Rule, error) {
	name = cmp.Or(name, "lineshaft")
	if name == "ours" {
		name = "lineshaft"
	}
	var names []string
	for _, r := range Rules() {
		if r.Name == name {
			return r, nil
		}
		names = append(names, r.Name)
	}
	return Rule{}, errs.Errorf("twin.Named", errs.Invalid, "there is no policy %q; choose from %s", name, strings.Join(names, ", "))
}

// Know sets what the scheduler is told of durations.
func (o *Options) Know(what string) error {
	switch what {
	case Predicted, Known, Unknown:
		o.Predict, o.Oracle = what == Predicted, what == Known
		return nil
	}
	return errs.Errorf("twin.Know", errs.Invalid, "durations are not %q; they are %s", what, strings.Join(Knowledge(), ", "))
}
