//go:build linux

package onnx_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/onnx"
)

const (
	wheelFile = "onnxruntime-" + onnx.Release + "-cp311-cp311-any.whl"
	library   = "an ELF file, as it were"
)

func sum(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

// packed is a package as the index has it.
func packed(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range map[string]string{"onnxruntime/__init__.py": "x", "onnxruntime/capi/libonnxruntime.so." + onnx.Release: library} {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// index answers as a package index does: with JSON where that is asked for and spoken, else with HTML.
func index(t *testing.T, file []byte, speaksJSON bool) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/simple/onnxruntime/", func(w http.ResponseWriter, r *http.Request) {
		if speaksJSON && strings.Contains(r.Header.Get("Accept"), "application/vnd.pypi.simple.v1+json") {
			fmt.Fprintf(w, `{"files":[{"filename":"other.whl","url":"/x"},{"filename":%q,"url":"/files/%s"}]}`, wheelFile, wheelFile)
			return
		}
		fmt.Fprintf(w, `<!DOCTYPE html><a href="../../files/other.whl#sha256=00">other</a><br/><A class="x" HREF='../../files/%s?a=1&amp;b=2#sha256=11'>%s</A>`, wheelFile, wheelFile)
	})
	mux.HandleFunc("/files/"+wheelFile, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(file) })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestALibraryIsInstalledFromEitherKindOfIndexOrAFile(t *testing.T) {
	file := packed(t)
	w := onnx.Wheel(wheelFile, int64(len(file)), sum(file), sum([]byte(library)))
	here := filepath.Join(t.TempDir(), "package.whl")
	if err := os.WriteFile(here, file, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]onnx.Source{
		"JSON": {Index: index(t, file, true).URL + "/simple/"}, "HTML": {Index: index(t, file, false).URL + "/simple"}, "file": {File: here},
	} {
		dir := t.TempDir()
		path, err := onnx.InstallWheel(t.Context(), dir, s, w)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != library {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
		if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o222 != 0 || len(left) > 0 {
			t.Errorf("%s: %v, %v, left %v", name, info, err, left)
		}
	}
}

func TestWhatIsNotThePinnedPackageIsNotInstalled(t *testing.T) {
	file := packed(t)
	bad := bytes.Clone(file)
	bad[40] ^= 1
	good := onnx.Wheel(wheelFile, int64(len(file)), sum(file), sum([]byte(library)))
	for name, c := range map[string]struct {
		index string
		kind  errs.Kind
	}{
		"a flipped bit": {index(t, bad, true).URL + "/simple", errs.Corrupt},
		"cut off":       {index(t, file[:100], true).URL + "/simple", errs.Corrupt},
		"longer":        {index(t, append(bytes.Clone(file), 0), true).URL + "/simple", errs.Corrupt},
		"no such index": {index(t, file, true).URL + "/other", errs.Unavailable},
		"no URL":        {"pypi", errs.Invalid},
	} {
		dir := t.TempDir()
		if _, err := onnx.InstallWheel(t.Context(), dir, onnx.Source{Index: c.index}, good); !errs.Is(err, c.kind) {
			t.Errorf("%s: %v (%v)", name, err, errs.KindOf(err))
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*", "*")); len(left) > 0 {
			t.Errorf("%s left %v", name, left)
		}
	}
	other := onnx.Wheel(wheelFile, int64(len(file)), sum(file), sum([]byte("another library")))
	if _, err := onnx.InstallWheel(t.Context(), t.TempDir(), onnx.Source{Index: index(t, file, true).URL + "/simple"}, other); !errs.Is(err, errs.Corrupt) {
		t.Errorf("another library: %v", err)
	}
	missing := onnx.Wheel("onnxruntime-0.0.1.whl", 1, "", "")
	if _, err := onnx.InstallWheel(t.Context(), t.TempDir(), onnx.Source{Index: index(t, file, true).URL + "/simple"}, missing); !errs.Is(err, errs.NotFound) || !strings.Contains(err.Error(), "--from") {
		t.Errorf("not listed: %v", err)
	}
	if _, err := onnx.Install(t.Context(), t.TempDir(), onnx.Source{Platform: "plan9/mips"}); !errs.Is(err, errs.Unsupported) {
		t.Errorf("plan9: %v", err)
	}
}
