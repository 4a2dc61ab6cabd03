package job_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/job"
)

// hall is a runner over a fake store and a fake machine that outlive it, as the real ones do.
type hall struct {
	*testing.T
	store   *memory
	machine *machine
	clock   *clock.Fake
	options job.Options
	*job.Runner
	stop func()

	mu       sync.Mutex
	launch   error // of every launch
	finish   error // of every registration
	finished int
}

func newHall(t *testing.T, change ...func(*job.Options)) *hall {
	h := &hall{T: t, store: newMemory(), machine: newMachine(), clock: clock.NewFake(time.Unix(5000, 0).UTC())}
	h.options = job.Options{
		Store: h.store, Tasks: h.machine, Outputs: h.machine, Clock: h.clock, Log: slog.New(slog.DiscardHandler),
		Tick: 2 * time.Millisecond, Resync: time.Second,
		Site: job.DefaultSite(nil),
		Nodes: func() []fleet.Node {
			return []fleet.Node{{Name: "here", CPU: 4, Memory: 64 * units.GiB, Disk: 1000 * units.GiB}}
		},
		Launch: func(_ context.Context, j job.Job, task job.Task) (exec.Task, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			return exec.Task{Ref: job.TaskRef(j, task), Argv: j.Spec.Command}, h.launch
		},
		OnFinish: func(_ context.Context, j job.Job) (*job.ModelRef, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.finished++
			if j.Spec.Register == "" || h.finish != nil {
				return nil, h.finish
			}
			return &job.ModelRef{Name: j.Spec.Register, Version: 1}, nil
		},
	}
	h.machine.now = h.clock.Now
	for _, f := range change {
		f(&h.options)
	}
	h.up()
	t.Cleanup(func() {
		h.stop()
		if p := h.machine.promises(); len(p) > 0 {
			t.Errorf("broken promises: %v", p)
		}
	})
	return h
}

func (h *hall) fail(launch, finish error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.launch, h.finish = launch, finish
}

// up starts a server; down ends it and leaves the machine running.
func (h *hall) up() {
	h.Helper()
	r := job.NewRunner(h.options)
	h.Runner = r
	h.machine.mu.Lock()
	h.machine.tell = r.Observed
	h.machine.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	h.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			h.Errorf("run: %v", err)
		}
		h.stop = func() {}
	}
}

func (h *hall) restart() { h.stop(); h.up() }

func (h *hall) submit(s job.Spec) job.Job {
	h.Helper()
	j, err := h.Submit(h.Context(), "user/ann", "ann", s, false)
	if err != nil {
		h.Fatal(err)
	}
	return j
}

// until waits for a job to be as wanted, letting the clock run so that pauses pass.
func (h *hall) until(id job.ID, what string, ok func(job.Job) bool) job.Job {
	h.Helper()
	var j job.Job
	for range 2000 {
		var err error
		if j, err = h.Get(h.Context(), id); err != nil {
			h.Fatal(err)
		}
		if ok(j) {
			return j
		}
		h.clock.Advance(50 * time.Millisecond)
		time.Sleep(time.Millisecond)
	}
	h.Fatalf("job %d never was %s: %s %q, tasks %+v", id, what, j.State, j.Reason, j.Tasks)
	return j
}

func (h *hall) state(id job.ID, want job.State) job.Job {
	h.Helper()
	return h.until(id, string(want), func(j job.Job) bool { return j.State == want })
}

func command(name string) job.Spec {
	return job.Spec{Name: name, Kind: job.Command, Command: []string{"/bin/true"}}
}

func ref(id job.ID, index, attempt int) exec.TaskRef {
	return exec.TaskRef{Job: id.String(), Index: index, Attempt: attempt}
}

func TestAJobRunsIsRegisteredAndSucceeds(t *testing.T) {
	h := newHall(t)
	s := command("a")
	s.Register = "mnist"
	j := h.submit(s)
	h.state(j.ID, job.Running)
	h.machine.write(ref(j.ID, 0, 1), `{"step":1,"epoch":1,"name":"loss","value":0.5}`+"\n"+`{"progress":{"epoch":1,"epochs":2,"fraction":0.5}}`+"\n")
	h.until(j.ID, "half done", func(j job.Job) bool { return j.Progress != nil && j.Progress.Fraction == 0.5 })
	h.machine.write(ref(j.ID, 0, 1), `{"step":2,"epoch":2,"name":"loss","value":0.25}`+"\n")
	h.machine.exit(ref(j.ID, 0, 1), 0)
	j = h.state(j.ID, job.Succeeded)
	if j.Model == nil || j.Model.Name != "mnist" || j.Progress.Fraction != 1 || j.Finished == nil || j.Tasks[0].State != job.Succeeded {
		t.Fatalf("%+v", j)
	}
	points, err := h.Metrics(t.Context(), j.ID, 0, 0)
	if err != nil || len(points) != 2 || points[1].Value != 0.25 || points[1].Seq != 2 {
		t.Fatalf("the curve of an ended job is %+v, %v", points, err)
	}
	want := []string{"job.submitted", "job.placed", "job.started", "job.ending", "job.finished"}
	if got := h.store.kinds(); !slices.Equal(got, want) {
		t.Fatalf("events %v, want %v", got, want)
	}
}

