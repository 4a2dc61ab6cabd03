package requestlog_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/serve/requestlog"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// wax seals by exclusive or, with the context before the bytes.
type wax struct{}

func (wax) Seal(plain []byte, context string) ([]byte, error) {
	out := append([]byte(context+"|"), plain...)
	for i := range out {
		out[i] ^= 0x5a
	}
	return out, nil
}

func (wax) Open(sealed []byte, context string) ([]byte, error) {
	out := bytes.Clone(sealed)
	for i := range out {
		out[i] ^= 0x5a
	}
	plain, ok := bytes.CutPrefix(out, []byte(context+"|"))
	if !ok {
		return nil, errors.New("another place")
	}
	return plain, nil
}

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func open(t *testing.T, dir string, edit func(*requestlog.Options)) *requestlog.Log {
	t.Helper()
	o := requestlog.Options{Dir: dir, Seal: wax{}, Share: 1, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)}
	if edit != nil {
		edit(&o)
	}
	l, err := requestlog.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// keep writes entries and ends the log.
func keep(t *testing.T, l *requestlog.Log, entries ...requestlog.Entry) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	for _, e := range entries {
		l.Add(e)
	}
	for len(entries) > 0 {
		if all, err := l.Read(ctx, "", 1000); err != nil {
			t.Fatal(err)
		} else if len(all) >= len(entries) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func entry(model string, version int64) requestlog.Entry {
	return requestlog.Entry{Time: start, Model: model, Version: version, In: []requestlog.Tensor{{Name: "x", Type: "float32", Shape: []int{1}, Data: []byte("very own data")}}}
}

func TestEntriesComeBackNewestFirstAndNothingPlainIsOnDisk(t *testing.T) {
	dir := t.TempDir()
	keep(t, open(t, dir, nil), entry("a", 1), entry("b", 2), entry("a", 3))
	l := open(t, dir, nil)
	all, err := l.Read(context.Background(), "a", 10)
	if err != nil || len(all) != 2 || all[0].Version != 3 || all[1].Version != 1 || string(all[0].In[0].Data) != "very own data" {
		t.Errorf("%+v, %v", all, err)
	}
	if all, _ := l.Read(context.Background(), "", 1); len(all) != 1 || all[0].Version != 3 {
		t.Errorf("%+v", all)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.requests"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil || bytes.Contains(raw, []byte("model")) {
		t.Errorf("%q, %v", raw, err)
	}

	// A torn end is left out, a changed chunk is told.
	if err := os.WriteFile(files[0], append(raw, 9, 0, 0, 0, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if all, err := l.Read(context.Background(), "a", 10); err != nil || len(all) != 2 {
		t.Errorf("%+v, %v", all, err)
	}
	raw[5] ^= 1
	if err := os.WriteFile(files[0], raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Read(context.Background(), "a", 10); !errs.Is(err, errs.Corrupt) || !strings.Contains(err.Error(), "damaged or changed") {
		t.Error(err)
	}
}

func TestOldSegmentsGoByAgeAndSize(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "1.requests")
	if err := os.WriteFile(old, make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(old, start, start); err != nil {
		t.Fatal(err)
	}
	keep(t, open(t, dir, nil))
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("a segment of years ago is there: %v", err)
	}
	keep(t, open(t, dir, nil), entry("a", 1))
	keep(t, open(t, dir, func(o *requestlog.Options) { o.Size = units.Bytes(10) }))
	if all, err := open(t, dir, nil).Read(context.Background(), "", 10); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestAShareIsTakenEvenlyAndWhatIsTooLargeIsNot(t *testing.T) {
	l := open(t, t.TempDir(), func(o *requestlog.Options) { o.Share = 0.1 })
	n := 0
	for range 1000 {
		if l.Take() {
			n++
		}
	}
	if n < 98 || n > 102 {
		t.Errorf("%d of 1000 are taken", n)
	}
	if _, ok := l.Copy([]tensor.Tensor{tensor.Float32s(make([]float32, 1<<19), 1<<19)}, nil); ok || l.Dropped() != 1 {
		t.Error("a request of 2 MiB is kept")
	}
	for range 300 { // nobody writes
		l.Add(entry("a", 1))
	}
	if l.Dropped() != 1+300-256 {
		t.Errorf("%d dropped", l.Dropped())
	}
	if _, err := requestlog.Open(requestlog.Options{Dir: t.TempDir(), Share: 2}); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
}

func FuzzReadingASegment(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 9}, true)
	f.Add([]byte{255, 255, 255, 255}, false)
	f.Fuzz(func(t *testing.T, raw []byte, _ bool) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "1.requests"), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _ = open(t, dir, nil).Read(context.Background(), "", 10) // neither panics nor takes memory that is not there
	})
}
