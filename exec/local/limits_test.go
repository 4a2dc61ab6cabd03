//go:build linux

package local_test

import (
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/exec/local"
	"github.com/lineshaft/lineshaft/internal/units"
)

func TestAForkBombIsEndedWithAReason(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, _ := hall(t, at)
		bomb := task("1", 1, `bomb() { bomb 2>/dev/null | bomb 2>/dev/null & }; while true; do bomb; sleep 0.01; done`)
		bomb.Timeout, bomb.Limits.Processes, bomb.Grace = 30*time.Second, 40, 0
		out, st := run(t, l, bomb)
		// Without a group that counts, the shell may be the first to find that it cannot go on, and says so in the log.
		told := st.Reason == "processes" || !enforced(st, "memory-limit") && strings.Contains(out, "fork")
		if st.State != exec.Exited || st.ExitCode == 0 || !told {
			t.Errorf("%+v %s", st, out)
		}
	})
}

func TestATaskThatEatsMemoryIsEndedWithAReason(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, _ := hall(t, at)
		greedy := task("1", 1, "")
		greedy.Argv = []string{exec.Self, "as-glutton"}
		greedy.Limits.Memory = 128 * units.MiB
		out, st := run(t, l, greedy)
		if strings.Contains(out, "ate 1024") {
			t.Errorf("it had its fill: %+v", st)
		}
		if enforced(st, "memory-limit") && st.Reason != "oom" || st.ExitCode == 0 {
			t.Errorf("%+v", st)
		}
		if os.Getuid() == 0 && !enforced(st, "memory-limit") {
			t.Errorf("%+v", st.Isolation)
		}
	})
}

func TestManyProcessesTogetherAreBoundInMemoryToo(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, _ := hall(t, at)
		greedy := task("1", 1, "")
		greedy.Argv = []string{exec.Self, "as-herd"}
		greedy.Limits.Memory, greedy.Timeout = 160*units.MiB, time.Minute
		if out, st := run(t, l, greedy); st.Reason != "oom" {
			t.Errorf("%+v %s", st, out)
		}
	})
}

func TestATaskThatFillsTheDiskIsEndedWithAReason(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, _ := hall(t, at)
		for name, script := range map[string]string{
			"many":    `i=0; while true; do head -c 5000000 /dev/zero > f$i; i=$((i+1)); sleep 0.05; done`,
			"one":     `exec head -c 100000000 /dev/zero > f`,
			"locked":  `mkdir d; i=0; while true; do chmod 700 d; head -c 5000000 /dev/zero > d/f$i; chmod 0 d; i=$((i+1)); sleep 0.05; done`,
			"deleted": `fd=9; for i in 1 2 3 4 5; do eval "exec $fd>gone"; rm gone; eval "head -c 8000000 /dev/zero >&$fd"; fd=$((fd-1)); done; sleep 30`,
		} {
			tk := task(name, 1, script)
			tk.Limits.Disk, tk.Timeout = 20*units.MiB, 25*time.Second
			if out, st := run(t, l, tk); st.Reason != "disk" {
				t.Errorf("%s: %+v %s", name, st, out)
			}
		}
	})
}

func TestATaskIsEndedWhenItHasFilledTheMachinesDisk(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		// Everything that is free counts as reserved here: who goes on taking of it is ended, who does not is not.
		l, _ := with(t, local.Options{Reserve: 1 << 60}, at)
		small := task("1", 1, `echo x > f; sleep 1`)
		if _, st := run(t, l, small); st.ExitCode != 0 {
			t.Errorf("%+v", st)
		}
		filler := task("2", 1, `i=0; while [ $i -lt 500 ]; do head -c 10000000 /dev/zero > f$i; i=$((i+1)); sleep 0.1; done`)
		if _, st := run(t, l, filler); !strings.Contains(st.Reason, "disk is full") {
			t.Errorf("%+v", st)
		}
		facts, err := l.Facts(t.Context())
		if err != nil || facts.Disk != 0 {
			t.Errorf("%v is offered, %v", facts.Disk, err)
		}
	})
}

