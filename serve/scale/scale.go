// Package scale says how many replicas a service should have. It is a policy and nothing else: it reads no clock, starts
// no goroutine and scales nothing. What was seen goes in, a wish with its reasons comes out; control acts on it.
//
// There are two rules. Where a target is given it is that of Knative's pod autoscaler: concurrency divided by the target
// over a stable window of a minute; a panic window of six seconds takes over when it asks for twice what is ready, and
// nothing goes down before it is over. Where none is given it is a rule that learns, in four points unlike it:
//
//   - Load and backlog are told apart. Concurrency counts requests that wait like those that are worked on, so that an
//     overloaded service looks as if it needed a replica for each that waits. Here load is how much work arrives (rate ×
//     time that one request takes), and what waits is work to be done once, within Drain of a replica's start.
//   - Room above the load goes by the square root (Halfin and Whitt, 1981): load + β·√load keeps the part of requests that
//     wait the same at any size, where a fixed part is too little for small services and too much for large ones.
//   - How much room, for how long a peak is remembered, and how long a burst must last to count, is not set but learned:
//     a hundred ways run beside each other on what was seen, each with replicas that exist in numbers only and start as
//     slowly as real ones. Each is charged for what it holds and, at Price, for requests that would begin later than SLO.
//     The wish is the mean of all, weighted by what they would have cost of late.
//   - A replica takes Start to be ready, and what will have come until then counts.
//
// Both keep Knative's bounds: steps up and down, and a grace before the last replica of a service goes. A forecast,
// where there is one, raises the wish to what is expected before a replica started now would be ready.
//
//	p := scale.New(scale.Options{Max: 20, Capacity: 4, Start: 30 * time.Second})
//	d := p.Step(scale.Observation{Now: now, Arrivals: 12, Busy: 3.5, Ready: 2, Replicas: 2}, nil)
//	// d.Replicas, d.Reasons
package scale

