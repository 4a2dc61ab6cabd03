package job_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
)

func TestAnArrayIsAJobForEachCombinationOfValues(t *testing.T) {
	s, err := job.Parse([]byte(`
name: sweep
command: [train]
array:
  over: {RATE: [0.1, 1e-2], SHUFFLE: [true, false, "no, thanks"]}
  limit: 2
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range s.Array.Members() {
		v := s.Array.Values(i)
		got = append(got, v["RATE"]+" "+v["SHUFFLE"])
	}
	if want := "0.1 true|0.1 false|0.1 no, thanks|1e-2 true|1e-2 false|1e-2 no, thanks"; strings.Join(got, "|") != want {
		t.Errorf("%s", strings.Join(got, "|"))
	}
	for text, want := range map[string]string{
		"{}":                           "array: give `count`, or `over` with the values of variables",
		"{count: -1}":                  "array: give `count`, or `over` with the values of variables",
		"{count: 20000}":               "array has more than 10000 jobs, the most that are allowed",
		"{count: 2, over: {A: [1]}}":   "array has `count` and `over`: give one of them",
		"{count: 2, limit: -1}":        "array.limit is -1: give how many may run at once, or leave it out",
		"{over: {A: []}}":              "array.over.A has no value",
		"{over: {LINESHAFT_JOB: [1]}}": `array.over: "LINESHAFT_JOB" is reserved: LINESHAFT_… and LD_… are set by the server`,
		"{over: {A: [[1]]}}":           "[1] is no value: give texts, numbers, true or false",
		"{over: {B: [1]}}":             "array.over: B is set in env too",
	} {
		_, err := job.Parse([]byte("name: a\ncommand: [a]\nenv: {B: b}\narray: " + text))
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestAnArrayRunsAsManyAtOnceAsItsLimitLets(t *testing.T) {
	s := newSim(t, node("n", 100))
	s.machine.automatic, s.machine.obedient = true, true
	s.adopt()
	spec := command("sweep")
	spec.Array = &job.Array{Count: 500, Limit: 3}
	head := s.submit(spec)
	s.settle()
	states := func() map[job.State]int {
		n := map[job.State]int{}
		for id := range job.ID(500) {
			j := s.get(head.ID + id)
			if j.Array.ID != head.ID || j.Array.Index != int(id) || j.Array.Count != 500 {
				t.Fatalf("job %d is %+v", j.ID, j.Array)
			}
			n[j.State]++
		}
		return n
	}
	if got := fmt.Sprint(states()); got != "map[queued:497 running:3]" {
		t.Fatalf("%s", got)
	}
	if j := s.get(head.ID + 3); j.Reason != "waits for array (needs 1 of 3, offered 0)" || !strings.Contains(j.Reasons[0].Detail, "3 of array 1 run") {
		t.Errorf("%s: %+v", j.Reason, j.Reasons)
	}
	env := s.get(head.ID + 2).Env()
	if got := fmt.Sprint(slices.Sorted(maps.Keys(env)), env["LINESHAFT_ARRAY_INDEX"], env["LINESHAFT_ARRAY"]); got != "[LINESHAFT_ARRAY LINESHAFT_ARRAY_COUNT LINESHAFT_ARRAY_INDEX LINESHAFT_TASKS WORLD_SIZE]21" {
		t.Errorf("%s", got)
	}
	s.machine.exit(ref(head.ID, 0, 1), 0)
	s.settle()
	if got := fmt.Sprint(states()); got != "map[queued:496 running:3 succeeded:1]" {
		t.Errorf("%s", got)
	}
}

func TestAnArrayIsAcceptedPreviewedCanceledAndRetriedWhole(t *testing.T) {
	h := newHall(t, func(o *job.Options) { o.Limits.Owned = 8 })
	spec := command("sweep")
	spec.Array = &job.Array{Count: 6}
	h.until(h.submit(command("first")).ID, "running", func(j job.Job) bool { return j.State == job.Running })
	j, err := h.Submit(t.Context(), "user/ann", "ann", spec, true)
	if err != nil || j.ID != 0 || j.Reason != "would start 3 of its 6 jobs now; the next waits for cpu (needs 1, offered 0)" {
		t.Errorf("dry run: %q, %v", j.Reason, err)
	}
	if j = h.submit(spec); j.Array == nil || j.Array.ID != 2 {
		t.Fatalf("%+v", j)
	}
	spec.Array.Count = 2
	if _, err := h.Submit(t.Context(), "user/ann", "ann", spec, false); !errs.Is(err, errs.Exhausted) ||
		err.Error() != "the array has 2 jobs, and ann may have 1 more that have not ended: make it smaller, wait for some, or cancel some" {
		t.Errorf("%v", err)
	}
	h.state(2, job.Running)
	if _, err := h.CancelArray(t.Context(), "user/ann", 2); err != nil {
		t.Fatal(err)
	}
	for id := range job.ID(6) {
		h.state(2+id, job.Canceled)
	}
	if _, err := h.CancelArray(t.Context(), "user/ann", 2); !errs.Is(err, errs.Conflict) {
		t.Errorf("canceled again: %v", err)
	}
	if _, err := h.CancelArray(t.Context(), "user/ann", 1); !errs.Is(err, errs.NotFound) {
		t.Errorf("no array: %v", err)
	}
	if _, err := h.RetryArray(t.Context(), "user/ann", 2); err != nil {
		t.Fatal(err)
	}
	h.state(7, job.Queued)
	h.state(2, job.Running)
	if j := h.state(1, job.Running); j.Array != nil {
		t.Errorf("the other job: %+v", j)
	}
}

func TestWhatIsRetriedCountsLikeWhatIsSubmitted(t *testing.T) {
	h := newHall(t, func(o *job.Options) { o.Limits.Owned = 3 })
	spec := command("sweep")
	spec.Array = &job.Array{Count: 3}
	h.submit(spec)
	if _, err := h.CancelArray(t.Context(), "user/ann", 1); err != nil {
		t.Fatal(err)
	}
	for id := range job.ID(3) {
		h.state(1+id, job.Canceled)
	}
	other := h.submit(command("other"))
	if _, err := h.RetryArray(t.Context(), "user/ann", 1); !errs.Is(err, errs.Exhausted) {
		t.Errorf("the array: %v", err)
	}
	for id := range job.ID(2) {
		if _, err := h.Retry(t.Context(), "user/ann", 1+id); err != nil {
			t.Errorf("job %d: %v", 1+id, err)
		}
	}
	if _, err := h.Retry(t.Context(), "user/ann", 3); !errs.Is(err, errs.Exhausted) {
		t.Errorf("one more than may be there: %v", err)
	}
	h.state(3, job.Canceled)
	if _, err := h.Retry(t.Context(), "user/ann", other.ID); !errs.Is(err, errs.Conflict) {
		t.Errorf("one that runs: %v", err)
	}
}
