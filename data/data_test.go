package data_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/data"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/testkit"
)

func hall(t *testing.T, limit int64) (*data.Sets, *testkit.Hall) {
	t.Helper()
	h := testkit.NewHall(t)
	return &data.Sets{Store: h.Store, Blobs: h.Blobs, Clock: h.Clock, Limit: limit}, h
}

type entry struct {
	name, body string
	kind       byte
}

func stream(t *testing.T, entries ...entry) io.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Mode: 0o644, Size: int64(len(e.body))}
		if e.kind == 0 {
			h.Typeflag = tar.TypeReg
		}
		if e.kind == tar.TypeSymlink || e.kind == tar.TypeLink {
			h.Linkname, h.Size = e.body, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			io.WriteString(w, e.body)
		}
	}
	w.Close()
	return &b
}

func TestTheSameFilesAreOneVersionAndOthersTheNext(t *testing.T) {
	sets, h := hall(t, 1<<20)
	in := func(body string) data.Set {
		set, err := sets.Import(t.Context(), "user/alice", "alice", "digits", stream(t, entry{name: "./b", body: body}, entry{name: "a", body: "first"}))
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	one, again, two := in("second"), in("second"), in("changed")
	if one.Version != 1 || again.Version != 1 || two.Version != 2 || one.Digest != again.Digest || one.Digest == two.Digest {
		t.Errorf("versions %d, %d, %d", one.Version, again.Version, two.Version)
	}
	if one.Files[0].Name != "a" || one.Files[1].Name != "b" || one.Size != 11 || one.Owner != "alice" {
		t.Errorf("%+v", one)
	}
	if n := len(h.Sealed(t)); n != 4 {
		t.Errorf("%d sealed files are kept for two versions of two files", n)
	}
	for ref, want := range map[string]int64{"digits": 2, "digits@1": 1} {
		if set, err := sets.Find(t.Context(), ref); err != nil || set.Version != want {
			t.Errorf("%s: version %d, %v", ref, set.Version, err)
		}
	}
}

func TestWhatIsNoDataSetIsRefusedAndLeavesNothing(t *testing.T) {
	sets, h := hall(t, 100)
	for name, c := range map[string]struct {
		in   io.Reader
		kind errs.Kind
		says string
	}{
		"empty":            {stream(t), errs.Invalid, "holds no files"},
		"not a tar":        {strings.NewReader(strings.Repeat("x", 2000)), errs.Invalid, "not a whole tar stream"},
		"cut off":          {io.LimitReader(stream(t, entry{name: "a", body: "hello"}), 515), errs.Other, ""},
		"a link":           {stream(t, entry{name: "a", body: "fine"}, entry{name: "b", body: "/etc/passwd", kind: tar.TypeSymlink}), errs.Invalid, "plain files only"},
		"an absolute path": {stream(t, entry{name: "/etc/passwd", body: "x"}), errs.Invalid, "leads out"},
		"a way up":         {stream(t, entry{name: "a/../../b", body: "x"}), errs.Invalid, "leads out"},
		"a file twice":     {stream(t, entry{name: "a", body: "x"}, entry{name: "./a", body: "y"}), errs.Invalid, "appears twice"},
		"too much":         {stream(t, entry{name: "a", body: strings.Repeat("x", 60)}, entry{name: "b", body: strings.Repeat("y", 60)}), errs.TooLarge, "limit"},
	} {
		_, err := sets.Import(t.Context(), "user/alice", "alice", "digits", c.in)
		if err == nil || (c.kind != errs.Other && !errs.Is(err, c.kind)) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v (%v)", name, err, errs.KindOf(err))
		}
		if n := len(h.Sealed(t)); n != 0 {
			t.Errorf("%s: %d files were left", name, n)
		}
	}
	if _, err := sets.Find(t.Context(), "digits"); !errs.Is(err, errs.NotFound) {
		t.Errorf("a refused import left a set: %v", err)
	}
	if _, err := sets.Import(t.Context(), "user/alice", "alice", "../up", stream(t, entry{name: "a", body: "x"})); !errs.Is(err, errs.Invalid) {
		t.Errorf("a name that leads out: %v", err)
	}
	for _, ref := range []string{"digits@0", "digits@x", "@1", "digits@1@2"} {
		if _, err := sets.Find(t.Context(), ref); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

func TestAnImportThatItsCallerLeavesKeepsNothing(t *testing.T) {
	sets, h := hall(t, 1<<30)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sets.Import(ctx, "user/alice", "alice", "digits", stream(t, entry{name: "a", body: "x"})); err == nil {
		t.Error("an import without a caller succeeded")
	}
	if n := len(h.Sealed(t)); n != 0 {
		t.Errorf("%d files were left", n)
	}
}

func TestIDXFilesAreRecognisedWithTheirRows(t *testing.T) {
	sets, _ := hall(t, 1<<20)
	images := "\x00\x00\x08\x03\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x01ab"
	var labels bytes.Buffer
	z := gzip.NewWriter(&labels)
	io.WriteString(z, "\x00\x00\x08\x01\x00\x00\x00\x02\x03\x07")
	z.Close()
	set, err := sets.Import(t.Context(), "user/alice", "alice", "digits", stream(t, entry{name: "images", body: images}, entry{name: "labels.gz", body: labels.String()}))
	if err != nil || set.Format != "idx" || set.Rows != 2 {
		t.Errorf("%+v, %v", set, err)
	}
	set, err = sets.Import(t.Context(), "user/alice", "alice", "digits", stream(t, entry{name: "images", body: images}, entry{name: "notes", body: "no numbers here"}))
	if err != nil || set.Format != "files" || set.Rows != 0 {
		t.Errorf("%+v, %v", set, err)
	}
}
