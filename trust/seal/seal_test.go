package seal_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/trust/seal"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func keyring(t *testing.T) (*seal.Keyring, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.json")
	k, err := seal.OpenKeyring(path, start)
	if err != nil {
		t.Fatal(err)
	}
	return k, path
}

func sealed(t *testing.T, plain []byte, key seal.DataKey, context string) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := seal.Writer(&out, key, context)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := seal.SealedSize(int64(len(plain))); err != nil || n != int64(out.Len()) {
		t.Fatalf("%d plain bytes became %d, not %d; %v", len(plain), out.Len(), n, err)
	}
	return out.Bytes()
}

func opened(b []byte, key seal.DataKey, context string) ([]byte, error) {
	r, err := seal.Reader(bytes.NewReader(b), key, context)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// random bytes over four packages, the last one short.
func random() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 3*64<<10+777)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestSealedBytesComeBackInOrderAndFromAnyOffset(t *testing.T) {
	key := seal.NewDataKey()
	for _, n := range []int{1, 64<<10 - 1, 64 << 10, 64<<10 + 1, len(random())} {
		plain := random()[:n]
		b := sealed(t, plain, key, "blob")
		if got, err := opened(b, key, "blob"); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%d bytes: got %d, %v", n, len(got), err)
		}
		at, err := seal.ReaderAt(bytes.NewReader(b), key, "blob")
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(3, uint64(n)))
		for range 50 {
			off := r.IntN(n)
			part := make([]byte, 1+r.IntN(n-off))
			if m, err := at.ReadAt(part, int64(off)); m != len(part) || err != nil && err != io.EOF || !bytes.Equal(part, plain[off:off+len(part)]) {
				t.Fatalf("%d bytes from %d of %d: got %d, %v", len(part), off, n, m, err)
			}
		}
	}
}

func TestNoPlainBytesAreLeft(t *testing.T) {
	plain := bytes.Repeat([]byte("weights of a model "), 10_000)
	if bytes.Contains(sealed(t, plain, seal.NewDataKey(), "blob"), []byte("weights")) {
		t.Error("the sealed bytes hold plain ones")
	}
}

func TestAnyChangeOfSealedBytesIsFound(t *testing.T) {
	key, plain := seal.NewDataKey(), random()
	b := sealed(t, plain, key, "blob")
	const piece = 64<<10 + 32 // with header and tag
	changes := map[string][]byte{
		"a package removed":    slices.Concat(b[:piece], b[2*piece:]),
		"two packages swapped": slices.Concat(b[piece:2*piece], b[:piece], b[2*piece:]),
		"a package twice":      slices.Concat(b[:piece], b[:piece], b[2*piece:]),
		"the tail cut off":     b[:3*piece],
		"the last byte gone":   b[:len(b)-1],
		"something behind":     append(slices.Clone(b), 0),
	}
	r := rand.New(rand.NewPCG(5, 6))
	for range 40 {
		bit := r.IntN(8 * len(b))
		flipped := slices.Clone(b)
		flipped[bit/8] ^= 1 << (bit % 8)
		changes[fmt.Sprint("bit ", bit)] = flipped
	}
	for name, changed := range changes {
		if got, err := opened(changed, key, "blob"); !errs.Is(err, errs.Corrupt) {
			t.Errorf("%s: got %d bytes, %v", name, len(got), err)
		}
	}
	if _, err := opened(b, key, "secret/blob"); !errs.Is(err, errs.Corrupt) {
		t.Errorf("another context gave %v", err)
	}
	if _, err := opened(b, seal.NewDataKey(), "blob"); !errs.Is(err, errs.Corrupt) {
		t.Errorf("another key gave %v", err)
	}
}

func TestAWrappedKeyOpensInItsContextOnly(t *testing.T) {
	k, _ := keyring(t)
	key := seal.NewDataKey()
	wrapped, err := k.Wrap(key, "job-key/1")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.Unwrap(wrapped, "job-key/1"); err != nil || got != key {
		t.Errorf("got another key, %v", err)
	}
	other, _ := keyring(t)
	for name, open := range map[string]func() (seal.DataKey, error){
		"another context": func() (seal.DataKey, error) { return k.Unwrap(wrapped, "job-key/2") },
		"another keyring": func() (seal.DataKey, error) { return other.Unwrap(wrapped, "job-key/1") },
		"cut off":         func() (seal.DataKey, error) { return k.Unwrap(wrapped[:len(wrapped)-4], "job-key/1") },
		"nothing":         func() (seal.DataKey, error) { return k.Unwrap("", "job-key/1") },
	} {
		if _, err := open(); !errs.Is(err, errs.Corrupt) {
			t.Errorf("%s gave %v", name, err)
		}
	}
}

