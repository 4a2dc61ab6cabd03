//go:build linux

package local

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
)

// maxFiles is how many files and folders a task may start with.
const maxFiles = 200_000

// unpacker puts files into a task's work folder, and never anywhere else: every name is resolved below root by the
// kernel, through links too.
type unpacker struct {
	root  *os.Root
	left  int64 // bytes
	limit units.Bytes
	files int
}

// place puts one file, or what an archive holds.
func (u *unpacker) place(f exec.File) error {
	const op = "local.Start"
	var src io.Reader = bytes.NewReader(f.Data)
	if f.Open != nil {
		r, err := f.Open()
		if err != nil {
			return errs.E(op, errs.Other, err)
		}
		defer r.Close()
		src = r
	}
	if f.Unpack {
		return u.unpack(f.Name, src)
	}
	mode := os.FileMode(f.Mode).Perm()
	if mode == 0 {
		mode = 0o600
	}
	return u.write(f.Name, mode, src)
}

// unpack reads a tar archive, gzipped or not, into a folder.
func (u *unpacker) unpack(folder string, src io.Reader) error {
	const op = "local.unpack"
	peek := make([]byte, 2)
	n, err := io.ReadFull(src, peek)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return errs.E(op, errs.Other, err)
	}
	src = io.MultiReader(bytes.NewReader(peek[:n]), src)
	if peek[0] == 0x1f && peek[1] == 0x8b {
		z, err := gzip.NewReader(src)
		if err != nil {
			return errs.Errorf(op, errs.Invalid, "the code is not a gzipped tar archive: %v", err)
		}
		src = z
	}
	for tr := tar.NewReader(src); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errs.Errorf(op, errs.Invalid, "the code is not a whole tar archive: %v", err)
		}
		if err := u.member(folder, h, tr); err != nil {
			return err
		}
	}
}

func (u *unpacker) member(folder string, h *tar.Header, r io.Reader) error {
	const op = "local.unpack"
	if !filepath.IsLocal(filepath.FromSlash(path.Clean(h.Name))) {
		return errs.Errorf(op, errs.Invalid, "the code holds %q, which leads out of its folder", h.Name)
	}
	name := path.Join(folder, path.Clean(h.Name))
	switch h.Typeflag {
	case tar.TypeXGlobalHeader:
		return nil
	case tar.TypeDir:
		if err := u.count(name); err != nil {
			return err
		}
		return named(name, u.root.MkdirAll(name, 0o700))
	case tar.TypeReg:
		if h.Size > u.left {
			return u.tooLarge()
		}
		// Only whether it may be run is taken over: no set-user-ID bits, and nothing is closed to its owner.
		return u.write(name, 0o600|os.FileMode(h.Mode)&0o100, r)
	case tar.TypeSymlink:
		if filepath.IsAbs(h.Linkname) || !filepath.IsLocal(path.Join(path.Dir(path.Clean(h.Name)), h.Linkname)) {
			return errs.Errorf(op, errs.Invalid, "the code holds the link %q to %q, which leads out of its folder: replace it by what it leads to", h.Name, h.Linkname)
		}
		if err := u.count(name); err != nil {
			return err
		}
		return named(name, errors.Join(u.parent(name), u.root.Symlink(h.Linkname, name)))
	}
	return errs.Errorf(op, errs.Invalid, "the code holds %q, which is neither a file, a folder nor a link", h.Name)
}

func (u *unpacker) count(name string) error {
	if u.files--; u.files < 0 {
		return errs.Errorf("local.unpack", errs.TooLarge, "the code holds more than %d files and folders: leave some out by the ignore file", maxFiles)
	}
	if strings.Count(name, "/") > 100 {
		return errs.Errorf("local.unpack", errs.TooLarge, "the code holds %.60q…, which lies more than 100 folders deep", name)
	}
	return nil
}

func (u *unpacker) parent(name string) error {
	if dir := filepath.Dir(name); dir != "." {
		return u.root.MkdirAll(dir, 0o700)
	}
	return nil
}

// write makes one file. A file that is there is replaced, not written through.
func (u *unpacker) write(name string, mode os.FileMode, src io.Reader) error {
	if !filepath.IsLocal(name) {
		return errs.Errorf("local.unpack", errs.Invalid, "the file %q leads out of the work folder", name)
	}
	if err := errors.Join(u.count(name), u.parent(name)); err != nil {
		return named(name, err)
	}
	dst, err := u.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if errors.Is(err, os.ErrExist) && u.root.Remove(name) == nil {
		dst, err = u.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	}
	if err != nil {
		return named(name, err)
	}
	n, err := io.Copy(dst, io.LimitReader(src, u.left+1))
	if err = errors.Join(err, dst.Close()); err != nil {
		return named(name, err)
	}
	if u.left -= n; u.left < 0 {
		return u.tooLarge()
	}
	return nil
}

func (u *unpacker) tooLarge() error {
	return errs.Errorf("local.unpack", errs.TooLarge,
		"the files that the task starts with come to more than %v: leave large ones out by the ignore file and import them as a data set, or ask for more in resources.disk", u.limit)
}

// named keeps errors that say all, and faults of the disk; for others the file is to blame.
func named(name string, err error) error {
	var known *errs.Error
	switch {
	case err == nil || errors.As(err, &known) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return err
	}
	return errs.Errorf("local.unpack", errs.Invalid, "the file %q of the code cannot be written into the work folder: %v", name, err)
}
