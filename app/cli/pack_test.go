package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
)

func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o600)
		if strings.HasSuffix(name, ".sh") {
			mode = 0o755
		}
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func packAll(t *testing.T, dir string) []byte {
	t.Helper()
	files, err := listFolder(dir, units.MiB)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := pack(&b, dir, files); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func names(t *testing.T, archive []byte) (all []string) {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, h.Name)
		if h.Mode&0o111 != 0 {
			all[len(all)-1] += "*"
		}
	}
}

func TestIgnoreFilesAreHonouredAtEveryLevel(t *testing.T) {
	dir := folder(t, map[string]string{
		"main.py": "x", "run.sh": "x", "a/b/c.txt": "x", "a/b/c.log": "x", "a/keep.log": "x",
		"venv/lib/x.py": "x", "sub/.gitignore": "/only-here\n", "sub/only-here": "x", "only-here": "x",
		".git/config": "x", "a/.git/HEAD": "x", ".gitignore": "*.log\n!keep.log\nvenv/\n", ".lineshaftignore": "big/**\n", "big/data.bin": "x",
	})
	got := names(t, packAll(t, dir))
	want := []string{".gitignore", ".lineshaftignore", "a/b/c.txt", "a/keep.log", "main.py", "only-here", "run.sh*", "sub/.gitignore"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestTheSameFilesGiveTheSameBytes(t *testing.T) {
	files := map[string]string{"z": "1", "a/b": "2", "a-b": "3", "a.sh": "4"}
	one, two := folder(t, files), folder(t, files)
	if err := os.Chtimes(filepath.Join(two, "z"), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(two, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(packAll(t, one), packAll(t, two)) {
		t.Error("the archives differ")
	}
}

func TestALinkWithinIsPackedAndOneThatLeadsOutIsRefused(t *testing.T) {
	dir := folder(t, map[string]string{"real.txt": "text"})
	if err := os.Symlink("real.txt", filepath.Join(dir, "link.txt")); err != nil {
		t.Fatal(err)
	}
	if got := names(t, packAll(t, dir)); !slices.Equal(got, []string{"link.txt", "real.txt"}) {
		t.Errorf("got %q", got)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	if _, err := listFolder(dir, units.MiB); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "out is a link") {
		t.Errorf("got %v", err)
	}
}

func TestAFolderOverTheLimitIsRefusedWithItsLargestFiles(t *testing.T) {
	dir := folder(t, map[string]string{"big.bin": strings.Repeat("x", 2<<20), "small": "x"})
	_, err := listFolder(dir, units.MiB)
	if !errs.Is(err, errs.TooLarge) || !strings.Contains(err.Error(), "big.bin (2 MiB), small") {
		t.Errorf("got %v", err)
	}
	if _, err := listFolder(t.TempDir(), units.MiB); !errs.Is(err, errs.Invalid) {
		t.Errorf("an empty folder: %v", err)
	}
	if _, err := listFolder(filepath.Join(dir, "not"), units.MiB); !errs.Is(err, errs.NotFound) {
		t.Errorf("no folder: %v", err)
	}
}
