package folder

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/lineshaft/lineshaft/internal/artifact"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
)

// upload is a version that came by a request. Its bytes go when it is in memory as a network.
type upload struct {
	version int64
	format  model.Format
	digest  string
	bytes   []byte
	size    int64
	by      string
	created time.Time
}

func (u *upload) as(name string) model.Version {
	return model.Version{Model: name, Version: u.version, Digest: u.digest, Size: u.size, Format: u.format, Source: "upload", Creator: u.by, Created: u.created}
}

type inMemory struct{ *bytes.Reader }

func (inMemory) Close() error { return nil }

func (u *upload) open() artifact.ReaderAt { return inMemory{bytes.NewReader(u.bytes)} }

// Upload takes a model file as a version above all others and returns when it answers. Of a model's uploads the newest
// few stay. Nothing is written to the disk.
func (r *Registry) Upload(ctx context.Context, m *serve.Manager, by, name, filename string, body io.Reader) (int64, error) {
	const op = "folder.Upload"
	format, err := model.FormatOf(filename)
	if err != nil {
		return 0, err
	}
	r.mu.Lock()
	_, err = r.entry(name)
	r.mu.Unlock()
	if err != nil {
		return 0, err
	}
	select { // one after another, so that the limit of one is the limit of all
	case r.room <- struct{}{}:
		defer func() { <-r.room }()
	case <-ctx.Done():
		return 0, errs.E(op, errs.KindOf(ctx.Err()), ctx.Err())
	}
	b, err := io.ReadAll(io.LimitReader(body, r.o.UploadLimit+1))
	switch {
	case err != nil:
		return 0, errs.E(op, errs.Invalid, err)
	case int64(len(b)) > r.o.UploadLimit:
		return 0, errs.Errorf(op, errs.TooLarge, "the file has more than %d bytes, which is the most that is kept in memory: put it into the folder as a new version", r.o.UploadLimit)
	}
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return 0, errs.E(op, errs.KindOf(ctx.Err()), ctx.Err())
	}
	ctx = context.WithoutCancel(ctx) // what has begun is carried to its end
	r.mu.Lock()
	e, err := r.entry(name)
	if err != nil {
		r.mu.Unlock()
		return 0, err
	}
	sum := sha256.Sum256(b)
	u := &upload{version: e.top(func(*found) bool { return true }) + 1, format: format, digest: "sha256:" + hex.EncodeToString(sum[:]), bytes: b, size: int64(len(b)), by: by, created: r.o.Clock.Now()}
	e.uploads[u.version] = u
	r.mu.Unlock()
	err = r.put(ctx, m, by, e, u.version)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		delete(e.uploads, u.version)
		return 0, err
	}
	return u.version, nil
}

// put serves an upload beside the others, and then takes the oldest out where there are too many. The turn is held.
func (r *Registry) put(ctx context.Context, m *serve.Manager, by string, e *entry, n int64) error {
	for {
		r.mu.Lock()
		now := r.o.Clock.Now()
		want, why := e.wanted(now), e.why
		r.mu.Unlock()
		failed, err := m.Want(ctx, by, e.Name, want, why)
		if err != nil {
			return err
		}
		r.mu.Lock()
		e.took(want, failed, m, now, r.o.Retries)
		all := slices.Sorted(maps.Keys(e.uploads))
		more := len(all) > uploadsKeep
		if more && failed[n] == nil {
			delete(e.uploads, all[0])
		}
		r.mu.Unlock()
		if failed[n] != nil || !more {
			return failed[n]
		}
	}
}
