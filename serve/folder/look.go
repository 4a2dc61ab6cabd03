package folder

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/internal/artifact"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/model"
)

// This file finds out what lies in a base path.

// look brings e.found up to what lies there. Where the base path cannot be read, nothing changes and the reason is given;
// one that is not there at all counts as unreadable once something was found in it.
func (e *entry) look(now time.Time) error {
	const op = "folder.look"
	all, err := os.ReadDir(e.BasePath)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("the folder %s is not there", e.BasePath)
		}
		if len(e.found) == 0 {
			e.why = err.Error()
		}
		return errs.E(op, errs.Unavailable, err)
	}
	seen := map[int64]bool{}
	stray := ""
	for _, d := range all {
		n, ok := number(d.Name())
		path := filepath.Join(e.BasePath, d.Name())
		info, err := os.Stat(path) // a link to a folder is a version too
		switch {
		case err != nil:
			continue
		case ok && info.IsDir() && !seen[n]:
			seen[n] = true
			f := examine(path, n)
			f.settle(e.found[n], now)
			e.found[n] = f
		case !ok && !info.IsDir():
			if _, err := model.FormatOf(d.Name()); err == nil || d.Name() == savedModel {
				stray = d.Name()
			}
		}
	}
	for n := range e.found {
		if !seen[n] {
			delete(e.found, n)
		}
	}
	e.why = e.reason(stray)
	return nil
}

// reason is why no version can be served, as far as that can be seen.
func (e *entry) reason(stray string) string {
	var waits []string
	e.waits = false
	for _, n := range e.numbers() {
		switch f := e.found[n]; {
		case f.fault != nil:
			waits = append(waits, f.fault.Error())
		case !f.rested:
			waits = append(waits, fmt.Sprintf("version %d is still being copied", n))
		}
	}
	switch e.waits = len(waits) > 0; {
	case e.waits:
		return strings.Join(waits, "; ")
	case stray != "":
		return fmt.Sprintf("%s lies in %s itself: versions are folders with a number, move it to %s", stray, e.BasePath, filepath.Join(e.BasePath, "1", stray))
	}
	return fmt.Sprintf("no version is in %s: a version is a folder with a number that holds the model, such as %s", e.BasePath, filepath.Join(e.BasePath, "1", "model.h5"))
}

// numbers are those of the versions that were found, the highest first.
func (e *entry) numbers() []int64 {
	var all []int64
	for n := range e.found {
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b int64) int { return cmp.Compare(b, a) })
	return all
}

// number reads the name of a version's folder: digits, above zero.
func number(name string) (int64, bool) {
	n, err := strconv.ParseUint(name, 10, 63)
	return int64(n), err == nil && n > 0
}

// examine finds the file of a version.
func examine(dir string, n int64) *found {
	f := &found{version: n}
	bad := func(kind errs.Kind, format string, args ...any) *found {
		f.fault = errs.Errorf("folder.examine", kind, format, args...)
		f.print = f.fault.Error()
		return f
	}
	all, err := os.ReadDir(dir)
	if err != nil {
		return bad(errs.Unavailable, "version %d: %s cannot be read: %v", n, dir, err)
	}
	var names []string
	for _, d := range all {
		if strings.HasPrefix(d.Name(), ".") {
			continue // what rsync and editors write beside the file until it is whole
		}
		if _, err := model.FormatOf(d.Name()); err == nil {
			names = append(names, d.Name())
		}
		if d.Name() == savedModel {
			f.path, f.format = dir, model.SavedModel
			if err := f.measure(); err != nil {
				return bad(errs.Unavailable, "version %d: %s cannot be read: %v", n, dir, err)
			}
			return f
		}
	}
	if len(names) > 1 {
		called := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return strings.TrimSuffix(name, filepath.Ext(name)) != "model" })
		if len(called) != 1 {
			return bad(errs.Invalid, "version %d: %s holds several models, %s: leave one, or name one model%s", n, dir, strings.Join(names, ", "), filepath.Ext(names[0]))
		}
		names = called
	}
	if len(names) == 0 {
		return bad(errs.NotFound, "version %d: no model is in %s yet: it is a file that ends in .h5, .keras or .onnx", n, dir)
	}
	f.path = filepath.Join(dir, names[0])
	f.format, _ = model.FormatOf(names[0])
	if err := f.measure(); err != nil {
		return bad(errs.Unavailable, "version %d: %s cannot be read: %v", n, f.path, err)
	}
	return f
}

// measure looks at the file, or at every file of a folder, and notes size, age and print.
func (f *found) measure() error {
	f.size, f.since, f.print = 0, time.Time{}, ""
	root, err := filepath.EvalSymlinks(f.path) // a version may be a link
	if err != nil {
		return err
	}
	files := 0
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if files++; files > maxFiles {
			return fmt.Errorf("more than %d files are in it", maxFiles)
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		f.size += info.Size()
		f.print += printOf(path, info) + "\n"
		if info.ModTime().After(f.since) {
			f.since = info.ModTime()
		}
		return nil
	})
}

// maxFiles is how many files a version that is a folder may have.
const maxFiles = 1000

// savedModel is the file by which a SavedModel is known.
const savedModel = "saved_model.pb"

// printOf tells a file from another or a changed one, without reading it.
func printOf(path string, info fs.FileInfo) string {
	return fmt.Sprintf("%s %d %d", path, info.Size(), info.ModTime().UnixNano())
}

// settle compares a version with how it was found before.
func (f *found) settle(before *found, now time.Time) {
	if before == nil || before.print != f.print {
		// Whoever copies a file and keeps its time sets that at the end: an old time is a file that is whole.
		f.rested = f.fault == nil && now.Sub(f.since) >= rest
		f.since = now
		return
	}
	f.since, f.tries, f.due, f.warned = before.since, before.tries, before.due, before.warned
	f.rested = before.rested || now.Sub(f.since) >= rest/2
}

// lying is a version that is read where it lies.
type lying struct {
	artifact.ReaderAt
	as found
}

// tree is one that is a folder.
type tree struct{ path string }

// FS is the folder.
func (t tree) FS() fs.FS { return os.DirFS(t.path) }

// ReadAt has nothing to read: a folder is no file.
func (tree) ReadAt([]byte, int64) (int, error) { return 0, io.EOF }

// Close has nothing to close.
func (tree) Close() error { return nil }

// check says whether what lies there is still what was found.
func (l *lying) check() error {
	now := found{path: l.as.path}
	if err := now.measure(); err != nil || now.print != l.as.print {
		return errs.Errorf("folder.read", errs.Unavailable, "%s changed while it was being read: it is tried again when it has rested", l.as.path)
	}
	return nil
}
