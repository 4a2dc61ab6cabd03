//go:build linux

package local

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
)

// Facts tell what this machine has for tasks: not more than the server itself was given.
func (l *Local) Facts(ctx context.Context) (exec.Facts, error) {
	const op = "local.Facts"
	if err := ctx.Err(); err != nil {
		return exec.Facts{}, errs.E(op, errs.Other, err)
	}
	name, err := os.Hostname()
	if err != nil {
		return exec.Facts{}, errs.E(op, errs.Other, err)
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return exec.Facts{}, errs.E(op, errs.Other, err)
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(l.opt.Dir, &disk); err != nil {
		return exec.Facts{}, errs.E(op, errs.Other, err)
	}
	f := exec.Facts{
		Name: name, CPU: cores(), Memory: units.Bytes(info.Totalram) * units.Bytes(info.Unit),
		Accelerators: l.accelerators(),
	}
	if limit := groupMemory(); limit > 0 {
		f.Memory = min(f.Memory, limit)
	}
	// What tasks hold already is theirs to use; the reserve is nobody's.
	free := units.Bytes(disk.Bavail) * units.Bytes(disk.Bsize)
	f.Disk = max(0, free+folderSize(l.opt.Dir)-l.opt.Reserve)
	return f, nil
}

// cores are those that the server may use, by affinity and by its control group's quota.
func cores() float64 {
	n := 1.0
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) == nil {
		n = float64(max(1, set.Count()))
	}
	for _, dir := range ownGroups("cpu") {
		quota, period := int64(-1), int64(0)
		if b, err := os.ReadFile(filepath.Join(dir, "cpu.max")); err == nil {
			if f := strings.Fields(string(b)); len(f) == 2 && f[0] != "max" {
				quota, _ = strconv.ParseInt(f[0], 10, 64)
				period, _ = strconv.ParseInt(f[1], 10, 64)
			}
		} else {
			quota = number(filepath.Join(dir, "cpu.cfs_quota_us"))
			period = number(filepath.Join(dir, "cpu.cfs_period_us"))
		}
		if quota > 0 && period > 0 {
			n = min(n, float64(quota)/float64(period))
		}
	}
	return n
}

// groupMemory is the least limit of the server's control groups, 0 when there is none.
func groupMemory() units.Bytes {
	least := int64(math.MaxInt64)
	for _, dir := range ownGroups("memory") {
		for _, name := range []string{"memory.max", "memory.limit_in_bytes"} {
			if n := number(filepath.Join(dir, name)); n > 0 {
				least = min(least, n)
			}
		}
	}
	if least >= 1<<60 { // version 1 says "no limit" by a large number
		return 0
	}
	return units.Bytes(least)
}

// number reads a file that holds one; 0 when it does not.
func number(path string) int64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n
}

// ownGroups lists the folders of the control groups that the server is in, from its own up to the top, for a controller
// of version 1 and for version 2.
func ownGroups(controller string) (dirs []string) {
	b, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		base := groupRoot
		if f[1] != "" {
			base = filepath.Join(groupRoot, controller)
			found := false
			for c := range strings.SplitSeq(f[1], ",") {
				found = found || c == controller
			}
			if !found {
				continue
			}
		}
		for dir := filepath.Clean("/" + f[2]); ; dir = filepath.Dir(dir) {
			dirs = append(dirs, filepath.Join(base, dir))
			if dir == "/" {
				break
			}
		}
	}
	return dirs
}

func folderSize(dir string) (n units.Bytes) {
	filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error { //nolint:errcheck // files come and go
		if err != nil {
			return nil
		}
		if info, err := e.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				n += units.Bytes(st.Blocks) * 512
			}
		}
		return nil
	})
	return n
}

// accelerators lists the devices whose nodes are there, with the model that the driver names.
func (l *Local) accelerators() []exec.Accelerator {
	models := map[string]string{}
	files, _ := filepath.Glob(filepath.Join(globQuote(l.opt.Drivers), "nvidia/gpus/*/information"))
	for _, path := range files {
		b, _ := os.ReadFile(path)
		field := map[string]string{}
		for line := range strings.Lines(string(b)) {
			if k, v, ok := strings.Cut(line, ":"); ok {
				field[strings.TrimSpace(k)] = strings.TrimSpace(v)
			}
		}
		if minor := field["Device Minor"]; minor != "" {
			models[minor] = field["Model"]
		}
	}
	var out []exec.Accelerator
	for _, id := range accelerators(l.opt.Devices) {
		out = append(out, exec.Accelerator{Index: id, Model: models[id]})
	}
	return out
}

var _ exec.Nodes = (*Local)(nil)