import (
	"cmp"
	"fmt"
	"math"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Options of a policy. A zero field takes the default, Min excepted: 0 lets a service without requests have no replica.
type Options struct {
	Min, Max int     // replicas; Max 1
	Capacity float64 // requests that a replica works on at once; 1
	// Target is how many requests, those that wait included, a replica is to have on average. Where it is given, Knative's rule
	// decides; where not, the one that learns. Knative's own default is 0.7 × Capacity.
	Target float64

	Stable         time.Duration // the window that decides; 60 s
	Panic          time.Duration // the window of bursts; a tenth of Stable
	PanicThreshold float64       // how many times what is ready the panic window must ask for; 2
	MaxUp          float64       // times what is ready, in one step; 1000
	MaxDown        float64       // to what is ready divided by it, in one step; 2
	Grace          time.Duration // without any request before the last replica goes; 30 s

	Start time.Duration // until a replica is ready; 10 s
	SLO   time.Duration // within which a request is to begin; 1 s
	Drain time.Duration // within which what waits is to be worked off; twice SLO
	// Price is what a request that violates the SLO costs, in times what it costs to answer it; 20
	Price float64
	// Memory is the half-life of what is learned; 1 h
	Memory time.Duration
}

// Defaults fills in what is absent.
func (o Options) Defaults() Options {
	o.Max = cmp.Or(o.Max, 1)
	o.Capacity = cmp.Or(o.Capacity, 1)
	o.Stable = cmp.Or(o.Stable, time.Minute)
	o.Panic = cmp.Or(o.Panic, o.Stable/10)
	o.PanicThreshold = cmp.Or(o.PanicThreshold, 2)
	o.MaxUp = cmp.Or(o.MaxUp, 1000)
	o.MaxDown = cmp.Or(o.MaxDown, 2)
	o.Grace = cmp.Or(o.Grace, 30*time.Second)
	o.Start = cmp.Or(o.Start, 10*time.Second)
	o.SLO = cmp.Or(o.SLO, time.Second)
	o.Drain = cmp.Or(o.Drain, 2*o.SLO)
	o.Price = cmp.Or(o.Price, 20)
	o.Memory = cmp.Or(o.Memory, time.Hour)
	return o
}

// maxWindow bounds the windows, and so the memory of a policy.
const maxWindow = time.Hour

// Validate says what is wrong with options that have their defaults.
func (o Options) Validate() error {
	invalid := func(format string, args ...any) error {
		return errs.Errorf("scale.Validate", errs.Invalid, format, args...)
	}
	switch {
	case o.Min < 0 || o.Max < 1 || o.Min > o.Max:
		return invalid("min is %d and max %d: give 0 ≤ min ≤ max, and max at least 1", o.Min, o.Max)
	case !(o.Capacity > 0) || math.IsInf(o.Capacity, 0):
		return invalid("capacity is %v: give how many requests a replica works on at once", o.Capacity)
	case !(o.Target >= 0) || math.IsInf(o.Target, 0):
		return invalid("target is %v: give how many requests a replica is to have on average, or leave it out", o.Target)
	case o.Panic < time.Second || o.Stable < o.Panic || o.Stable > maxWindow:
		return invalid("the windows are panic %v and stable %v: give 1s ≤ panic ≤ stable ≤ %v", o.Panic, o.Stable, maxWindow)
	case !(o.PanicThreshold >= 1) || !(o.MaxUp > 1) || !(o.MaxDown > 1):
		return invalid("the panic threshold is %v, steps up %v and down %v: give at least 1, and more than 1", o.PanicThreshold, o.MaxUp, o.MaxDown)
	case o.Start < 0 || o.SLO <= 0 || o.Drain <= 0 || o.Grace < 0 || o.Memory <= 0 || !(o.Price > 0):
		return invalid("start is %v, slo %v, drain %v, grace %v, memory %v, price %v: give no negative time, and an slo, a drain time, a memory and a price",
			o.Start, o.SLO, o.Drain, o.Grace, o.Memory, o.Price)
	}
	return nil
}

// Observation is what was seen since the last one.
type Observation struct {
	Now      time.Time
	Arrivals int     // requests that came
	Done     int     // requests that ended
	Busy     float64 // requests that replicas worked on, mean over the time
	Waiting  float64 // requests that wait for a replica: now
	Ready    int     // replicas that answer
	Replicas int     // replicas that are wanted now, those that start included
}

// Forecast is what another part of the system expects: a rate of requests a second for each Step from now on.
type Forecast struct {
	Step time.Duration
	RPS  []float64
	From string // who says so, for the reasons
}

// Peak is the largest rate that is expected within the time.
func (f *Forecast) Peak(within time.Duration) (rps float64) {
	if f == nil || f.Step <= 0 {
		return 0
	}
	for i, r := range f.RPS {
		if time.Duration(i)*f.Step > within {
			break
		}
		if r > rps && !math.IsInf(r, 0) {
			rps = r
		}
	}
	return rps
}

// Decision is how many replicas there should be, and why.
type Decision struct {
	Replicas int      `json:"replicas"`
	Panic    bool     `json:"panic,omitempty"`
	Load     float64  `json:"load"`    // requests worked on at once, by the window that decided
	Rate     float64  `json:"rate"`    // requests a second in that window
	Service  float64  `json:"service"` // seconds that one request takes
	Waiting  float64  `json:"waiting"` // requests that wait
	Reasons  []string `json:"reasons"`
}

// Policy is one service's policy with what it remembers. It is used by one goroutine.
type Policy struct {
	o     Options
	rule  rule
	seen  *traffic
	last  time.Time // of an observation
	asked time.Time // a request was seen
}

// rule gives a decision before what holds for every rule: steps, grace, forecast, limits.
type rule interface {
	wish(t *traffic, o Observation, span float64) Decision
	// staff is how many replicas the rule gives to a load.
	staff(load float64) int
}

// New makes a policy; the options get their defaults.
func New(o Options) *Policy {
	o = o.Defaults()
	p := &Policy{o: o, seen: newTraffic(o)}
	if o.Target > 0 {
		p.rule = &knative{o: o}
	} else {
		p.rule = newLearned(o)
	}
	return p
}

// Options are those in force.
func (p *Policy) Options() Options { return p.o }

// Step takes what was seen and says how many replicas there should be. Observations come in order of time, every
// second or two; the first tells only where things stand.
func (p *Policy) Step(o Observation, f *Forecast) Decision {
	if p.last.IsZero() {
		p.last, p.asked = o.Now, o.Now
	}
	span := max(0, o.Now.Sub(p.last).Seconds())
	p.last = o.Now
	if o.Arrivals > 0 || o.Busy > 0 || o.Waiting > 0 {
		p.asked = o.Now
	}
	p.seen.add(o, span)
	d := p.rule.wish(p.seen, o, span)
	d.Waiting, d.Service = o.Waiting, p.seen.service
	p.foresee(&d, f)
	p.bound(&d, o)
	return d
}

func (d *Decision) say(format string, args ...any) {
	d.Reasons = append(d.Reasons, fmt.Sprintf(format, args...))
}

// foresee raises the wish to what is expected before a replica started now would be ready.
func (p *Policy) foresee(d *Decision, f *Forecast) {
	peak := f.Peak(p.o.Start + p.o.Panic)
	if peak <= 0 || p.seen.service == 0 {
		return
	}
	if n := p.rule.staff(peak * p.seen.service); n > d.Replicas {
		d.say("%s expects up to %.3g requests/s before a replica started now is ready: %s", cmp.Or(f.From, "a forecast"), peak, replicas(n))
		d.Replicas = n
	}
}

// bound holds the wish within the steps, the grace and the limits.
func (p *Policy) bound(d *Decision, o Observation) {
	if top, low := ceil(p.o.MaxUp*float64(max(1, o.Ready))), int(float64(o.Ready)/p.o.MaxDown); d.Replicas > top {
		d.Replicas = top
		d.say("not more than %g times what is ready at once: %s", p.o.MaxUp, replicas(top))
	} else if d.Replicas < low {
		d.Replicas = low
		d.say("not less than what is ready divided by %g at once: %s", p.o.MaxDown, replicas(low))
	}
	if d.Replicas == 0 && o.Waiting > 0 {
		d.Replicas = 1
		d.say("a request waits: 1 replica")
	}
	if left := p.o.Grace - o.Now.Sub(p.asked); d.Replicas == 0 && o.Replicas > 0 && left > 0 {
		d.Replicas = 1
		d.say("the last request was less than %v ago: the last replica stays", p.o.Grace)
	}
	switch {
	case d.Replicas > p.o.Max:
		d.say("max is %d", p.o.Max)
		d.Replicas = p.o.Max
	case d.Replicas < p.o.Min:
		d.say("min is %d", p.o.Min)
		d.Replicas = p.o.Min
	}
}

func replicas(n int) string {
	if n == 1 {
		return "1 replica"
	}
	return fmt.Sprintf("%d replicas", n)
}

// ceil forgives what summing floats adds.
func ceil(x float64) int { return int(math.Ceil(math.Min(x, 1e6) - 1e-9)) }
