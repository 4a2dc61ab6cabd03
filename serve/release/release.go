// Package release is how a version of a model takes over from another, and can be taken back: what share of the requests
// the new one answers, when that share grows, and when it was a mistake. It is pure: it counts nothing, routes nothing and
// reads no clock; serve.Manager does what is decided here and tells how it went.
//
// A Release has two versions, the stable one and the candidate, both in memory, and a share of the requests that name no
// version. How the share moves is its mode: by hand (split), step by step on evidence (canary, judge.go), all at once and
// back (blue-green), or never, the candidate getting copies whose answers are compared and dropped (shadow, compare.go).
//
// Invariants: a release that ends leaves one version, the candidate when it was promoted and the stable one otherwise;
// what a share was judged by is never counted for the next but in the sum over all of the release.
//
//	r, err := release.Plan{Mode: release.Canary}.Begin(3, 4, "user/ann", now)
//	r.Percent // 5
package release

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Mode is how the share of a release moves.
type Mode string

// The modes.
const (
	Split     Mode = "split"      // by hand
	Canary    Mode = "canary"     // up the steps, on evidence
	BlueGreen Mode = "blue-green" // all at once, and back
	Shadow    Mode = "shadow"     // never: the candidate gets copies of a share
)

// Modes lists them.
var Modes = [...]Mode{Split, Canary, BlueGreen, Shadow}

// DefaultSteps are the shares of a canary, in percent; the last means that it has taken over.
var DefaultSteps = [...]float64{5, 25, 50, 100}

// Release is one under way.
type Release struct {
	Mode      Mode      `json:"mode"`
	Stable    int64     `json:"stable"`    // version that answered before
	Candidate int64     `json:"candidate"` // version that is to take over
	Percent   float64   `json:"percent"`   // of the requests that name no version go to the candidate, or, of a shadow, are copied to it
	Steps     []float64 `json:"steps,omitempty"`
	Rule      *Rule     `json:"rule,omitempty"` // of a canary: what it is judged by
	Actor     string    `json:"actor"`
	Since     time.Time `json:"since"`
	Changed   time.Time `json:"changed"` // since when the share is what it is

	Verdict *Verdict `json:"verdict,omitempty"` // of a canary, so far
	Copies  *Copies  `json:"copies,omitempty"`  // of a shadow, so far
}

// Outcome is how a release ended.
type Outcome string

// The outcomes.
const (
	Promoted   Outcome = "promoted"    // the candidate has taken over
	RolledBack Outcome = "rolled_back" // the stable version answers, as before
	Replaced   Outcome = "replaced"    // another deployment came
)

// Ended is a release at its end.
type Ended struct {
	Release Release   `json:"release"`
	Outcome Outcome   `json:"outcome"`
	Reasons []string  `json:"reasons,omitempty"`
	Actor   string    `json:"actor"`
	Time    time.Time `json:"time"`
}

// Plan asks for a release, or for a change of the one under way: what is left out stays as it is.
type Plan struct {
	Candidate int64     `json:"candidate,omitempty"` // version; left out, that of the release under way, or the newest
	Mode      Mode      `json:"mode,omitempty" enum:"split,canary,blue-green,shadow"`
	Percent   *float64  `json:"percent,omitempty" minimum:"0" maximum:"100"`
	Steps     []float64 `json:"steps,omitempty" doc:"of a canary, in percent, rising; 5, 25, 50, 100 where left out"`
	Rule      *Rule     `json:"rule,omitempty" doc:"what a canary is judged by; zero fields take the defaults"`
	Manual    bool      `json:"manual,omitempty" doc:"a canary that a person moves: nothing is judged"`
}

