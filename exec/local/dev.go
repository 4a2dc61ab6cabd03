//go:build linux

package local

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
)

// plainDevices are those that every task has.
var plainDevices = [...]string{"null", "zero", "full", "random", "urandom", "tty"}

// deviceName is how an accelerator may be named: what stands behind "nvidia" in its node's name.
var deviceName = regexp.MustCompile(`^[0-9]{1,4}$`)

// nodesOf lists the device nodes that belong to the granted accelerators, relative to dir: those of the devices, and the
// driver's own, without which none works.
func nodesOf(dir string, granted []string) ([]string, error) {
	var out []string
	for _, g := range granted {
		name := "nvidia" + g
		if !deviceName.MatchString(g) || !exists(filepath.Join(dir, name)) {
			return nil, errs.Errorf("local.devices", errs.Invalid, "this machine has no accelerator %q (%s/nvidia%s)", g, dir, g)
		}
		out = append(out, name)
	}
	if len(granted) == 0 {
		return nil, nil
	}
	for _, name := range []string{"nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset", "nvidia-caps"} {
		if exists(filepath.Join(dir, name)) {
			out = append(out, name)
		}
	}
	return out, nil
}

// accelerators lists the devices of this machine, by the number in their node's name.
func accelerators(dir string) (ids []string) {
	nodes, _ := filepath.Glob(filepath.Join(dir, "nvidia[0-9]*"))
	for _, n := range nodes {
		if id := strings.TrimPrefix(filepath.Base(n), "nvidia"); deviceName.MatchString(id) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) })
	return ids
}

// makeDev gives the task a /dev with what it was granted and nothing else.
func (p *plan) makeDev() error {
	if err := mountAt("tmpfs", "/dev", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=0755,size=64k"); err != nil {
		return err
	}
	for _, name := range plainDevices {
		if err := bind(before+"/dev/"+name, "/dev/"+name, false); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, name := range p.Nodes {
		if err := bind(filepath.Join(before, p.Devices, name), "/dev/"+name, false); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := mountAt("devpts", "/dev/pts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"); err != nil {
		return err
	}
	if err := mountAt("tmpfs", "/dev/shm", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"+p.tmpSize()); err != nil {
		return err
	}
	for name, to := range map[string]string{
		"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(to, "/dev/"+name); err != nil {
			return err
		}
	}
	return nil
}

// shareFeature tells of a part of a device that nothing keeps the task to.
func (p *plan) shareFeature() []exec.Feature {
	if p.Limits.Share <= 0 || p.Limits.Share >= 1 {
		return nil
	}
	return []exec.Feature{{
		Name:   "accelerator-share",
		Detail: fmt.Sprintf("%g of accelerator %s is planned for it; the device's memory and time are all within its reach", p.Limits.Share, strings.Join(p.Limits.Accelerators, ", ")),
	}}
}

// deviceFeature tells whether the task is kept from accelerators that it was not granted.
func (p *plan) deviceFeature() exec.Feature {
	f := exec.Feature{Name: "devices", Enforced: true, Detail: "no accelerators"}
	if len(p.Limits.Accelerators) > 0 {
		f.Detail = "accelerators " + strings.Join(p.Limits.Accelerators, ", ") + " and no other"
	}
	switch {
	case p.Mounts:
		f.Detail += ", by a /dev of its own"
	case landlockABI() > 0:
		f.Detail += ", by Landlock"
	case len(accelerators(p.Devices)) == 0:
		f.Detail = "this machine has no accelerators"
	default:
		f.Enforced, f.Detail = false, "every accelerator can be opened: neither a /dev of its own nor Landlock work here"
	}
	return f
}
