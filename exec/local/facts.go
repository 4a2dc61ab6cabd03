//go:build linux

package local

import (
	"bufio"
	"cmp"
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
)

// Facts describes this machine as this process may use it: what its affinity and its control groups leave of it.
func (l *Local) Facts(context.Context) (exec.Facts, error) {
	const op = "local.Facts"
	name, err := os.Hostname()
	if err != nil || name == "" {
		name = "local"
	}
	f := exec.Facts{Name: name, Accelerators: accelerators("/proc/driver/nvidia/gpus")}
	var mask unix.CPUSet
	if err := unix.SchedGetaffinity(0, &mask); err != nil {
		return f, errs.E(op, errs.Other, err)
	}
	f.CPU = min(float64(mask.Count()), cpuQuota("/sys/fs/cgroup"))
	if f.Memory, err = memoryTotal("/proc/meminfo"); err != nil {
		return f, errs.E(op, errs.Other, err)
	}
	f.Memory = min(f.Memory, memoryLimit("/sys/fs/cgroup"))
	var st unix.Statfs_t
	if err := unix.Statfs(l.opt.Dir, &st); err != nil {
		return f, errs.E(op, errs.Other, err)
	}
	f.Disk = units.Bytes(st.Bavail) * units.Bytes(st.Bsize)
	return f, nil
}

// number reads a file that holds one.
func number(path string) (int64, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}

// cpuQuota is how many cores the container's control group gives, infinite where it does not say.
func cpuQuota(root string) float64 {
	if b, err := os.ReadFile(filepath.Join(root, "cpu.max")); err == nil {
		if f := strings.Fields(string(b)); len(f) == 2 && f[0] != "max" {
			quota, err1 := strconv.ParseFloat(f[0], 64)
			period, err2 := strconv.ParseFloat(f[1], 64)
			if err1 == nil && err2 == nil && quota > 0 && period > 0 {
				return quota / period
			}
		}
	}
	quota, ok1 := number(filepath.Join(root, "cpu", "cpu.cfs_quota_us"))
	period, ok2 := number(filepath.Join(root, "cpu", "cpu.cfs_period_us"))
	if ok1 && ok2 && quota > 0 && period > 0 {
		return float64(quota) / float64(period)
	}
	return math.Inf(1)
}

// memoryLimit is what the container's control group gives, the largest number where it does not say.
func memoryLimit(root string) units.Bytes {
	for _, name := range []string{"memory.max", "memory/memory.limit_in_bytes"} {
		if n, ok := number(filepath.Join(root, name)); ok && n > 0 {
			return units.Bytes(n)
		}
	}
	return math.MaxInt64
}

func memoryTotal(path string) (units.Bytes, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if fields := strings.Fields(s.Text()); len(fields) == 3 && fields[0] == "MemTotal:" {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			return units.Bytes(n) * units.KiB, err
		}
	}
	return 0, errs.Errorf("local.Facts", errs.Unsupported, "%s does not say how much memory there is", path)
}

// accelerators lists NVIDIA's devices as their driver shows them: one folder a device, whose file information names the
// model and the minor number, which is that of /dev/nvidiaN. The driver does not say there how much memory they have.
func accelerators(dir string) (out []exec.Accelerator) {
	paths, _ := filepath.Glob(filepath.Join(dir, "*", "information"))
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		var a exec.Accelerator
		for line := range strings.Lines(string(b)) {
			key, value, _ := strings.Cut(line, ":")
			switch value = strings.TrimSpace(value); strings.TrimSpace(key) {
			case "Model":
				a.Model = value
			case "Device Minor":
				a.Index = value
			}
		}
		if a.Index != "" {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b exec.Accelerator) int {
		return cmp.Or(cmp.Compare(len(a.Index), len(b.Index)), cmp.Compare(a.Index, b.Index))
	})
	return out
}

var _ exec.Nodes = (*Local)(nil)
