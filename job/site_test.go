package job_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/sched"
)

// site is a seeded history of a hall with power caps, reservations and windows.
type site struct {
	*sim
	rand    *rand.Rand
	seed    uint64
	started map[string]bool // attempts
	seen    map[string]int  // what has happened
}

func newSite(t *testing.T, seed uint64) *site {
	h := &site{rand: rand.New(rand.NewPCG(seed, 9)), seed: seed, started: map[string]bool{}, seen: map[string]int{}}
	s := job.DefaultSite(nil)
	s.Caps = []fleet.PowerCap{{Name: "hall", Watts: 700}, {Name: "a", Parent: "hall", Watts: 400}, {Name: "b", Parent: "hall", Watts: 350}}
	s.Windows = []job.Window{window(t, "daily 20:00-23:00 UTC")}
	var nodes []fleet.Node
	for i, name := range []string{"n1", "n2", "n3"} {
		n := node(name, float64(2+2*i))
		n.Feed, n.IdleWatts = string("aab"[i]), 40
		nodes = append(nodes, n)
	}
	h.sim = newSim(t, nodes...)
	h.site = &s
	h.machine.obedient = true
	for i := range 4 {
		n := nodes[h.rand.IntN(len(nodes))]
		from := h.now.Add(time.Duration(5*i+h.rand.IntN(4)) * time.Hour) // no two at a time
		h.reserved = append(h.reserved, sched.Reservation{
			Name: fmt.Sprint("r", i), User: "rae", Span: sched.Span{From: from, To: from.Add(time.Duration(1+h.rand.IntN(60)) * time.Minute)},
			Room: []sched.Placement{{Node: n.Name, Ask: sched.Ask{CPU: n.CPU, Memory: n.Memory, Disk: n.Disk}}},
		})
	}
	h.crash()
	h.adopt()
	return h
}

func (h *site) comes() {
	s := command("h")
	s.Tasks = 1 + h.rand.IntN(2)
	s.Resources.CPU = float64(1 + h.rand.IntN(2))
	s.Resources.Watts = units.Watts(h.rand.IntN(4) * 60)
	s.Priority = h.rand.IntN(2)
	s.Preemptible, s.Deferrable = h.rand.IntN(3) == 0, h.rand.IntN(5) == 0
	if s.Deferrable {
		late := h.now.Add(1000 * time.Hour)
		s.Deadline = &late
	}
	if h.rand.IntN(2) == 0 {
		s.Timeout = job.Duration(time.Duration(10+h.rand.IntN(180)) * time.Minute)
	}
	h.submitBy([]string{"ann", "ben", "rae"}[h.rand.IntN(3)], s)
}

func (h *site) next() {
	for n := h.rand.IntN(3); n > 0 && len(h.core.Jobs()) < 12; n-- {
		h.comes()
	}
	h.settle() // what may start now does so now
	h.check()
	h.now = h.now.Add(time.Duration(1+h.rand.IntN(15)) * time.Minute)
	all, _ := h.machine.Observe(h.Context())
	for _, st := range all {
		if alive(st.State) && h.rand.IntN(8) == 0 {
			h.machine.exit(st.Ref, 0)
		}
	}
	_ = h.step(0)
	h.settle()
	if h.rand.IntN(40) == 0 {
		h.crash()
		h.adopt()
		h.settle()
	}
}

// check adds up with paper and pencil.
func (h *site) check() {
	h.Helper()
	drawn := map[string]units.Watts{}
	feed := map[string]string{}
	for _, n := range h.nodes {
		feed[n.Name] = n.Feed
		drawn[n.Feed] += n.IdleWatts
		drawn["hall"] += n.IdleWatts
	}
	for _, j := range h.core.Jobs() {
		for _, k := range j.Tasks {
			if !k.State.Live() {
				continue
			}
			drawn[feed[k.Node]] += j.Spec.Resources.Watts
			drawn["hall"] += j.Spec.Resources.Watts
			for _, r := range h.reserved {
				if r.Room[0].Node == k.Node && !h.now.Before(r.Span.From) && h.now.Before(r.Span.To) {
					h.seen["in "+fmt.Sprint(j.Owner == "rae")]++
					if j.Owner != "rae" {
						h.Fatalf("seed %d: %v: job %d of %s (%s, preemptible %v, timeout %v, started %v) is in %s's room from %v", h.seed, h.now, j.ID, j.Owner, j.State, j.Spec.Preemptible, time.Duration(j.Spec.Timeout), j.Started, r.Name, r.Span.From)
					}
				}
			}
			if key := fmt.Sprint(j.ID, k.Index, k.Attempt); !h.started[key] {
				h.started[key] = true
				h.seen["started"]++
				if hour := h.now.UTC().Hour(); j.Spec.Deferrable && (hour < 20 || hour >= 23) {
					h.Fatalf("seed %d: job %d can wait and started at %v", h.seed, j.ID, h.now.UTC())
				}
			}
		}
		for _, r := range j.Reasons {
			h.seen[r.Constraint]++
		}
		if j.Preempted != nil {
			h.seen["stopped"]++
		}
	}
	for _, c := range h.site.Caps {
		if drawn[c.Name] > c.Watts {
			h.Fatalf("seed %d: %v is drawn under %s, of %v", h.seed, drawn[c.Name], c.Name, c.Watts)
		}
	}
}

func runSite(t *testing.T, seed uint64, seen map[string]int) {
	h := newSite(t, seed)
	for range 120 {
		h.next()
		h.check()
	}
	for k, n := range h.seen {
		seen[k] += n
	}
}

func TestNoHistoryExceedsACapEntersAnothersReservationOrLeavesItsWindow(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(8) {
		runSite(t, seed, seen)
	}
	for _, what := range []string{"started", "stopped", "power cap", "reservation", "window", "in true"} {
		if seen[what] == 0 {
			t.Errorf("no history saw %q: the test proves less than it says: %v", what, seen)
		}
	}
}