func TestAFailureCostsARetryAndAKillDoesNot(t *testing.T) {
	h := newHall(t)
	s := command("a")
	s.Retries = 1
	j := h.submit(s)
	h.state(j.ID, job.Running)
	for n := 1; n <= 3; n++ {
		h.machine.kill(ref(j.ID, 0, n))
		h.until(j.ID, "running again", func(j job.Job) bool { return j.State == job.Running && j.Tasks[0].Attempt == n+1 })
	}
	h.machine.exit(ref(j.ID, 0, 4), 3)
	j = h.until(j.ID, "running again", func(j job.Job) bool { return j.State == job.Running && j.Tasks[0].Attempt == 5 })
	if j.RetriesLeft != 0 || j.Attempt != 5 {
		t.Fatalf("attempt %d, %d retries left", j.Attempt, j.RetriesLeft)
	}
	h.machine.exit(ref(j.ID, 0, 5), 3)
	j = h.state(j.ID, job.Failed)
	if !strings.Contains(j.Reason, "exit code 3") {
		t.Fatalf("reason %q", j.Reason)
	}
	if j, err := h.Retry(t.Context(), "user/ann", j.ID); err != nil || j.Attempt != 6 || j.RetriesLeft != 1 {
		t.Fatalf("retry: %+v, %v", j, err)
	}
	h.state(j.ID, job.Running)
	h.machine.exit(ref(j.ID, 0, 6), 0)
	h.state(j.ID, job.Succeeded)
	if _, err := h.Retry(t.Context(), "user/ann", j.ID); !errs.Is(err, errs.Conflict) {
		t.Fatalf("retry of a success: %v", err)
	}
}

func TestARestartedServerAdoptsWhatRunsAndLearnsWhatEnded(t *testing.T) {
	h := newHall(t)
	a, b, c := h.submit(command("a")), h.submit(command("b")), h.submit(command("c"))
	for _, j := range []job.Job{a, b, c} {
		h.state(j.ID, job.Running)
	}
	h.stop()
	h.machine.write(ref(b.ID, 0, 1), `{"step":1,"name":"loss","value":1}`+"\n")
	h.machine.exit(ref(b.ID, 0, 1), 0)
	h.machine.mu.Lock()
	delete(h.machine.tasks, ref(c.ID, 0, 1)) // its folder is gone
	h.machine.mu.Unlock()
	h.up()
	h.state(b.ID, job.Succeeded)
	h.until(c.ID, "running again", func(j job.Job) bool { return j.State == job.Running && j.Tasks[0].Attempt == 2 })
	h.state(a.ID, job.Running)
	if points, _ := h.Metrics(t.Context(), b.ID, 0, 0); len(points) != 1 {
		t.Fatalf("the curve written without a server is %v", points)
	}
	if n := h.machine.count(); n != 4 {
		t.Fatalf("%d attempts were started, want 4", n)
	}
}

func TestADiskThatIsFullLosesNothing(t *testing.T) {
	h := newHall(t)
	j := h.submit(command("a"))
	h.state(j.ID, job.Running)
	h.store.breakWith(errs.Errorf("test", errs.Full, "the disk is full"))
	h.machine.exit(ref(j.ID, 0, 1), 0)
	if _, err := h.Submit(t.Context(), "user/ann", "ann", command("b"), false); err == nil {
		t.Fatal("a job was accepted that could not be written down")
	}
	if j, _ := h.Get(t.Context(), j.ID); j.State != job.Running {
		t.Fatalf("the job is %s though nothing can be written", j.State)
	}
	h.store.breakWith(nil)
	h.state(j.ID, job.Succeeded)
}

