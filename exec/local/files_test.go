//go:build linux

package local_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/exec"
	"github.com/lineshaft/lineshaft/exec/local"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
)

// pack makes a gzipped tar archive.
func pack(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, h := range entries {
		body := h.Name + "\n"
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag != tar.TypeReg {
			body = ""
		}
		h.Size = int64(len(body))
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, body); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	z.Close()
	return b.Bytes()
}

func TestAFolderOfCodeIsUnpackedIntoTheWorkFolder(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, _ := hall(t, at)
		tk := task("1", 1, `pwd > where; cat main.py lib/a/b.txt latest; ./run.sh; ls -l run.sh lib/a/b.txt | cut -c1-10; find . -type l; echo new > lib/new && echo wrote`)
		tk.Files = []exec.File{{Name: ".", Unpack: true, Data: pack(t,
			tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
			tar.Header{Name: "./main.py"},
			tar.Header{Name: "lib/a/b.txt", Mode: 0o4777},
			tar.Header{Name: "run.sh", Mode: 0o755},
			tar.Header{Name: "latest", Typeflag: tar.TypeSymlink, Linkname: "lib/a/../a/b.txt"},
		)}, {Name: "run.sh", Mode: 0o755, Data: []byte("#!/bin/sh\necho replaced\n")}}
		out, st := run(t, l, tk)
		if want := "./main.py\nlib/a/b.txt\nlib/a/b.txt\nreplaced\n-rwx------\n-rwxr-xr-x\n./latest\nwrote\n"; out != want || st.ExitCode != 0 {
			t.Errorf("%q %+v", out, st)
		}
	})
}

func TestCodeThatLeadsOutOfItsFolderIsRefused(t *testing.T) {
	t.Parallel()
	l, data := hall(t, "")
	for name, entries := range map[string][]tar.Header{
		"climbs":              {{Name: "../../x"}},
		"climbs later":        {{Name: "a/../../x"}},
		"is absolute":         {{Name: "/etc/x"}},
		"links out":           {{Name: "x", Typeflag: tar.TypeSymlink, Linkname: "../../../../../keys.json"}},
		"links absolutely":    {{Name: "x", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}},
		"links by a link":     {{Name: "a/b", Typeflag: tar.TypeDir}, {Name: "a/b/up", Typeflag: tar.TypeSymlink, Linkname: "../../.."}, {Name: "a/b/up/x"}},
		"is a device":         {{Name: "x", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}},
		"is a pipe":           {{Name: "x", Typeflag: tar.TypeFifo}},
		"is a hard link":      {{Name: "a"}, {Name: "x", Typeflag: tar.TypeLink, Linkname: "a"}},
		"a file for a folder": {{Name: "a"}, {Name: "a/b"}},
		"is very deep":        {{Name: strings.Repeat("d/", 120) + "x"}},
	} {
		tk := task("1", 1, "true")
		tk.Files = []exec.File{{Name: ".", Unpack: true, Data: pack(t, entries...)}}
		if err := l.Start(t.Context(), tk); err == nil || !errs.Is(err, errs.Invalid) && !errs.Is(err, errs.TooLarge) {
			t.Errorf("what %s: %v", name, err)
		}
	}
	for name, bytes := range map[string][]byte{"garbage": []byte("this is no archive, and long enough to tell"), "cut off": pack(t, tar.Header{Name: "a"})[:40]} {
		tk := task("1", 1, "true")
		tk.Files = []exec.File{{Name: ".", Unpack: true, Data: bytes}}
		if err := l.Start(t.Context(), tk); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(data, "tasks/*/*/*/*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAnArchiveThatUnpacksToTooMuchIsRefused(t *testing.T) {
	t.Parallel()
	l, _ := with(t, local.Options{Unpacked: units.MiB}, "")
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for i := range 40 {
		w.WriteHeader(&tar.Header{Name: fmt.Sprint(i), Typeflag: tar.TypeReg, Mode: 0o600, Size: 100 << 10})
		w.Write(make([]byte, 100<<10))
	}
	w.Close()
	z.Close()
	tk := task("1", 1, "true")
	tk.Files = []exec.File{{Name: ".", Unpack: true, Open: func() (io.ReadCloser, error) { return io.NopCloser(&b), nil }}}
	if err := l.Start(t.Context(), tk); !errs.Is(err, errs.TooLarge) || !strings.Contains(err.Error(), "1 MiB") {
		t.Errorf("%v", err)
	}
}

func TestTheServerReadsNoLinkThatATaskLeft(t *testing.T) {
	everyLevel(t, func(t *testing.T, at string) {
		l, data := hall(t, at)
		tk := task("1", 1, fmt.Sprintf(`cd $LINESHAFT_OUT; ln -s %s/keys.json journal.jsonl; ln -s /etc/passwd model; mkfifo pipe; ln -s /etc sub; mkdir d; echo x > d/x`, data))
		run(t, l, tk)
		if b, _, err := l.Journal(t.Context(), tk.Ref, 0); err == nil || len(b) > 0 {
			t.Errorf("journal gave %q, %v", b, err)
		}
		for _, name := range []string{"model", "pipe", "../../../../keys.json", "none", "sub/passwd", "d", "", "/etc/passwd"} {
			if r, err := l.Output(t.Context(), tk.Ref, name); err == nil {
				r.Close()
				t.Errorf("%q was opened", name)
			}
			if p := l.OutputPath(tk.Ref, name); p != "" {
				t.Errorf("%q has the path %s", name, p)
			}
		}
		r, err := l.Output(t.Context(), tk.Ref, "d/x")
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
	})
}

func TestTheJournalGivesWholeLines(t *testing.T) {
	t.Parallel()
	l, _ := hall(t, "")
	tk := task("1", 1, `printf '{"a":1}\n{"a":2}\n{"a"' > $LINESHAFT_OUT/journal.jsonl`)
	run(t, l, tk)
	b, next, err := l.Journal(t.Context(), tk.Ref, 0)
	if err != nil || string(b) != "{\"a\":1}\n{\"a\":2}\n" || next != 16 {
		t.Errorf("%q %d %v", b, next, err)
	}
	if b, next, err := l.Journal(t.Context(), tk.Ref, next); err != nil || len(b) != 0 || next != 16 {
		t.Errorf("%q %d %v", b, next, err)
	}
}

func FuzzAnArchiveStaysInItsFolder(f *testing.F) {
	f.Add(pack(f, tar.Header{Name: "a/b"}, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "a"}))
	f.Add(pack(f, tar.Header{Name: "../x"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		work := filepath.Join(dir, "work")
		if err := os.Mkdir(work, 0o700); err != nil {
			t.Fatal(err)
		}
		local.Unpack(work, b, 1<<20)
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("%v, %v", entries, err)
		}
	})
}
