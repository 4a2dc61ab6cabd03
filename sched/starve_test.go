package sched_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/sched"
)

// stream lets short narrow work come to four accelerators all the time, more than fits in the long run or just so, and
// one wide long gang. It gives the longest time at a stretch that the wide one waits, and what it has run.
func stream(r *rand.Rand, p sched.Policy, preemptible bool, hours int) (longest, ran time.Duration) {
	n := fleet.Node{Name: "n", CPU: 64}
	for d := range 4 {
		n.Accelerators = append(n.Accelerators, fleet.Accelerator{ID: fmt.Sprint(d)})
	}
	s := sched.Snapshot{Now: time.Unix(1e6, 0), Nodes: []fleet.Node{n}, Policy: p}
	const step = 5 * time.Minute
	wide := sched.Gang{ID: "wide", Since: s.Now, Tasks: []int{0}, Each: sched.Ask{Accelerators: 4}, Duration: 9 * time.Hour, Index: 9 * 3600, Preemptible: true}
	s.Queue = []sched.Gang{wide}
	begin, left := s.Now, map[string]time.Duration{"wide": 1000 * time.Hour}
	waits := s.Now
	for i := 0; s.Now.Sub(begin) < time.Duration(hours)*time.Hour; i++ {
		for k := range 3 {
			g := sched.Gang{ID: fmt.Sprintf("s%d-%d", i, k), Since: s.Now, Tasks: []int{0}, Each: sched.Ask{Accelerators: 1}, Duration: 10 * time.Minute, Index: 600, Preemptible: preemptible}
			left[g.ID] = time.Duration(1+r.IntN(3)) * step
			if r.IntN(3) > 0 {
				s.Queue = append(s.Queue, g)
			}
		}
		var gone []string
		for _, d := range sched.Plan(s).Decisions {
			for _, e := range d.Evictions {
				k := slices.IndexFunc(s.Running, func(r sched.Running) bool { return r.Gang.ID == e.Gang })
				g := s.Running[k].Gang
				g.Ran, g.Left = g.Ran+s.Now.Sub(s.Running[k].Started), s.Now
				if g.ID == "wide" {
					waits, ran = s.Now, g.Ran
				}
				s.Running = slices.Delete(s.Running, k, k+1)
				s.Queue = append(s.Queue, g)
			}
			if len(d.Placements) > 0 {
				k := slices.IndexFunc(s.Queue, func(g sched.Gang) bool { return g.ID == d.Gang })
				s.Running = append(s.Running, sched.Running{Gang: s.Queue[k], Placements: d.Placements, Started: s.Now, Kept: d.Overdue})
				gone = append(gone, d.Gang)
			}
		}
		if slices.Contains(gone, "wide") {
			longest, waits = max(longest, s.Now.Sub(waits)), time.Time{}
		}
		s.Queue = slices.DeleteFunc(s.Queue, func(g sched.Gang) bool { return slices.Contains(gone, g.ID) })
		if len(s.Queue) > 40 { // the narrow ones give up; it is the wide one that is watched
			s.Queue = slices.DeleteFunc(s.Queue, func(g sched.Gang) bool { return g.ID != "wide" && s.Now.Sub(g.Since) > time.Hour })
		}
		s.Now = s.Now.Add(step)
		s.Running = slices.DeleteFunc(s.Running, func(r sched.Running) bool { return r.Gang.Ran+s.Now.Sub(r.Started) >= left[r.Gang.ID] })
	}
	if !waits.IsZero() {
		longest = max(longest, s.Now.Sub(waits))
	}
	return longest, ran
}

func TestNobodyStarvesWhereEveryWaitIsBounded(t *testing.T) {
	t.Parallel()
	const bound = 6 * time.Hour
	for _, order := range []string{sched.Foresight, sched.SRTF, sched.SJF, sched.FIFO} {
		for i, backfill := range sched.Backfills() {
			p := sched.WithForesight()
			p.Order, p.Backfill, p.Overdue = order, backfill, bound
			// What may not be stopped is waited for, a quarter of an hour at most.
			longest, _ := stream(rand.New(rand.NewPCG(uint64(i), 3)), p, i%2 == 0, 30)
			if longest > bound+30*time.Minute {
				t.Errorf("%s, %s: the wide gang waits %v at a stretch, bounded by %v", order, backfill, longest, bound)
			}
		}
	}
	p := sched.WithForesight()
	p.Overdue = 0
	if longest, _ := stream(rand.New(rand.NewPCG(1, 3)), p, true, 30); longest < 29*time.Hour {
		t.Errorf("without the bound the wide gang waits %v: this test shows nothing", longest)
	}
}