func TestWhatCannotStartFailsAndWhatMayStartLaterIsTriedAgain(t *testing.T) {
	h := newHall(t)
	h.fail(errs.Errorf("test", errs.Unsupported, "this machine has no landlock"), nil)
	j := h.submit(command("a"))
	if j = h.state(j.ID, job.Failed); !strings.Contains(j.Reason, "no landlock") {
		t.Fatalf("reason %q", j.Reason)
	}
	h.fail(errs.Errorf("test", errs.Full, "no space"), nil)
	j = h.submit(command("b"))
	h.until(j.ID, "tried three times", func(j job.Job) bool { return j.Attempt > 3 })
	h.fail(nil, nil)
	h.state(j.ID, job.Running)
}

func TestAResultIsRegisteredBeforeTheJobSucceeds(t *testing.T) {
	h := newHall(t)
	h.fail(nil, errors.New("disk trouble"))
	j := h.submit(command("a"))
	h.state(j.ID, job.Running)
	h.machine.exit(ref(j.ID, 0, 1), 0)
	j = h.until(j.ID, "told why it waits", func(j job.Job) bool { return strings.Contains(j.Reason, "disk trouble") })
	if j.State != job.Stopping {
		t.Fatalf("state %s", j.State)
	}
	h.restart()
	h.fail(nil, nil)
	h.state(j.ID, job.Succeeded)

	h.fail(nil, errs.Errorf("test", errs.Invalid, "no model was written"))
	j = h.submit(command("b"))
	h.state(j.ID, job.Running)
	h.machine.exit(ref(j.ID, 0, 1), 0)
	if j = h.state(j.ID, job.Failed); !strings.Contains(j.Reason, "no model was written") {
		t.Fatalf("reason %q", j.Reason)
	}
}

func TestCancelEndsAJobAtAnyPoint(t *testing.T) {
	h := newHall(t)
	big := command("big")
	big.Resources.CPU = 4
	running, queued := h.submit(big), h.submit(big)
	h.state(running.ID, job.Running)
	h.until(queued.ID, "explained", func(j job.Job) bool { return len(j.Reasons) > 0 })
	why, err := h.Why(t.Context(), queued.ID)
	if err != nil || !strings.Contains(why.Summary, "waits for cpu (needs 4, offered 0)") || len(why.Reasons) != 1 {
		t.Fatalf("why: %+v, %v", why, err)
	}
	for _, id := range []job.ID{queued.ID, running.ID} {
		if _, err := h.Cancel(t.Context(), "user/ann", id); err != nil {
			t.Fatal(err)
		}
		j := h.state(id, job.Canceled)
		if j.Reason != "canceled by user/ann" {
			t.Fatalf("reason %q", j.Reason)
		}
		if _, err := h.Cancel(t.Context(), "user/ann", id); err != nil {
			t.Fatalf("canceled twice: %v", err)
		}
	}
	if _, err := h.Cancel(t.Context(), "user/ann", 99); !errs.Is(err, errs.NotFound) {
		t.Fatalf("cancel of no job: %v", err)
	}
	done := h.submit(command("done"))
	h.state(done.ID, job.Running)
	h.machine.exit(ref(done.ID, 0, 1), 0)
	h.state(done.ID, job.Succeeded)
	if _, err := h.Cancel(t.Context(), "user/ann", done.ID); !errs.Is(err, errs.Conflict) {
		t.Fatalf("cancel of a success: %v", err)
	}
}

func TestADryRunSaysWhatWouldHappen(t *testing.T) {
	h := newHall(t)
	s := command("a")
	s.Resources.CPU = 3
	j, err := h.Submit(t.Context(), "user/ann", "ann", s, true)
	if err != nil || j.Reason != "would start now on here" {
		t.Fatalf("%q, %v", j.Reason, err)
	}
	h.state(h.submit(s).ID, job.Running)
	j, err = h.Submit(t.Context(), "user/ann", "ann", s, true)
	if err != nil || j.Reason != "would be queued: it waits for cpu (needs 3, offered 1)" || len(j.Reasons) != 1 {
		t.Fatalf("%q %v, %v", j.Reason, j.Reasons, err)
	}
	s.Resources.CPU = 16
	_, err = h.Submit(t.Context(), "user/ann", "ann", s, true)
	if want := "the job would never fit: a task asks for 16 cpu on one node, and the largest has 4; ask for less"; err == nil || err.Error() != want {
		t.Fatalf("got %v, want %s", err, want)
	}
	if list, _ := h.List(t.Context(), job.Filter{}); len(list) != 1 {
		t.Fatalf("dry runs left %d jobs", len(list))
	}
}

