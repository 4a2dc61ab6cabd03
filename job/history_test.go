package job_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
)

// history is a seeded sequence of everything that may happen, in any order: jobs come and are canceled and retried,
// processes run, end, are killed and vanish, reports arrive late, twice or never, and the server crashes between any
// two writes.
type history struct {
	*sim
	rand  *rand.Rand
	seed  uint64
	stale []exec.Status       // reports that may be heard again
	ended map[job.ID]job.Job  // terminal records
	tried map[string]int      // newest attempt seen of each task
	times map[job.ID]struct{} // accepted
}

func newHistory(t *testing.T, seed uint64) *history {
	h := &history{
		sim: newSim(t, node("n1", 4), node("n2", 2)), rand: rand.New(rand.NewPCG(seed, 3)), seed: seed,
		ended: map[job.ID]job.Job{}, tried: map[string]int{}, times: map[job.ID]struct{}{},
	}
	h.machine.automatic, h.machine.obedient = false, false
	h.adopt()
	return h
}

func (h *history) spec() job.Spec {
	s := command("h")
	s.Kind = []job.Kind{job.Command, job.Command, job.Service}[h.rand.IntN(3)]
	s.Tasks = 1 + h.rand.IntN(3)
	s.Retries = h.rand.IntN(3)
	s.Priority = h.rand.IntN(3)
	s.Preemptible = h.rand.IntN(2) == 0
	s.Resources.CPU = float64(1 + h.rand.IntN(2))
	if h.seed%3 == 0 && h.rand.IntN(2) == 0 { // of these histories many are elastic, and of the others none
		s.Kind, s.Tasks, s.MinTasks, s.Preemptible, s.Resources.CPU = job.Command, 2+h.rand.IntN(3), 1+h.rand.IntN(2), h.rand.IntN(4) > 0, 1
	}
	if s.Kind == job.Command && h.rand.IntN(6) == 0 {
		s.Array = &job.Array{Count: 2 + h.rand.IntN(2), Limit: h.rand.IntN(3)}
	}
	if h.rand.IntN(4) == 0 {
		s.Timeout = job.Duration(time.Minute)
	}
	return s
}

func (h *history) anyJob() (job.Job, bool) {
	list, _ := h.store.ListJobs(context.Background(), job.Filter{})
	if len(list) == 0 {
		return job.Job{}, false
	}
	return list[h.rand.IntN(len(list))], true
}

func (h *history) anyAlive() (exec.TaskRef, bool) {
	all, _ := h.machine.Observe(context.Background())
	all = slices.DeleteFunc(all, func(st exec.Status) bool { return !alive(st.State) })
	if len(all) == 0 {
		return exec.TaskRef{}, false
	}
	return all[h.rand.IntN(len(all))].Ref, true
}

// torn is now and then a crash in the middle of a step's saves.
func (h *history) torn() int {
	if h.rand.IntN(25) == 0 {
		return 1 + h.rand.IntN(2)
	}
	return 0
}

func (h *history) next() {
	switch h.rand.IntN(14) {
	case 0:
		if len(h.times) < 8 {
			j := h.submit(h.spec())
			for i := range job.ID(j.Spec.Array.Members()) {
				h.times[j.ID+i] = struct{}{}
			}
		}
	case 1:
		h.command()
	case 2, 3, 4:
		if ids := sortedKeys(h.queue); len(ids) > 0 {
			if in := h.carry(ids[h.rand.IntN(len(ids))]); len(in) > 0 {
				_ = h.step(h.torn(), in...)
			}
		}
	case 5, 6, 7:
		if ref, ok := h.anyAlive(); ok {
			h.happen(ref)
		}
	case 8, 9:
		h.hear()
	case 10:
		all, _ := h.machine.Observe(context.Background())
		_ = h.step(h.torn(), job.Observed{Statuses: all, Fresh: func(id job.ID) bool { return len(h.queue[id]) == 0 }})
	case 11:
		h.now = h.now.Add(time.Duration(h.rand.IntN(30_000)) * time.Millisecond)
		if h.rand.IntN(3) == 0 {
			h.now = h.now.Add(job.ResizePause)
		}
		_ = h.step(h.torn())
	case 12:
		if h.rand.IntN(4) == 0 {
			h.crash()
		}
	case 13:
		h.machine.refuse, h.finish = nil, nil
		if h.rand.IntN(5) == 0 {
			h.machine.refuse = errs.Errorf("sim", []errs.Kind{errs.Exhausted, errs.Unsupported}[h.rand.IntN(2)], "refused")
		}
		if h.rand.IntN(5) == 0 {
			h.finish = errs.Errorf("sim", []errs.Kind{errs.Exhausted, errs.Invalid}[h.rand.IntN(2)], "not registered")
		}
	}
}

