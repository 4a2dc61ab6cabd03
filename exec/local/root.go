//go:build linux

package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
)

// Where a task finds what is its own, in its own file system.
const (
	inside        = "/lineshaft"
	insideSecrets = inside + "/secrets"
	before        = "/before" // the machine's file system, until the task's is complete
)

// system lists what every task may read.
var system = [...]string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix", "/gnu"}

// buildRoot makes the file system that the task sees and leaves the machine's. All is mounted anew in a tmpfs: what is
// not mentioned here does not exist for the task. It is called in mount namespaces of init's own. last is called while
// the machine's file system can still be reached.
func (p *plan) buildRoot(last func() error) ([]exec.Feature, error) {
	own := exec.Feature{Name: "own-proc", Enforced: true, Detail: "/proc shows its own processes"}
	steps := []struct {
		what string
		do   func() error
	}{
		{"make the mounts private", func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }},
		{"make an empty root", p.pivot},
		{"bind the task's folders", p.bindOwn},
		{"make what was there read only", func() error { return readOnly(before, true) }},
		{"find the files again that the task inherits", p.reopen},
		{"bind the system's folders", p.bindSystem},
		{"make /dev", p.makeDev},
		{"make /proc", func() error { return makeProc(&own) }},
		{"cover the data folder", p.hide},
		{"place the secrets", p.placeSecrets},
		{"find the program's own file", last},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			return nil, errs.Errorf("local.root", errs.Unavailable, "%s: %v", s.what, err)
		}
	}
	if err := errors.Join(unix.Unmount(before, unix.MNT_DETACH), os.Remove(before), readOnly("/dev", false), readOnly("/", false)); err != nil {
		return nil, errs.Errorf("local.root", errs.Unavailable, "leave the machine's file system: %v", err)
	}
	return []exec.Feature{own}, nil
}

// makeProc gives the task a /proc of its own, or the machine's where that is not allowed.
func makeProc(own *exec.Feature) error {
	err := mountAt("proc", "/proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if err != nil {
		own.Enforced, own.Detail = false, "a /proc of its own is not allowed here: "+err.Error()
		return bind(before+"/proc", "/proc", true)
	}
	return nil
}

// pivot makes a tmpfs the root, over the attempt's own folder as that is there for certain; the machine's root is at
// before then.
func (p *plan) pivot() error {
	if err := unix.Mount("tmpfs", p.Dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=8m"); err != nil {
		return err
	}
	if err := os.Mkdir(p.Dir+before, 0o755); err != nil {
		return err
	}
	if err := unix.PivotRoot(p.Dir, p.Dir+before); err != nil {
		return err
	}
	return os.Chdir("/")
}

func mountAt(kind, path string, flags uintptr, options string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	return unix.Mount(kind, path, kind, flags, options)
}

// bind shows a file or folder at another path.
func bind(from, to string, ro bool) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		err = os.MkdirAll(to, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(to), 0o755); err == nil {
		var f *os.File
		if f, err = os.OpenFile(to, os.O_CREATE|os.O_RDONLY, 0o644); err == nil {
			err = f.Close()
		}
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if ro {
		return readOnly(to, true)
	}
	return nil
}

