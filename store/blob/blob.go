// Package blob keeps files sealed in a folder, named by the digest of their plain bytes.
//
// Plain bytes are never written: a stream is hashed and sealed as it comes, into a file that is moved to its place when
// it is whole and synced. What a crash leaves half-written is sealed too, and removed at the next start. Equal bytes
// put twice are two files, each under its own key.
package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/lineshaft/lineshaft/internal/artifact"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/trust/seal"
)

// Context binds data keys to their purpose: bytes sealed for a blob open as one only.
const Context = "blob"

// Store is a folder of sealed files.
type Store struct {
	dir  string
	keys *seal.Keyring
	// Reserve is how many bytes must stay free on the disk.
	Reserve int64
}

// Open makes the folder where it is missing and removes what a crash left half-written.
func Open(dir string, keys *seal.Keyring) (*Store, error) {
	if err := os.MkdirAll(filepath.Join(dir, "new"), 0o700); err != nil {
		return nil, errs.E("blob.Open", errs.Other, err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "new", "*"))
	if err != nil {
		return nil, errs.E("blob.Open", errs.Other, err)
	}
	for _, f := range left {
		if err := os.Remove(f); err != nil {
			return nil, errs.E("blob.Open", errs.Other, err)
		}
	}
	return &Store{dir: dir, keys: keys}, nil
}

// writer hashes, counts and seals one stream.
type writer struct {
	sum    hash.Hash
	size   int64
	sealed io.WriteCloser
}

func (w *writer) Write(p []byte) (int, error) {
	w.sum.Write(p)
	w.size += int64(len(p))
	return w.sealed.Write(p)
}