// command is one that a person or the loop gives; whether it is taken is not this test's matter.
func (h *history) command() {
	j, ok := h.anyJob()
	if !ok {
		return
	}
	task := h.rand.IntN(len(j.Tasks))
	switch h.rand.IntN(5) {
	case 0:
		_ = h.step(h.torn(), job.CancelRequested{ID: j.ID, Actor: "user/ann"})
	case 1:
		if h.step(0, job.RetryRequested{Job: j, Actor: "user/ann"}) == nil {
			delete(h.ended, j.ID)
		}
	case 2:
		_ = h.step(h.torn(), job.RestartReplica{ID: j.ID, Index: task, Attempt: j.Tasks[task].Attempt, Actor: "policy/restart"})
	case 3:
		_ = h.step(h.torn(), job.SetReplicas{ID: j.ID, N: 1 + h.rand.IntN(3), Actor: "user/ann"})
	case 4:
		h.moveOne()
	}
}

// moveOne moves the first task of a running job to another node.
func (h *history) moveOne() {
	for _, j := range h.core.Jobs() {
		if j.State != job.Running || !j.Spec.Preemptible {
			continue
		}
		move := moveOf(j, "")
		for i := range move.To {
			move.To[i].Node = move.From[i].Node
		}
		move.To[0].Node = map[string]string{"n1": "n2", "n2": "n1"}[move.To[0].Node]
		if h.step(h.torn(), job.Relocate{Moves: []job.Move{move}, Nodes: h.nodes, Actor: "policy/defragment"}) == nil {
			return
		}
	}
}

// happen lets something happen to a process.
func (h *history) happen(ref exec.TaskRef) {
	switch h.rand.IntN(7) {
	case 0, 1, 2:
		h.machine.change(ref, func(st *exec.Status) { st.State, st.PID = exec.Running, 7 })
	case 3:
		h.machine.exit(ref, h.rand.IntN(2))
	case 4:
		h.machine.kill(ref)
	case 5:
		h.machine.change(ref, func(st *exec.Status) { st.State = exec.Lost })
	case 6: // its folder is deleted by somebody
		h.machine.kill(ref)
		_ = h.machine.Remove(context.Background(), ref)
	}
}

// hear takes one report out of order, keeps some to be heard again, and loses some.
func (h *history) hear() {
	if len(h.said) > 0 {
		i := h.rand.IntN(len(h.said))
		st := h.said[i]
		h.said = slices.Delete(h.said, i, i+1)
		h.stale = append(h.stale, st)
		if h.rand.IntN(5) > 0 {
			_ = h.step(h.torn(), job.TaskObserved{Status: st})
		}
		return
	}
	if len(h.stale) > 0 {
		_ = h.step(h.torn(), job.TaskObserved{Status: h.stale[h.rand.IntN(len(h.stale))]})
	}
}

// check holds the invariants.
func (h *history) check() {
	h.Helper()
	if p := h.machine.promises(); len(p) > 0 {
		h.Fatalf("seed %d: %v", h.seed, p)
	}
	used, arrays := map[string]float64{}, map[job.ID]int{}
	for id := range h.times {
		j := h.get(id) // nothing accepted is lost
		if was, ok := h.ended[id]; ok && !reflect.DeepEqual(was, j) {
			h.Fatalf("seed %d: job %d had ended and changed:\n%+v\n%+v", h.seed, id, was, j)
		}
		if j.State.Terminal() {
			h.ended[id] = j
		}
		h.size(j)
		if m := j.Array; m != nil && slices.ContainsFunc(j.Tasks, func(t job.Task) bool { return t.State.Live() }) {
			if arrays[m.ID]++; j.Spec.Array.Limit > 0 && arrays[m.ID] > j.Spec.Array.Limit {
				h.Fatalf("seed %d: more than %d jobs of array %d run", h.seed, j.Spec.Array.Limit, m.ID)
			}
		}
		for _, task := range j.Tasks {
			key := fmt.Sprint(id, ".", task.Index)
			if task.Attempt < h.tried[key] {
				h.Fatalf("seed %d: task %s went back from attempt %d to %d", h.seed, key, h.tried[key], task.Attempt)
			}
			h.tried[key] = task.Attempt
			if task.State.Live() {
				used[task.Node] += j.Spec.Resources.CPU
			}
			if (j.State.Terminal() || j.State == job.Queued) && task.State.Live() {
				h.Fatalf("seed %d: job %d is %s with a task that is %s", h.seed, id, j.State, task.State)
			}
		}
	}
	all, _ := h.machine.Observe(context.Background())
	for _, st := range all {
		var id job.ID
		_, _ = fmt.Sscan(st.Ref.Job, &id)
		if j := h.get(id); alive(st.State) && !j.Tasks[st.Ref.Index].State.Live() {
			h.Fatalf("seed %d: %v is %s and its job (%s) counts it as %s", h.seed, st.Ref, st.State, j.State, j.Tasks[st.Ref.Index].State)
		}
	}
	for _, n := range h.nodes {
		if used[n.Name] > n.CPU {
			h.Fatalf("seed %d: node %s has %v cores and holds tasks of %v", h.seed, n.Name, n.CPU, used[n.Name])
		}
	}
}

