package job_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
)

func TestAWindowReadsAsItIsWritten(t *testing.T) {
	for _, text := range []string{"Mon-Fri 22:00-06:00 Europe/Berlin", "Sat,Sun 00:00-24:00", "daily 1:30-5:00 UTC", "Sun-Tue 09:00-09:00 Asia/Shanghai"} {
		w, err := job.ParseWindow(text)
		if err != nil || w.String() != text {
			t.Errorf("%q: %v, %v", text, w, err)
		}
	}
	for text, says := range map[string]string{
		"":                              "give days",
		"Mon-Fri":                       "give days",
		"Mon-Fry 22:00-06:00":           `there is no day "Fry"`,
		"Mon, 22:00-06:00":              `there is no day ""`,
		"Mon 22:00":                     "no time of day",
		"Mon 22-06":                     "no time of day",
		"Mon 22:60-23:00":               "no time of day",
		"Mon 24:00-25:00":               "no time of day",
		"Mon -1:00-02:00":               "no time of day",
		"Mon 22:00-06:00 Europe/Berln":  "there is no time zone",
		"Mon 22:00-06:00 Local":         "there is no time zone",
		"Mon 22:00-06:00 ../../etc/tz":  "there is no time zone",
		"Mon 22:00-06:00 UTC and after": "give days",
	} {
		if _, err := job.ParseWindow(text); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// window is one that the test needs.
func window(t testing.TB, text string) job.Window {
	t.Helper()
	w, err := job.ParseWindow(text)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWindowsAreByTheClockOnTheWall(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, now, spans string }{
		{"Mon-Fri 22:00-06:00 Europe/Berlin", "2026-11-25T12:00:00Z", "11-25T22:00/11-26T06:00"}, // Wednesday
		{"Mon-Fri 22:00-06:00 Europe/Berlin", "2026-11-28T01:00:00Z", "11-27T22:00/11-28T06:00"}, // still Friday's
		{"Mon-Fri 22:00-06:00 Europe/Berlin", "2026-11-28T05:00:00Z", "11-30T22:00/12-01T06:00"}, // over
		{"Sat 00:00-24:00 Europe/Berlin", "2026-03-27T12:00:00Z", "03-28T00:00/03-29T00:00"},     //
		{"Sun 01:00-04:00 Europe/Berlin", "2026-03-28T12:00:00Z", "03-29T01:00/03-29T04:00"},     // two hours long: the clock is put forward
		{"Mon 09:00-09:00 Europe/Berlin", "2026-11-24T07:59:59Z", "11-23T09:00/11-24T09:00"},     // a whole day
		{"Fri-Sun 22:00-06:00 Europe/Berlin", "2026-11-30T04:59:59Z", "11-29T22:00/11-30T06:00"}, //
		{"Wed 12:00-13:00 UTC", "2026-11-25T13:00:00Z", "12-02T13:00/12-02T14:00"},               // the next week's
	} {
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		spans := job.Spans([]job.Window{window(t, c.text)}, now)
		if len(spans) == 0 {
			t.Errorf("%s at %s: none", c.text, c.now)
			continue
		}
		const form = "01-02T15:04"
		if got := spans[0].From.In(berlin).Format(form) + "/" + spans[0].To.In(berlin).Format(form); got != c.spans {
			t.Errorf("%s at %s: %s, want %s", c.text, c.now, got, c.spans)
		}
	}
}

func TestAJobThatNoCapCouldFeedIsRefusedAndOneThatWaitsNamesTheCap(t *testing.T) {
	site := job.DefaultSite(nil)
	site.Caps = []fleet.PowerCap{{Name: "hall", Watts: 2000}, {Name: "feed-a", Parent: "hall", Watts: 900}}
	n := node("n1", 8)
	n.Feed, n.IdleWatts = "feed-a", 100
	for i := range 4 {
		n.Accelerators = append(n.Accelerators, fleet.Accelerator{ID: string(rune('0' + i)), Watts: 300})
	}
	spec := command("h")
	spec.Resources.Accelerators = 3
	s := newSim(t, n)
	s.site = &site
	s.crash()
	s.adopt()
	err := job.Limits{}.Admit(job.New(spec.Defaults(), "ann", s.now), site.Snapshot(s.now, s.nodes), nil)
	if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "draws up to 900 W, and the power caps leave 800 W under feed-a") {
		t.Fatal(err)
	}
	spec.Resources.Accelerators = 2
	first, second := s.submit(spec), s.submit(spec)
	if j := s.get(first.ID); j.State != job.Starting {
		t.Fatalf("%s %s", j.State, j.Reason)
	}
	if j := s.get(second.ID); j.Reason != "waits for power cap (needs 600 W, offered 200 W under feed-a)" {
		t.Fatal(j.Reason)
	}
}
