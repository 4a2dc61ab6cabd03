package lasting_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/lasting"
)

func TestATroubleThatLastsIsSaidOnceAMinuteAndWhenItIsOver(t *testing.T) {
	var b bytes.Buffer
	c := clock.NewFake(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	tr := lasting.New(slog.New(slog.NewTextHandler(&b, nil)), c, "cannot write")
	tr.Over()
	for range 130 { // two minutes and ten seconds
		tr.Met(errors.New("full"), "job", 7)
		c.Advance(time.Second)
	}
	tr.Over()
	tr.Over()
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 4 || !strings.Contains(lines[1], "times=61") || !strings.Contains(lines[3], "no longer") || !strings.Contains(lines[3], "times=130") {
		t.Errorf("logged\n%s", b.String())
	}
}
