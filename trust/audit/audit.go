// Package audit is the record of who did what: a log whose entries are chained by hashes, so that an entry that was
// changed, removed or put in between is found and named.
//
// Every entry holds the hash of the one before it; its own hash is SHA-256 over a canonical encoding of all its fields.
// A chain alone does not show that its tail was cut off: Head is a keyed seal over the newest number and hash, kept
// beside the log by whoever holds the key. The functions here are pure; the store appends an entry in the transaction
// that commits the change it speaks of.
package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"time"
)

// Entry is one line of the log.
type Entry struct {
	Seq     int64           `json:"seq"` // from 1, without gaps
	Time    time.Time       `json:"time"`
	Actor   string          `json:"actor"`
	Action  string          `json:"action"`
	Subject string          `json:"subject"`
	Outcome string          `json:"outcome"` // ok, denied
	Detail  json.RawMessage `json:"detail,omitempty"`
	Prev    string          `json:"prev"` // hash of the entry before, "" for the first
	Hash    string          `json:"hash"`
}

// Chain numbers e after the entry (seq, hash) and fills in its hashes. What JSON would not give back as it was is made so
// that it does: the hash must cover what is read later.
func Chain(seq int64, hash string, e Entry) Entry {
	e.Seq, e.Prev = seq+1, hash
	e.Time = e.Time.UTC()
	for _, s := range []*string{&e.Actor, &e.Action, &e.Subject, &e.Outcome} {
		*s = strings.ToValidUTF8(*s, "\uFFFD")
	}
	if len(e.Detail) > 0 {
		compact, err := json.Marshal(e.Detail)
		if err != nil { // no JSON: kept as text
			compact, _ = json.Marshal(string(e.Detail))
		}
		e.Detail = compact
	}
	e.Hash = e.sum()
	return e
}

// sum hashes the fields in their order, each with its length before it, so that no two entries encode alike.
func (e Entry) sum() string {
	h := sha256.New()
	field := func(b []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	var head [16]byte
	binary.BigEndian.PutUint64(head[:], uint64(e.Seq))
	binary.BigEndian.PutUint64(head[8:], uint64(e.Time.UnixNano()))
	field(head[:])
	for _, s := range []string{e.Actor, e.Action, e.Subject, e.Outcome, string(e.Detail), e.Prev} {
		field([]byte(s))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Filter narrows a listing of the log; zero fields do not narrow.
type Filter struct {
	Before int64 // only entries with a smaller number
	Actor  string
	Action string // a prefix: "job." gives every action on jobs
	Limit  int
}

// Report is what a verification found.
type Report struct {
	OK      bool   `json:"ok"`
	Entries int64  `json:"entries"`
	Broken  int64  `json:"broken,omitempty"` // number of the first entry that does not fit
	Message string `json:"message"`
}

// Verify walks the log from its first entry. head, when not empty, is the sealed head that seal must give for the last
// entry; a log that ends earlier has lost its tail.
func Verify(entries iter.Seq2[Entry, error], head string, seal func(seq int64, hash string) string) (Report, error) {
	var last Entry
	for e, err := range entries {
		if err != nil {
			return Report{}, err
		}
		switch {
		case e.Seq != last.Seq+1:
			return broken(last.Seq, last.Seq+1, "entry %d is missing: after %d comes %d", last.Seq+1, last.Seq, e.Seq), nil
		case e.Prev != last.Hash:
			return broken(last.Seq, e.Seq, "entry %d does not follow entry %d: one of them was replaced", e.Seq, last.Seq), nil
		case e.sum() != e.Hash:
			return broken(last.Seq, e.Seq, "entry %d was changed after it was written", e.Seq), nil
		}
		last = e
	}
	if seal != nil && !hmac.Equal([]byte(head), []byte(seal(last.Seq, last.Hash))) && (head != "" || last.Seq > 0) {
		return broken(last.Seq, last.Seq+1, "the log ends at entry %d, which is not where its sealed head says: its tail was removed", last.Seq), nil
	}
	return Report{OK: true, Entries: last.Seq, Message: fmt.Sprintf("%d entries, unbroken", last.Seq)}, nil
}

func broken(entries, at int64, format string, args ...any) Report {
	return Report{Entries: entries, Broken: at, Message: fmt.Sprintf(format, args...)}
}
