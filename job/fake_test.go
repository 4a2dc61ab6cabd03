package job_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/sched/queue"
)

// memory is a store that keeps what a database would: records as bytes, so that nothing is shared by accident.
type memory struct {
	mu      sync.Mutex
	jobs    map[job.ID][]byte
	points  map[job.ID][]job.Metric
	offsets map[string]int64
	events  []event.Event
	past    queue.Past
	broken  error // every write fails with it
}

func newMemory() *memory {
	return &memory{jobs: map[job.ID][]byte{}, points: map[job.ID][]job.Metric{}, offsets: map[string]int64{}}
}

func (m *memory) breakWith(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken = err
}

func (m *memory) CreateJobs(ctx context.Context, jobs []job.Job, e event.Event) ([]job.Job, error) {
	jobs = slices.Clone(jobs)
	m.mu.Lock()
	job.Number(jobs, job.ID(len(m.jobs)+1))
	if m.broken == nil {
		for _, j := range jobs {
			m.jobs[j.ID] = nil
		}
	}
	m.mu.Unlock()
	return jobs, m.UpdateJobs(ctx, jobs, e)
}

func (m *memory) UpdateJobs(_ context.Context, jobs []job.Job, events ...event.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return m.broken
	}
	for _, j := range jobs {
		if _, ok := m.jobs[j.ID]; !ok {
			return errs.Errorf("memory.UpdateJobs", errs.NotFound, "no job %d", j.ID)
		}
		body, err := json.Marshal(j)
		if err != nil {
			return err
		}
		m.jobs[j.ID] = body
	}
	m.events = append(m.events, events...)
	return nil
}

func (m *memory) PutPast(_ context.Context, p queue.Past) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.past = p
	return m.broken
}

func (m *memory) Past(context.Context) (queue.Past, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.past, nil
}

func (m *memory) GetJob(_ context.Context, id job.ID) (job.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	body, ok := m.jobs[id]
	if !ok {
		return job.Job{}, errs.Errorf("memory.GetJob", errs.NotFound, "no job %d", id)
	}
	var j job.Job
	return j, json.Unmarshal(body, &j)
}

func (m *memory) ListJobs(ctx context.Context, f job.Filter) ([]job.Job, error) {
	m.mu.Lock()
	ids := slices.Sorted(maps.Keys(m.jobs))
	m.mu.Unlock()
	slices.Reverse(ids)
	var out []job.Job
	for _, id := range ids {
		j, err := m.GetJob(ctx, id)
		if err != nil {
			return nil, err
		}
		if (f.State == "" || f.State == j.State) && (f.Owner == "" || f.Owner == j.Owner) && (f.After == 0 || j.ID < f.After) &&
			(f.Array == 0 || j.Array != nil && j.Array.ID == f.Array && (!f.Fold || j.Array.Index == 0)) && (f.Limit == 0 || len(out) < f.Limit) {
			out = append(out, j)
		}
	}
	return out, nil
}

func journalKey(id job.ID, task, attempt int) string { return fmt.Sprint(id, "/", task, "/", attempt) }

func (m *memory) AppendMetrics(_ context.Context, id job.ID, task, attempt int, from, to int64, points []job.Metric) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := journalKey(id, task, attempt)
	switch {
	case m.broken != nil:
		return m.broken
	case from < m.offsets[key]:
		return nil
	}
	for _, p := range points {
		p.Seq = int64(len(m.points[id]) + 1)
		m.points[id] = append(m.points[id], p)
	}
	m.offsets[key] = to
	return nil
}

func (m *memory) JournalOffset(_ context.Context, id job.ID, task, attempt int) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.offsets[journalKey(id, task, attempt)], nil
}

func (m *memory) ListMetrics(_ context.Context, id job.ID, after int64, _ int) ([]job.Metric, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.points[id][min(after, int64(len(m.points[id]))):]), nil
}

func (m *memory) kinds() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for _, e := range m.events {
		if !e.Quiet {
			out = append(out, e.Kind)
		}
	}
	return out
}

// machine is an executor without processes: attempts are entries, ended by the test. It keeps the promise that job
// relies on (an attempt is started once, an older one never) and counts what would break the promise that job makes.
type machine struct {
	mu        sync.Mutex
	tasks     map[exec.TaskRef]*exec.Status
	journals  map[exec.TaskRef][]byte
	newest    map[string]int
	now       func() time.Time
	broken    []string // promises that job broke
	starts    int
	refuse    error // the next starts fail
	obedient  bool  // Stop ends an attempt at once
	automatic bool  // a started attempt runs at once
	tell      func(exec.Status)
}

func newMachine() *machine {
	return &machine{
		tasks: map[exec.TaskRef]*exec.Status{}, journals: map[exec.TaskRef][]byte{}, newest: map[string]int{},
		obedient: true, automatic: true, now: func() time.Time { return time.Unix(5000, 0) }, tell: func(exec.Status) {},
	}
}

func alive(st exec.State) bool { return st == exec.Starting || st == exec.Running }

