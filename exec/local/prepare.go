//go:build linux

package local

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
)

// prepare makes the attempt's folders with the task's files. It may be called again for an attempt that did not start.
func (l *Local) prepare(dir string, in *intent) error {
	const op = "local.Start"
	if err := discard(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for d, n := dir, 0; n < 3; d, n = filepath.Dir(d), n+1 {
		if err := syncFolder(filepath.Dir(d)); err != nil {
			return err
		}
	}
	place := dir
	if level, err := levelNamed(in.Level); err != nil {
		return err
	} else if level.own && !level.mounts() {
		// A task of another user could not come to a folder below the closed data folder.
		if place, err = elsewhere(filepath.Join(dir, placeFile), scratchBase(), 0o711); err != nil {
			return err
		}
	}
	for _, d := range []string{"work", "out", "tmp"} {
		if err := os.Mkdir(filepath.Join(place, d), 0o700); err != nil {
			return err
		}
	}
	if l.machine().quotas == nil {
		in.Projects = in.projects(place)
	}
	root, err := os.OpenRoot(filepath.Join(place, "work"))
	if err != nil {
		return err
	}
	defer root.Close()
	limit := in.Task.Limits.Disk
	if limit == 0 {
		limit = l.opt.Unpacked
	}
	u := unpacker{root: root, left: int64(limit), limit: limit, files: maxFiles}
	for _, f := range in.Task.Files {
		if err := u.place(f); err != nil {
			return err
		}
	}
	if in.UID == 0 {
		return nil
	}
	for _, d := range []string{"work", "out", "tmp"} {
		err := filepath.WalkDir(filepath.Join(place, d), func(path string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(path, in.UID, in.UID))
		})
		if err != nil {
			return errs.E(op, errs.Other, err)
		}
	}
	return nil
}

// scratchBase is where folders lie that a task of another user can come to.
func scratchBase() string {
	if info, err := os.Stat("/var/tmp"); err == nil && info.IsDir() && info.Mode().Perm()&0o001 != 0 {
		return "/var/tmp"
	}
	return os.TempDir()
}

// discard removes what was prepared for an attempt that did not start.
func discard(dir string) error {
	var in intent
	if readJSON(filepath.Join(dir, intentFile), &in) == nil {
		defer lift(filepath.Dir(dir), in.Projects)
	}
	return errors.Join(
		removeElsewhere(filepath.Join(dir, placeFile)), removeElsewhere(filepath.Join(dir, secretsFile)), removeAll(dir))
}

// inherited opens what a task inherits.
func inherited(i exec.Inherit) (*os.File, error) {
	if i.Path != "" {
		return os.Open(i.Path)
	}
	return memoryFile(i.Name, bytes.NewReader(i.Data))
}
