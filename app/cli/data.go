package cli

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lineshaft/lineshaft/client"
	"github.com/lineshaft/lineshaft/data"
	"github.com/lineshaft/lineshaft/internal/errs"
)

func dataCommand(e *env) *cobra.Command {
	list := listing[data.Set]{
		topic: "data",
		fetch: func(ctx context.Context, c *client.Client) ([]data.Set, error) { return c.DataSets(ctx) },
		table: func(sets []data.Set) *table {
			t := newTable("no data sets; `lineshaft data import NAME --from FOLDER` brings one in", "NAME", "VERSION>", "FORMAT", "ROWS>", "SIZE>", "FILES>", "AGE>", "OWNER")
			for _, s := range sets {
				t.row(s.Name, s.Version, s.Format, rowsText(s.Rows), size(s.Size), len(s.Files), e.age(s.Created), s.Owner)
			}
			return t
		},
	}.command(e, &cobra.Command{Use: "list", Short: "List data sets"})
	show := &cobra.Command{
		Use: "show NAME", Aliases: []string{"get"},
		Short: "Show a data set: the newest version, or NAME@VERSION",
		Args:  takes, ValidArgsFunction: e.completeData(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := e.connect()
			if err != nil {
				return err
			}
			s, err := c.DataSet(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return e.show(s, func(w io.Writer) { e.dataDetails(w, s) })
		},
	}
	return group(&cobra.Command{Use: "data [NAME]", Short: "List data sets, show or import one"}, list, show, importCommand(e))
}

func rowsText(n int64) string {
	if n == 0 {
		return ""
	}
	return thousands(n)
}

func (e *env) dataDetails(w io.Writer, s data.Set) {
	e.details(w, "data set", s.Ref(), "format", s.Format, "rows", rowsText(s.Rows), "size", size(s.Size), "digest", s.Digest, "owner", s.Owner, "created", e.when(s.Created))
	fmt.Fprintln(w)
	t := newTable("no files", "FILE", "SIZE>", "DIGEST")
	for _, f := range s.Files {
		t.row(f.Name, size(f.Size), digest(f.Digest))
	}
	e.print(w, t)
}

func importCommand(e *env) *cobra.Command {
	var from []string
	dry := false
	cmd := &cobra.Command{
		Use:   "import NAME",
		Short: "Import files as a data set, or as its next version",
		Long: `Import files as a data set, or as its next version.

The files are sealed as they arrive; nothing of them is kept in the clear. The same files again make no new version.`,
		Example: `  lineshaft data import mnist --from bin/mnist
  lineshaft data import prices --from 2025.csv --from 2026.csv`,
		Args: takes,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(from) == 0 {
				return errs.Errorf("cli.import", errs.Invalid, "say what to import with --from FOLDER or --from FILE")
			}
			files, err := gather(from)
			if err != nil {
				return err
			}
			c, err := e.connect()
			if err != nil {
				return err
			}
			return e.importFiles(cmd.Context(), c, args[0], files, dry)
		},
	}
	cmd.Flags().StringArrayVar(&from, "from", nil, "`folder` or file to import; may be given more than once")
	_ = cmd.MarkFlagFilename("from") // only fails for a flag that is not there
	dryRun(cmd, &dry)
	return cmd
}

func (e *env) importFiles(ctx context.Context, c *client.Client, name string, files []source, dry bool) error {
	var total int64
	for _, f := range files {
		total += f.size
	}
	if dry {
		s, err := c.ImportData(ctx, name, strings.NewReader(""), true)
		if err != nil {
			return err
		}
		s.Size = total
		for _, f := range files {
			s.Files = append(s.Files, data.File{Name: f.name, Size: f.size})
		}
		return e.done(s, true, "%s, %s, would be imported as data set %s", count(len(files), "file"), size(total), s.Ref())
	}
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(writeTar(w, files))
	}()
	b := e.bar()
	s, err := c.ImportData(ctx, name, &counted{r: r, what: "importing " + name, total: total, bar: b}, false)
	r.CloseWithError(errs.Errorf("cli.import", errs.Canceled, "the server stopped reading"))
	<-done
	b.clear()
	if err != nil {
		return err
	}
	rows := ""
	if s.Rows > 0 {
		rows = ", " + count(s.Rows, "row")
	}
	return e.done(s, false, "data set %s has %s, %s%s", s.Ref(), count(len(s.Files), "file"), size(s.Size), rows)
}

// source is one file to import.
type source struct {
	name string // in the set
	path string
	size int64
}

// gather finds the files: those of a folder by their names within it, a single file by its own name. Hidden files are
// left out.
func gather(from []string) ([]source, error) {
	const op = "cli.gather"
	var all []source
	for _, f := range from {
		info, err := os.Stat(f)
		if err != nil {
			return nil, fileError(op, err)
		}
		if info.Mode().IsRegular() {
			all = append(all, source{filepath.Base(f), f, info.Size()})
			continue
		}
		err = filepath.WalkDir(f, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(f, path)
			switch {
			case err != nil || rel == ".":
				return err
			case strings.HasPrefix(d.Name(), ".") && d.IsDir():
				return fs.SkipDir
			case strings.HasPrefix(d.Name(), ".") || d.IsDir():
				return nil
			}
			info, err := os.Stat(path)
			if err == nil && info.Mode().IsRegular() {
				all = append(all, source{filepath.ToSlash(rel), path, info.Size()})
			}
			return err
		})
		if err != nil {
			return nil, fileError(op, err)
		}
	}
	slices.SortFunc(all, func(a, b source) int { return strings.Compare(a.name, b.name) })
	for i := 1; i < len(all); i++ {
		if all[i].name == all[i-1].name {
			return nil, errs.Errorf(op, errs.Invalid, "%s and %s have the same name in the data set: import their common folder", all[i-1].path, all[i].path)
		}
	}
	if len(all) == 0 {
		return nil, errs.Errorf(op, errs.Invalid, "%s has no files to import", strings.Join(from, ", "))
	}
	return all, nil
}

func writeTar(w io.Writer, files []source) error {
	const op = "cli.writeTar"
	t := tar.NewWriter(w)
	for _, f := range files {
		if err := t.WriteHeader(&tar.Header{Name: f.name, Size: f.size, Mode: 0o644, Typeflag: tar.TypeReg, Format: tar.FormatPAX}); err != nil {
			return errs.E(op, errs.Other, err)
		}
		if err := addFile(t, f); err != nil {
			return err
		}
	}
	return errs.E(op, errs.Other, t.Close())
}

func addFile(w io.Writer, f source) error {
	const op = "cli.addFile"
	r, err := os.Open(f.path)
	if err != nil {
		return fileError(op, err)
	}
	defer r.Close()
	n, err := io.Copy(w, io.LimitReader(r, f.size))
	if err == nil && n != f.size {
		err = errors.New(f.path + " became shorter while it was read; try again when nothing writes it")
	}
	return errs.E(op, errs.Conflict, err)
}
