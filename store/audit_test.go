package store_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/store"
	"github.com/lineshaft/lineshaft/store/sqlite"
	"github.com/lineshaft/lineshaft/trust/audit"
	"github.com/lineshaft/lineshaft/trust/seal"
)

// logged is a store with a sealed log of ten entries, and the database under it as whoever has the disk sees it.
func logged(t *testing.T) (*store.DB, *sql.DB) {
	t.Helper()
	dir := t.TempDir()
	keys, err := seal.OpenKeyring(filepath.Join(dir, "keys.json"), start)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(t.Context(), filepath.Join(dir, "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	s := store.New(db, clock.NewFake(start), keys)
	t.Cleanup(func() { s.Close() })
	for i := range 10 {
		e := event.New("jobs", "job.submitted", fmt.Sprint("job/", i+1), "user/ann", map[string]any{"n": i, "text": "<b> & \u2028"})
		if err := s.Emit(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := s.VerifyAudit(t.Context()); err != nil || !r.OK || r.Entries != 10 {
		t.Fatalf("an untouched log gave %+v, %v", r, err)
	}
	return s, db
}

func TestWhateverIsDoneToTheAuditLogIsFoundAndNamed(t *testing.T) {
	const entry = `SELECT body FROM audit WHERE seq = 5`
	for name, c := range map[string]struct {
		steps  []string
		broken int64
	}{
		"an actor changed":         {[]string{`UPDATE audit SET actor = 'user/mallory' WHERE seq = 3`}, 3},
		"an action changed":        {[]string{`UPDATE audit SET action = 'job.cancelled' WHERE seq = 3`}, 3},
		"a subject changed":        {[]string{`UPDATE audit SET subject = 'job/99' WHERE seq = 3`}, 3},
		"a time changed":           {[]string{`UPDATE audit SET at = at + 1 WHERE seq = 3`}, 3},
		"a body changed":           {[]string{`UPDATE audit SET body = replace(body, '"n":2', '"n":7') WHERE seq = 3`}, 3},
		"both changed alike":       {[]string{`UPDATE audit SET actor = 'user/eve', body = replace(body, 'user/ann', 'user/eve') WHERE seq = 3`}, 3},
		"a body that is no JSON":   {[]string{`UPDATE audit SET body = 'gone' WHERE seq = 3`}, 3},
		"an outcome changed":       {[]string{`UPDATE audit SET body = replace(body, '"ok"', '"denied"') WHERE seq = 10`}, 10},
		"the first removed":        {[]string{`DELETE FROM audit WHERE seq = 1`}, 1},
		"one removed":              {[]string{`DELETE FROM audit WHERE seq = 4`}, 4},
		"one removed and closed":   {[]string{`DELETE FROM audit WHERE seq = 4`, `UPDATE audit SET seq = seq - 1 WHERE seq > 4`}, 4},
		"one put in between":       {[]string{`UPDATE audit SET seq = seq + 100 WHERE seq > 5`, `UPDATE audit SET seq = seq - 99 WHERE seq > 100`, `INSERT INTO audit SELECT 6, at, actor, action, subject, body FROM audit WHERE seq = 5`}, 6},
		"two swapped":              {[]string{`UPDATE audit SET seq = 100 WHERE seq = 5`, `UPDATE audit SET seq = 5 WHERE seq = 6`, `UPDATE audit SET seq = 6 WHERE seq = 100`}, 5},
		"one appended":             {[]string{`INSERT INTO audit SELECT 11, at, actor, action, subject, body FROM audit WHERE seq = 10`}, 11},
		"the last removed":         {[]string{`DELETE FROM audit WHERE seq = 10`}, 10},
		"the tail removed":         {[]string{`DELETE FROM audit WHERE seq > 4`}, 5},
		"the tail and the events":  {[]string{`DELETE FROM audit WHERE seq > 4`, `DELETE FROM outbox WHERE seq > 4`}, 5},
		"the head removed":         {[]string{`DELETE FROM settings WHERE name = 'audit.head'`}, 11},
		"all but the events":       {[]string{`DELETE FROM audit`, `DELETE FROM settings WHERE name = 'audit.head'`}, 1},
		"all but the head":         {[]string{`DELETE FROM audit`, `DELETE FROM outbox`}, 1},
		"a number twice in a body": {[]string{`UPDATE audit SET body = (` + entry + `) WHERE seq = 6`}, 6},
	} {
		t.Run(name, func(t *testing.T) {
			s, db := logged(t)
			for _, step := range c.steps {
				if _, err := db.Exec(step); err != nil {
					t.Fatal(err)
				}
			}
			r, err := s.VerifyAudit(t.Context())
			if err != nil || r.OK || r.Broken != c.broken || !strings.Contains(r.Message, "entry") {
				t.Errorf("got %+v, %v; want entry %d", r, err, c.broken)
			}
		})
	}
}

// Whoever knows the code, but not the key, can write a whole new log whose hashes fit.
func TestALogThatWasWrittenAnewDoesNotFitItsSeal(t *testing.T) {
	s, db := logged(t)
	list, err := s.ListAudit(t.Context(), audit.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	hash := ""
	for i := range list {
		e := list[len(list)-1-i]
		e.Actor = "user/mallory"
		e = audit.Chain(int64(i), hash, e)
		hash = e.Hash
		body, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(`UPDATE audit SET actor = ?, body = ? WHERE seq = ?`, e.Actor, string(body), e.Seq); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Exec(`UPDATE settings SET value = json_set(value, '$.hash', ?) WHERE name = 'audit.head'`, hash); err != nil {
		t.Fatal(err)
	}
	if r, err := s.VerifyAudit(t.Context()); err != nil || r.OK {
		t.Errorf("got %+v, %v", r, err)
	}
}

// Names come from outside, and not every byte of a URL is text.
func TestWhateverAnEventSaysTheLogStaysWhole(t *testing.T) {
	s, _ := logged(t)
	r := rand.New(rand.NewPCG(1, 2))
	text := func() string {
		b := make([]byte, r.IntN(20))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return string(b)
	}
	for range 100 {
		e := event.Event{Topic: "audit", Kind: text(), Subject: text(), Actor: text()}
		switch r.IntN(5) {
		case 0:
			e.Data = json.RawMessage("{ \"a\" : \"<\u2028>\" }")
		case 1:
			e.Data = json.RawMessage("null")
		case 2:
			e.Data, _ = json.Marshal(text())
		case 3:
			e.Data = json.RawMessage(`1e5`)
		}
		if err := s.Emit(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.VerifyAudit(t.Context()); err != nil || !got.OK || got.Entries != 110 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestAQuietEventIsNotInTheLog(t *testing.T) {
	s, _ := logged(t)
	quiet := event.Progress("jobs", "job.progress", "job/1", "service/job", nil)
	if err := s.Emit(t.Context(), quiet, event.New("jobs", "job.finished", "job/1", "service/job", nil), quiet); err != nil {
		t.Fatal(err)
	}
	if r, err := s.VerifyAudit(t.Context()); err != nil || !r.OK || r.Entries != 11 {
		t.Errorf("got %+v, %v", r, err)
	}
	list, err := s.ListAudit(t.Context(), audit.Filter{Actor: "service/job", Action: "job."})
	if err != nil || len(list) != 1 || list[0].Seq != 11 {
		t.Errorf("listed %+v, %v", list, err)
	}
	list, err = s.ListAudit(t.Context(), audit.Filter{Before: 5, Limit: 2})
	if err != nil || len(list) != 2 || list[0].Seq != 4 || list[1].Seq != 3 {
		t.Errorf("listed %+v, %v", list, err)
	}
}
