//go:build linux

package local

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/cgroups/v3"
	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/exec"
)

// groupRoot is where the kernel's control groups are mounted.
const groupRoot = "/sys/fs/cgroup"

// ownProcesses is what is added to a limit of processes: the kernel counts threads, and those of init and enter are not
// the task's.
const ownProcesses = 24

// cgroup bounds an attempt's memory, processor and processes, by version 2 of the kernel's control groups or 1.
type cgroup struct {
	Root string `json:"root,omitempty"` // where the groups are mounted
	Path string `json:"path"`           // "" when there is none
	V2   bool   `json:"v2"`
}

// newCgroup makes a group for the attempt. Where it cannot, it says why.
func newCgroup(in intent) (g cgroup, why error) {
	g, l := in.group(), in.bounds()
	if g.V2 {
		_, why = cgroup2.NewManager(groupRoot, g.Path, v2Resources(l))
	} else {
		_, why = cgroup1.New(cgroup1.StaticPath(g.Path), v1Resources(l), cgroup1.WithHierarchy(available))
	}
	if why != nil {
		g.remove()
		return cgroup{}, why
	}
	return g, nil
}

// group is the attempt's group, whether it was made or not.
func (in intent) group() cgroup {
	ref, v2 := in.Task.Ref, cgroups.Mode() == cgroups.Unified
	return cgroup{Root: groupRoot, V2: v2, Path: fmt.Sprintf("%s/lineshaft/%s-%d-%d-%.8s", groupParent(v2), ref.Job, ref.Index, ref.Attempt, strings.ToLower(in.Mark))}
}

// groupParent is the group below which this server may make others: the top where it is root, else the nearest above
// its own that was given to its user.
func groupParent(v2 bool) string {
	if os.Geteuid() == 0 || !v2 {
		return ""
	}
	b, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(b)) {
		own, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		for dir := filepath.Dir(own); dir != "/" && dir != "."; dir = filepath.Dir(dir) {
			procs := filepath.Join(groupRoot, dir, "cgroup.procs")
			if inside, err := os.ReadFile(procs); err == nil && len(inside) == 0 && unix.Access(procs, unix.W_OK) == nil {
				return dir
			}
		}
	}
	return ""
}

// bounds are the task's limits with what holds where it asks for none.
func (in intent) bounds() exec.Limits {
	l := in.Task.Limits
	if l.Processes <= 0 {
		l.Processes = in.Processes
	}
	return l
}

