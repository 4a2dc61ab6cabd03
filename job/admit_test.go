package job_test

import (
	"testing"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/sched/queue"
)

// refused submits and wants the whole message.
func (h *hall) refused(s job.Spec, want string) {
	h.Helper()
	if _, err := h.Submit(h.Context(), "user/ann", "ann", s, false); !errs.Is(err, errs.Invalid) || err.Error() != want {
		h.Errorf("got %v,\nwant %s", err, want)
	}
}

func TestAJobThatItsQueuesLimitNeverLetsStartIsRefused(t *testing.T) {
	h := newHall(t, func(o *job.Options) {
		o.Site = job.DefaultSite([]queue.Queue{
			{Name: "lab", Limit: queue.Amount{CPU: 3}},
			{Name: "small", Parent: "lab", Limit: queue.Amount{CPU: 2}},
			{Name: "wide", Parent: "lab"},
		})
	})
	s := command("a")
	s.Queue, s.Resources.CPU, s.Tasks = "small", 2, 2
	h.refused(s, "the job would never start: it asks for 4 of cpu at once, and queue lab is limited to 3; "+
		"it asks for 4 of cpu at once, and queue small is limited to 2; ask for less, or name another queue (`lineshaft queue` shows their limits)")
	s.Queue = "wide"
	h.refused(s, "the job would never start: it asks for 4 of cpu at once, and queue lab is limited to 3; "+
		"ask for less, or name another queue (`lineshaft queue` shows their limits)")
	s.Tasks = 1
	h.state(h.submit(s).ID, job.Running)
	s.Queue = "small" // it waits: what others hold is no reason to refuse it
	h.state(h.submit(s).ID, job.Queued)
}

func TestTheDiskThatNobodyAskedForIsNoReasonToRefuseAJob(t *testing.T) {
	h := newHall(t, func(o *job.Options) {
		o.Nodes = func() []fleet.Node {
			return []fleet.Node{{Name: "here", CPU: 4, Memory: 64 * units.GiB, Disk: 101 * units.MiB}}
		}
	})
	j := h.submit(command("a"))
	if h.state(j.ID, job.Running); j.Spec.Resources.Disk != 50*units.MiB {
		t.Errorf("it got %v", j.Spec.Resources.Disk)
	}
	s := command("a")
	s.Resources.Disk = 2 * units.GiB
	h.refused(s, "the job would never fit: a task asks for 2 GiB disk on one node, and the largest has 101 MiB; ask for less")
}
