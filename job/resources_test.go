package job_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/job"
)

func TestAllThatAJobMayAskForReachesItsRecord(t *testing.T) {
	s, err := job.Parse([]byte(`
name: wide
command: [train]
tasks: 4
topology: {level: rack, hard: true}
resources:
  accelerators: 2
  kind: gpu
  model: A100|H100
  accelerator_memory: 40GiB
  storage: 1TiB
  bandwidth: 10Gbit/s
  watts: 1500
`))
	if err != nil {
		t.Fatal(err)
	}
	r := s.Resources
	if s.Topology != (job.Topology{Level: "rack", Hard: true}) || r.Kind != "gpu" || r.AcceleratorMemory != 40*units.GiB ||
		r.Storage != units.TiB || r.Bandwidth != 10_000_000_000 || r.Watts != 1500 {
		t.Errorf("%+v", s)
	}
	if s, err = job.Parse([]byte("command: [serve]\nresources: {share: 0.25}")); err != nil || s.Resources.Accelerators != 1 {
		t.Errorf("a share is of one accelerator: %+v, %v", s.Resources, err)
	}
}

func TestWhatNoTaskCanAskForIsRefusedInWords(t *testing.T) {
	for text, want := range map[string]string{
		"{kind: gpu}":                               `resources.kind is "gpu" without resources.accelerators: say how many`,
		"{model: A100}":                             `resources.model is "A100" without resources.accelerators: say how many`,
		"{accelerator_memory: 1GiB}":                `resources.accelerator_memory is "1 GiB" without resources.accelerators: say how many`,
		"{accelerators: 1, kind: fpga}":             `resources.kind is "fpga": give gpu, npu, tpu`,
		"{share: 1.5}":                              "resources.share is 1.5: give the part of one accelerator in thousandths, from 0.001 to 1, such as 0.25",
		"{share: -0.5}":                             "resources.share is -0.5: give",
		"{share: 0.0001}":                           "resources.share is 0.0001: give",
		"{share: 0.5, accelerators: 2}":             "resources.share is 0.5 of 2 accelerators: a part is of 1; leave out resources.accelerators, or the share",
		"{storage: 1}":                              "resources.storage is 1 B: give at least 1MiB",
		"{bandwidth: 1}":                            "resources.bandwidth is 1 bit/s: give at least 1kbit/s",
		"{watts: -1}":                               "is not a power",
		"{watts: .inf}":                             "line 3, column 20",
		"{accelerators: 1, accelerator_memory: 1B}": "resources.accelerator_memory is 1 B: give at least 1MiB",
	} {
		_, err := job.Parse([]byte("name: a\ncommand: [a]\nresources: " + text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	for text, want := range map[string]string{
		"{level: row}": `topology.level is "row": give domain (accelerators that are joined), node or rack`,
		"{hard: true}": "topology.hard without topology.level: say what the tasks are to share, domain, node or rack",
	} {
		if _, err := job.Parse([]byte("name: a\ncommand: [a]\ntopology: " + text)); err == nil || err.Error() != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// devices is a machine with two accelerators, joined, in a rack of its own.
func devices(o *job.Options) {
	o.Nodes = func() []fleet.Node {
		n := fleet.Node{
			Name: "here", CPU: 8, Memory: 64 * units.GiB, Disk: 1000 * units.GiB, Storage: 100 * units.GiB, Bandwidth: 10e9, MaxWatts: 1000, Rack: "r1",
		}
		for _, id := range []string{"0", "1"} {
			n.Accelerators = append(n.Accelerators, fleet.Accelerator{ID: id, Model: "A100", Memory: 80 * units.GiB, Domain: "d"})
		}
		return []fleet.Node{n, {Name: "there", CPU: 8, Memory: 64 * units.GiB, Disk: 1000 * units.GiB, Rack: "r2"}}
	}
}

func TestTasksShareAnAcceleratorInTheHallAndInTheRecord(t *testing.T) {
	h := newHall(t, devices)
	s := command("part")
	s.Resources.Share = 0.5
	s.Resources.CPU = 0.1
	var on []string
	for range 4 {
		j := h.state(h.submit(s).ID, job.Running)
		on = append(on, j.Tasks[0].Accelerators...)
	}
	if got := strings.Join(on, " "); got != "0 0 1 1" {
		t.Errorf("they have %s", got)
	}
	s.Resources.Share = 0.25
	j := h.until(h.submit(s).ID, "planned", func(j job.Job) bool { return j.Reason != "" })
	x, err := h.Why(t.Context(), j.ID)
	if err != nil || x.Summary != "job 5 (part) is queued: waits for accelerators (needs 0.25 of a device, offered 0 of a device) and model (needs 0.25 of a device, offered 0)" {
		t.Errorf("%s, %v", x.Summary, err)
	}
}

func TestTimesThatContradictAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"deferrable: true": "deferrable without a deadline: say by when it must have ended, so that it does not wait for ever",
		"not_before: 2026-03-02T00:00:00Z\ndeadline: 2026-03-01T00:00:00Z": "deadline 2026-03-01T00:00:00Z is not after not_before 2026-03-02T00:00:00Z",
		"kind: service\ndeferrable: true\ndeadline: 2026-03-01T00:00:00Z":  "a service does not end: leave out `deadline` and `deferrable`",
	} {
		if _, err := job.Parse([]byte("name: a\ncommand: [a]\n" + text)); err == nil || err.Error() != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestAJobStartsNoSoonerThanItAsks(t *testing.T) {
	h := newHall(t)
	s := command("later")
	at := h.clock.Now().Add(time.Minute)
	s.NotBefore = &at
	j := h.until(h.submit(s).ID, "planned", func(j job.Job) bool { return j.Reason != "" })
	x, err := h.Why(t.Context(), j.ID)
	if want := "job 1 (later) is queued: waits for time (needs " + at.Format(time.RFC3339) + ", offered an earlier time)"; err != nil || x.Summary != want ||
		x.Outlook == nil || x.Outlook.Earliest == nil || !x.Outlook.Earliest.Equal(at) {
		t.Errorf("%+v, %v", x, err)
	}
	h.clock.Advance(59 * time.Second)
	h.state(j.ID, job.Queued)
	if h.state(j.ID, job.Running); h.clock.Now().Before(at) {
		t.Errorf("it started at %v", h.clock.Now())
	}
}

func TestWhatNoNodeHasIsRefusedAtOnce(t *testing.T) {
	h := newHall(t, devices)
	for want, change := range map[string]func(*job.Spec){
		"the job would never fit: a task asks for accelerators (1 npu), and no node has such; ask for less": func(s *job.Spec) {
			s.Resources.Accelerators, s.Resources.Kind = 1, "npu"
		},
		"the job would never fit: a task asks for 1 TiB storage, which 1 of 2 nodes do not have; " +
			"a task asks for accelerators (1), which 1 of 2 nodes do not have; ask for less": func(s *job.Spec) {
			s.Resources.Storage, s.Resources.Accelerators = units.TiB, 1
		},
		"the job would never fit: its 9 tasks run together, and 8 fit; its tasks are to run 9 in one rack, and the most that one holds is 8; ask for less": func(s *job.Spec) {
			s.Tasks, s.Topology = 9, job.Topology{Level: "rack", Hard: true}
		},
	} {
		s := command("a")
		change(&s)
		h.refused(s, want)
	}
	s := command("a")
	s.Tasks, s.Topology = 9, job.Topology{Level: "rack"}
	h.state(h.submit(s).ID, job.Running)
}
