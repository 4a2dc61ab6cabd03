package cli

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	ignore "github.com/sabhiram/go-gitignore"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
)

// This file packs a folder of code. Its rules:
//   - the same files give the same bytes: sorted, without times, owners or empty folders;
//   - what a .gitignore or .lineshaftignore of the folder or of one below leaves out stays out, and so do the folders
//     in which version control keeps its own;
//   - a link to a file within the folder is packed as that file; one that leads out is refused, because what it names
//     would not be where the code runs;
//   - more than the limit is refused before a byte is sent, with the largest files named.

// packed is one file to pack.
type packed struct {
	name string // slash-separated, relative to the folder
	size int64
	exec bool
}

// rules are the ignore files of one folder.
type rules struct {
	under string // "" for the root, else with a slash at its end
	match *ignore.GitIgnore
}

// listFolder finds what is to be packed, sorted by name.
func listFolder(dir string, limit units.Bytes) ([]packed, error) {
	const op = "cli.listFolder"
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fileError(op, err)
	}
	defer root.Close()
	var files []packed
	var all []rules
	var total int64
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name != "." && (ignored(all, name, d.IsDir()) || versionControl(d)) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			all, err = addRules(root, all, name)
			return err
		}
		info, err := root.Stat(name) // follows a link, and not out of the folder
		if err != nil && d.Type()&fs.ModeSymlink != 0 {
			return errs.Errorf(op, errs.Invalid, "%s is a link that leads out of %s or to nothing; name it in .lineshaftignore", name, dir)
		}
		if err != nil || !info.Mode().IsRegular() {
			return err // sockets, pipes and links to folders are no code
		}
		files = append(files, packed{name, info.Size(), info.Mode().Perm()&0o100 != 0})
		total += info.Size()
		return nil
	})
	var ours *errs.Error
	if err != nil && !errors.As(err, &ours) {
		return nil, fileError(op, err)
	}
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, errs.Errorf(op, errs.Invalid, "%s has no files to send", dir)
	}
	if total > int64(limit) {
		return nil, errs.Errorf(op, errs.TooLarge, "the files of %s come to %s, and --code-limit allows %s; the largest are %s. List what the job does not need in .lineshaftignore",
			dir, size(total), limit, largest(files))
	}
	slices.SortFunc(files, func(a, b packed) int { return strings.Compare(a.name, b.name) })
	return files, nil
}

func versionControl(d fs.DirEntry) bool {
	return slices.Contains([]string{".git", ".hg", ".svn", ".jj"}, d.Name())
}

func addRules(root *os.Root, all []rules, dir string) ([]rules, error) {
	var lines []string
	for _, name := range []string{".gitignore", ".lineshaftignore"} {
		text, err := root.ReadFile(path.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return all, err
		}
		lines = append(lines, strings.Split(string(text), "\n")...)
	}
	if lines == nil {
		return all, nil
	}
	under := dir + "/"
	if dir == "." {
		under = ""
	}
	return append(all, rules{under, ignore.CompileIgnoreLines(lines...)}), nil
}

func ignored(all []rules, name string, dir bool) bool {
	for _, r := range all {
		rel, ok := strings.CutPrefix(name, r.under)
		if !ok {
			continue
		}
		if r.match.MatchesPath(rel) || dir && r.match.MatchesPath(rel+"/") {
			return true
		}
	}
	return false
}

func largest(files []packed) string {
	top := slices.Clone(files)
	slices.SortStableFunc(top, func(a, b packed) int { return int(min(max(b.size-a.size, -1), 1)) })
	var names []string
	for _, f := range top[:min(3, len(top))] {
		names = append(names, f.name+" ("+size(f.size)+")")
	}
	return strings.Join(names, ", ")
}

// pack writes the files as a gzipped tar.
func pack(w io.Writer, dir string, files []packed) error {
	const op = "cli.pack"
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fileError(op, err)
	}
	defer root.Close()
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	for _, f := range files {
		mode := int64(0o644)
		if f.exec {
			mode = 0o755
		}
		if err := t.WriteHeader(&tar.Header{Name: f.name, Size: f.size, Mode: mode, Typeflag: tar.TypeReg, Format: tar.FormatPAX}); err != nil {
			return errs.E(op, errs.Other, err)
		}
		if err := copyFile(t, root, f); err != nil {
			return err
		}
	}
	if err := errors.Join(t.Close(), z.Close()); err != nil {
		return errs.E(op, errs.Other, err)
	}
	return nil
}

// copyFile copies exactly the size that the header says: a file that is being written meanwhile is an error, not a
// damaged archive.
func copyFile(w io.Writer, root *os.Root, f packed) error {
	const op = "cli.copyFile"
	r, err := root.Open(f.name)
	if err != nil {
		return fileError(op, err)
	}
	defer r.Close()
	n, err := io.Copy(w, io.LimitReader(r, f.size))
	if err != nil {
		return errs.E(op, errs.Other, err)
	}
	if n != f.size {
		return errs.Errorf(op, errs.Conflict, "%s became shorter while it was read; try again when nothing writes it", f.name)
	}
	return nil
}