// readOnly closes a mount, and those below it, to writing.
func readOnly(path string, below bool) error {
	flags := uint(0)
	if below {
		flags = unix.AT_RECURSIVE
	}
	err := unix.MountSetattr(-1, path, flags, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	if !errors.Is(err, unix.ENOSYS) {
		return err
	}
	// Before Linux 5.12: one mount only, and the flags that it has must be named again.
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return err
	}
	keep := uintptr(st.Flags) & (unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME | unix.MS_RELATIME)
	return unix.Mount("", path, "", keep|unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
}

// bindOwn gives the task its work and out folders, and its /tmp.
func (p *plan) bindOwn() error {
	for _, name := range []string{"work", "out"} {
		if err := bind(filepath.Join(before, p.Dir, name), filepath.Join(inside, name), false); err != nil {
			return err
		}
	}
	if err := mountAt("tmpfs", "/tmp", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"+p.tmpSize()); err != nil {
		return err
	}
	if err := os.Mkdir("/var", 0o755); err != nil {
		return err
	}
	return os.Symlink("/tmp", "/var/tmp")
}

// tmpSize bounds a folder in memory. What lies there counts as the task's memory too.
func (p *plan) tmpSize() string {
	if p.Limits.Memory > 0 {
		return fmt.Sprintf(",size=%d", int64(p.Limits.Memory))
	}
	return ",size=50%"
}

// reopen opens the inherited files and the program once more, through mounts that are read only: as the server's own
// user a task might otherwise change the mode of a file, or open it again to write.
func (p *plan) reopen() error {
	if p.UID != 0 {
		return nil // it owns none of them
	}
	for i, path := range p.Paths {
		if path == "" {
			continue
		}
		fd := fdInherit + i
		again, err := openSame(fd, before+path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		err = unix.Dup3(again, fd, unix.O_CLOEXEC)
		unix.Close(again)
		if err != nil {
			return err
		}
	}
	return nil
}

// openSame opens a path and makes sure that it is the file that fd has open.
func openSame(fd int, path string) (int, error) {
	again, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, err
	}
	var was, is unix.Stat_t
	if err := errors.Join(unix.Fstat(fd, &was), unix.Fstat(again, &is)); err != nil {
		unix.Close(again)
		return -1, err
	}
	if was.Dev != is.Dev || was.Ino != is.Ino {
		unix.Close(again)
		return -1, errors.New("it was replaced meanwhile")
	}
	return again, nil
}

// bindSystem shows the system's folders and those of Options.Read, read only.
func (p *plan) bindSystem() error {
	for _, dir := range system {
		info, err := os.Lstat(before + dir)
		if err != nil {
			continue
		}
		if info.Mode()&os.ModeSymlink != 0 { // /bin is often a link to usr/bin
			to, err := os.Readlink(before + dir)
			if err == nil {
				err = os.Symlink(to, dir)
			}
			if err != nil {
				return err
			}
			continue
		}
		if err := bind(before+dir, dir, true); err != nil {
			return err
		}
	}
	if err := bind(before+"/sys", "/sys", true); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, dir := range p.Read {
		if err := bind(before+dir, dir, true); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	if err := p.bindNames(); err != nil {
		return err
	}
	return p.bindResolver()
}

// bindNames makes the task's user ID a known one, under the account's name: programs look theirs up.
func (p *plan) bindNames() error {
	if p.UID == 0 {
		return nil // the server's own user is known, or not, as ever
	}
	name := strings.Map(func(r rune) rune {
		if r <= ' ' || r == ':' || r == 0x7f {
			return '_'
		}
		return r
	}, p.User)
	if err := os.MkdirAll(inside, 0o755); err != nil {
		return err
	}
	for file, line := range map[string]string{
		"passwd": fmt.Sprintf("%s:x:%d:%d::%s/work:/bin/sh\n", name, p.UID, p.UID, inside),
		"group":  fmt.Sprintf("%s:x:%d:\n", name, p.UID),
	} {
		known, err := os.ReadFile(before + "/etc/" + file)
		if err != nil {
			continue // a machine without such files needs none
		}
		own := inside + "/" + file
		if err := os.WriteFile(own, append(known, line...), 0o644); err != nil {
			return err
		}
		if err := bind(own, "/etc/"+file, true); err != nil {
			return err
		}
	}
	return nil
}

// bindResolver shows the folder that /etc/resolv.conf leads to, where a program keeps that under /run.
func (p *plan) bindResolver() error {
	if err := os.MkdirAll("/run", 0o755); err != nil {
		return err
	}
	to, err := os.Readlink("/etc/resolv.conf")
	if err != nil {
		return nil //nolint:nilerr // a plain file, or none
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join("/etc", to)
	}
	dir := filepath.Dir(to)
	if !strings.HasPrefix(dir, "/run/") {
		return nil
	}
	if err := bind(before+dir, dir, true); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// hide covers the folders that no task may see, where they lie in what is shown.
func (p *plan) hide() error {
	for _, dir := range p.Hide {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() {
			continue
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_RDONLY, "mode=000,size=4k"); err != nil {
			return err
		}
	}
	return nil
}

// placeSecrets writes the secret files into memory.
func (p *plan) placeSecrets() error {
	// A ramfs is never swapped out.
	if err := mountAt("ramfs", insideSecrets, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0755"); err != nil {
		if err := mountAt("tmpfs", insideSecrets, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0755,size=16m"); err != nil {
			return err
		}
	}
	if err := writeSecrets(insideSecrets, p.Secrets, p.UID); err != nil {
		return err
	}
	return readOnly(insideSecrets, false)
}

func writeSecrets(dir string, secrets []exec.Secret, uid int) error {
	for _, s := range secrets {
		if s.File == "" {
			continue
		}
		path := filepath.Join(dir, s.File)
		if err := os.WriteFile(path, s.Value, 0o400); err != nil {
			return err
		}
		if uid != 0 {
			if err := os.Lchown(path, uid, uid); err != nil {
				return err
			}
		}
	}
	return nil
}

// loopback sets up the task's own loopback, in a network namespace of its own.
func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

// ownProgram gives the path by which this very program is started again with the task's rights. That is the kernel's
// link to it, which needs no rights on the folders above. Where the task could change the file or may not run it, it is
// a sealed copy in memory.
func (p *plan) ownProgram(exe string) (path string, memory bool, err error) {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", false, err
	}
	info, err := self.Stat()
	if err != nil {
		return "", false, err
	}
	user := p.UID
	if user == 0 {
		user = os.Geteuid()
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != user && info.Mode()&0o005 == 0o005 {
		self.Close()
		return "/proc/self/exe", false, nil
	}
	if p.UID == 0 && p.Mounts {
		if again, err := openSame(int(self.Fd()), before+exe); err == nil {
			self.Close()
			fd, err := p.outOfTheWay(again)
			return fmt.Sprintf("/proc/self/fd/%d", fd), false, err
		}
	}
	defer self.Close()
	copied, err := memoryFile("program", self)
	if err != nil {
		return "", false, err
	}
	fd, err := p.outOfTheWay(int(copied.Fd()))
	return fmt.Sprintf("/proc/self/fd/%d", fd), true, err
}

// outOfTheWay copies a descriptor to a number that no descriptor of a child's is given.
func (p *plan) outOfTheWay(fd int) (int, error) {
	return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, fdInherit+p.Inherit+16)
}
