package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/data"
	"github.com/lineshaft/lineshaft/internal/artifact"
	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/store"
	"github.com/lineshaft/lineshaft/store/blob"
	"github.com/lineshaft/lineshaft/store/sqlite"
	"github.com/lineshaft/lineshaft/trust/seal"
	"github.com/lineshaft/lineshaft/trust/secret"
)

// sealedWorld is a data folder with something of every sort that is sealed, and the server over it.
type sealedWorld struct {
	t     *testing.T
	dir   string
	clock *clock.Fake
	keys  *seal.Keyring
	db    *store.DB
	blobs *blob.Store
	job   seal.DataKey
}

func newSealedWorld(t *testing.T) *sealedWorld {
	w := &sealedWorld{t: t, dir: t.TempDir(), clock: clock.NewFake(start)}
	w.restart()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		info := w.put(fmt.Sprint("model ", i))
		_, err := w.db.CreateVersion(t.Context(), model.Version{Model: "mnist", Digest: info.Digest, Size: info.Size, Key: info.Key, Source: "upload"})
		must(err)
	}
	set := data.Set{Name: "digits", Digest: "sha256:aa"}
	for i := range 4 {
		info := w.put(fmt.Sprint("file ", i))
		set.Files = append(set.Files, data.File{Name: fmt.Sprint(i), Digest: info.Digest, Size: info.Size, Key: info.Key})
	}
	_, err := w.db.CreateSet(t.Context(), set)
	must(err)
	must(w.secrets().Put(t.Context(), "user/ann", "ann", "db", []byte("hunter2")))
	w.job = seal.NewDataKey()
	wrapped, err := w.keys.Wrap(w.job, "job-key/7")
	must(err)
	must(w.db.SetSetting(t.Context(), "job-key/7", wrapped))
	text, err := json.Marshal(w.put("code"))
	must(err)
	must(w.db.SetSetting(t.Context(), "code/sha256:bb", string(text)))
	return w
}

