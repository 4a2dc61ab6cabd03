package job

import (
	"bytes"
	"encoding/json"
	"math"
	"time"
	"unicode"
	"unicode/utf8"
)

// A task tells how it gets on by appending lines of JSON to out/journal.jsonl: a point of a curve
//
//	{"step":468,"epoch":1,"name":"loss","value":0.22,"time":"2026-01-02T15:04:05Z"}
//
// or how far it is
//
//	{"progress":{"epoch":1,"epochs":20,"fraction":0.05,"eta_seconds":40,"loss":0.22}}
//
// The program is the user's, so the journal is read as bytes from outside: a line that does not parse is passed over.
const (
	maxJournalLine = 64 << 10
	maxMetricName  = 128
)

// entry is one line of a journal.
type entry struct {
	Step     int64     `json:"step"`
	Epoch    int       `json:"epoch"`
	Name     string    `json:"name"`
	Value    *float64  `json:"value"`
	Time     time.Time `json:"time"`
	Progress *Progress `json:"progress"`
}

// parseJournal reads the whole lines of a piece of a journal. taken is how many bytes they are: what follows is a line
// still being written, to be read again later, unless it is longer than any line may be. Points without a time get now.
func parseJournal(b []byte, now time.Time) (points []Metric, progress *Progress, taken int) {
	for taken < len(b) {
		rest := b[taken:]
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			if len(rest) > maxJournalLine {
				taken = len(b)
			}
			return points, progress, taken
		}
		taken += end + 1
		var e entry
		if end > maxJournalLine || json.Unmarshal(rest[:end], &e) != nil {
			continue
		}
		if e.Progress != nil && e.Progress.valid() {
			progress = e.Progress
		}
		if e.Value == nil || !metricName(e.Name) || e.Step < 0 || e.Epoch < 0 {
			continue
		}
		if y := e.Time.Year(); y < 1970 || y > 2200 {
			e.Time = now
		}
		points = append(points, Metric{Time: e.Time.UTC(), Step: e.Step, Epoch: e.Epoch, Name: e.Name, Value: *e.Value})
	}
	return points, progress, taken
}

func metricName(s string) bool {
	if s == "" || len(s) > maxMetricName || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// valid refuses what would mislead a progress bar. JSON has no NaN and no infinity.
func (p Progress) valid() bool {
	return p.Epoch >= 0 && p.Epochs >= 0 && p.Fraction >= 0 && p.Fraction <= 1 && p.ETASeconds >= 0 && p.ETASeconds < math.MaxInt32
}
