//go:build linux

package local

import (
	"bytes"
	"os"

	"github.com/lineshaft/lineshaft/internal/units"
)

// At makes an executor use one level of isolation instead of the strongest that works.
func At(o Options, level string) Options {
	o.level = level
	return o
}

// Looped makes an executor count and bound what goes over the loopback too.
func Looped(o Options) Options {
	o.loopback = true
	return o
}

// Quotas finds out whether project quotas hold in a folder.
func Quotas(dir string) error { return quotas(dir) }

// ABI is the kernel's version of Landlock.
func ABI() int { return landlockABI() }

// FirstID is the first user ID that a server which is root may give.
func FirstID() int { return firstID() }

// LogSize is how long a part of a log may become.
const LogSize = logSize

// Unpack reads an archive into a folder.
func Unpack(dir string, archive []byte, limit units.Bytes) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	u := unpacker{root: root, left: int64(limit), limit: limit, files: maxFiles}
	return u.unpack(".", bytes.NewReader(archive))
}

// Group is a control group of version 2.
type Group struct{ g cgroup }

// GroupAt is the one in a folder.
func GroupAt(root, path string) Group { return Group{cgroup{Root: root, Path: path, V2: true}} }

// Add puts a process into it.
func (g Group) Add(pid int) error { return g.g.add(pid) }

// Kill ends all of it.
func (g Group) Kill() bool { return g.g.kill() }

// Remove removes it.
func (g Group) Remove() { g.g.remove() }

// Counts are the kills for want of memory and the refused processes.
func (g Group) Counts() (oom bool, refused int) { return g.g.oom(), g.g.refused() }
