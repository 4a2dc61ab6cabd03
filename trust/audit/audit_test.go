package audit_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/trust/audit"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("east", 8*3600))

// seal is a keyed seal, as far as these tests can tell.
func seal(seq int64, hash string) string { return fmt.Sprint("sealed ", seq, hash) }

// log is n entries in a chain, and the seal of its head.
func log(n int) (entries []audit.Entry, head string) {
	hash := ""
	for i := range n {
		e := audit.Chain(int64(i), hash, audit.Entry{
			Time: start, Actor: "user/ann", Action: "job.submitted", Subject: fmt.Sprint("job/", i), Outcome: "ok", Detail: json.RawMessage(`{ "a": 1 }`),
		})
		entries, hash = append(entries, e), e.Hash
	}
	return entries, seal(int64(n), hash)
}

func all(entries []audit.Entry) iter.Seq2[audit.Entry, error] {
	return func(yield func(audit.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func TestAnUntouchedLogIsWholeAfterItWasWrittenAndRead(t *testing.T) {
	entries, head := log(5)
	text, err := json.Marshal(entries)
	if err != nil {
		t.Fatal(err)
	}
	var back []audit.Entry
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if r, err := audit.Verify(all(back), head, seal); err != nil || !r.OK || r.Entries != 5 {
		t.Errorf("got %+v, %v", r, err)
	}
	if r, err := audit.Verify(all(nil), "", seal); err != nil || !r.OK || r.Entries != 0 {
		t.Errorf("a log without entries gave %+v, %v", r, err)
	}
}

func TestEveryFieldOfAnEntryIsCovered(t *testing.T) {
	for name, change := range map[string]func(*audit.Entry){
		"time":    func(e *audit.Entry) { e.Time = e.Time.Add(1) },
		"actor":   func(e *audit.Entry) { e.Actor += "x" },
		"action":  func(e *audit.Entry) { e.Action = "job.canceled" },
		"subject": func(e *audit.Entry) { e.Subject = "" },
		"outcome": func(e *audit.Entry) { e.Outcome = "denied" },
		"detail":  func(e *audit.Entry) { e.Detail = nil },
		"hash":    func(e *audit.Entry) { e.Hash = "00" },
		"prev":    func(e *audit.Entry) { e.Prev = "00" },
		"number":  func(e *audit.Entry) { e.Seq++ },
		// A letter moved from one field to the next leaves the bytes in a row alike.
		"border": func(e *audit.Entry) { e.Actor, e.Action = e.Actor+e.Action[:1], e.Action[1:] },
	} {
		entries, head := log(5)
		change(&entries[2])
		if r, err := audit.Verify(all(entries), head, seal); err != nil || r.OK || r.Broken != 3 || r.Entries != 2 {
			t.Errorf("%s: got %+v, %v", name, r, err)
		}
	}
}

func TestALogWithoutItsTailDoesNotFitItsHead(t *testing.T) {
	for left := range 5 {
		entries, head := log(5)
		if r, err := audit.Verify(all(entries[:left]), head, seal); err != nil || r.OK || r.Broken != int64(left+1) {
			t.Errorf("%d left: got %+v, %v", left, r, err)
		}
	}
	entries, _ := log(5)
	if r, err := audit.Verify(all(entries), "", seal); err != nil || r.OK {
		t.Errorf("without its head: got %+v, %v", r, err)
	}
}

func TestOrderIsCovered(t *testing.T) {
	entries, head := log(5)
	entries[1], entries[2] = entries[2], entries[1]
	if r, err := audit.Verify(all(entries), head, seal); err != nil || r.OK || r.Broken != 2 {
		t.Errorf("got %+v, %v", r, err)
	}
	entries, head = log(5)
	if r, err := audit.Verify(all(slices.Insert(entries, 2, entries[1])), head, seal); err != nil || r.OK || r.Broken != 3 {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestALogThatCannotBeReadIsNoVerdict(t *testing.T) {
	broken := errors.New("the disk is gone")
	_, err := audit.Verify(func(yield func(audit.Entry, error) bool) { yield(audit.Entry{}, broken) }, "", seal)
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func FuzzAnEntryIsTheSameAfterItWasWrittenAndRead(f *testing.F) {
	f.Add("user/ann", "job.submitted", "job/1", `{"a":1}`)
	f.Add("\xff\xfe", "", "a\u2028b", `{ "<": "\u003c" }`)
	f.Add("a", "b", "c", "no json")
	f.Fuzz(func(t *testing.T, actor, action, subject, detail string) {
		e := audit.Chain(0, "", audit.Entry{Time: start, Actor: actor, Action: action, Subject: subject, Detail: json.RawMessage(detail)})
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var back audit.Entry
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if r, err := audit.Verify(all([]audit.Entry{back}), seal(1, e.Hash), seal); err != nil || !r.OK {
			t.Fatalf("%s: %+v, %v", text, r, err)
		}
	})
}
