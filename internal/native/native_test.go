package native_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/native"
	"github.com/lineshaft/lineshaft/internal/units"
)

// script makes a program that says it is HiGHS, and does this when it is to solve.
func script(t *testing.T, solves string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "highs")
	text := "#!/bin/sh\nif [ \"$1\" = --version ]; then echo 'HiGHS version 1.2.3 Githash abc.'; exit; fi\n" + solves + "\n"
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAProgramThatIsNoneIsNamedWithTheKey(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("no program"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{filepath.Join(dir, "none"): "no such file", plain: "permission denied", "/bin/echo": "is not HiGHS's program", dir: "permission denied"} {
		_, err := native.Open(t.Context(), path, 0)
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "LINESHAFT_HIGHS") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestAChildGetsItsFilesAndNothingElse(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("LINESHAFT_TOKEN", "secret")
	h, err := native.Open(t.Context(), script(t, `{ cat model.mps options start; stat -c %a .; echo "$@"; env | grep -c LINESHAFT; } > solution; echo report; exit 1`), 0)
	if err != nil || h.Version() != "1.2.3" {
		t.Fatal(h, err)
	}
	solution, log, err := h.Run(t.Context(), "m\n", "o\n", "s\n", 1000)
	want := "m\no\ns\n700\n--options_file options --solution_file solution --read_solution_file start model.mps\n0\n"
	if err != nil || string(solution) != want || string(log) != "report\n" {
		t.Fatalf("%q %q %v", solution, log, err)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Fatal(left, err)
	}
}

func TestAChildThatFailsSaysWhy(t *testing.T) {
	for does, want := range map[string]struct {
		kind errs.Kind
		text string
	}{
		"echo oh no >&2; exit 3":                 {errs.Other, "exit status 3: oh no"},
		"echo all is well":                       {errs.Other, "left no solution: all is well"},
		"echo oh >&2; exit 1":                    {errs.Other, "left no solution: oh"},
		"echo std::bad_alloc >&2; kill -ABRT $$": {errs.Exhausted, "64 MiB of memory"},
		"head -c 5000 /dev/zero > solution":      {errs.Other, ""}, // by the limit of a file's size, or by what is read
	} {
		h, err := native.Open(t.Context(), script(t, does), 64*units.MiB)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := h.Run(t.Context(), "", "", "", 1000); errs.KindOf(err) != want.kind && errs.KindOf(err) != errs.Corrupt || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%s: %v", does, err)
		}
	}
}

func TestAChildEndsWithItsContextAndSoDoItsOwn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	h, err := native.Open(t.Context(), script(t, "sleep 100 & echo $! > "+file+".new; mv "+file+".new "+file+"; wait"), 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var pid string
	go func() {
		defer cancel()
		for pid == "" && t.Context().Err() == nil {
			b, _ := os.ReadFile(file)
			pid = strings.TrimSpace(string(b))
			time.Sleep(time.Millisecond)
		}
	}()
	if _, _, err := h.Run(ctx, "", "", "", 1000); !errs.Is(err, errs.Canceled) {
		t.Fatal(err)
	}
	for { // a zombie has no command line
		if b, _ := os.ReadFile("/proc/" + pid + "/cmdline"); len(b) == 0 {
			break
		}
		if t.Context().Err() != nil {
			t.Fatal("the child's child lives on")
		}
	}
}
