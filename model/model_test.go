package model_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/internal/testkit"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/trust/audit"
)

// hall is a registry for which a model is whatever begins with "model".
func hall(t *testing.T) (*model.Registry, *testkit.Hall) {
	t.Helper()
	h := testkit.NewHall(t)
	check := func(_ model.Format, r io.ReaderAt, _ int64) error {
		head := make([]byte, 5)
		if _, err := r.ReadAt(head, 0); err != nil || string(head) != "model" {
			return errs.Errorf("check", errs.Invalid, "this is no model")
		}
		return nil
	}
	return &model.Registry{Store: h.Store, Blobs: h.Blobs, Clock: h.Clock, Check: check, Limit: 1 << 20}, h
}

func TestVersionsAreNumberedSealedAndFound(t *testing.T) {
	r, h := hall(t)
	for want := range int64(3) {
		v, err := r.Upload(t.Context(), "user/alice", "digits", "m.h5", strings.NewReader("model of alice"+strings.Repeat("!", int(want))))
		if err != nil || v.Version != want+1 {
			t.Fatalf("version %d, %v", v.Version, err)
		}
	}
	for _, path := range h.Sealed(t) {
		if b, err := os.ReadFile(path); err != nil || bytes.Contains(b, []byte("alice")) {
			t.Errorf("%s holds plain bytes (%v)", path, err)
		}
	}
	if err := r.SetAlias(t.Context(), "user/alice", "digits", "prod", 2); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		version int64
		alias   string
		want    int64
	}{{0, "", 3}, {1, "", 1}, {0, "prod", 2}} {
		if v, err := r.Resolve(t.Context(), "digits", c.version, c.alias); err != nil || v.Version != c.want {
			t.Errorf("%+v: version %d, %v", c, v.Version, err)
		}
	}
	for _, c := range []struct {
		name    string
		version int64
		alias   string
	}{{"other", 0, ""}, {"digits", 9, ""}, {"digits", 0, "test"}} {
		if _, err := r.Resolve(t.Context(), c.name, c.version, c.alias); !errs.Is(err, errs.NotFound) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if err := r.SetAlias(t.Context(), "user/alice", "digits", "prod", 9); !errs.Is(err, errs.NotFound) {
		t.Errorf("an alias to nothing: %v", err)
	}
}

func TestWhatIsRefusedLeavesNothing(t *testing.T) {
	r, h := hall(t)
	for name, c := range map[string]struct {
		model, file, body string
		kind              errs.Kind
	}{
		"no model":        {"digits", "m.h5", "something else", errs.Invalid},
		"unknown format":  {"digits", "m.pt", "model", errs.Invalid},
		"a bad name":      {"../digits", "m.h5", "model", errs.Invalid},
		"over the limit":  {"digits", "m.h5", "model" + strings.Repeat("x", 1<<20), errs.TooLarge},
		"nothing in it":   {"digits", "m.h5", "", errs.Invalid},
		"a broken stream": {"digits", "m.h5", "", errs.Other},
	} {
		var body io.Reader = strings.NewReader(c.body)
		if c.kind == errs.Other {
			body = io.MultiReader(strings.NewReader("model"), broken{})
		}
		if _, err := r.Upload(t.Context(), "user/alice", c.model, c.file, body); err == nil || !errs.Is(err, c.kind) {
			t.Errorf("%s: %v (%v)", name, err, errs.KindOf(err))
		}
		if left := h.Sealed(t); len(left) != 0 {
			t.Errorf("%s left %v", name, left)
		}
	}
	if _, err := r.Resolve(t.Context(), "digits", 0, ""); !errs.Is(err, errs.NotFound) {
		t.Errorf("a refused upload made a model: %v", err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("the line broke") }

func TestAResultThatIsRegisteredTwiceIsOneVersion(t *testing.T) {
	r, h := hall(t)
	heard := 0
	r.Added = func(model.Version) { heard++ }
	for range 2 {
		info, err := r.Blobs.Put(t.Context(), strings.NewReader("model of job 7"), 1000)
		if err != nil {
			t.Fatal(err)
		}
		v, err := r.Add(t.Context(), "user/alice", model.Version{Model: "digits", Format: model.KerasH5, Source: "job/7"}, info)
		if err != nil || v.Version != 1 {
			t.Errorf("version %d, %v", v.Version, err)
		}
	}
	if n := len(h.Sealed(t)); n != 1 || heard != 1 {
		t.Errorf("%d sealed files, heard of %d versions", n, heard)
	}
}

func TestAFlippedBitIsFoundAndNamed(t *testing.T) {
	r, h := hall(t)
	v, err := r.Upload(t.Context(), "user/alice", "digits", "m.h5", strings.NewReader("model"+strings.Repeat("0123456789", 20_000)))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Blobs.Verify(t.Context(), v.Artifact()); err != nil {
		t.Fatal(err)
	}
	path := h.Sealed(t)[0]
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, 17, len(b) / 2, len(b) - 1} {
		b[at] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := r.Blobs.Verify(t.Context(), v.Artifact()); !errs.Is(err, errs.Corrupt) || !strings.Contains(err.Error(), v.Digest) {
			t.Errorf("bit at %d: %v", at, err)
		}
		b[at] ^= 1
	}
	if err := os.WriteFile(path, b[:len(b)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Blobs.Verify(t.Context(), v.Artifact()); !errs.Is(err, errs.Corrupt) {
		t.Errorf("cut off: %v", err)
	}
}

func TestAnExportIsRecordedBeforeTheFirstByteLeaves(t *testing.T) {
	r, h := hall(t)
	v, err := r.Upload(t.Context(), "user/alice", "digits", "m.h5", strings.NewReader("model of alice"))
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(event.Event) error { return errors.New("the log is full") }
	if _, err := r.Export(t.Context(), v, refuse, "user/bob"); err == nil {
		t.Error("an export that could not be recorded went out")
	}
	record := func(e event.Event) error { return h.Store.Emit(t.Context(), e) }
	body, err := r.Export(t.Context(), v, record, "user/bob")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	entries, err := h.Store.ListAudit(t.Context(), audit.Filter{Action: "model.exported"})
	if err != nil || len(entries) != 1 || entries[0].Actor != "user/bob" || entries[0].Subject != "model/digits:1" {
		t.Errorf("%+v, %v", entries, err)
	}
	if b, err := io.ReadAll(body); err != nil || string(b) != "model of alice" {
		t.Errorf("%q, %v", b, err)
	}
}
