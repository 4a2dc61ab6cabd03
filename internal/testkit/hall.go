// Package testkit is what tests share: real parts, put together in a temporary folder. Only tests import it.
package testkit

import (
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/store"
	"github.com/lineshaft/lineshaft/store/blob"
	"github.com/lineshaft/lineshaft/store/sqlite"
	"github.com/lineshaft/lineshaft/trust/seal"
)

// Hall is a data folder with a real database, a key ring and sealed files, at a time that stands still.
type Hall struct {
	Dir   string
	Clock *clock.Fake
	Keys  *seal.Keyring
	Store *store.DB
	Blobs *blob.Store
}

// NewHall makes one for the length of the test.
func NewHall(t testing.TB) *Hall {
	t.Helper()
	h := &Hall{Dir: t.TempDir(), Clock: clock.NewFake(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))}
	var err error
	if h.Keys, err = seal.OpenKeyring(filepath.Join(h.Dir, "keys.json"), h.Clock.Now()); err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(t.Context(), filepath.Join(h.Dir, "lineshaft.db"))
	if err != nil {
		t.Fatal(err)
	}
	h.Store = store.New(db, h.Clock, h.Keys)
	t.Cleanup(func() { h.Store.Close() })
	if h.Blobs, err = blob.Open(filepath.Join(h.Dir, "blobs"), h.Keys); err != nil {
		t.Fatal(err)
	}
	return h
}

// Sealed lists the sealed files.
func (h *Hall) Sealed(t testing.TB) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(h.Dir, "blobs"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}