// available lists the controllers of version 1 that are needed and mounted.
func available() ([]cgroup1.Subsystem, error) {
	all, err := cgroup1.Default()
	if err != nil {
		return nil, err
	}
	var out []cgroup1.Subsystem
	for _, s := range all {
		switch s.Name() {
		case cgroup1.Memory, cgroup1.Cpu, cgroup1.Cpuacct, cgroup1.Pids, cgroup1.Freezer:
			if exists(filepath.Join(groupRoot, string(s.Name()))) {
				out = append(out, s)
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no control groups are mounted")
	}
	return out, nil
}

// period is the processor quota's, in microseconds.
const period = 100_000

func quotaOf(cpu float64) int64 { return max(1000, int64(math.Ceil(cpu*period))) }

// sharesOf weighs a task by the processor that it was promised, so that it gets that much whenever it wants it, whatever
// the others' quotas are: what one has beyond its promise is taken from it by the kernel at once.
func sharesOf(cpu float64) uint64 { return uint64(min(max(2, math.Round(cpu*1024)), 262_144)) }

// weightOf is the same in version 2, where 100 is usual.
func weightOf(cpu float64) uint64 { return uint64(min(max(1, math.Round(cpu*100)), 10_000)) }

func v1Resources(l exec.Limits) *specs.LinuxResources {
	r := &specs.LinuxResources{}
	if l.Memory > 0 {
		n := int64(l.Memory)
		r.Memory = &specs.LinuxMemory{Limit: &n}
		if exists(filepath.Join(groupRoot, "memory/memory.memsw.limit_in_bytes")) {
			r.Memory.Swap = &n // memory and swap together
		}
	}
	if l.CPU > 0 {
		quota, p := quotaOf(l.CPU), uint64(period)
		shares := sharesOf(l.CPU)
		r.CPU = &specs.LinuxCPU{Quota: &quota, Period: &p, Shares: &shares}
	}
	if l.Processes > 0 {
		n := int64(l.Processes) + ownProcesses
		r.Pids = &specs.LinuxPids{Limit: &n}
	}
	return r
}

func v2Resources(l exec.Limits) *cgroup2.Resources {
	r := &cgroup2.Resources{}
	if l.Memory > 0 {
		n, none := int64(l.Memory), int64(0)
		r.Memory = &cgroup2.Memory{Max: &n, Swap: &none}
	}
	if l.CPU > 0 {
		quota, p := quotaOf(l.CPU), uint64(period)
		weight := weightOf(l.CPU)
		r.CPU = &cgroup2.CPU{Max: cgroup2.NewCPUMax(&quota, &p), Weight: &weight}
	}
	if l.Processes > 0 {
		r.Pids = &cgroup2.Pids{Max: int64(l.Processes) + ownProcesses}
	}
	return r
}

// folders lists where the group's controllers keep their files.
func (g cgroup) folders() []string {
	if g.Path == "" {
		return nil
	}
	if g.V2 {
		return []string{filepath.Join(g.Root, g.Path)}
	}
	var out []string
	for _, c := range []string{"freezer", "memory", "cpu", "cpuacct", "pids"} {
		if dir := filepath.Join(g.Root, c, g.Path); exists(dir) && !(c == "cpuacct" && same(dir, filepath.Join(g.Root, "cpu", g.Path))) {
			out = append(out, dir)
		}
	}
	return out
}

// same tells whether two controllers are mounted as one.
func same(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// errGroup is that of a group that can be made and not used.
var errGroup = errors.New("a process cannot be put into its control group")

// add puts a process, and what it will start, into the group.
func (g cgroup) add(pid int) error {
	for _, dir := range g.folders() {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			return fmt.Errorf("%w: %w", errGroup, err)
		}
	}
	return nil
}

// counter adds up what the group's files of that name say of a key.
func (g cgroup) counter(key string, names ...string) (n int) {
	for _, dir := range g.folders() {
		for _, name := range names {
			b, _ := os.ReadFile(filepath.Join(dir, name))
			for line := range strings.Lines(string(b)) {
				if f := strings.Fields(line); len(f) == 2 && f[0] == key {
					v, _ := strconv.Atoi(f[1])
					n += v
				}
			}
		}
	}
	return n
}

// oom tells whether the kernel killed a process of the group for want of memory.
func (g cgroup) oom() bool { return g.counter("oom_kill", "memory.oom_control", "memory.events") > 0 }

// refused counts the processes that were not started because there were too many.
func (g cgroup) refused() int { return g.counter("max", "pids.events") }

// pids lists the group's processes.
func (g cgroup) pids() (pids []int) {
	folders := g.folders()
	if len(folders) == 0 {
		return nil
	}
	b, _ := os.ReadFile(filepath.Join(folders[0], "cgroup.procs")) // each controller of version 1 has the same
	for _, f := range strings.Fields(string(b)) {
		if pid, err := strconv.Atoi(f); err == nil && pid > 0 { // 0 is one of another PID namespace
			pids = append(pids, pid)
		}
	}
	return pids
}

// kill ends every process of the group and waits until none is left; it tells whether it succeeded.
func (g cgroup) kill() bool {
	if g.Path == "" {
		return true
	}
	freezer := filepath.Join(g.Root, "freezer", g.Path, "freezer.state")
	for range 500 {
		pids := g.pids()
		if len(pids) == 0 {
			return true
		}
		if !g.V2 || os.WriteFile(filepath.Join(g.Root, g.Path, "cgroup.kill"), []byte("1"), 0) != nil {
			// Frozen, so that none forks while the list is walked.
			os.WriteFile(freezer, []byte("FROZEN"), 0) //nolint:errcheck // without a freezer it takes more rounds
			for _, pid := range g.pids() {
				unix.Kill(pid, unix.SIGKILL) //nolint:errcheck // it may have ended
			}
			os.WriteFile(freezer, []byte("THAWED"), 0) //nolint:errcheck // see above
		}
		time.Sleep(2 * time.Millisecond)
	}
	return len(g.pids()) == 0
}

func (g cgroup) remove() {
	for _, dir := range g.folders() {
		for range 50 { // the kernel takes a moment after the last process
			if err := os.Remove(dir); err == nil || errors.Is(err, os.ErrNotExist) {
				break
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
}

// limitFeatures tells how each limit that is asked for is enforced, and adds to the plan the limits of single processes
// that stand in where there is no group.
func (in intent) limitFeatures(g cgroup, why error, p *plan) []exec.Feature {
	l, grouped := in.Task.Limits, g.Path != ""
	p.Rlimits = map[int]uint64{unix.RLIMIT_CORE: 0}
	var out []exec.Feature
	feature := func(name string, enforced bool, format string, args ...any) {
		f := exec.Feature{Name: name, Enforced: enforced, Detail: fmt.Sprintf(format, args...)}
		if grouped {
			f.Detail += ", by control group"
		} else if why != nil && name != "disk-limit" {
			f.Detail += "; control groups cannot be used here: " + why.Error()
		}
		out = append(out, f)
	}
	if l.Memory > 0 {
		if grouped {
			feature("memory-limit", true, "%v", l.Memory)
		} else {
			p.Rlimits[unix.RLIMIT_DATA] = uint64(l.Memory)
			feature("memory-limit", false, "%v for each of its processes; all together are looked at and ended above that", l.Memory)
		}
	}
	if l.CPU > 0 {
		if grouped {
			feature("cpu-limit", true, "%v cores", l.CPU)
		} else {
			feature("cpu-limit", false, "it may use every core")
		}
	}
	if n := in.bounds().Processes; n > 0 {
		exact := in.Level == "user" && countsByNamespace()
		switch {
		case grouped:
			feature("process-limit", true, "%d processes and threads", n)
		case exact:
			p.Rlimits[unix.RLIMIT_NPROC] = uint64(n + ownProcesses)
			feature("process-limit", true, "%d processes and threads", n)
		default:
			// The kernel counts those of all tasks of the user together, and later ones come on top.
			p.Rlimits[unix.RLIMIT_NPROC] = uint64(in.others() + n + shared)
			feature("process-limit", false, "%d processes and threads for a moment, by looking at it", n)
		}
	}
	if l.Disk > 0 {
		p.Rlimits[unix.RLIMIT_FSIZE] = uint64(max(l.Disk, l.Memory, l.Storage)) // files in memory are files too
		out = append(out, exec.Feature{Name: "disk-limit", Enforced: true, Detail: fmt.Sprintf("%v: no file may be larger, and the task is ended when all of its files are%s", l.Disk, in.byQuota())})
	}
	if l.Storage > 0 {
		out = append(out, exec.Feature{Name: "storage-limit", Enforced: true, Detail: fmt.Sprintf("%v of its out folder: measured, and the task is ended when its files there are more%s", l.Storage, in.byQuota())})
	}
	return out
}

// byQuota tells where the file system refuses what is too much, before the task is ended.
func (in intent) byQuota() string {
	if len(in.Projects) == 0 {
		return ""
	}
	return "; the file system refuses more at once, by project quota"
}

// shared is how many processes other tasks of the same user may start, where the kernel counts them together.
const shared = 4096

// others counts the processes that the kernel counts with the task's when it has no group: those of its user.
func (in intent) others() int {
	uid := in.UID
	if uid == 0 {
		uid = os.Geteuid()
	}
	var theirs []int
	for _, pid := range processes() {
		var st unix.Stat_t
		if unix.Stat(fmt.Sprintf("/proc/%d", pid), &st) == nil && int(st.Uid) == uid {
			theirs = append(theirs, pid)
		}
	}
	return threads(theirs)
}

// countsByNamespace tells whether the kernel counts processes by user and user namespace, as it does from Linux 5.14 on.
func countsByNamespace() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	var major, minor int
	fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor) //nolint:errcheck // 0.0 is an old kernel
	return major > 5 || major == 5 && minor >= 14
}
