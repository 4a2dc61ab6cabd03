package store_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/store"
	"github.com/lineshaft/lineshaft/store/sqlite"
)

func TestEveryConnectionSurvivesALossOfPowerAndHoldsReferences(t *testing.T) {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for range 8 { // all at once, so that each is another connection
		c, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "10000"} {
			var got string
			if err := c.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s is %q, %v; want %q", pragma, got, err, want)
			}
		}
	}
}

func TestTheDatabaseIsForItsOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "x.db"))
	if _, err := submitted(s, "a"); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) < 3 {
		t.Fatalf("found %v, %v", files, err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", f.Name(), info.Mode(), err)
		}
	}
}

func TestOnAFullDiskNothingIsHalfWrittenAndTheMessageSaysSo(t *testing.T) {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	s := store.New(db, clock.NewFake(start), nil)
	t.Cleanup(func() { s.Close() })
	db.SetMaxOpenConns(1) // the limit below belongs to a connection
	if _, err := db.Exec(`PRAGMA max_page_count = 80`); err != nil {
		t.Fatal(err)
	}
	kept := 0
	for err == nil {
		j := job.Job{Name: "a", Owner: "alice", State: job.Queued, Reason: strings.Repeat("x", 10_000)}
		if _, err = s.CreateJobs(t.Context(), []job.Job{j}, event.New("jobs", "job.submitted", "job/", "user/alice", nil)); err == nil {
			kept++
		}
	}
	if !errs.Is(err, errs.Full) || !strings.Contains(err.Error(), "disk") || !strings.Contains(err.Error(), "free some space") {
		t.Errorf("a full disk gave %v", err)
	}
	if _, err := db.Exec(`PRAGMA max_page_count = 10000`); err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(8)
	list, err := s.ListJobs(t.Context(), job.Filter{})
	if err != nil || len(list) != kept || kept == 0 {
		t.Errorf("%d of %d jobs are there, %v", len(list), kept, err)
	}
	if r, err := s.VerifyAudit(t.Context()); err != nil || !r.OK || r.Entries != int64(kept) {
		t.Errorf("the audit log is %+v, %v", r, err)
	}
	if _, err := submitted(s, "again"); err != nil {
		t.Errorf("with space again: %v", err)
	}
}

func TestWhatIsNoDatabaseIsRefusedInWords(t *testing.T) {
	dir := t.TempDir()
	text, damaged := filepath.Join(dir, "text"), filepath.Join(dir, "damaged")
	s := open(t, damaged)
	for range 50 {
		if _, err := submitted(s, "a"); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	whole, err := os.ReadFile(damaged)
	if err != nil {
		t.Fatal(err)
	}
	for i := 200; i < 4096; i++ {
		whole[i] = 0x5a
	}
	for path, content := range map[string][]byte{text: []byte(strings.Repeat("no database\n", 1000)), damaged: whole} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := sqlite.Open(t.Context(), path)
		if err == nil {
			db.Close()
		}
		if !errs.Is(err, errs.Corrupt) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v", path, err)
		}
	}
	if _, err := sqlite.Open(t.Context(), filepath.Join(dir, "no", "such", "folder")); !errs.Is(err, errs.Unavailable) {
		t.Errorf("a folder that is not there gave %v", err)
	}
}

func TestTheOutboxIsTrimmedAndAListenerCanTell(t *testing.T) {
	s := fresh(t)
	batch := make([]event.Event, 1000)
	for i := range batch {
		batch[i] = event.New("jobs", "job.x", "job/1", "user/a", nil)
	}
	for range 22 {
		if err := s.Emit(t.Context(), batch...); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Since(t.Context(), 100, nil, 1)
	if err != nil || len(got) != 1 || got[0].Seq != 2001 {
		t.Errorf("after 100 comes %v, %v: the outbox keeps the last 20000", got, err)
	}
	got, err = s.Since(t.Context(), 2000, nil, 3)
	if err != nil || len(got) != 3 || got[0].Seq != 2001 || got[2].Seq != 2003 {
		t.Errorf("after 2000 comes %v, %v", got, err)
	}
	if r, err := s.VerifyAudit(t.Context()); err != nil || !r.OK || r.Entries != 22_000 {
		t.Errorf("the audit log is %+v, %v", r, err)
	}
}

func TestAnAliasThatIsNotThereCannotBeRemoved(t *testing.T) {
	s := fresh(t)
	if err := s.SetAlias(t.Context(), "mnist", "prod", 0, event.New("models", "model.unaliased", "model/mnist", "user/a", nil)); !errs.Is(err, errs.NotFound) {
		t.Errorf("got %v", err)
	}
	if got, err := s.Since(t.Context(), 0, nil, 0); err != nil || slices.ContainsFunc(got, func(e event.Event) bool { return e.Kind == "model.unaliased" }) {
		t.Errorf("it was written down all the same: %v, %v", got, err)
	}
}
