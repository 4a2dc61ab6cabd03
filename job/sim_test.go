package job_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/sched"
	"github.com/lineshaft/lineshaft/sched/queue"
)

// sim runs a core step by step, as the runner does but without goroutines, so that a test decides when each effect is
// carried out, each report arrives and the server crashes.
type sim struct {
	testing.TB
	store   *memory
	machine *machine
	core    *job.Core
	now     time.Time
	nodes   []fleet.Node
	site    *job.Site               // when not the default
	queue   map[job.ID][]job.Effect // decided and not yet carried out
	said    []exec.Status           // told by the machine and not yet heard
	trace   []string                // every save, for golden comparisons
	finish  error                   // of registrations
	past    queue.Past              // as written

	reserved []sched.Reservation
}

func newSim(t testing.TB, nodes ...fleet.Node) *sim {
	s := &sim{TB: t, store: newMemory(), machine: newMachine(), now: time.Unix(50_000, 0).UTC(), nodes: nodes}
	s.machine.now = func() time.Time { return s.now }
	s.machine.tell = func(st exec.Status) { s.said = append(s.said, st) }
	s.crash()
	return s
}

func node(name string, cpu float64) fleet.Node {
	return fleet.Node{Name: name, CPU: cpu, Memory: 1000 * units.GiB, Disk: 1000 * units.GiB}
}

// crash drops everything that is not written down, and takes up what is.
func (s *sim) crash() {
	jobs, err := s.store.ListJobs(context.Background(), job.Filter{})
	if err != nil {
		s.Fatal(err)
	}
	site := job.DefaultSite(nil)
	if s.site != nil {
		site = *s.site
	}
	defer func() { s.core.Recall(s.past) }()
	s.core, s.queue, s.said = job.NewCore(jobs, site), map[job.ID][]job.Effect{}, nil
}

// step has the core take the inputs, then plan. torn > 0 crashes before that many-th save of either.
func (s *sim) step(torn int, inputs ...job.Input) error {
	s.Helper()
	core := s.core
	refused := s.decide(torn, inputs...)
	if s.core == core {
		_ = s.decide(torn, job.PlanTick{Nodes: s.nodes, Reserved: s.reserved})
	}
	return refused
}

// decide writes what the core decides and queues the rest.
func (s *sim) decide(torn int, inputs ...job.Input) (refused error) {
	s.Helper()
	for _, e := range s.core.Step(s.now, inputs...) {
		switch e := e.(type) {
		case job.SaveJob:
			if torn--; torn == 0 {
				s.crash()
				return nil
			}
			if err := s.store.UpdateJobs(context.Background(), []job.Job{e.Job}, e.Events...); err != nil {
				s.Fatal(err)
			}
			s.trace = append(s.trace, fmt.Sprintf("%v %d %s %d %q", s.now.Sub(time.Unix(50_000, 0)), e.Job.ID, e.Job.State, e.Job.Attempt, e.Job.Reason))
		case job.SavePast:
			s.past = e.Past
		case job.Refused:
			refused = e.Err
		default:
			id := ownerOf(e)
			s.queue[id] = append(s.queue[id], e)
		}
	}
	return refused
}

func ownerOf(e job.Effect) job.ID {
	var r exec.TaskRef
	switch e := e.(type) {
	case job.StartTask:
		return e.Job.ID
	case job.Finish:
		return e.Job.ID
	case job.StopTask:
		r = e.Ref
	case job.RemoveTask:
		r = e.Ref
	}
	var id job.ID
	_, _ = fmt.Sscan(r.Job, &id)
	return id
}

// carry carries the oldest effect of a job out and returns what is to be fed back.
func (s *sim) carry(id job.ID) []job.Input {
	e := s.queue[id][0]
	if s.queue[id] = s.queue[id][1:]; len(s.queue[id]) == 0 {
		delete(s.queue, id)
	}
	ctx := context.Background()
	switch e := e.(type) {
	case job.StartTask:
		if err := s.machine.Start(ctx, exec.Task{Ref: job.TaskRef(e.Job, e.Task)}); err != nil {
			return []job.Input{job.StartFailed{Ref: job.TaskRef(e.Job, e.Task), Reason: err.Error(), Transient: errs.Is(err, errs.Exhausted)}}
		}
	case job.StopTask:
		_ = s.machine.Stop(ctx, e.Ref, e.Grace)
	case job.RemoveTask:
		_ = s.machine.Remove(ctx, e.Ref)
	case job.Finish:
		d := job.FinishDone{ID: e.Job.ID, Model: &job.ModelRef{Name: "m", Version: 1}}
		if s.finish != nil {
			d = job.FinishDone{ID: e.Job.ID, Reason: s.finish.Error(), Transient: errs.Is(s.finish, errs.Exhausted)}
		}
		return []job.Input{d}
	}
	return nil
}

// adopt compares with the machine, as after a start.
func (s *sim) adopt() {
	all, _ := s.machine.Observe(context.Background())
	_ = s.step(0, job.Observed{Statuses: all, Fresh: func(id job.ID) bool { return len(s.queue[id]) == 0 }})
}

// settle carries out and hears everything there is, until nothing is left.
func (s *sim) settle() {
	s.Helper()
	for n := 0; len(s.queue) > 0 || len(s.said) > 0; n++ {
		if n > 10_000 {
			s.Fatalf("does not come to rest: %v", s.queue)
		}
		for _, id := range slices.Sorted(maps.Keys(s.queue)) {
			if in := s.carry(id); len(in) > 0 {
				_ = s.step(0, in...)
			}
		}
		for len(s.said) > 0 {
			st := s.said[0]
			s.said = s.said[1:]
			_ = s.step(0, job.TaskObserved{Status: st})
		}
	}
}

func (s *sim) submit(spec job.Spec) job.Job { return s.submitBy("ann", spec) }

func (s *sim) submitBy(owner string, spec job.Spec) job.Job {
	s.Helper()
	spec = spec.Defaults()
	if err := spec.Validate(); err != nil {
		s.Fatal(err)
	}
	jobs, err := s.store.CreateJobs(context.Background(), job.Expand(job.New(spec, owner, s.now)), event.Event{})
	if err != nil {
		s.Fatal(err)
	}
	var in []job.Input
	for _, j := range jobs {
		in = append(in, job.Submitted{Job: j})
	}
	_ = s.step(0, in...)
	return jobs[0]
}

func (s *sim) get(id job.ID) job.Job {
	s.Helper()
	j, err := s.store.GetJob(context.Background(), id)
	if err != nil {
		s.Fatal(err)
	}
	return j
}

func sortedKeys[V any](m map[job.ID]V) []job.ID { return slices.Sorted(maps.Keys(m)) }
