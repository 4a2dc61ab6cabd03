package sched

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/sched/queue"
)

// Policy is what of the plan is configured. The zero value orders by priority, age and name, passes over what does not
// fit and stops nothing that runs.
type Policy struct {
	Order    string      `json:"order,omitempty"`    // within a queue and a priority: a name of Orders; fifo when empty
	Rules    queue.Rules `json:"rules,omitzero"`     // ageing, deadlines
	Backfill string      `json:"backfill,omitempty"` // a name of Backfills; pass when empty
	Preempt  Preemption  `json:"preempt,omitzero"`   // what may be stopped

	Overdue time.Duration `json:"overdue,omitempty"` // who waits longer goes first, oldest first; 0 is never
	Quantum time.Duration `json:"quantum,omitempty"` // what was started as overdue runs so long before it may be stopped for order's sake
	Share   float64       `json:"share,omitempty"`   // of the hall's accelerators (cores, without any) that overdue work takes at most; 1 when 0

	Horizon int     `json:"horizon,omitempty"` // reservations that conservative backfilling keeps at most; 16 when 0
	Spread  float64 `json:"spread,omitempty"`  // typical factor between predicted and real durations (Errors.Factor); 2 when 0
	Depth   int     `json:"depth,omitempty"`   // gangs for which victims are looked for at most; 40 when 0

	Weights Weights `json:"weights,omitzero"`  // of what decides between nodes; the default when all are 0
	Learned string  `json:"learned,omitempty"` // name of the learned rule that the numbers are from; none when empty
}

// Preemption is what may be stopped for whom.
type Preemption struct {
	Priority bool          `json:"priority,omitempty"` // lower priority of the same queue
	Reclaim  bool          `json:"reclaim,omitempty"`  // what others borrowed of a queue's guaranteed amount
	Order    bool          `json:"order,omitempty"`    // of the same queue and priority what the order puts far behind
	Margin   float64       `json:"margin,omitempty"`   // how many times the other's index its own must be less; 2 when 0
	One      bool          `json:"one,omitempty"`      // at most one gang stops for another, one that holds at least as many accelerators
	Grace    time.Duration `json:"grace,omitempty"`    // to write a checkpoint
	Cost     time.Duration `json:"cost,omitempty"`     // of stopping, restoring and going on, in the victim's time
}

// The ways to go past a gang that does not fit.
const (
	Pass         = "pass"         // smaller ones start whenever they fit: nothing waits without need, large ones may wait long
	Strict       = "strict"       // nobody passes
	EASY         = "easy"         // whoever does not delay the first (Lifka 1995)
	Conservative = "conservative" // whoever delays nobody before them (Feitelson and Weil 1998)
)

// Backfills are the names that Policy.Backfill knows.
func Backfills() []string { return []string{Pass, Strict, EASY, Conservative} }

// An Order gives a gang its index: the lowest is the first. ran is how long it has run in all.
type Order func(g *Gang, ran time.Duration) float64

// The orders within a queue and a priority.
const (
	FIFO      = "fifo"      // by age
	SJF       = "sjf"       // by predicted duration
	SRTF      = "srtf"      // by what is left of the predicted duration
	LAS       = "las"       // by levels of attained service, accelerators times hours; FIFO within one (Tiresias, NSDI'19)
	Foresight = "foresight" // by the index of the forecast: the least expected work for one end
)

// unknownIndex goes after all that is known.
const unknownIndex = math.MaxFloat64 / 4

func orders() map[string]Order {
	return map[string]Order{
		FIFO: func(*Gang, time.Duration) float64 { return 0 },
		SJF: func(g *Gang, _ time.Duration) float64 {
			if g.Duration <= 0 {
				return unknownIndex
			}
			return g.Duration.Seconds()
		},
		SRTF: func(g *Gang, ran time.Duration) float64 {
			if g.Duration <= 0 {
				return unknownIndex
			}
			return max(g.Duration-ran, 0).Seconds()
		},
		LAS: func(g *Gang, ran time.Duration) float64 {
			attained := ran.Hours() * max(g.devices(), 1)
			level := 0.0
			for _, t := range []float64{1, 10} {
				if attained >= t {
					level++
				}
			}
			return level
		},
		Foresight: func(g *Gang, _ time.Duration) float64 {
			if g.Index <= 0 {
				return unknownIndex
			}
			return g.Index
		},
	}
}

// Orders are the names that Policy.Order knows.
func Orders() []string { return slices.Sorted(maps.Keys(orders())) }

