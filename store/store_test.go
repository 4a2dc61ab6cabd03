package store_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/data"
	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/store"
	"github.com/lineshaft/lineshaft/store/sqlite"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func open(t *testing.T, path string) *store.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	s := store.New(db, clock.NewFake(start), nil)
	t.Cleanup(func() { s.Close() })
	return s
}

func fresh(t *testing.T) *store.DB { return open(t, filepath.Join(t.TempDir(), "a b%20?.db")) }

func submitted(s *store.DB, name string) (job.Job, error) {
	j := job.Job{Name: name, Kind: job.Command, Owner: "alice", State: job.Queued, Created: start}
	made, err := s.CreateJobs(context.Background(), []job.Job{j}, event.Event{Topic: "jobs", Kind: "job.submitted", Subject: "job/", Actor: "user/alice"})
	return made[0], err
}

func TestAJobGetsTheNextNumberAndItsEventCarriesIt(t *testing.T) {
	s := fresh(t)
	live, cancel := s.Subscribe([]string{"jobs"})
	defer cancel()
	for want := job.ID(1); want <= 3; want++ {
		j, err := submitted(s, "a")
		if err != nil || j.ID != want {
			t.Fatalf("got job %v, %v; want %v", j.ID, err, want)
		}
		if e := <-live; e.Subject != "job/"+want.String() || e.Seq != int64(want) || len(e.Data) == 0 {
			t.Errorf("event %+v does not carry the new job", e)
		}
	}
	list, err := s.ListJobs(t.Context(), job.Filter{After: 3, Owner: "alice"})
	if err != nil || len(list) != 2 || list[0].ID != 2 {
		t.Errorf("listing after 3 gave %v, %v", list, err)
	}
	if _, err := s.GetJob(t.Context(), 99); !errs.Is(err, errs.NotFound) {
		t.Errorf("an unknown job gave %v", err)
	}
	if err := s.UpdateJobs(t.Context(), []job.Job{{ID: 99}}); !errs.Is(err, errs.NotFound) {
		t.Errorf("updating an unknown job gave %v", err)
	}
}

func TestAJournalPieceReadTwiceCountsOnce(t *testing.T) {
	s := fresh(t)
	j, err := submitted(s, "a")
	if err != nil {
		t.Fatal(err)
	}
	points := []job.Metric{{Name: "loss", Value: 1, Time: start}, {Name: "loss", Value: 0.5, Time: start}}
	for range 2 {
		if err := s.AppendMetrics(t.Context(), j.ID, 0, 1, 0, 100, points); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.ListMetrics(t.Context(), j.ID, 0, 0)
	if err != nil || len(got) != 2 || got[1].Seq != 2 || got[1].Value != 0.5 {
		t.Errorf("got %v, %v", got, err)
	}
	if off, err := s.JournalOffset(t.Context(), j.ID, 0, 1); err != nil || off != 100 {
		t.Errorf("offset %d, %v", off, err)
	}
}

func TestARegistrationThatIsReplayedMakesNoSecondVersion(t *testing.T) {
	s := fresh(t)
	v := model.Version{Model: "mnist", Digest: "sha256:aa", Key: "wrapped", Source: "job/1", Created: start}
	for range 2 {
		got, err := s.CreateVersion(t.Context(), v)
		if err != nil || got.Version != 1 || got.Key != "wrapped" {
			t.Fatalf("got %+v, %v", got, err)
		}
	}
	v.Source = "upload"
	if got, err := s.CreateVersion(t.Context(), v); err != nil || got.Version != 2 {
		t.Fatalf("an upload of the same bytes gave %+v, %v", got, err)
	}
	if err := s.SetAlias(t.Context(), "mnist", "prod", 3); !errs.Is(err, errs.NotFound) {
		t.Errorf("an alias to nothing gave %v", err)
	}
	if err := s.SetAlias(t.Context(), "mnist", "prod", 2); err != nil {
		t.Fatal(err)
	}
	m, err := s.GetModel(t.Context(), "mnist")
	if err != nil || m.Versions != 2 || m.Latest != 2 || m.Aliases["prod"] != 2 {
		t.Errorf("got %+v, %v", m, err)
	}
}

func TestTheSameDataSetAgainIsTheSameVersion(t *testing.T) {
	s := fresh(t)
	set := data.Set{Name: "mnist", Digest: "sha256:aa", Files: []data.File{{Name: "x", Key: "k"}}}
	for range 2 {
		got, err := s.CreateSet(t.Context(), set)
		if err != nil || got.Version != 1 {
			t.Fatalf("got %+v, %v", got, err)
		}
	}
	set.Digest = "sha256:bb"
	if got, err := s.CreateSet(t.Context(), set); err != nil || got.Version != 2 {
		t.Fatalf("got %+v, %v", got, err)
	}
	if got, err := s.GetSet(t.Context(), "mnist", 0); err != nil || got.Version != 2 || got.Files[0].Key != "k" {
		t.Errorf("newest is %+v, %v", got, err)
	}
}

func TestAListenerResumesFromANumberAndMissesNothing(t *testing.T) {
	s := fresh(t)
	for range 5 {
		if _, err := submitted(s, "a"); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Since(t.Context(), 2, []string{"jobs"}, 0)
	if err != nil || len(got) != 3 || got[0].Seq != 3 || got[2].Seq != 5 {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := s.Since(t.Context(), 0, []string{"models"}, 0); err != nil || len(got) != 0 {
		t.Errorf("another topic gave %v, %v", got, err)
	}
}

func TestAQuietEventIsHeardButNotKept(t *testing.T) {
	s := fresh(t)
	live, cancel := s.Subscribe(nil)
	defer cancel()
	if err := s.Emit(t.Context(), event.Progress("jobs", "job.progress", "job/1", "service/job", nil)); err != nil {
		t.Fatal(err)
	}
	if e := <-live; e.Seq != 0 || e.Kind != "job.progress" {
		t.Errorf("heard %+v", e)
	}
	if got, err := s.Since(t.Context(), 0, nil, 0); err != nil || len(got) != 0 {
		t.Errorf("kept %v, %v", got, err)
	}
}

func TestAListenerThatLagsIsCutOffAndNobodyWaits(t *testing.T) {
	s := fresh(t)
	lagging, cancel := s.Subscribe(nil)
	defer cancel()
	for range 3000 {
		if err := s.Emit(t.Context(), event.Progress("jobs", "job.progress", "job/1", "a", nil)); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for range lagging {
		n++
	}
	if n == 0 || n >= 3000 {
		t.Errorf("a lagging listener got %d of 3000 events", n)
	}
}

func TestADataFolderFromANewerVersionIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, TRUE)`); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if db, err := sqlite.Open(t.Context(), path); err == nil {
		db.Close()
		t.Error("opened")
	} else if !errs.Is(err, errs.Conflict) {
		t.Errorf("got %v", err)
	}
}
