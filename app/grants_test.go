//go:build linux

package app_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/control"
	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/exec/local"
	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/store"
	"github.com/lineshaft/lineshaft/store/sqlite"
)

// ward is the parts of a server that let grants follow need, with short windows.
type ward struct {
	*testing.T
	db    *store.DB
	tasks *local.Local
	jobs  *job.Runner
	loop  *control.Runner
	stop  func()
}

func newWard(t *testing.T) *ward {
	t.Helper()
	dir := t.TempDir()
	db, err := sqlite.Open(t.Context(), filepath.Join(dir, "db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	w := &ward{T: t, db: store.New(db, clock.System{}, nil)}
	if w.tasks, err = local.New(local.Options{Dir: filepath.Join(dir, "tasks"), Window: time.Second}); err != nil {
		t.Fatal(err)
	}
	w.start()
	t.Cleanup(func() { w.stop() })
	return w
}

// start runs them until stop, as a server does between two crashes.
func (w *ward) start() {
	log := slog.New(slog.DiscardHandler)
	w.jobs = job.NewRunner(job.Options{
		Store: w.db, Tasks: w.tasks, Outputs: w.tasks, Meters: w.tasks, Clock: clock.System{}, Log: log, Site: job.DefaultSite(nil),
		Nodes: func() []fleet.Node {
			return []fleet.Node{{Name: "n", CPU: 2, Memory: 8 * units.GiB, Disk: 8 * units.GiB}}
		},
		Launch: func(_ context.Context, j job.Job, t job.Task) (exec.Task, error) {
			r := j.Spec.Resources
			return exec.Task{
				Ref: job.TaskRef(j, t), Argv: j.Spec.Command, User: "alice", Policy: exec.Policy{AllowLess: true}, Network: true, Timeout: 2 * time.Minute,
				Limits: exec.Limits{CPU: r.CPU, Memory: r.Memory, Disk: r.Disk, Processes: 64},
			}, nil
		},
		OnFinish: func(context.Context, job.Job) (*job.ModelRef, error) { return nil, nil },
	})
	w.loop = control.NewRunner(control.Options{
		Store: w.db, Jobs: w.jobs, Tasks: w.jobs, Clock: clock.System{}, Log: log, Tick: 100 * time.Millisecond,
		Policies: []control.Policy{control.Grants(control.GrantsOptions{Window: 500 * time.Millisecond, Every: 500 * time.Millisecond})},
	})
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { w.jobs.Run(ctx) })
	parts.Go(func() { w.tasks.Watch(ctx, w.jobs.Observed) })
	parts.Go(func() { w.loop.Run(ctx) })
	w.stop = func() { cancel(); parts.Wait() }
}

// until waits for a use of the one running task that is as it should be.
func (w *ward) until(what string, is func(job.Use) bool) job.Use {
	w.Helper()
	var uses []job.Use
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if uses, _ = w.jobs.Uses(w.Context(), 0); len(uses) == 1 && is(uses[0]) {
			return uses[0]
		}
	}
	actions, _ := w.loop.Actions(w.Context(), control.Filter{})
	w.Fatalf("never %s: %+v\n%+v", what, uses, actions)
	return job.Use{}
}

func TestAnIdleTaskIsGrantedLessAndGetsItsPromiseBackWhenItWakes(t *testing.T) {
	w := newWard(t)
	s := job.Spec{
		Name: "sleeper", Kind: job.Command, Resources: job.Resources{CPU: 1, Memory: 512 * units.MiB, Disk: 256 * units.MiB},
		Command: []string{"sh", "-c", `while [ ! -e wake ]; do sleep 0.1; done
			head -c 120000000 /dev/zero > f
			head -c 300000000 /dev/zero | tail -c 300000000 | sleep 100 &
			while :; do :; done`},
	}
	j, err := w.jobs.Submit(t.Context(), "user/alice", "alice", s, false)
	if err != nil {
		t.Fatal(err)
	}
	idle := w.until("idle, with less of all", func(u job.Use) bool {
		less := func(what string, now, promised float64) bool {
			return now < 0.6*promised || strings.Contains(strings.Join(u.Fixed, " "), what)
		}
		return less("cpu", u.Grant.CPU, u.Promise.CPU) && less("memory", float64(u.Grant.Memory), float64(u.Promise.Memory)) && less("disk", float64(u.Grant.Disk), float64(u.Promise.Disk))
	})
	grouped := len(idle.Fixed) == 0
	if !grouped && os.Getuid() == 0 {
		t.Errorf("%+v", idle)
	}

	// The server is gone and comes again: the record has the grant, and it holds.
	w.stop()
	ref := exec.TaskRef{Job: j.ID.String(), Attempt: 1}
	held, err := w.tasks.Usage(t.Context(), ref)
	if err != nil || held.Limits.Disk >= s.Resources.Disk {
		t.Errorf("%+v %v", held.Limits, err)
	}
	w.start()
	w.until("as it was", func(u job.Use) bool { return u.Grant.Disk <= held.Limits.Disk })
	if j, err = w.jobs.Get(t.Context(), j.ID); err != nil || j.Tasks[0].Grant == nil || j.Tasks[0].Attempt != 1 {
		t.Errorf("%+v %v", j.Tasks, err)
	}

	if code, err := w.tasks.Shell(t.Context(), ref, exec.Shell{Argv: []string{"touch", "wake"}}); code != 0 || err != nil {
		t.Fatal(code, err)
	}
	w.until("back at its promise", func(u job.Use) bool {
		return u.Grant.CPU >= u.Promise.CPU && u.Grant.Memory == u.Promise.Memory && u.Grant.Disk == u.Promise.Disk
	})
	w.journal(grouped)
	if _, err := w.jobs.Cancel(t.Context(), "user/alice", j.ID); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); !j.State.Terminal() && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		j, _ = w.jobs.Get(t.Context(), j.ID)
	}
}

// journal checks that each kind of change was recorded, down and back.
func (w *ward) journal(grouped bool) {
	w.Helper()
	actions, err := w.loop.Actions(w.Context(), control.Filter{})
	if err != nil {
		w.Fatal(err)
	}
	down, back := map[string]bool{}, map[string]bool{}
	for _, a := range actions {
		if a.Verb != "adjust_grant" || len(a.Reasons) != 2 || len(a.Evidence) < 4 {
			w.Errorf("%+v", a)
			continue
		}
		if a.Return {
			back[a.Grant.Resource] = true
		} else if a.State == control.Verified {
			down[a.Grant.Resource] = true
		}
	}
	for _, what := range []string{"cpu", "memory", "disk"} {
		if (grouped || what == "disk") && (!down[what] || !back[what]) {
			w.Errorf("%s is not in the journal: %v, %v", what, down, back)
			for _, a := range actions {
				w.Logf("%s %s %+v %s", a.ID, a.State, a.Grant, a.Outcome)
			}
		}
	}
}
