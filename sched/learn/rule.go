package learn

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"

	"github.com/goccy/go-yaml"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/manifest"
	"github.com/lineshaft/lineshaft/sched"
)

// Version is of the form of a rule file.
const Version = 1

// Rule is what was learned, from what, and whether it is used: a file. Its figures are part of it, so that its verdict
// can be checked, and is (Check).
type Rule struct {
	Version int    `json:"lineshaft-rule"` // Version
	Name    string `json:"name"`
	Verdict string `json:"verdict"` // Learned or Default
	Why     string `json:"why"`

	Default Numbers `json:"default"` // what they were compared with
	Learned Numbers `json:"learned"` // the best that was found, whether it is used or not

	Measure    Measure `json:"measure"`
	Tolerance  float64 `json:"tolerance"` // of the worst validation episode
	Setting    Setting `json:"setting"`
	Search     Record  `json:"search"`
	Training   Part    `json:"training"`
	Validation Part    `json:"validation"`
	Test       *Part   `json:"test,omitempty"` // held out: looked at after the verdict
}

// Setting is where the episodes took place.
type Setting struct {
	Protocol     string   `json:"protocol"` // in words
	Policy       string   `json:"policy"`
	Windows      int      `json:"windows,omitempty"` // into which each trace is cut; not at all when absent
	Orders       int      `json:"orders,omitempty"`  // in which each window is filled
	Cost         float64  `json:"cost,omitempty"`    // seconds that a job loses when it is stopped for others
	Nodes        int      `json:"nodes"`
	Accelerators int      `json:"accelerators"`
	Hall         string   `json:"hall"` // digest of the nodes
	Traces       []Source `json:"traces"`
}

// Source is a trace.
type Source struct {
	Name   string `json:"name"`
	Jobs   int    `json:"jobs"`
	Digest string `json:"digest"` // of the jobs
}

// Record is how the search went.
type Record struct {
	Method string `json:"method"`
	Seed   uint64 `json:"seed"`
	Rounds int    `json:"rounds"`
	Arms   int    `json:"arms"`  // of a round
	Tried  int    `json:"tried"` // arms in all
	Pulls  int    `json:"pulls"`
}

// Method is how Search looks.
const Method = "successive halving on paired episodes, zooming by rounds"

// Part is a set of episodes and what came of them.
type Part struct {
	Episodes []string   `json:"episodes"`
	Looks    int        `json:"looks,omitempty"` // of a test: how often one was made
	Result   Comparison `json:"result"`
}

// In is the policy under the rule: the policy as it is where the verdict is the default.
func (r Rule) In(p sched.Policy) sched.Policy {
	if r.Verdict != Learned {
		return p
	}
	p = r.Learned.In(p)
	p.Learned = r.Name
	return p
}

// Parse reads a rule file and checks it.
func Parse(text []byte) (Rule, error) {
	const op = "learn.Parse"
	var head struct {
		Version int `json:"lineshaft-rule"`
	}
	var r Rule
	if err := manifest.Decode(text, &r); err != nil {
		if lenient(text, &head) && head.Version > Version { // a newer form has other fields
			return Rule{}, newer(head.Version)
		}
		return Rule{}, errs.E(op, errs.Invalid, err)
	}
	return r, r.Check()
}

// lenient reads the head of what need not be understood whole.
func lenient(text []byte, dst any) bool {
	if len(text) > manifest.MaxSize {
		return false
	}
	var first []byte
	for line := range bytes.Lines(text) {
		if bytes.HasPrefix(line, []byte("lineshaft-rule:")) {
			first = line
			break
		}
	}
	return first != nil && manifest.Decode(first, dst) == nil
}

func newer(version int) error {
	return errs.Errorf("learn.Parse", errs.Invalid, "the rule is of version %d, this program knows version %d: learn it again with `lineshaft twin learn`", version, Version)
}

var named = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// CheckName refuses a name that is none.
func CheckName(name string) error {
	if !named.MatchString(name) {
		return errs.Errorf("learn.CheckName", errs.Invalid, "%q is no name for a rule: give up to 63 lower-case letters, digits, dots, dashes and underscores", name)
	}
	return nil
}

// Check refuses a rule that is not in order, or whose verdict its own figures do not bear out.
func (r Rule) Check() error {
	const op = "learn.Rule"
	if r.Version != Version {
		if r.Version == 0 {
			return errs.Errorf(op, errs.Invalid, "this is no rule: it has no lineshaft-rule, the version of its form; `lineshaft twin learn` writes one")
		}
		return newer(r.Version)
	}
	if err := CheckName(r.Name); err != nil {
		return err
	}
	for _, n := range []Numbers{r.Default, r.Learned} {
		if err := n.Validate(); err != nil {
			return err
		}
	}
	for name := range r.Learned {
		if _, ok := r.Default[name]; !ok || len(r.Default) != len(r.Learned) {
			return errs.Errorf(op, errs.Invalid, "the learned numbers and the default are not of the same knobs")
		}
	}
	if !(r.Tolerance >= 0) || r.Tolerance > mostBound {
		return errs.Errorf(op, errs.Invalid, "a tolerance of %v: give 0 or more", r.Tolerance)
	}
	parts := []*Part{&r.Training, &r.Validation}
	if r.Test != nil {
		parts = append(parts, r.Test)
	}
	seen := map[string]bool{}
	for i, p := range parts {
		name := []string{"training", "validation", "test"}[i]
		if err := p.Result.check(r.Measure, len(p.Episodes)); err != nil {
			return errs.Errorf(op, errs.Invalid, "%s: %w", name, err)
		}
		for _, e := range p.Episodes {
			if seen[e] {
				return errs.Errorf(op, errs.Invalid, "episode %s is in two parts, or twice in one: what was learned on cannot judge", e)
			}
			seen[e] = true
		}
	}
	if verdict, _ := Judge(r.Measure, r.Validation.Result, r.Tolerance); verdict != r.Verdict {
		if !slices.Contains([]string{Learned, Default}, r.Verdict) {
			return errs.Errorf(op, errs.Invalid, "there is no verdict %q; there are %s and %s", r.Verdict, Learned, Default)
		}
		return errs.Errorf(op, errs.Invalid, "the verdict is %q, and the rule's own validation says %q: learn it again with `lineshaft twin learn`", r.Verdict, verdict)
	}
	return nil
}

// YAML is the rule as a file that Parse reads.
func (r Rule) YAML() ([]byte, error) {
	const op = "learn.YAML"
	text, err := json.Marshal(r)
	if err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	if text, err = yaml.JSONToYAML(text); err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	head := fmt.Sprintf("# What `lineshaft twin learn` found, and whether it is used: verdict %s.\n# Its figures are checked against the verdict when it is read.\n", r.Verdict)
	return append([]byte(head), text...), nil
}
