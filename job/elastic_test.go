package job_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/job"
)

func elastic(least, most int) job.Spec {
	s := command("elastic")
	s.MinTasks, s.Tasks, s.Preemptible = least, most, true
	return s
}

// runs is what of the job runs, "0@n1 1@n2".
func runs(j job.Job) string {
	var out []string
	for _, t := range j.Tasks {
		if t.State == job.Running {
			out = append(out, string(rune('0'+t.Index))+"@"+t.Node)
		}
	}
	return strings.Join(out, " ")
}

func TestAnElasticJobStartsWithWhatThereIsAndGrowsAfterAPause(t *testing.T) {
	s := newSim(t, node("n", 4))
	s.machine.automatic, s.machine.obedient = true, true
	s.adopt()
	other := command("other")
	other.Resources.CPU = 2
	first := s.submit(other)
	j := s.submit(elastic(1, 4))
	s.settle()
	if j = s.get(j.ID); runs(j) != "0@n 1@n" || j.State != job.Running || j.Size != 2 || j.Env()["WORLD_SIZE"] != "2" {
		t.Fatalf("%s with %s, size %d", j.State, runs(j), j.Size)
	}
	s.machine.exit(ref(first.ID, 0, 1), 0)
	s.settle()
	s.now = s.now.Add(job.ResizePause - time.Second)
	_ = s.step(0)
	if j = s.get(j.ID); j.State != job.Running || j.Attempt != 1 {
		t.Fatalf("it grows too soon: %s", j.Reason)
	}
	s.now = s.now.Add(2 * time.Second)
	_ = s.step(0)
	if j = s.get(j.ID); j.State != job.Stopping || j.Reason != "goes on with 4 tasks instead of 2, from its last checkpoint: there is room for more" {
		t.Fatalf("%s: %s", j.State, j.Reason)
	}
	late := s.submit(other) // what it waits to have is its own
	s.crash()
	s.adopt()
	s.settle()
	j = s.get(j.ID)
	if runs(j) != "0@n 1@n 2@n 3@n" || j.Size != 4 || j.Attempt != 2 || j.Env()["WORLD_SIZE"] != "4" || j.Resized.From != 2 || j.RetriesLeft != 0 {
		t.Errorf("%s: %s, %+v", runs(j), j.Reason, j.Resized)
	}
	if late = s.get(late.ID); late.State != job.Queued {
		t.Errorf("the one that came later is %s", late.State)
	}
	for i := range 4 {
		s.machine.exit(ref(j.ID, i, j.Tasks[i].Attempt), 0)
	}
	s.settle()
	if j = s.get(j.ID); j.State != job.Succeeded {
		t.Errorf("%s: %s", j.State, j.Reason)
	}
}

func TestAnElasticJobShrinksForOthersAndEndsWithTheTasksThatItHas(t *testing.T) {
	s := newSim(t, node("n", 4))
	s.machine.automatic, s.machine.obedient = true, true
	s.adopt()
	j := s.submit(elastic(2, 4))
	s.settle()
	urgent := command("urgent")
	urgent.Priority, urgent.Resources.CPU = 10, 2
	u := s.submit(urgent)
	if j = s.get(j.ID); j.State != job.Stopping || len(j.Claim) != 2 || !strings.Contains(j.Reason, "goes on with 2 tasks instead of 4, from its last checkpoint: job/2 needs the room of the others") {
		t.Fatalf("%s: %s", j.State, j.Reason)
	}
	s.settle()
	if j, u = s.get(j.ID), s.get(u.ID); runs(j) != "0@n 1@n" || runs(u) != "0@n" || j.Size != 2 {
		t.Fatalf("%s and %s", runs(j), runs(u))
	}
	for i := range 2 {
		s.machine.exit(ref(j.ID, i, j.Tasks[i].Attempt), 0)
	}
	s.settle()
	if j = s.get(j.ID); j.State != job.Succeeded {
		t.Errorf("%s: %s", j.State, j.Reason)
	}
}

func TestAnElasticJobThatMayNotBeStoppedDoesNotShrink(t *testing.T) {
	s := newSim(t, node("n", 4))
	s.machine.automatic, s.machine.obedient = true, true
	s.adopt()
	spec := elastic(2, 4)
	spec.Preemptible = false
	j := s.submit(spec)
	s.settle()
	urgent := command("urgent")
	urgent.Priority = 10
	s.submit(urgent)
	s.settle()
	if j = s.get(j.ID); j.State != job.Running || j.Attempt != 1 {
		t.Errorf("%s: %s", j.State, j.Reason)
	}
}

func TestSizesThatNoJobHasAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"command: [a]\ntasks: 2\nmin_tasks: 3":                "min_tasks is 3 of 2 tasks: give 1 to 2, or leave it out",
		"command: [a]\nmin_tasks: -1":                         "min_tasks is -1 of 1 tasks: give 1 to 1, or leave it out",
		"kind: service\ncommand: [a]\ntasks: 3\nmin_tasks: 1": "min_tasks is of command jobs: a service job cannot change its size while it runs",
	} {
		if _, err := job.Parse([]byte("name: a\n" + text)); err == nil || err.Error() != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}
