package job_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/sched/queue"
)

// shared is a hall whose one queue its users share.
func shared(t *testing.T, cpu float64, half time.Duration) *sim {
	site := job.DefaultSite([]queue.Queue{{Name: "default", Users: true}})
	site.HalfLife = half
	s := newSim(t, node("n1", cpu))
	s.site = &site
	s.crash()
	s.adopt()
	return s
}

// end lets a running job come to its end.
func (s *sim) end(id job.ID) {
	s.Helper()
	j := s.get(id)
	s.machine.exit(exec.TaskRef{Job: id.String(), Index: 0, Attempt: j.Tasks[0].Attempt}, 0)
	s.settle()
}

func TestTwoUsersWhoWantTheSameComeToUseTheSame(t *testing.T) {
	for seed := range uint64(5) {
		r := rand.New(rand.NewPCG(seed, 5))
		s := shared(t, 2, 48*time.Hour)
		used, until := map[string]time.Duration{}, map[job.ID]time.Time{}
		for hour := range 300 {
			for _, owner := range []string{"ann", "ben"} {
				waiting := 0
				for _, j := range s.core.Jobs() {
					if j.Owner == owner && j.State == job.Queued {
						waiting++
					}
				}
				for ; waiting < 3; waiting++ { // as much as there is, at any time; ann came first
					if owner == "ann" || hour > 20 {
						s.submitBy(owner, command(fmt.Sprint(owner, waiting)))
					}
				}
			}
			s.settle()
			for _, j := range s.core.Jobs() {
				if j.State == job.Queued {
					continue
				}
				if hour > 100 { // what came before has faded
					used[j.Owner] += time.Hour
				}
				if until[j.ID].IsZero() {
					until[j.ID] = s.now.Add(time.Duration(1+r.IntN(4)) * time.Hour)
				}
			}
			s.now = s.now.Add(time.Hour)
			_ = s.step(0)
			for id, end := range until {
				if !s.now.Before(end) {
					s.end(id)
					delete(until, id)
				}
			}
			if hour == 150 {
				s.crash() // what was used is not forgotten
				s.adopt()
				s.settle()
			}
		}
		if a, b := used["ann"].Hours(), used["ben"].Hours(); math.Abs(a-b) > 0.1*(a+b) || a+b < 300 {
			t.Errorf("seed %d: ann used %v h, ben %v h", seed, a, b)
		}
	}
}

func TestWhoUsedMuchLatelyWaitsBehindWhoDidNot(t *testing.T) {
	s := shared(t, 1, 24*time.Hour)
	spec := command("h")
	spec.Resources.CPU = 1
	first := s.submitBy("ann", spec)
	s.settle()
	s.now = s.now.Add(5 * time.Hour)
	second, third := s.submitBy("ann", spec), s.submitBy("ben", spec) // ann's came first
	s.crash()
	s.adopt()
	s.end(first.ID)
	if a, b := s.get(second.ID), s.get(third.ID); a.State != job.Queued || b.State == job.Queued {
		t.Fatalf("ann's is %s, ben's %s", a.State, b.State)
	}
	if len(s.past.Uses) != 1 || s.past.Uses[0].User != "ann" {
		t.Fatalf("written: %+v", s.past)
	}
}

func TestPastUseIsWrittenWithWhatChangesItAndAtMostOnceAMinute(t *testing.T) {
	s := shared(t, 8, 24*time.Hour)
	writes := 0
	count := func(inputs ...job.Input) {
		for _, e := range s.core.Step(s.now, inputs...) {
			if _, ok := e.(job.SavePast); ok {
				writes++
			}
		}
	}
	jobs, err := s.store.CreateJobs(context.Background(), []job.Job{job.New(command("a").Defaults(), "ann", s.now)}, event.Event{})
	if err != nil {
		t.Fatal(err)
	}
	s.now = s.now.Add(time.Hour)
	count(job.Submitted{Job: jobs[0]})
	count(job.PlanTick{Nodes: s.nodes})
	for range 1000 {
		s.now = s.now.Add(500 * time.Millisecond)
		count(job.PlanTick{Nodes: s.nodes})
	}
	if writes != 1 {
		t.Errorf("%d writes of one change", writes)
	}
}