// Validate refuses what no policy means.
func (p Policy) Validate() error {
	const op = "sched.Policy"
	switch {
	case p.Order != "" && !slices.Contains(Orders(), p.Order):
		return errs.Errorf(op, errs.Invalid, "there is no order %q; there are %s", p.Order, strings.Join(Orders(), ", "))
	case p.Backfill != "" && !slices.Contains(Backfills(), p.Backfill):
		return errs.Errorf(op, errs.Invalid, "there is no way of backfilling %q; there are %s", p.Backfill, strings.Join(Backfills(), ", "))
	case p.Overdue < 0 || p.Quantum < 0 || p.Preempt.Grace < 0 || p.Preempt.Cost < 0:
		return errs.Errorf(op, errs.Invalid, "a duration of the policy is negative")
	case !(p.Share >= 0) || p.Share > 1:
		return errs.Errorf(op, errs.Invalid, "overdue work takes %v of the hall: give a part from 0 (which is all) to 1", p.Share)
	case !(p.Preempt.Margin >= 0) || p.Preempt.Margin > 0 && p.Preempt.Margin < 1:
		return errs.Errorf(op, errs.Invalid, "a margin of %v: give 1 or more", p.Preempt.Margin)
	case p.Horizon < 0 || p.Depth < 0:
		return errs.Errorf(op, errs.Invalid, "horizon %d and depth %d must not be negative", p.Horizon, p.Depth)
	}
	return p.Weights.Validate()
}

func (p Policy) order() Order {
	if o := orders()[p.Order]; o != nil {
		return o
	}
	return orders()[FIFO]
}

// WithForesight is the product's own policy: the order by forecasts, backfilling behind the first that is blocked, and
// stopping what the order puts far behind, with a bound on every wait.
func WithForesight() Policy {
	return Policy{
		Order: Foresight, Backfill: Pass, Preempt: Preemption{Priority: true, Reclaim: true, Order: true, Margin: 2},
		Overdue: 168 * time.Hour, Quantum: 15 * time.Minute, Share: 0.2,
	}
}

// Span is a time from one moment to another.
type Span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Reservation keeps room of the calendar free for somebody.
type Reservation struct {
	Name  string      `json:"name"`
	Queue string      `json:"queue,omitempty"` // whose gangs may use it; with User, whose; of all when both are empty
	User  string      `json:"user,omitempty"`
	Span  Span        `json:"span"`
	Room  []Placement `json:"room"` // nodes and devices: a Placement of each
}

// devices is how many accelerators all tasks of the gang take, shares as parts.
func (g *Gang) devices() float64 {
	return float64(len(g.Tasks)*g.Each.Accelerators) * float64(g.Each.milli()) / whole
}

// need is all that n tasks of the gang take.
func (g *Gang) need(n int) queue.Amount {
	a := queue.Amount{
		CPU: g.Each.CPU, Memory: g.Each.Memory, Storage: g.Each.Storage,
		Accelerators: float64(g.Each.Accelerators) * float64(g.Each.milli()) / whole, Bandwidth: g.Each.Bandwidth, Watts: g.Each.Watts,
	}
	if n == 1 {
		return a
	}
	return a.Times(float64(n))
}

// Least is what the gang takes when it starts with as few tasks as it may.
func (g Gang) Least() queue.Amount { return g.need(g.least()) }

// Use is what the running gang holds of its queue.
func (r Running) Use() queue.Use {
	return queue.Use{Queue: r.Gang.Queue, User: r.Gang.User, Amount: r.Gang.need(len(r.Placements))}
}

// ran is how long it has run in all.
func (r *Running) ran(now time.Time) time.Duration {
	if r.Started.IsZero() || now.Before(r.Started) {
		return r.Gang.Ran
	}
	return r.Gang.Ran + now.Sub(r.Started)
}

// Ends is when it is expected to have ended, the zero time when nothing is known; sure is whether it will be then.
func (r Running) Ends(now time.Time) (at time.Time, sure bool) {
	if !r.Stopping.IsZero() {
		return r.Stopping, true
	}
	g := r.Gang
	ran := r.ran(now)
	if g.Duration > 0 {
		left := g.Duration - ran
		if left <= 0 { // it takes longer than predicted: a tenth of what it has run is added again and again
			left = max(ran/10, time.Minute)
		}
		at = now.Add(left)
	}
	if g.MaxRun > 0 {
		if last := now.Add(max(g.MaxRun-ran, 0)); at.IsZero() || last.Before(at) {
			return last, true
		}
	}
	return at, false
}
