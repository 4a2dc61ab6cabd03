package learn

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/sched"
)

// Knob is a number of the policy that can be learned. It is looked for on a logarithmic scale, from Low to High, and at
// 0 where Off allows that.
type Knob struct {
	Name      string
	Low, High float64
	Off       bool
	get       func(sched.Policy) float64
	set       func(*sched.Policy, float64)
}

// Numbers are values of knobs, by name.
type Numbers map[string]float64

// The groups of knobs.
const (
	Places = "places" // what decides between nodes: sched.Weights
	Times  = "times"  // the order in time: of policies that stop for order's sake, or bound waits. The bound itself is a promise, and not to be learned
)

// Knobs are the knobs of the groups; all of them when none is named.
func Knobs(groups ...string) []Knob {
	var out []Knob
	if len(groups) == 0 || slices.Contains(groups, Places) {
		out = append(out,
			weight("fragmentation", 0.1, 10, false, func(w *sched.Weights) *float64 { return &w.Fragmentation }),
			weight("congestion", 1, 100, true, func(w *sched.Weights) *float64 { return &w.Congestion }),
			weight("scarcity", 1, 100, true, func(w *sched.Weights) *float64 { return &w.Scarcity }),
			weight("power", 0.5, 50, true, func(w *sched.Weights) *float64 { return &w.Power }),
			weight("tightness", 0.5, 50, true, func(w *sched.Weights) *float64 { return &w.Tightness }),
		)
	}
	if len(groups) == 0 || slices.Contains(groups, Times) {
		out = append(out,
			Knob{
				"margin", 1, 8, false,
				func(p sched.Policy) float64 { return orElse(p.Preempt.Margin, 2) },
				func(p *sched.Policy, v float64) { p.Preempt.Margin = v },
			},
			seconds("quantum", 60, 4*3600, func(p *sched.Policy) *time.Duration { return &p.Quantum }),
			Knob{
				"share", 0.05, 1, false,
				func(p sched.Policy) float64 { return orElse(p.Share, 1) },
				func(p *sched.Policy, v float64) { p.Share = v },
			},
			seconds("ageing", 3600, 7*24*3600, func(p *sched.Policy) *time.Duration { return &p.Rules.Ageing }),
		)
	}
	return out
}

func weight(name string, low, high float64, off bool, of func(*sched.Weights) *float64) Knob {
	whole := func(p sched.Policy) sched.Weights {
		if p.Weights == (sched.Weights{}) {
			return sched.DefaultWeights()
		}
		return p.Weights
	}
	return Knob{
		name, low, high, off,
		func(p sched.Policy) float64 { w := whole(p); return *of(&w) },
		func(p *sched.Policy, v float64) { w := whole(*p); *of(&w) = v; p.Weights = w },
	}
}

// seconds is a knob of a duration, which 0 turns off.
func seconds(name string, low, high float64, of func(*sched.Policy) *time.Duration) Knob {
	return Knob{
		name, low, high, true,
		func(p sched.Policy) float64 { return of(&p).Seconds() },
		func(p *sched.Policy, v float64) { *of(p) = time.Duration(math.Round(v * float64(time.Second))) },
	}
}

func orElse(v, other float64) float64 {
	if v == 0 {
		return other
	}
	return v
}

// Named are the knobs of the names; a group's name is all of its knobs.
func Named(names ...string) ([]Knob, error) {
	const op = "learn.Named"
	all := Knobs()
	var out []Knob
	for _, name := range names {
		var these []Knob
		if name == Places || name == Times {
			these = Knobs(name)
		} else if i := slices.IndexFunc(all, func(k Knob) bool { return k.Name == name }); i >= 0 {
			these = all[i : i+1]
		} else {
			known := []string{Places, Times}
			for _, k := range all {
				known = append(known, k.Name)
			}
			return nil, errs.Errorf(op, errs.Invalid, "there is no knob %q; there are %s", name, strings.Join(known, ", "))
		}
		for _, k := range these {
			if !slices.ContainsFunc(out, func(o Knob) bool { return o.Name == k.Name }) {
				out = append(out, k)
			}
		}
	}
	return out, nil
}

// Of are the numbers that the policy has where the knobs are.
func Of(p sched.Policy, knobs []Knob) Numbers {
	n := Numbers{}
	for _, k := range knobs {
		n[k.Name] = k.get(p)
	}
	return n
}

// In is the policy with these numbers. Names that are no knobs turn nothing.
func (n Numbers) In(p sched.Policy) sched.Policy {
	for _, k := range Knobs() {
		if v, ok := n[k.Name]; ok {
			k.set(&p, v)
		}
	}
	return p
}

// Validate refuses numbers that are of no knob, or that no policy may have.
func (n Numbers) Validate() error {
	const op = "learn.Numbers"
	if len(n) == 0 {
		return errs.Errorf(op, errs.Invalid, "there are no numbers")
	}
	for name, v := range n {
		knobs, err := Named(name)
		if err != nil || len(knobs) != 1 {
			return errs.Errorf(op, errs.Invalid, "there is no knob %q", name)
		}
		if math.IsNaN(v) || v < 0 || v > 1e6 || v == 0 && !knobs[0].Off {
			return errs.Errorf(op, errs.Invalid, "%s is %v, which it cannot be", name, v)
		}
	}
	return n.In(sched.Policy{}).Validate()
}

// String are the numbers in short, in the order of the knobs.
func (n Numbers) String() string {
	var parts []string
	for _, k := range Knobs() {
		if v, ok := n[k.Name]; ok {
			parts = append(parts, k.Name+" "+strconv.FormatFloat(v, 'g', -1, 64))
		}
	}
	return strings.Join(parts, ", ")
}

// offPart is the part of a knob's range that stands for 0.
const offPart = 0.1

// at is the knob's value at u, which goes from 0 to 1 along its range; of two significant digits, so that a file says
// exactly what was tried.
func (k Knob) at(u float64) float64 {
	if k.Off {
		if u < offPart {
			return 0
		}
		u = (u - offPart) / (1 - offPart)
	}
	v := k.Low * math.Pow(k.High/k.Low, min(max(u, 0), 1))
	step := math.Pow(10, math.Floor(math.Log10(v))-1)
	return min(max(math.Round(math.Round(v/step)*step*1e6)/1e6, k.Low), k.High)
}

// where is the place of a value in the knob's range.
func (k Knob) where(v float64) float64 {
	if k.Off && v <= 0 {
		return offPart / 2
	}
	u := min(max(math.Log(v/k.Low)/math.Log(k.High/k.Low), 0), 1)
	if k.Off {
		u = offPart + u*(1-offPart)
	}
	return u
}