func TestAValueThatWasEmptiedDoesNotOpen(t *testing.T) {
	k, _ := keyring(t)
	s, err := k.Seal([]byte("value"), "secret/a")
	if err != nil {
		t.Fatal(err)
	}
	wrapped, _, _ := strings.Cut(s, " ")
	for _, changed := range []string{wrapped, wrapped + " ", s[:len(s)-8], s + "AAAA", ""} {
		if got, err := k.Open(changed, "secret/a"); !errs.Is(err, errs.Corrupt) {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if _, err := k.Seal(nil, "secret/a"); !errs.Is(err, errs.Invalid) {
		t.Errorf("sealing nothing gave %v", err)
	}
}

func TestKeysDoNotPrint(t *testing.T) {
	key := seal.NewDataKey()
	text := fmt.Sprintf("%v %s %#v %+v", key, key, key, struct{ K seal.DataKey }{key})
	if strings.Count(text, "[data key]") != 4 {
		t.Errorf("a key printed as %s", text)
	}
}

func TestAKeyFileThatOthersMayReadOrThatIsDamagedIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(path string) error
		kind  errs.Kind
	}{
		"readable by the group": {func(p string) error { return os.Chmod(p, 0o640) }, errs.Denied},
		"cut off":               {func(p string) error { return os.Truncate(p, 40) }, errs.Corrupt},
		"empty":                 {func(p string) error { return os.Truncate(p, 0) }, errs.Corrupt},
		"no keys":               {func(p string) error { return os.WriteFile(p, []byte(`{"keys":[]}`), 0o600) }, errs.Corrupt},
		"a short key": {func(p string) error {
			return os.WriteFile(p, []byte(`{"head":"","keys":[{"id":"k1","key":"AAAA"}]}`), 0o600)
		}, errs.Corrupt},
		"a link": {func(p string) error { return os.Rename(p, p+"2") }, 0},
	} {
		_, path := keyring(t)
		if err := c.spoil(path); err != nil {
			t.Fatal(err)
		}
		if name == "a link" {
			if err := os.Symlink(path+"2", path); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := seal.OpenKeyring(path, start); err == nil || c.kind != 0 && !errs.Is(err, c.kind) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestARotationKeepsTheOldKeysAndTheAuditLogsSeal(t *testing.T) {
	k, path := keyring(t)
	old, head := k.Primary(), k.SealHead(7, "aa")
	wrapped, err := k.Wrap(seal.NewDataKey(), "blob")
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Rotate(start.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), ".keys-12"), []byte("keys"), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := seal.OpenKeyring(path, start)
	if err != nil || again.Primary() != k.Primary() || len(again.Keys()) != 2 {
		t.Fatalf("got %v, %v", again.Keys(), err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(path), ".keys-12")); !os.IsNotExist(err) {
		t.Errorf("what a crash left is still there: %v", err)
	}
	if _, err := again.Unwrap(wrapped, "blob"); err != nil {
		t.Error(err)
	}
	if err := again.Retire(again.Primary()); !errs.Is(err, errs.Conflict) {
		t.Errorf("retiring the primary key gave %v", err)
	}
	if err := again.Retire("k0"); !errs.Is(err, errs.NotFound) {
		t.Errorf("retiring no key gave %v", err)
	}
	if err := again.Retire(old); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Unwrap(wrapped, "blob"); !errs.Is(err, errs.Corrupt) {
		t.Errorf("a key under a retired one gave %v", err)
	}
	if again.SealHead(7, "aa") != head || again.SealHead(8, "aa") == head {
		t.Error("the audit log's seal changed with the keys, or does not depend on what it seals")
	}
	text, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(text), old) {
		t.Errorf("the file still holds the retired key, %v", err)
	}
}

func TestRewrappingKeepsKeyAndTail(t *testing.T) {
	k, _ := keyring(t)
	key := seal.NewDataKey()
	wrapped, err := k.Wrap(key, "blob")
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Rotate(start); err != nil {
		t.Fatal(err)
	}
	for _, tail := range []string{"", "#12345", " c2VhbGVk"} {
		again, err := k.Rewrap(wrapped+tail, "blob")
		if err != nil || !strings.HasPrefix(again, k.Primary()+":") || !strings.HasSuffix(again, tail) {
			t.Fatalf("got %q, %v", again, err)
		}
		if got, err := k.Unwrap(strings.TrimSuffix(again, tail), "blob"); err != nil || got != key {
			t.Errorf("got another key, %v", err)
		}
		if twice, err := k.Rewrap(again, "blob"); err != nil || twice != again {
			t.Errorf("a second time gave %q, %v", twice, err)
		}
	}
}

func TestKeysAreWrappedWhileTheyRotate(t *testing.T) {
	k, _ := keyring(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 50 {
				key := seal.NewDataKey()
				wrapped, err := k.Wrap(key, "x")
				if got, err2 := k.Unwrap(wrapped, "x"); err != nil || err2 != nil || got != key {
					t.Error(err, err2)
				}
			}
		})
	}
	for i := range 5 {
		if err := k.Rotate(start.Add(time.Duration(i))); err != nil {
			t.Error(err)
		}
	}
	all.Wait()
}
