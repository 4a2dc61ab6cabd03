//go:build long

package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/store"
	"github.com/lineshaft/lineshaft/store/sqlite"
	"github.com/lineshaft/lineshaft/trust/seal"
)

// The seeded campaigns of kills: the demonstration is killed again and again, its server, its shim or its task, and must
// end as one that nobody touched: one job, one version, the same bits.
const (
	campaignSeed = 20260101
	serverKills  = 50
	otherKills   = 20
	patience     = 6 * time.Minute
)

// hallFolder is a demonstration's data folder with the binary that runs on it.
type hallFolder struct {
	bin, dir string
	epochs   int
}

func (h hallFolder) demo(ctx context.Context, out io.Writer, flags ...string) *exec.Cmd {
	args := append([]string{
		"up", "--demo", "--data", h.dir, "--listen", "127.0.0.1:0", "--serve-listen", "127.0.0.1:0",
		"--serve-grpc-listen", "127.0.0.1:0", "--epochs", strconv.Itoa(h.epochs),
	}, flags...)
	cmd := exec.CommandContext(ctx, h.bin, args...)
	cmd.Stdout, cmd.Stderr = out, out
	return cmd
}

// finish runs the demonstration to its end.
func (h hallFolder) finish(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out bytes.Buffer
	if err := h.demo(ctx, &out, "--once").Run(); err != nil {
		t.Fatalf("the demonstration did not end well: %v\n%s", err, out.String())
	}
}

// outcome is what a demonstration leaves.
type outcome struct {
	jobs     []job.Job
	versions []model.Version
	audit    string
}

func (h hallFolder) outcome(t *testing.T) (o outcome) {
	t.Helper()
	keys, err := seal.OpenKeyring(filepath.Join(h.dir, "keys.json"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(t.Context(), filepath.Join(h.dir, "lineshaft.db"))
	if err != nil {
		t.Fatal(err)
	}
	st := store.New(db, clock.System{}, keys)
	defer st.Close()
	if o.jobs, err = st.ListJobs(t.Context(), job.Filter{}); err != nil {
		t.Fatal(err)
	}
	if o.versions, err = st.ListVersions(t.Context(), "mnist"); err != nil {
		t.Fatal(err)
	}
	report, err := st.VerifyAudit(t.Context())
	if err != nil || !report.OK {
		o.audit = fmt.Sprintf("%s (%v)", report.Message, err)
	}
	return o
}

// same says how an outcome differs from that of the demonstration that nobody touched.
func (o outcome) same(t *testing.T, ref outcome) {
	t.Helper()
	if o.audit != "" {
		t.Errorf("the audit log does not verify: %s", o.audit)
	}
	if len(o.jobs) != 1 || o.jobs[0].State != job.Succeeded {
		t.Errorf("jobs after the kills: %+v", o.jobs)
	}
	if len(o.versions) != 1 {
		t.Fatalf("%d versions after the kills, want 1", len(o.versions))
	}
	if o.versions[0].Digest != ref.versions[0].Digest {
		t.Errorf("the model's bits differ: %s, and %s undisturbed", o.versions[0].Digest, ref.versions[0].Digest)
	}
}

// watch looks all the time whether more than one trainer runs at once, until stop is called.
func (h hallFolder) watch(t *testing.T) (stop func()) {
	done, ended := make(chan struct{}), sync.WaitGroup{}
	ended.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
			}
			if pids := trainers(h.dir); len(pids) > 1 {
				t.Errorf("trainers %v run at once", pids)
				return
			}
		}
	})
	return func() { close(done); ended.Wait() }
}

// trainers finds the trainers of a data folder: processes whose shim's argument lies in it.
func trainers(dir string) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range all {
		b, _ := os.ReadFile(path)
		if !bytes.Contains(b, []byte("__trainer")) {
			continue
		}
		pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
		for parent := pid; parent > 1; parent = parentOf(parent) {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", parent))
			if bytes.Contains(b, []byte(dir)) {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids
}

func parentOf(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 2 {
		return 0
	}
	ppid, _ := strconv.Atoi(string(fields[1]))
	return ppid
}

func newHallFolder(t *testing.T, epochs int) hallFolder {
	t.Helper()
	bin, err := filepath.Abs("../../bin/lineshaft")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(bin); err != nil {
		t.Fatalf("the campaign runs the built binary: run `make build` first: %v", err)
	}
	return hallFolder{bin: bin, dir: filepath.Join(t.TempDir(), "data"), epochs: epochs}
}

func TestCampaignAServerThatIsKilledAgainAndAgainLosesNothing(t *testing.T) {
	ref := newHallFolder(t, 10)
	ref.finish(t)
	h := newHallFolder(t, 10)
	defer h.watch(t)()
	rng := rand.New(rand.NewPCG(campaignSeed, 1))
	for range serverKills {
		cmd := h.demo(t.Context(), io.Discard)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rng.Int64N(int64(1200 * time.Millisecond))))
		if err := cmd.Process.Kill(); err != nil {
			t.Fatalf("the server had ended before it was killed: %v", err)
		}
		cmd.Wait()
	}
	h.finish(t)
	o := h.outcome(t)
	o.same(t, ref.outcome(t))
	if n := o.jobs[0].Attempt; n != 1 {
		t.Errorf("the job needed %d attempts although only the server was killed", n)
	}
}

func TestCampaignAShimOrATaskThatIsKilledGoesOnFromItsCheckpoint(t *testing.T) {
	ref := newHallFolder(t, 6)
	ref.finish(t)
	want := ref.outcome(t)
	for name, victim := range map[string]func(hallFolder) int{"shim": shimOf, "task": taskOf} {
		t.Run(name, func(t *testing.T) {
			h := newHallFolder(t, 6)
			defer h.watch(t)()
			var out bytes.Buffer
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			cmd := h.demo(ctx, &out, "--once")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			rng := rand.New(rand.NewPCG(campaignSeed, 2))
			last := 0
			for n := 0; n < otherKills; {
				select {
				case err := <-ended:
					t.Fatalf("the demonstration ended after %d kills: %v\n%s", n, err, out.String())
				case <-time.After(time.Duration(rng.Int64N(int64(2500 * time.Millisecond)))):
				}
				pid := victim(h)
				if pid == 0 || pid == last {
					continue
				}
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
					t.Fatal(err)
				}
				last = pid
				n++
			}
			if err := <-ended; err != nil {
				t.Fatalf("the demonstration did not end well: %v\n%s", err, out.String())
			}
			o := h.outcome(t)
			o.same(t, want)
			if o.jobs[0].Attempt < otherKills/2 {
				t.Errorf("%d kills and only %d attempts: the kills hit nothing", otherKills, o.jobs[0].Attempt)
			}
		})
	}
}

// shimOf is the living shim of the demonstration's job, 0 when there is none.
func shimOf(h hallFolder) int {
	paths, _ := filepath.Glob(filepath.Join(h.dir, "tasks", "*", "*", "*", "shim.json"))
	newest := 0
	for _, path := range paths {
		var id struct {
			Shim struct {
				PID int `json:"pid"`
			} `json:"shim"`
		}
		b, err := os.ReadFile(path)
		if err != nil || json.Unmarshal(b, &id) != nil {
			continue
		}
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", id.Shim.PID)); err == nil && bytes.Contains(b, []byte(h.dir)) {
			newest = id.Shim.PID
		}
	}
	return newest
}

// taskOf is the trainer itself.
func taskOf(h hallFolder) int {
	if pids := trainers(h.dir); len(pids) > 0 {
		return pids[0]
	}
	return 0
}
