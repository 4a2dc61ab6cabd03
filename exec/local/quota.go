//go:build linux

package local

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/lineshaft/lineshaft/internal/units"
)

// Where the file system has project quotas (XFS with prjquota, ext4 with the features project and quota, mounted
// prjquota), a task's folders are projects with a limit: the kernel refuses what is too much at once, where the measured
// limit ends the task a moment later. The measured limit stays beside it. Whether quotas hold is found out by filling one
// (quotas), so that none is relied on that only seems to be there.

// project is folders of an attempt that have one limit.
type project struct {
	ID      uint32      `json:"id"`
	Folders []string    `json:"folders"`
	Limit   units.Bytes `json:"limit"`
}

// firstProject begins a range of project IDs that no system gives to anyone.
const firstProject = 1_900_000_000

// From linux/fs.h and linux/quota.h.
const (
	fsGetXattr   = 0x801c581f
	fsSetXattr   = 0x401c5820
	flagInherit  = 0x00000200 // of a folder: what is made in it belongs to its project
	quotaGet     = 0x800007<<8 | 2
	quotaSet     = 0x800008<<8 | 2 // of projects
	quotaBlocks  = 1 << 10
	validLimits  = 1
	probeLimit   = 64 << 10
	probeWritten = 1 << 20
)

type fsxattr struct {
	Flags, ExtentSize, Extents, Project, CowExtentSize uint32
	_                                                  [8]byte
}

type dqblk struct {
	HardBlocks, SoftBlocks, Bytes, HardInodes, SoftInodes, Inodes, BlockTime, InodeTime uint64
	Valid                                                                               uint32
	_                                                                                   uint32
}

// onFolder calls do with a folder's descriptor.
func onFolder(dir string, do func(fd uintptr) unix.Errno) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if errno := do(f.Fd()); errno != 0 {
		return errno
	}
	return nil
}

func projectOf(dir string) (x fsxattr, err error) {
	err = onFolder(dir, func(fd uintptr) unix.Errno {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, fsGetXattr, uintptr(unsafe.Pointer(&x)))
		return errno
	})
	return x, err
}

// join makes an empty folder, and what will be made in it, part of a project.
func join(dir string, id uint32) error {
	x, err := projectOf(dir)
	if err != nil {
		return err
	}
	x.Project, x.Flags = id, x.Flags|flagInherit
	return onFolder(dir, func(fd uintptr) unix.Errno {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, fsSetXattr, uintptr(unsafe.Pointer(&x)))
		return errno
	})
}

func quota(dir string, command uintptr, id uint32, q *dqblk) error {
	return onFolder(dir, func(fd uintptr) unix.Errno {
		_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL_FD, fd, command, uintptr(id), uintptr(unsafe.Pointer(q)), 0, 0)
		return errno
	})
}

// bound sets a project's limit; 0 lifts it.
func bound(dir string, id uint32, limit units.Bytes) error {
	blocks := (uint64(limit) + quotaBlocks - 1) / quotaBlocks
	return quota(dir, quotaSet, id, &dqblk{HardBlocks: blocks, SoftBlocks: 0, Valid: validLimits})
}

// freeProject is an ID that nothing on the file system belongs to, begun to look for by a hash of what it is for.
func freeProject(dir, what string) (uint32, error) {
	h := fnv.New32a()
	h.Write([]byte(what))
	for n := range uint32(64) {
		var q dqblk
		id := firstProject + (h.Sum32()+n)%100_000_000
		err := quota(dir, quotaGet, id, &q)
		if errors.Is(err, unix.ENOENT) || err == nil && q.Bytes == 0 && q.Inodes == 0 && q.HardBlocks == 0 {
			return id, nil
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, errors.New("no project ID is free")
}

// quotas finds out whether project quotas hold in a folder, by filling one. It says why they do not.
func quotas(dir string) (why error) {
	place, err := os.MkdirTemp(dir, ".quota-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(place)
	id, err := freeProject(place, place)
	if err != nil {
		return fmt.Errorf("the file system has no project quotas: %w", err)
	}
	if err := join(place, id); err != nil {
		return fmt.Errorf("the file system has no projects: %w", err)
	}
	if err := bound(place, id, probeLimit); err != nil {
		return fmt.Errorf("project quotas cannot be set: %w", err)
	}
	defer bound(place, id, 0) //nolint:errcheck // of a project that is gone
	f, err := os.Create(filepath.Join(place, "full"))
	if err != nil {
		return err
	}
	defer f.Close()
	err = asTask(func() error {
		_, err := f.Write(make([]byte, probeWritten))
		return errors.Join(err, f.Sync())
	})
	if !errors.Is(err, unix.EDQUOT) && !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("project quotas can be set and do not hold: writing more than one ended with %v", err) //nolint:errorlint // it may be nil
	}
	return nil
}

// asTask does something without the right to exceed quotas, which root has and tasks have not.
func asTask(do func() error) error {
	const resource = 1 << unix.CAP_SYS_RESOURCE
	runtime.LockOSThread() // rights are a thread's own
	defer runtime.UnlockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var rights [2]unix.CapUserData
	if err := unix.Capget(&header, &rights[0]); err != nil {
		return err
	}
	before := rights[0].Effective
	rights[0].Effective &^= resource
	if err := unix.Capset(&header, &rights[0]); err != nil {
		return err
	}
	err := do()
	rights[0].Effective = before
	return errors.Join(err, unix.Capset(&header, &rights[0]))
}

// projects bounds the folders of an attempt by quotas. Where one cannot be set there is none: the measured limits hold.
func (in intent) projects(place string) (made []project) {
	l := in.Task.Limits
	scratch := project{Folders: []string{"work", "tmp"}, Limit: l.Disk}
	left := project{Folders: []string{"out"}, Limit: l.Storage}
	if l.Storage == 0 {
		scratch.Folders, left.Folders = append(scratch.Folders, left.Folders...), nil
	}
	for _, p := range []project{scratch, left} {
		if p.Limit <= 0 || len(p.Folders) == 0 {
			continue
		}
		var err error
		if p.ID, err = freeProject(place, in.Mark+p.Folders[0]); err == nil {
			err = bound(place, p.ID, p.Limit)
		}
		for _, d := range p.Folders {
			if err == nil {
				err = join(filepath.Join(place, d), p.ID)
			}
		}
		if err != nil {
			lift(place, append(made, p))
			return nil
		}
		made = append(made, p)
	}
	return made
}

// lift takes the limits of projects back.
func lift(place string, all []project) {
	for _, p := range all {
		if p.ID != 0 {
			bound(place, p.ID, 0) //nolint:errcheck // nothing is left that belongs to it
		}
	}
}