// Put seals a stream of at most limit bytes. Over the limit it is errs.TooLarge, on a full disk errs.Full.
func (s *Store) Put(ctx context.Context, r io.Reader, limit int64) (artifact.Info, error) {
	const op = "blob.Put"
	f, err := os.CreateTemp(filepath.Join(s.dir, "new"), "*")
	if err != nil {
		return artifact.Info{}, fault(op, err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	key := seal.NewDataKey()
	sealed, err := seal.Writer(f, key, Context)
	if err != nil {
		return artifact.Info{}, err
	}
	w := &writer{sum: sha256.New(), sealed: sealed}
	if _, err := io.Copy(w, &guarded{ctx: ctx, r: io.LimitReader(r, limit+1), store: s}); err != nil {
		return artifact.Info{}, fault(op, err)
	}
	if w.size > limit {
		return artifact.Info{}, errs.Errorf(op, errs.TooLarge, "the upload is over the limit of %d bytes (upload-limit in the configuration)", limit)
	}
	if err := errors.Join(sealed.Close(), f.Sync()); err != nil {
		return artifact.Info{}, fault(op, err)
	}
	wrapped, err := s.keys.Wrap(key, Context)
	if err != nil {
		return artifact.Info{}, err
	}
	digest := "sha256:" + hex.EncodeToString(w.sum.Sum(nil))
	name := filepath.Base(f.Name())
	// The name joins digest and key: equal bytes sealed twice are two files, so that no key can open what it did not seal.
	info := artifact.Info{Digest: digest, Size: w.size, Key: wrapped + "#" + name}
	final := s.path(info)
	if err := os.MkdirAll(filepath.Dir(final), 0o700); err != nil {
		return artifact.Info{}, fault(op, err)
	}
	if err := os.Rename(f.Name(), final); err != nil {
		return artifact.Info{}, fault(op, err)
	}
	// The folder may be new itself.
	return info, fault(op, errors.Join(syncDir(filepath.Dir(final)), syncDir(s.dir)))
}

// guarded stops a copy when the caller has gone or the disk fills up.
type guarded struct {
	ctx   context.Context
	r     io.Reader
	store *Store
	since int64
}

func (g *guarded) Read(p []byte) (int, error) {
	if err := g.ctx.Err(); err != nil {
		return 0, err
	}
	if g.since -= int64(len(p)); g.since < 0 {
		g.since = 8 << 20
		var st syscall.Statfs_t
		if err := syscall.Statfs(g.store.dir, &st); err == nil && int64(st.Bavail)*int64(st.Bsize) < g.store.Reserve { //nolint:unconvert // 32 bits elsewhere
			return 0, errs.Errorf("blob.Put", errs.Full,
				"less than %v of the data folder's disk is free, which the server keeps (disk-reserve in the configuration): free some space; nothing was kept of this upload", units.Bytes(g.store.Reserve))
		}
	}
	return g.r.Read(p)
}

func fault(op string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return errs.Errorf(op, errs.Full, "the disk of the data folder is full: free some space; nothing was kept of this upload")
	}
	return errs.E(op, errs.Other, err)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// path is where a sealed file lies; digests from outside cannot lead elsewhere.
func (s *Store) path(info artifact.Info) string {
	hexed := strings.TrimPrefix(info.Digest, "sha256:")
	if _, err := hex.DecodeString(hexed); err != nil || len(hexed) != 64 {
		hexed = strings.Repeat("0", 64)
	}
	_, name, _ := strings.Cut(info.Key, "#")
	return filepath.Join(s.dir, hexed[:2], hexed+"."+filepath.Base("x"+name))
}

// Key is the data key of a sealed file, for a task that may read it.
func (s *Store) Key(info artifact.Info) (seal.DataKey, error) {
	wrapped, _, _ := strings.Cut(info.Key, "#")
	return s.keys.Unwrap(wrapped, Context)
}

// Path is the sealed file, for handing a descriptor to a task.
func (s *Store) Path(info artifact.Info) string { return s.path(info) }

// OpenAt reads the plain bytes at any offset; pieces that were changed are errs.Corrupt.
func (s *Store) OpenAt(_ context.Context, info artifact.Info) (artifact.ReaderAt, error) {
	const op = "blob.OpenAt"
	key, err := s.Key(info)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(s.path(info))
	if errors.Is(err, os.ErrNotExist) {
		return nil, errs.Errorf(op, errs.Corrupt, "the sealed file of %s is missing from the data folder: restore it from a backup", info.Digest)
	}
	if err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	want, err := seal.SealedSize(info.Size)
	if err != nil {
		f.Close()
		return nil, err
	}
	if st, err := f.Stat(); err != nil || st.Size() != want {
		f.Close()
		return nil, errs.Errorf(op, errs.Corrupt, "the sealed file of %s does not have the length it was written with", info.Digest)
	}
	at, err := seal.ReaderAt(f, key, Context)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &opened{at: at, f: f, digest: info.Digest}, nil
}

type opened struct {
	at     io.ReaderAt
	f      *os.File
	digest string
}

func (o *opened) ReadAt(p []byte, off int64) (int, error) {
	n, err := o.at.ReadAt(p, off)
	if errs.Is(err, errs.Corrupt) {
		err = errs.Errorf("blob.ReadAt", errs.Corrupt, "%s was changed on the disk, between bytes %d and %d: restore it from a backup", o.digest, off, off+int64(len(p)))
	}
	return n, err
}

func (o *opened) Close() error { return o.f.Close() }

// Verify reads a sealed file to its end and compares its digest.
func (s *Store) Verify(ctx context.Context, info artifact.Info) error {
	at, err := s.OpenAt(ctx, info)
	if err != nil {
		return err
	}
	defer at.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, &guarded{ctx: ctx, r: io.NewSectionReader(at, 0, info.Size), store: s}); err != nil {
		return err
	}
	if "sha256:"+hex.EncodeToString(sum.Sum(nil)) != info.Digest {
		return errs.Errorf("blob.Verify", errs.Corrupt, "%s does not have that digest any more: restore it from a backup", info.Digest)
	}
	return nil
}

// Remove deletes a sealed file; one that is not there is no error.
func (s *Store) Remove(info artifact.Info) error {
	if err := os.Remove(s.path(info)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return errs.E("blob.Remove", errs.Other, err)
	}
	return nil
}

// Sweep removes the sealed files of no key: what a crash left between sealing and writing the record down. It must run
// while nothing is being put. keys are those of every record's Info.
func (s *Store) Sweep(keys []string) (removed int, err error) {
	const op = "blob.Sweep"
	known := map[string]bool{}
	for _, key := range keys {
		if _, name, found := strings.Cut(key, "#"); found {
			known["x"+name] = true
		}
	}
	paths, err := filepath.Glob(filepath.Join(s.dir, "??", "*"))
	if err != nil {
		return 0, errs.E(op, errs.Other, err)
	}
	for _, path := range paths {
		if known[strings.TrimPrefix(filepath.Ext(path), ".")] {
			continue
		}
		if err := os.Remove(path); err != nil {
			return removed, errs.E(op, errs.Other, err)
		}
		removed++
	}
	return removed, nil
}