// size holds that a batch job that has started runs with all its tasks, an elastic one with enough, those of the lowest
// ranks.
func (h *history) size(j job.Job) {
	h.Helper()
	least := j.Spec.Tasks
	if j.Spec.MinTasks > 0 {
		least = j.Spec.MinTasks
	}
	if j.Kind == job.Service || j.State != job.Starting && j.State != job.Running {
		return
	}
	for i, t := range j.Tasks {
		if started := t.State != job.Canceled && t.State != job.Queued; started != (i < j.World()) {
			h.Fatalf("seed %d: job %d has the size %d of %d to %d and task %d is %s", h.seed, j.ID, j.World(), least, j.Spec.Tasks, i, t.State)
		}
	}
	if j.World() < least || j.World() > j.Spec.Tasks {
		h.Fatalf("seed %d: job %d has the size %d of %d to %d", h.seed, j.ID, j.World(), least, j.Spec.Tasks)
	}
}

// rest lets everything go well from now on; every job must come to its end.
func (h *history) rest() {
	h.Helper()
	h.machine.automatic, h.machine.obedient, h.machine.refuse, h.finish = true, true, nil, nil
	for range 60 {
		h.adopt()
		h.settle()
		all, _ := h.machine.Observe(context.Background())
		for _, st := range all {
			h.machine.change(st.Ref, func(st *exec.Status) { st.State = exec.Running })
			h.machine.exit(st.Ref, 0)
		}
		for _, j := range h.core.Jobs() {
			if j.Kind == job.Service {
				_ = h.step(0, job.CancelRequested{ID: j.ID, Actor: "user/ann"})
			}
		}
		h.settle()
		h.now = h.now.Add(10 * time.Second)
		h.check()
	}
	for id := range h.times {
		if j := h.get(id); !j.State.Terminal() {
			h.Fatalf("seed %d: job %d never ended: %s %q %+v", h.seed, id, j.State, j.Reason, j.Tasks)
		}
	}
}

func runHistory(t *testing.T, seed uint64, steps int) *history {
	h := newHistory(t, seed)
	for range steps {
		h.next()
		h.check()
	}
	h.rest()
	return h
}

func TestNoHistoryBreaksTheInvariants(t *testing.T) {
	seen, moved, grown, shrunk := map[string]bool{}, false, false, false
	for seed := range uint64(40) {
		h := runHistory(t, seed, 250)
		for _, line := range h.trace {
			seen[strings.Fields(line)[2]] = true
			moved = moved || strings.Contains(line, "moved to")
			grown = grown || strings.Contains(line, "there is room for more")
			shrunk = shrunk || strings.Contains(line, "needs the room of the others")
		}
	}
	if !moved || !grown || !shrunk {
		t.Error(moved, grown, shrunk, "no history moved, grew or shrank a job: the test proves less than it says")
	}
	for _, state := range []job.State{job.Queued, job.Starting, job.Running, job.Stopping, job.Succeeded, job.Failed, job.Canceled} {
		if !seen[string(state)] {
			t.Errorf("no history reached %s: the test proves less than it says", state)
		}
	}
}

func TestTheSameSeedGivesTheSameHistoryToTheByte(t *testing.T) {
	a, b := runHistory(t, 42, 300), runHistory(t, 42, 300)
	if !slices.Equal(a.trace, b.trace) {
		t.Fatal("two runs of one seed differ")
	}
	for i := range a.store.events {
		if string(a.store.events[i].Data) != string(b.store.events[i].Data) {
			t.Fatalf("event %d differs", i)
		}
	}
}