func taskKey(r exec.TaskRef) string { return fmt.Sprintf("%s.%d", r.Job, r.Index) }

func (m *machine) Start(_ context.Context, t exec.Task) error {
	m.mu.Lock()
	if m.refuse != nil {
		defer m.mu.Unlock()
		return m.refuse
	}
	if m.tasks[t.Ref] != nil {
		defer m.mu.Unlock()
		return nil
	}
	if t.Ref.Attempt <= m.newest[taskKey(t.Ref)] {
		defer m.mu.Unlock()
		return errs.Errorf("machine.Start", errs.Conflict, "attempt %v is older than one that was seen", t.Ref)
	}
	for ref, st := range m.tasks {
		if taskKey(ref) == taskKey(t.Ref) && alive(st.State) {
			m.broken = append(m.broken, fmt.Sprintf("%v started while %v is %s", t.Ref, ref, st.State))
		}
	}
	st := &exec.Status{Ref: t.Ref, State: exec.Starting, Started: m.now()}
	if m.automatic {
		st.State, st.PID = exec.Running, 1000+m.starts
		st.Isolation = []exec.Feature{{Name: "landlock", Enforced: true, Detail: "ABI 7"}}
	}
	m.starts++
	m.newest[taskKey(t.Ref)], m.tasks[t.Ref] = t.Ref.Attempt, st
	said := *st
	m.mu.Unlock()
	m.tell(said)
	return nil
}

// change lets something happen to an attempt.
func (m *machine) change(ref exec.TaskRef, f func(*exec.Status)) {
	m.mu.Lock()
	st := m.tasks[ref]
	if st == nil || !alive(st.State) {
		m.mu.Unlock()
		return
	}
	f(st)
	if !alive(st.State) {
		st.Ended = time.Unix(6000, 0)
	}
	said := *st
	m.mu.Unlock()
	m.tell(said)
}

func (m *machine) exit(ref exec.TaskRef, code int) {
	m.change(ref, func(st *exec.Status) { st.State, st.ExitCode = exec.Exited, code })
}

func (m *machine) kill(ref exec.TaskRef) {
	m.change(ref, func(st *exec.Status) { st.State, st.ExitCode, st.Signal = exec.Exited, 137, "SIGKILL" })
}

func (m *machine) Stop(_ context.Context, ref exec.TaskRef, _ time.Duration) error {
	m.mu.Lock()
	obedient := m.obedient
	m.mu.Unlock()
	if obedient {
		m.change(ref, func(st *exec.Status) {
			st.State, st.ExitCode, st.Signal, st.Reason = exec.Exited, 143, "SIGTERM", "canceled"
		})
	}
	return nil
}

func (m *machine) Observe(context.Context) ([]exec.Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]exec.Status, 0, len(m.tasks))
	for _, st := range m.tasks {
		out = append(out, *st)
	}
	slices.SortFunc(out, func(a, b exec.Status) int {
		return cmp.Or(cmp.Compare(a.Ref.Job, b.Ref.Job), cmp.Compare(a.Ref.Index, b.Ref.Index), cmp.Compare(a.Ref.Attempt, b.Ref.Attempt))
	})
	return out, nil
}

func (m *machine) Remove(_ context.Context, ref exec.TaskRef) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if st := m.tasks[ref]; st != nil && alive(st.State) {
		m.broken = append(m.broken, fmt.Sprintf("%v removed while %s", ref, st.State))
	}
	delete(m.tasks, ref)
	return nil
}

func (m *machine) Forget(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for ref, st := range m.tasks {
		if ref.Job != id {
			continue
		}
		if alive(st.State) {
			m.broken = append(m.broken, fmt.Sprintf("%v forgotten while %s", ref, st.State))
		}
		delete(m.tasks, ref)
	}
	return nil
}

func (m *machine) write(ref exec.TaskRef, lines string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.journals[ref] = append(m.journals[ref], lines...)
}

func (m *machine) Journal(_ context.Context, ref exec.TaskRef, offset int64) ([]byte, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.journals[ref]
	if offset > int64(len(b)) {
		return nil, offset, errs.Errorf("machine.Journal", errs.Invalid, "offset %d is behind the end", offset)
	}
	b = bytes.Clone(b[offset:])
	b = b[:bytes.LastIndexByte(b, '\n')+1]
	return b, offset + int64(len(b)), nil
}

func (m *machine) Logs(_ context.Context, ref exec.TaskRef, _ int64, _ bool) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("log of " + ref.String())), nil
}

func (m *machine) Output(_ context.Context, ref exec.TaskRef, name string) (io.ReadCloser, error) {
	return nil, errs.Errorf("machine.Output", errs.NotFound, "%v has no output %q", ref, name)
}

// count is how many attempts were ever started.
func (m *machine) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.starts
}

func (m *machine) promises() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.broken)
}

var (
	_ job.Store    = (*memory)(nil)
	_ exec.Tasks   = (*machine)(nil)
	_ exec.Outputs = (*machine)(nil)
)
