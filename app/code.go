package app

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/lineshaft/lineshaft/internal/artifact"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/store"
	"github.com/lineshaft/lineshaft/store/blob"
)

// code keeps uploaded code folders, sealed, by the digest of the archive.
type code struct {
	db    *store.DB
	blobs *blob.Store
	limit int64
}

// maxCode bounds an uploaded folder, packed.
const maxCode = int64(256 * units.MiB)

// maxCodeFiles bounds one folder.
const maxCodeFiles = 20_000

func codeSetting(digest string) string { return store.Codes + digest }

// Put seals a gzipped tar stream of plain files and folders. The same bytes again are kept once.
func (c *code) Put(ctx context.Context, actor string, r io.Reader) (digest string, size int64, files int, err error) {
	info, err := c.blobs.Put(ctx, r, c.limit)
	if err != nil {
		return "", 0, 0, err
	}
	if files, err = c.count(ctx, info); err == nil {
		if _, known := c.Info(ctx, info.Digest); known == nil {
			c.blobs.Remove(info) //nolint:errcheck // the first copy is kept
			return info.Digest, info.Size, files, nil
		}
		var text []byte
		if text, err = json.Marshal(info); err == nil {
			err = c.db.SetSetting(ctx, codeSetting(info.Digest), string(text), event.New("jobs", "code.uploaded", "code/"+info.Digest, actor, nil))
		}
	}
	if err != nil {
		c.blobs.Remove(info) //nolint:errcheck // sealed and known to nobody
		return "", 0, 0, err
	}
	return info.Digest, info.Size, files, nil
}

// count walks the archive: it must be whole, and hold files and folders only.
func (c *code) count(ctx context.Context, info artifact.Info) (files int, err error) {
	const op = "app.code"
	r, err := c.open(ctx, info)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	z, err := gzip.NewReader(r)
	if err != nil {
		return 0, errs.Errorf(op, errs.Invalid, "the uploaded code is not a gzipped tar archive: %v", err)
	}
	// What unpacks to a hundred times the limit is no folder of code.
	tr := tar.NewReader(io.LimitReader(z, 100*c.limit))
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return 0, errs.Errorf(op, errs.Invalid, "the uploaded code is not a whole tar archive: %v", err)
		}
		switch h.Typeflag {
		case tar.TypeDir:
		case tar.TypeReg:
			files++
		default:
			return 0, errs.Errorf(op, errs.Invalid, "the uploaded code holds %q, which is neither a file nor a folder", h.Name)
		}
		if files > maxCodeFiles {
			return 0, errs.Errorf(op, errs.TooLarge, "the uploaded code has more than %d files: leave some out by a .lineshaftignore", maxCodeFiles)
		}
	}
}

// Info finds an uploaded folder.
func (c *code) Info(ctx context.Context, digest string) (info artifact.Info, err error) {
	text, err := c.db.Setting(ctx, codeSetting(digest))
	if err != nil {
		return info, err
	}
	if text == "" {
		return info, errs.Errorf("app.code", errs.NotFound, "no uploaded code %s: `lineshaft submit --code DIR` uploads a folder", digest)
	}
	return info, errs.E("app.code", errs.Corrupt, json.Unmarshal([]byte(text), &info))
}

// open streams the plain archive.
func (c *code) open(ctx context.Context, info artifact.Info) (io.ReadCloser, error) {
	at, err := c.blobs.OpenAt(ctx, info)
	if err != nil {
		return nil, err
	}
	return artifact.Stream(at, info.Size), nil
}