// Begin makes a release of the plan.
func (p Plan) Begin(stable, candidate int64, actor string, now time.Time) (Release, error) {
	const op = "release.Begin"
	r := Release{Mode: p.Mode, Stable: stable, Candidate: candidate, Actor: actor, Since: now, Changed: now}
	if r.Mode == "" {
		r.Mode = Split
	}
	if !slices.Contains(Modes[:], r.Mode) {
		return r, errs.Errorf(op, errs.Invalid, "the mode %.40q is not known: write split, canary, blue-green or shadow", string(p.Mode))
	}
	if stable == candidate {
		return r, errs.Errorf(op, errs.Invalid, "version %d answers already: a release leads from one version to another", stable)
	}
	if r.Mode != Canary && (p.Steps != nil || p.Rule != nil || p.Manual) {
		return r, errs.Errorf(op, errs.Invalid, "steps, rule and manual belong to the mode canary, and this is %s", r.Mode)
	}
	switch r.Mode {
	case Canary:
		r.Steps = DefaultSteps[:]
		if p.Percent != nil { // where it begins
			r.Steps = slices.DeleteFunc(slices.Clone(r.Steps), func(s float64) bool { return s <= *p.Percent })
			r.Steps = append([]float64{*p.Percent}, r.Steps...)
		}
		if p.Steps != nil {
			r.Steps = slices.Clone(p.Steps)
		}
		if err := checkSteps(r.Steps); err != nil {
			return r, err
		}
		r.Percent = r.Steps[0]
		if !p.Manual {
			rule, err := p.Rule.filled()
			if err != nil {
				return r, err
			}
			r.Rule = &rule
		}
	case Split, Shadow:
		if p.Percent == nil {
			return r, errs.Errorf(op, errs.Invalid, "a %s needs a share in percent, such as 10", r.Mode)
		}
		r.Percent = *p.Percent
	case BlueGreen:
		if p.Percent != nil {
			r.Percent = *p.Percent
		}
	}
	return r, r.check()
}

// Change moves the share of a release under way.
func (p Plan) Change(r Release, actor string, now time.Time) (Release, error) {
	const op = "release.Change"
	switch {
	case p.Candidate != 0 && p.Candidate != r.Candidate:
		return r, errs.Errorf(op, errs.Conflict, "a release of version %d is under way: promote it or roll it back first", r.Candidate)
	case p.Mode != "" && p.Mode != r.Mode:
		return r, errs.Errorf(op, errs.Conflict, "a release in the mode %s is under way: promote it or roll it back before beginning one in the mode %s", r.Mode, p.Mode)
	case p.Steps != nil || p.Rule != nil || p.Manual:
		return r, errs.Errorf(op, errs.Invalid, "the steps and the rule of a release stay as it began: roll it back and begin another")
	case p.Percent == nil:
		return r, errs.Errorf(op, errs.Invalid, "say to which share the release is to go: percent is missing")
	}
	if r.Percent != *p.Percent {
		r.Percent, r.Changed = *p.Percent, now
	}
	r.Actor = actor
	return r, r.check()
}

// Next is the share that a canary goes to from the one it has; false where there is none.
func (r Release) Next() (float64, bool) {
	for _, s := range r.Steps {
		if s > r.Percent {
			return s, true
		}
	}
	return 0, false
}

func (r Release) check() error {
	const op = "release.check"
	switch p := r.Percent; {
	case math.IsNaN(p) || p < 0 || p > 100:
		return errs.Errorf(op, errs.Invalid, "%v is no share: write a number of percent from 0 to 100", p)
	case r.Mode == BlueGreen && p != 0 && p != 100:
		return errs.Errorf(op, errs.Invalid, "blue-green leads all requests to one version: the share is 0 or 100, not %v", p)
	case r.Mode == Canary && r.Rule != nil && p == 100:
		return errs.Errorf(op, errs.Invalid, "at 100 %% nothing is left to compare a canary with: promote it")
	}
	return nil
}

func checkSteps(steps []float64) error {
	const op = "release.checkSteps"
	if len(steps) == 0 || len(steps) > 100 {
		return errs.Errorf(op, errs.Invalid, "a canary has 1 to 100 steps, not %d", len(steps))
	}
	for i, s := range steps {
		if math.IsNaN(s) || s <= 0 || s > 100 || i > 0 && s <= steps[i-1] {
			return errs.Errorf(op, errs.Invalid, "the steps %s are not rising shares between 0 and 100", Percents(steps))
		}
	}
	return nil
}

// Text says in a line what a release does.
func (r Release) Text() string {
	switch r.Mode {
	case Shadow:
		return fmt.Sprintf("version %d answers, version %d gets copies of %s", r.Stable, r.Candidate, percent(r.Percent))
	case BlueGreen:
		live, other := r.Stable, r.Candidate
		if r.Percent == 100 {
			live, other = other, live
		}
		return fmt.Sprintf("version %d answers, version %d stands ready", live, other)
	}
	return fmt.Sprintf("version %d answers %s, version %d the rest", r.Candidate, percent(r.Percent), r.Stable)
}

// Percents writes shares: 5, 25, 50, 100 %.
func Percents(steps []float64) string {
	var all []string
	for _, s := range steps {
		all = append(all, strconv.FormatFloat(s, 'g', 6, 64))
	}
	return strings.Join(all, ", ") + " %"
}

func percent(p float64) string { return strconv.FormatFloat(p, 'g', 6, 64) + " %" }
