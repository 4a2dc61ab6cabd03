//go:build linux

package local

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/cgroups/v3"
	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/lineshaft/lineshaft/exec"
)

// cgroup bounds an attempt's memory, processor and processes, by version 2 of the kernel's control groups or 1.
type cgroup struct {
	Path string `json:"path"` // "" when there is none
	V2   bool   `json:"v2"`
}

func newCgroup(ref exec.TaskRef, l exec.Limits) (cgroup, []exec.Feature, error) {
	path := fmt.Sprintf("/lineshaft/%s-%d-%d-%d", ref.Job, ref.Index, ref.Attempt, os.Getpid())
	g := cgroup{Path: path, V2: cgroups.Mode() == cgroups.Unified}
	var err error
	if g.V2 {
		_, err = cgroup2.NewManager("/sys/fs/cgroup", path, v2Resources(l))
	} else {
		_, err = cgroup1.New(cgroup1.StaticPath(path), v1Resources(l), cgroup1.WithHierarchy(available))
	}
	asked := l.Memory > 0 || l.CPU > 0 || l.Processes > 0
	if err != nil {
		detail := "control groups cannot be used here: " + err.Error()
		return cgroup{}, []exec.Feature{{Name: "limits", Enforced: !asked, Detail: detail}}, nil
	}
	return g, []exec.Feature{{Name: "limits", Enforced: true, Detail: "control group " + path + ": " + describe(l)}}, nil
}

func describe(l exec.Limits) string {
	var parts []string
	if l.Memory > 0 {
		parts = append(parts, "memory "+l.Memory.String())
	}
	if l.CPU > 0 {
		parts = append(parts, fmt.Sprintf("%v cores", l.CPU))
	}
	if l.Processes > 0 {
		parts = append(parts, fmt.Sprintf("%d processes", l.Processes))
	}
	if len(parts) == 0 {
		return "none asked for"
	}
	return strings.Join(parts, ", ")
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
		case cgroup1.Memory, cgroup1.Cpu, cgroup1.Pids, cgroup1.Freezer:
			out = append(out, s)
		}
	}
	return out, nil
}

// period is the processor quota's, in microseconds.
const period = 100_000

func v1Resources(l exec.Limits) *specs.LinuxResources {
	r := &specs.LinuxResources{}
	if l.Memory > 0 {
		n := int64(l.Memory)
		r.Memory = &specs.LinuxMemory{Limit: &n}
	}
	if l.CPU > 0 {
		quota, p := int64(l.CPU*period), uint64(period)
		r.CPU = &specs.LinuxCPU{Quota: &quota, Period: &p}
	}
	if l.Processes > 0 {
		n := int64(l.Processes)
		r.Pids = &specs.LinuxPids{Limit: &n}
	}
	return r
}

func v2Resources(l exec.Limits) *cgroup2.Resources {
	r := &cgroup2.Resources{}
	if l.Memory > 0 {
		n := int64(l.Memory)
		r.Memory = &cgroup2.Memory{Max: &n}
	}
	if l.CPU > 0 {
		quota, p := int64(l.CPU*period), uint64(period)
		r.CPU = &cgroup2.CPU{Max: cgroup2.NewCPUMax(&quota, &p)}
	}
	if l.Processes > 0 {
		r.Pids = &cgroup2.Pids{Max: int64(l.Processes)}
	}
	return r
}

// files lists where the group's controllers keep their files.
func (g cgroup) folders() []string {
	if g.Path == "" {
		return nil
	}
	if g.V2 {
		return []string{filepath.Join("/sys/fs/cgroup", g.Path)}
	}
	var out []string
	for _, c := range []string{"memory", "cpu", "pids", "freezer"} {
		out = append(out, filepath.Join("/sys/fs/cgroup", c, g.Path))
	}
	return out
}

func (g cgroup) add(pid int) {
	for _, dir := range g.folders() {
		os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0) //nolint:errcheck // a controller may be missing
	}
}

// oom tells whether the kernel killed a process of the group for want of memory.
func (g cgroup) oom() bool {
	for _, dir := range g.folders() {
		for _, name := range []string{"memory.oom_control", "memory.events"} {
			b, _ := os.ReadFile(filepath.Join(dir, name))
			for line := range strings.Lines(string(b)) {
				if f := strings.Fields(line); len(f) == 2 && f[0] == "oom_kill" && f[1] != "0" {
					return true
				}
			}
		}
	}
	return false
}

// kill ends every process of the group, again and again until none is left to fork.
func (g cgroup) kill() {
	for _, dir := range g.folders() {
		if os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0) == nil {
			return
		}
		for range 50 {
			b, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			pids := strings.Fields(string(b))
			if len(pids) == 0 {
				break
			}
			for _, p := range pids {
				if n, err := strconv.Atoi(p); err == nil {
					if proc, err := os.FindProcess(n); err == nil {
						proc.Kill() //nolint:errcheck // it may have ended
					}
				}
			}
		}
	}
}

func (g cgroup) remove() {
	for _, dir := range g.folders() {
		os.Remove(dir) //nolint:errcheck // what is left is empty and small
	}
}
