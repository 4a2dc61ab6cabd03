//go:build linux

package local_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/exec/local"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
)

// asHolder holds 64 MiB and sleeps.
func asHolder() {
	held := bytes.Repeat([]byte{1}, 64<<20)
	fmt.Println("holds")
	time.Sleep(time.Minute)
	runtime.KeepAlive(held)
}

// until waits for a measurement of an attempt that is as it should be.
func until(t *testing.T, l *local.Local, ref exec.TaskRef, what string, is func(exec.Usage) bool) exec.Usage {
	t.Helper()
	var u exec.Usage
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if u, err = l.Usage(t.Context(), ref); err == nil && is(u) {
			return u
		}
	}
	t.Fatalf("not %s: %+v, %v", what, u, err)
	return u
}

// starts starts a task that is ended with the test.
func starts(t *testing.T, l *local.Local, tk exec.Task) {
	t.Helper()
	if err := l.Start(t.Context(), tk); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Stop(context.Background(), tk.Ref, 0)
		wait(t, l, tk.Ref)
	})
}

func TestWhatATaskUsesIsMeasured(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, _ := hall(t, at)
		busy := task("1", 1, `head -c 9000000 /dev/zero > f; head -c 5000000 /dev/zero > $LINESHAFT_OUT/r; while true; do :; done`)
		busy.Limits.CPU, busy.Limits.Storage = 1, 20*units.MiB
		starts(t, l, busy)
		u := until(t, l, busy.Ref, "busy", func(u exec.Usage) bool { return u.CPU > 0.05 && u.Disk > 0 && u.Storage > 0 && u.CPUSeconds > 0.2 })
		if u.Disk < 9_000_000 || u.Disk > 12_000_000 || u.Storage < 5_000_000 || u.Storage > 7_000_000 || u.Span <= 0 || u.Ref != busy.Ref {
			t.Errorf("%+v", u)
		}
		idle := task("2", 1, "")
		idle.Argv = []string{exec.Self, "as-holder"}
		starts(t, l, idle)
		u = until(t, l, idle.Ref, "holding 64 MiB", func(u exec.Usage) bool { return u.Memory >= 64*units.MiB })
		if u.Memory > 200*units.MiB || u.Peak < u.Memory {
			t.Errorf("%+v", u)
		}
		if _, err := l.Usage(t.Context(), exec.TaskRef{Job: "9", Attempt: 1}); errs.KindOf(err) != errs.NotFound {
			t.Error(err)
		}
	})
}

func TestLimitsChangeWhileATaskRuns(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, _ := hall(t, at)
		tk := task("1", 1, `echo ready; while true; do :; done`)
		tk.Limits.CPU, tk.Limits.Disk = 1, 50*units.MiB
		starts(t, l, tk)
		says(t, l, tk.Ref, "ready")
		grouped := until(t, l, tk.Ref, "measured", func(exec.Usage) bool { return true }).Limits.CPU > 0
		less := exec.Limits{CPU: 0.2, Memory: 64 * units.MiB, Disk: 10 * units.MiB}
		if err := l.Adjust(t.Context(), tk.Ref, less); err != nil {
			t.Fatal(err)
		}
		u, err := l.Usage(t.Context(), tk.Ref)
		if err != nil || u.Limits.Disk != less.Disk || grouped && (u.Limits.CPU != 0.2 || u.Limits.Memory != less.Memory) || !grouped && u.Limits.CPU != 0 {
			t.Errorf("%+v, %v", u.Limits, err)
		}
		if grouped {
			until(t, l, tk.Ref, "held back", func(u exec.Usage) bool { return u.Throttled > 0.2 && u.CPU < 0.4 })
		}
		// Nothing says more: what was promised comes back.
		if err := l.Adjust(t.Context(), tk.Ref, exec.Limits{}); err != nil {
			t.Fatal(err)
		}
		if u, err := l.Usage(t.Context(), tk.Ref); err != nil || u.Limits.Disk != tk.Limits.Disk || grouped && u.Limits.CPU != 1 {
			t.Errorf("%+v, %v", u.Limits, err)
		}
		for what, l2 := range map[string]exec.Limits{"memory": {Memory: units.GiB}, "disk": {Disk: units.GiB}, "cores": {CPU: 1 << 20}, "negative": {Bandwidth: -1}} {
			if err := l.Adjust(t.Context(), tk.Ref, l2); errs.KindOf(err) != errs.Invalid {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

func TestAnAttemptThatEndedTakesNoLimits(t *testing.T) {
	t.Parallel()
	l, _ := hall(t, "")
	_, st := run(t, l, task("1", 1, "true"))
	if err := l.Adjust(t.Context(), st.Ref, exec.Limits{CPU: 1}); errs.KindOf(err) != errs.Conflict {
		t.Error(err)
	}
	if _, err := l.Usage(t.Context(), st.Ref); errs.KindOf(err) != errs.Conflict {
		t.Error(err)
	}
	later := task("1", 2, "sleep 60")
	starts(t, l, later)
	if err := l.Adjust(t.Context(), st.Ref, exec.Limits{CPU: 1}); errs.KindOf(err) != errs.Conflict {
		t.Error(err)
	}
}

func TestLessMemoryThanATaskHoldsDoesNotEndIt(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, _ := hall(t, at)
		tk := task("1", 1, "")
		tk.Argv = []string{exec.Self, "as-holder"}
		starts(t, l, tk)
		says(t, l, tk.Ref, "holds")
		if err := l.Adjust(t.Context(), tk.Ref, exec.Limits{Memory: units.MiB}); err != nil {
			t.Fatal(err)
		}
		u := until(t, l, tk.Ref, "measured again", func(u exec.Usage) bool { return u.Memory >= 64*units.MiB })
		time.Sleep(300 * time.Millisecond)
		if st, err := l.Status(tk.Ref); err != nil || st.State != exec.Running {
			t.Errorf("%+v %v, used %+v", st, err, u)
		}
	})
}

func TestLimitsThatWereSetOutliveTheServer(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		dir := filepath.Join(t.TempDir(), "tasks")
		server := osexec.Command("/proc/self/exe", "as-server", dir, at, "sleep 60")
		said, err := server.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		bufio.NewReader(said).ReadString('\n')
		l, err := local.New(local.At(local.Options{Dir: dir}, at))
		if err != nil {
			t.Fatal(err)
		}
		ref := task("1", 1, "").Ref
		until(t, l, ref, "measured", func(exec.Usage) bool { return true })
		if err := l.Adjust(t.Context(), ref, exec.Limits{Memory: 100 * units.MiB}); err != nil {
			t.Fatal(err)
		}
		server.Process.Kill()
		server.Wait()
		before := until(t, l, ref, "measured", func(exec.Usage) bool { return true })
		next, err := local.New(local.At(local.Options{Dir: dir}, at))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { next.Stop(context.Background(), ref, 0); wait(t, next, ref) })
		after := until(t, next, ref, "measured without a server", func(u exec.Usage) bool { return u.Time.After(before.Time) })
		if after.Limits.Memory != before.Limits.Memory {
			t.Errorf("%+v, then %+v", before.Limits, after.Limits)
		}
		b, err := os.ReadFile(filepath.Join(dir, "1/0/1/limits.json"))
		if err != nil || !strings.Contains(string(b), "104857600") {
			t.Errorf("%s %v", b, err)
		}
	})
}