func TestAServiceScalesAndItsReplicasRestartOnDemand(t *testing.T) {
	h := newHall(t)
	s := command("web")
	s.Kind = job.Service
	j := h.submit(s)
	h.state(j.ID, job.Running)
	h.machine.kill(ref(j.ID, 0, 1))
	h.until(j.ID, "down", func(j job.Job) bool { return j.Tasks[0].State == job.Failed })
	for range 2 { // the second finds it done
		if _, err := h.RestartReplica(t.Context(), "policy/restart", j.ID, 0, 1); err != nil {
			t.Fatal(err)
		}
	}
	h.until(j.ID, "up", func(j job.Job) bool { return j.Tasks[0].State == job.Running && j.Tasks[0].Attempt == 2 })
	if _, err := h.RestartReplica(t.Context(), "policy/restart", j.ID, 0, 2); !errs.Is(err, errs.Conflict) {
		t.Fatalf("restart of what runs: %v", err)
	}
	up := func(n int) func(job.Job) bool {
		return func(j job.Job) bool {
			live := 0
			for _, task := range j.Tasks {
				if task.State == job.Running {
					live++
				}
			}
			return live == n
		}
	}
	for _, n := range []int{3, 1, 2} {
		if _, err := h.SetReplicas(t.Context(), "user/ann", j.ID, n); err != nil {
			t.Fatal(err)
		}
		h.until(j.ID, fmt.Sprintf("at %d replicas", n), up(n))
	}
	if _, err := h.SetReplicas(t.Context(), "user/ann", j.ID, 0); !errs.Is(err, errs.Invalid) {
		t.Fatalf("0 replicas: %v", err)
	}
	if _, err := h.Cancel(t.Context(), "user/ann", j.ID); err != nil {
		t.Fatal(err)
	}
	h.state(j.ID, job.Canceled)
}

func TestLogsOfAJobThatWaitsAreWaitedForWhenFollowed(t *testing.T) {
	h := newHall(t)
	big := command("big")
	big.Resources.CPU = 4
	first, second := h.submit(big), h.submit(big)
	h.state(first.ID, job.Running)
	if _, err := h.Logs(t.Context(), second.ID, 0, 0, false); !errs.Is(err, errs.Conflict) {
		t.Fatalf("log of a job that waits: %v", err)
	}
	got := make(chan string, 1)
	go func() {
		r, err := h.Logs(h.Context(), second.ID, 0, 0, true)
		if err != nil {
			got <- err.Error()
			return
		}
		b, _ := io.ReadAll(r)
		got <- string(b)
	}()
	h.machine.exit(ref(first.ID, 0, 1), 0)
	h.state(second.ID, job.Running)
	if s := <-got; s != "log of "+ref(second.ID, 0, 1).String() {
		t.Fatalf("log %q", s)
	}
	if _, err := h.Logs(t.Context(), second.ID, 5, 0, true); !errs.Is(err, errs.NotFound) {
		t.Fatalf("log of no task: %v", err)
	}
}

func TestAnEndIsExplainedByWhatTheMachineKnows(t *testing.T) {
	h := newHall(t)
	for reason, want := range map[string]string{
		"oom":                          "resources.memory",
		"disk":                         "resources.disk",
		"processes":                    "resources.processes",
		"timeout":                      "timeout",
		"the machine's disk is full: ": "disk is full",
	} {
		j := h.submit(command("a"))
		h.state(j.ID, job.Running)
		h.machine.change(ref(j.ID, 0, 1), func(st *exec.Status) {
			st.State, st.ExitCode, st.Signal, st.Reason = exec.Exited, 137, "SIGKILL", reason
		})
		if j = h.state(j.ID, job.Failed); !strings.Contains(j.Reason, want) {
			t.Errorf("%s: %q", reason, j.Reason)
		}
	}
}

