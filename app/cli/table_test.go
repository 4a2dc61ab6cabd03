package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func render(t *table, width int) string {
	var b bytes.Buffer
	t.write(&b, width, false)
	return b.String()
}

func TestATableIsCutToTheTerminalAndWholeInAPipe(t *testing.T) {
	tab := newTable("nothing", "ID>", "NAME", "REASON")
	tab.row(7, "手写数字", "a reason that is much longer than what fits")
	tab.row(12, "", "short")
	want := "ID  NAME      REASON\n 7  手写数字  a reason that is much longer than what fits\n12  -         short\n"
	if got := render(tab, 0); got != want {
		t.Errorf("whole:\n%s", got)
	}
	got := render(tab, 34)
	for line := range strings.Lines(got) {
		if w := columns(strings.TrimSuffix(line, "\n")); w > 34 {
			t.Errorf("%d columns: %q", w, line)
		}
	}
	if !strings.Contains(got, "a reason that is mu…") {
		t.Errorf("cut:\n%s", got)
	}
	if got := render(tab, 14); got != "ID  NAME\n 7  手写数字\n12  -\n" {
		t.Errorf("no room:\n%s", got)
	}
	if got := render(newTable("nothing here", "A"), 0); got != "nothing here\n" {
		t.Errorf("empty: %q", got)
	}
}

func TestTextOfOthersCannotSteerTheTerminal(t *testing.T) {
	tab := newTable("", "NAME", "REASON")
	tab.row("\x1b[2J", "line one\nline two\r\x07")
	if got := render(tab, 0); strings.ContainsAny(got, "\x1b\r\x07") || strings.Count(got, "\n") != 2 {
		t.Errorf("%q", got)
	}
}

func TestQuantitiesAreWrittenForPeople(t *testing.T) {
	for want, got := range map[string]string{
		"3s": short(3900 * time.Millisecond), "3m": short(3*time.Minute + 59*time.Second), "47h": short(47 * time.Hour), "2d": short(49 * time.Hour), "0s": short(-time.Second),
		"1.5s": span(1500 * time.Millisecond), "1m05s": span(65 * time.Second), "2h03m": span(2*time.Hour + 3*time.Minute), "59s": span(59 * time.Second),
		"60,000": thousands(60000), "-1,234": thousands(-1234), "999": thousands(999), "0": thousands(0),
		"1 file": count(1, "file"), "2,000 files": count(2000, "file"), "1.5 MiB": size(3 << 19),
		"sha256:0123456789ab": digest("sha256:0123456789abcdef"), "0.9823": number(0.98231),
		"sh -c 'echo it'\\''s'": shellWords([]string{"sh", "-c", "echo it's"}),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestTheBarFillsInEighths(t *testing.T) {
	for fraction, want := range map[float64]string{0: "░░░░", 1: "████", 0.5: "██░░", 0.28125: "█▏░░", -1: "░░░░", 2: "████"} {
		if got := blocks(fraction, 4); got != want {
			t.Errorf("%v: %q, want %q", fraction, got, want)
		}
	}
}
