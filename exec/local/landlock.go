//go:build linux

package local

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/exec"
)

// restrict puts this process and all that it starts behind Landlock, as far as the kernel knows it: read the system,
// write the task's own folders, open the granted devices, reach no process and no abstract socket outside.
func (p *plan) restrict(inMemory bool) error {
	if landlockABI() < 1 {
		return nil
	}
	w := p.paths()
	read := append([]string{"/proc", "/sys", "/run"}, system[:]...)
	read = append(read, p.Read...)
	if w.secrets != "" {
		read = append(read, w.secrets)
	}
	write := []string{w.work, w.out, w.tmp}
	if p.Mounts {
		write = append(write, "/tmp", "/dev")
	} else {
		read = without(read, p.Hide)
		for _, name := range plainDevices {
			write = append(write, "/dev/"+name)
		}
		for _, name := range p.Nodes {
			write = append(write, filepath.Join(p.Devices, name))
		}
		if p.UID != 0 {
			write = append(write, "/dev/shm")
		}
	}
	var rules []landlock.Rule
	if p.Mounts { // what there is may be listed: it is the task's own
		rules = append(rules, landlock.PathAccess(ll.AccessFSReadDir, "/"))
		// Threads are named through files of /proc, CUDA's among them. What is another's there is not this user's to write.
		rules = append(rules, landlock.PathAccess(ll.AccessFSReadFile|ll.AccessFSReadDir|ll.AccessFSWriteFile, "/proc"))
	}
	for _, path := range read {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			rules = append(rules, landlock.RODirs(path))
		} else if err == nil {
			rules = append(rules, landlock.ROFiles(path))
		}
	}
	for _, path := range write {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			rules = append(rules, landlock.RWDirs(path).WithRefer().WithIoctlDev())
		} else if err == nil {
			rules = append(rules, landlock.RWFiles(path).WithIoctlDev())
		}
	}
	if !inMemory { // a file in memory has no folder and needs no rule
		rules = append(rules, landlock.ROFiles(p.Program))
	}
	cfg := landlock.V9
	cfg.HandledAccessNet = 0 // the network is a namespace's matter
	return cfg.BestEffort().Restrict(rules...)
}

// without replaces the folders that contain a hidden one by what is in them beside it.
func without(dirs, hidden []string) []string {
	var out []string
	for _, dir := range dirs {
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			continue
		}
		split := false
		for _, h := range hidden {
			if h == real || strings.HasPrefix(real, h+"/") {
				real = ""
				break
			}
			split = split || strings.HasPrefix(h, real+"/")
		}
		switch {
		case real == "":
		case split:
			entries, _ := os.ReadDir(real)
			var inner []string
			for _, e := range entries {
				if e.Type()&os.ModeSymlink == 0 {
					inner = append(inner, filepath.Join(real, e.Name()))
				}
			}
			out = append(out, without(inner, hidden)...)
		default:
			out = append(out, dir)
		}
	}
	return out
}

func landlockABI() int {
	n, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(n)
}

func landlockFeature() exec.Feature {
	abi := landlockABI()
	f := exec.Feature{Name: "landlock", Enforced: abi > 0}
	switch {
	case abi >= 6:
		f.Detail = fmt.Sprintf("ABI %d: reads the system, writes its own folders, signals its own processes", abi)
	case abi > 0:
		f.Detail = fmt.Sprintf("ABI %d: reads the system, writes its own folders", abi)
	default:
		f.Detail = "this kernel has no Landlock, or was started without it"
	}
	return f
}