func TestOldJobsKeepTheirRecordsAndLoseTheirFiles(t *testing.T) {
	h := newHall(t)
	h.stop()
	h.options.Keep = 2
	h.up()
	service := h.submit(job.Spec{Name: "web", Kind: job.Service, Command: []string{"/bin/true"}})
	h.state(service.ID, job.Running)
	var ended []job.ID
	for range 5 {
		j := h.submit(command("tiny"))
		h.state(j.ID, job.Running)
		h.machine.exit(ref(j.ID, 0, 1), 0)
		h.state(j.ID, job.Succeeded)
		ended = append(ended, j.ID)
		h.clock.Advance(time.Second)
	}
	kept := func() (out []string) {
		all, _ := h.machine.Observe(t.Context())
		for _, st := range all {
			out = append(out, st.Ref.Job)
		}
		return out
	}
	want := []string{service.ID.String(), ended[3].String(), ended[4].String()}
	for range 500 {
		if slices.Equal(kept(), want) {
			break
		}
		h.clock.Advance(time.Second)
		time.Sleep(2 * time.Millisecond)
	}
	if got := kept(); !slices.Equal(got, want) {
		t.Errorf("files are kept of the jobs %v, want %v", got, want)
	}
	if j, err := h.Get(t.Context(), ended[0]); err != nil || j.State != job.Succeeded {
		t.Errorf("the record of the oldest: %+v, %v", j, err)
	}
}

func TestAJobThatMayBeStoppedGivesWayAndComesBack(t *testing.T) {
	h := newHall(t)
	spec := command("low")
	spec.Resources.CPU, spec.Preemptible = 4, true
	low := h.submit(spec)
	h.state(low.ID, job.Running)
	spec = command("high")
	spec.Resources.CPU = 4
	equal := h.submit(spec)
	why, err := h.Why(t.Context(), equal.ID)
	if err != nil || why.Outlook == nil || why.Outlook.Position != 1 || why.Outlook.Of != 1 {
		t.Fatalf("explained as %+v, %v", why.Outlook, err)
	}
	if c := why.Outlook.Changes; !slices.ContainsFunc(c, func(c job.Change) bool {
		return c.Field == "priority" && c.To == "1" && slices.Equal(c.Stops, []string{"job/" + low.ID.String()})
	}) {
		t.Errorf("what would start it: %+v", c)
	}
	if _, err := h.Cancel(t.Context(), "user/ann", equal.ID); err != nil {
		t.Fatal(err)
	}
	spec.Priority = 1
	high := h.submit(spec)
	h.state(high.ID, job.Running)
	j := h.state(low.ID, job.Queued)
	if j.Attempt != 2 || j.RetriesLeft != 0 || j.Preempted == nil {
		t.Errorf("what was stopped is %+v", j)
	}
	h.machine.exit(ref(high.ID, 0, 1), 0)
	h.state(high.ID, job.Succeeded)
	h.state(low.ID, job.Running)
}

func TestAWaitingJobLearnsFromThoseBeforeItWhenItStarts(t *testing.T) {
	h := newHall(t)
	spec := command("nightly")
	spec.Resources.CPU = 4
	for range 6 {
		j := h.submit(spec)
		h.state(j.ID, job.Running)
		h.clock.Advance(time.Hour)
		h.machine.exit(ref(j.ID, 0, 1), 0)
		h.state(j.ID, job.Succeeded)
	}
	for _, when := range []string{"learned", "read again"} {
		first := h.submit(spec)
		h.state(first.ID, job.Running)
		second := h.submit(spec)
		why, err := h.Why(t.Context(), second.ID)
		if err != nil || why.Outlook == nil || why.Outlook.Earliest == nil {
			t.Fatalf("%s: %+v, %v", when, why.Outlook, err)
		}
		if in := why.Outlook.Earliest.Sub(h.clock.Now()); in < 20*time.Minute || in > 3*time.Hour || why.Outlook.Confidence <= 0 {
			t.Errorf("%s: it is to start in %v with confidence %v", when, in, why.Outlook.Confidence)
		}
		for _, id := range []job.ID{second.ID, first.ID} {
			if _, err := h.Cancel(t.Context(), "user/ann", id); err != nil {
				t.Fatal(err)
			}
		}
		h.machine.exit(ref(first.ID, 0, 1), 143)
		h.state(first.ID, job.Canceled)
		h.restart()
	}
}

func TestOneShortRunOfThePastPromisesNoStart(t *testing.T) {
	h := newHall(t)
	spec := command("once")
	spec.Resources.CPU = 4
	first := h.submit(spec)
	h.state(first.ID, job.Running)
	h.clock.Advance(3 * time.Second)
	h.machine.exit(ref(first.ID, 0, 1), 0)
	h.state(first.ID, job.Succeeded)
	h.clock.Advance(time.Hour) // what is submitted together is taken to be alike
	second := h.submit(spec)
	h.state(second.ID, job.Running)
	third := h.submit(spec)
	if why, err := h.Why(t.Context(), third.ID); err != nil || why.Outlook == nil || why.Outlook.Earliest != nil {
		t.Errorf("it is told to start by %v: %v", why.Outlook, err)
	}
}