func (w *sealedWorld) restart() {
	w.t.Helper()
	if w.db != nil {
		w.db.Close()
	}
	var err error
	if w.keys, err = seal.OpenKeyring(filepath.Join(w.dir, "keys.json"), w.clock.Now()); err != nil {
		w.t.Fatal(err)
	}
	if w.blobs, err = blob.Open(filepath.Join(w.dir, "blobs"), w.keys); err != nil {
		w.t.Fatal(err)
	}
	db, err := sqlite.Open(w.t.Context(), filepath.Join(w.dir, "x.db"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.db = store.New(db, w.clock, w.keys)
	w.t.Cleanup(func() { w.db.Close() })
}

func (w *sealedWorld) secrets() *secret.Service {
	return secret.New(secret.Options{Store: w.db, Keys: w.keys, Clock: w.clock})
}

func (w *sealedWorld) put(text string) artifact.Info {
	w.t.Helper()
	info, err := w.blobs.Put(w.t.Context(), strings.NewReader(text), 1<<20)
	if err != nil {
		w.t.Fatal(err)
	}
	return info
}

func (w *sealedWorld) opens(what, want string, info artifact.Info) {
	w.t.Helper()
	at, err := w.blobs.OpenAt(w.t.Context(), info)
	if err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
	defer at.Close()
	got, err := io.ReadAll(io.NewSectionReader(at, 0, info.Size))
	if err != nil || string(got) != want {
		w.t.Fatalf("%s: got %q, %v", what, got, err)
	}
}

// everythingOpens reads all that is sealed, as it is recorded now.
func (w *sealedWorld) everythingOpens() {
	w.t.Helper()
	for i := range int64(3) {
		v, err := w.db.GetVersion(w.t.Context(), "mnist", i+1)
		if err != nil {
			w.t.Fatal(err)
		}
		w.opens("the model", fmt.Sprint("model ", i), v.Artifact())
	}
	set, err := w.db.GetSet(w.t.Context(), "digits", 0)
	if err != nil || len(set.Files) != 4 {
		w.t.Fatalf("the data set is %+v, %v", set, err)
	}
	for i, f := range set.Files {
		w.opens("the data set", fmt.Sprint("file ", i), f.Artifact())
	}
	if got, err := w.secrets().Value(w.t.Context(), "db"); err != nil || string(got) != "hunter2" {
		w.t.Fatalf("the secret is %q, %v", got, err)
	}
	wrapped, err := w.db.Setting(w.t.Context(), "job-key/7")
	if err != nil {
		w.t.Fatal(err)
	}
	if key, err := w.keys.Unwrap(wrapped, "job-key/7"); err != nil || key != w.job {
		w.t.Fatalf("the job's key does not open: %v", err)
	}
	text, err := w.db.Setting(w.t.Context(), "code/sha256:bb")
	if err != nil {
		w.t.Fatal(err)
	}
	var info artifact.Info
	if err := json.Unmarshal([]byte(text), &info); err != nil {
		w.t.Fatal(err)
	}
	w.opens("the code", "code", info)
	if r, err := w.db.VerifyAudit(w.t.Context()); err != nil || !r.OK {
		w.t.Fatalf("the audit log is %+v, %v", r, err)
	}
}

func (w *sealedWorld) rotator(h seal.Holder) *seal.Rotator {
	return &seal.Rotator{Keys: w.keys, Holder: h, Clock: w.clock}
}

func TestAfterARotationTheOldKeyIsDroppedAndEverythingStillOpens(t *testing.T) {
	w := newSealedWorld(t)
	old := w.keys.Primary()
	got, err := w.rotator(w.db).Rotate(t.Context(), "user/ann")
	if err != nil || got.Rewrapped != 10 || len(got.Keys) != 2 || len(got.Retired)+len(got.Damaged) != 0 {
		t.Fatalf("got %+v, %v", got, err)
	}
	if w.keys.Primary() == old {
		t.Fatal("the old key still wraps")
	}
	w.everythingOpens()
	if mentioned, err := w.db.Mentions(t.Context(), old); err != nil || mentioned {
		t.Fatalf("something is still under the old key: %v, %v", mentioned, err)
	}

	w.clock.Advance(seal.RetireAfter)
	w.restart()
	got, err = w.rotator(w.db).Finish(t.Context())
	if err != nil || !slices.Equal(got.Retired, []string{old}) || len(got.Keys) != 1 || got.Rewrapped != 0 {
		t.Fatalf("got %+v, %v", got, err)
	}
	w.restart()
	w.everythingOpens()
	file, err := filepath.Glob(filepath.Join(w.dir, ".keys-*"))
	if err != nil || len(file) != 0 {
		t.Errorf("left %v, %v", file, err)
	}
}

// cutOff is a store that goes away after so many writes.
type cutOff struct {
	*store.DB
	left int
}

var errGone = errors.New("the power went")

func (c *cutOff) SwapKeys(ctx context.Context, h seal.Holding, next []string) (bool, error) {
	if c.left--; c.left < 0 {
		return false, errGone
	}
	return c.DB.SwapKeys(ctx, h, next)
}

func TestARotationThatIsCutOffAnywhereLosesNothingAndIsFinished(t *testing.T) {
	for left := range 8 {
		w := newSealedWorld(t)
		old := w.keys.Primary()
		_, err := w.rotator(&cutOff{w.db, left}).Rotate(t.Context(), "user/ann")
		if cut := left < 7; cut != errors.Is(err, errGone) {
			t.Fatalf("cut off after %d records: got %v", left, err)
		}
		w.restart()
		w.everythingOpens()
		w.clock.Advance(seal.RetireAfter)
		got, err := w.rotator(w.db).Finish(t.Context())
		if err != nil || !slices.Equal(got.Retired, []string{old}) {
			t.Fatalf("cut off after %d records, finished with %+v, %v", left, got, err)
		}
		w.restart()
		w.everythingOpens()
	}
}

func TestAKeyIsKeptWhileARecordNeedsIt(t *testing.T) {
	w := newSealedWorld(t)
	old := w.keys.Primary()
	stray, err := w.keys.Wrap(seal.NewDataKey(), "elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.db.SetSetting(t.Context(), "a sort of record that no rotation knows", stray); err != nil {
		t.Fatal(err)
	}
	if _, err := w.rotator(w.db).Rotate(t.Context(), "user/ann"); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(10 * seal.RetireAfter)
	got, err := w.rotator(w.db).Finish(t.Context())
	if err != nil || len(got.Retired) != 0 || len(got.Keys) != 2 || got.Keys[0].ID != old {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := w.keys.Unwrap(stray, "elsewhere"); err != nil {
		t.Error(err)
	}
}

func TestWhatWasOnItsWayDuringARotationStillOpens(t *testing.T) {
	w := newSealedWorld(t)
	info := w.put("uploaded while the keys change")
	if _, err := w.rotator(w.db).Rotate(t.Context(), "user/ann"); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(time.Hour)
	late := model.Version{Model: "late", Digest: info.Digest, Size: info.Size, Key: info.Key, Source: "upload"}
	if _, err := w.db.CreateVersion(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(seal.RetireAfter)
	got, err := w.rotator(w.db).Finish(t.Context())
	if err != nil || got.Rewrapped != 1 || len(got.Retired) != 1 {
		t.Fatalf("got %+v, %v", got, err)
	}
	v, err := w.db.GetVersion(t.Context(), "late", 1)
	if err != nil {
		t.Fatal(err)
	}
	w.opens("the upload", "uploaded while the keys change", v.Artifact())
}

func TestARecordWhoseKeysAreDamagedIsNamedAndHoldsUpNothing(t *testing.T) {
	w := newSealedWorld(t)
	if err := w.db.SetSetting(t.Context(), "job-key/8", "k00000000:AAAA"); err != nil {
		t.Fatal(err)
	}
	got, err := w.rotator(w.db).Rotate(t.Context(), "user/ann")
	if err != nil || got.Rewrapped != 10 || !slices.Equal(got.Damaged, []string{"job-key job-key/8"}) {
		t.Errorf("got %+v, %v", got, err)
	}
	w.everythingOpens()
}

func TestARecordThatChangedMeanwhileIsNotOverwritten(t *testing.T) {
	w := newSealedWorld(t)
	all, err := w.db.WrappedKeys(t.Context())
	if err != nil || len(all) != 7 {
		t.Fatalf("found %d holdings, %v", len(all), err)
	}
	for _, h := range all {
		before := w.holdings()
		stale := seal.Holding{ID: h.ID, Context: h.Context, Wrapped: slices.Clone(h.Wrapped)}
		stale.Wrapped[0] = "k00000000:older"
		if swapped, err := w.db.SwapKeys(t.Context(), stale, make([]string, len(h.Wrapped))); err != nil || swapped {
			t.Errorf("%s: swapped %v, %v", h.ID, swapped, err)
		}
		if before != w.holdings() {
			t.Errorf("%s was overwritten", h.ID)
		}
	}
	w.everythingOpens()
}

// holdings is every wrapped key, as text.
func (w *sealedWorld) holdings() string {
	w.t.Helper()
	all, err := w.db.WrappedKeys(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return fmt.Sprint(all)
}