func TestAnEndIsRecordedOnAFullDisk(t *testing.T) {
	t.Parallel()
	l, data := hall(t, "")
	tk := task("1", 1, "echo ready; while [ ! -e go ]; do sleep 0.05; done; exit 9")
	if err := l.Start(t.Context(), tk); err != nil {
		t.Fatal(err)
	}
	says(t, l, tk.Ref, "ready")
	// The room for the record is there before it is needed.
	if info, err := os.Stat(filepath.Join(data, "tasks/1/0/1/exit.reserve")); err != nil || info.Size() < 16<<10 {
		t.Errorf("%v, %v", info, err)
	}
	l.Shell(t.Context(), tk.Ref, exec.Shell{Argv: []string{"touch", "go"}})
	if st := wait(t, l, tk.Ref); st.ExitCode != 9 {
		t.Errorf("%+v", st)
	}
	if _, err := os.Stat(filepath.Join(data, "tasks/1/0/1/exit.reserve")); !os.IsNotExist(err) {
		t.Errorf("the room is still held: %v", err)
	}
}

func TestTheProcessorLimitHolds(t *testing.T) {
	if os.Getuid() != 0 {
		return // needs control groups; that it is said is tested with the features
	}
	t.Parallel()
	l, _ := hall(t, "root")
	tk := task("1", 1, `cat /sys/fs/cgroup/cpu/lineshaft/1-0-1-*/cpu.cfs_quota_us /sys/fs/cgroup/lineshaft/1-0-1-*/cpu.max 2>/dev/null; true`)
	tk.Limits.CPU = 0.5
	out, st := run(t, l, tk)
	if !enforced(st, "cpu-limit") || !strings.Contains(out, "50000") {
		t.Errorf("%q %+v", out, st.Isolation)
	}
}

func TestFactsAreOfThisMachineAndNotMoreThanTheServerMayUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"dev/nvidia0", "dev/nvidia1", "dev/nvidiactl", "dev/nvidia-uvm"} {
		path := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(path), 0o755)
		os.WriteFile(path, nil, 0o600)
	}
	info := filepath.Join(dir, "driver/nvidia/gpus/0000:01:00.0/information")
	os.MkdirAll(filepath.Dir(info), 0o755)
	os.WriteFile(info, []byte("Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 63\nDevice Minor: \t 1\n"), 0o644)
	l, err := local.New(local.Options{Dir: filepath.Join(dir, "tasks"), Devices: filepath.Join(dir, "dev"), Drivers: filepath.Join(dir, "driver")})
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if f.Name == "" || f.CPU <= 0 || f.Memory < 64*units.MiB || f.Disk <= 0 {
		t.Errorf("%+v", f)
	}
	want := []exec.Accelerator{{Index: "0"}, {Index: "1", Model: "NVIDIA H100 80GB HBM3"}}
	if len(f.Accelerators) != 2 || f.Accelerators[0] != want[0] || f.Accelerators[1] != want[1] {
		t.Errorf("%+v", f.Accelerators)
	}
}

func TestAGroupOfVersion2IsReadAndKilled(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	os.Mkdir(filepath.Join(root, "g"), 0o755)
	os.WriteFile(filepath.Join(root, "g/memory.events"), []byte("low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\noom_group_kill 0\n"), 0o600)
	os.WriteFile(filepath.Join(root, "g/pids.events"), []byte("max 7\n"), 0o600)
	if oom, refused := local.GroupAt(root, "g").Counts(); !oom || refused != 7 {
		t.Errorf("%v %v", oom, refused)
	}
	os.WriteFile(filepath.Join(root, "g/memory.events"), []byte("max 9\noom 0\noom_kill 0\n"), 0o600)
	if oom, _ := local.GroupAt(root, "g").Counts(); oom {
		t.Error("nothing was killed")
	}
	for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} { // version 2 alone, or beside 1
		name := "lineshaft-test-" + strconv.Itoa(os.Getpid())
		if _, err := os.Stat(filepath.Join(mount, "cgroup.kill")); err == nil || !canMake(filepath.Join(mount, name), "cgroup.kill") {
			continue
		}
		g := local.GroupAt(mount, name)
		tree := osexec.Command("sh", "-c", "(setsid sleep 77 &) ; sleep 77; true")
		if err := tree.Start(); err != nil {
			t.Fatal(err)
		}
		if err := g.Add(tree.Process.Pid); err != nil {
			t.Error(err)
		}
		if !g.Kill() {
			t.Error("it lives")
		}
		tree.Wait()
		g.Remove()
		if _, err := os.Stat(filepath.Join(mount, name)); !os.IsNotExist(err) {
			t.Errorf("the group is still there: %v", err)
		}
	}
}

// canMake makes a group and tells whether it has a file; if not it is removed.
func canMake(dir, file string) bool {
	if os.Mkdir(dir, 0o755) != nil {
		return false
	}
	if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
		return true
	}
	os.Remove(dir)
	return false
}
