package blob_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/artifact"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/store/blob"
	"github.com/lineshaft/lineshaft/trust/seal"
)

func open(t *testing.T) (s *blob.Store, keys *seal.Keyring, dir string) {
	t.Helper()
	dir = t.TempDir()
	var err error
	keys, err = seal.OpenKeyring(filepath.Join(dir, "keys.json"), time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	if s, err = blob.Open(filepath.Join(dir, "blobs"), keys); err != nil {
		t.Fatal(err)
	}
	return s, keys, dir
}

func put(t *testing.T, s *blob.Store, body string) artifact.Info {
	t.Helper()
	info, err := s.Put(t.Context(), strings.NewReader(body), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func read(t *testing.T, s *blob.Store, info artifact.Info) (string, error) {
	t.Helper()
	at, err := s.OpenAt(t.Context(), info)
	if err != nil {
		return "", err
	}
	defer at.Close()
	b, err := io.ReadAll(io.NewSectionReader(at, 0, info.Size))
	return string(b), err
}

func TestEqualBytesPutTwiceAreTwoFilesUnderTwoKeys(t *testing.T) {
	s, _, _ := open(t)
	a, b := put(t, s, "the same"), put(t, s, "the same")
	if a.Digest != b.Digest || a.Key == b.Key || s.Path(a) == s.Path(b) {
		t.Errorf("%+v and %+v", a, b)
	}
	mixed := artifact.Info{Digest: a.Digest, Size: a.Size, Key: strings.Split(a.Key, "#")[0] + "#" + strings.Split(b.Key, "#")[1]}
	if _, err := read(t, s, mixed); !errs.Is(err, errs.Corrupt) {
		t.Errorf("one file opened with the other's key: %v", err)
	}
	for _, info := range []artifact.Info{a, b} {
		if got, err := read(t, s, info); got != "the same" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func TestSweepingRemovesWhatNoRecordSpeaksOfAndNothingElse(t *testing.T) {
	s, keys, _ := open(t)
	kept, lost := put(t, s, "kept"), put(t, s, "lost")
	again := kept // a rotation wraps the key anew and leaves the file
	key, err := s.Key(kept)
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := keys.Wrap(key, blob.Context)
	if err != nil {
		t.Fatal(err)
	}
	_, name, _ := strings.Cut(kept.Key, "#")
	again.Key = wrapped + "#" + name
	if n, err := s.Sweep([]string{again.Key}); n != 1 || err != nil {
		t.Errorf("%d removed, %v", n, err)
	}
	if got, err := read(t, s, again); got != "kept" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := os.Stat(s.Path(lost)); !os.IsNotExist(err) {
		t.Errorf("the file that nobody knows is still there: %v", err)
	}
}

func TestWhatACrashLeftHalfWrittenIsRemovedAtTheNextStart(t *testing.T) {
	_, keys, dir := open(t)
	half := filepath.Join(dir, "blobs", "new", "123")
	if err := os.WriteFile(half, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := blob.Open(filepath.Join(dir, "blobs"), keys); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(half); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestAFullDiskIsSaidAndKeepsNothing(t *testing.T) {
	s, _, dir := open(t)
	s.Reserve = 1 << 62 // no disk has so much left
	_, err := s.Put(t.Context(), strings.NewReader(strings.Repeat("x", 1<<20)), 1<<21)
	if !errs.Is(err, errs.Full) || !strings.Contains(err.Error(), "free some space") {
		t.Errorf("%v", err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "blobs", "*", "*"))
	if len(left) != 0 {
		t.Errorf("left %v", left)
	}
}
