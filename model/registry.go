package model

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/lineshaft/lineshaft/internal/artifact"
	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/internal/id"
)

// Blobs keeps the sealed bytes.
type Blobs interface {
	// Put seals a stream of at most limit bytes.
	Put(ctx context.Context, r io.Reader, limit int64) (artifact.Info, error)
	OpenAt(ctx context.Context, info artifact.Info) (artifact.ReaderAt, error)
	Verify(ctx context.Context, info artifact.Info) error
	Remove(info artifact.Info) error
}

// Check reads an artifact and says whether it is a model of the format that can be served; it returns what is wrong.
type Check func(format Format, r io.ReaderAt, size int64) error

// Registry adds, finds and moves models. Who may do so is decided before it is called.
type Registry struct {
	Store Store
	Blobs Blobs
	Clock clock.Clock
	Check Check
	Limit int64 // largest artifact in bytes
	// Attachments and Keys keep what is attached to versions. May be nil where nothing is.
	Attachments AttachmentStore
	Keys        Sealer
	// Added hears of every new version after it is stored, to serve it where the model is deployed. May be nil.
	Added func(Version)
	// Aliased hears of every alias that moved, to bring the label of a model in service up to it. May be nil.
	Aliased func(ctx context.Context, model string)
}

// Model finds a model by name, with its aliases.
func (r *Registry) Model(ctx context.Context, name string) (Model, error) {
	return r.Store.GetModel(ctx, name)
}

// Upload seals a stream as a new version. The format comes from the file name: .h5, .keras or .onnx.
func (r *Registry) Upload(ctx context.Context, actor, name, filename string, body io.Reader) (Version, error) {
	const op = "model.Upload"
	if err := id.CheckName("model", name); err != nil {
		return Version{}, err
	}
	format, err := FormatOf(filename)
	if err != nil {
		return Version{}, err
	}
	info, err := r.Blobs.Put(ctx, body, r.Limit)
	if err != nil {
		return Version{}, errs.E(op, errs.Other, err)
	}
	return r.Add(ctx, actor, Version{Model: name, Format: format, Source: "upload"}, info)
}

// Add registers bytes that are already sealed, after checking that they are what they are said to be. The sealed file is
// the registry's from then on: it is removed when it is refused or when the same result was registered before; after a
// failed write it stays, for the row may be there all the same.
func (r *Registry) Add(ctx context.Context, actor string, v Version, info artifact.Info) (Version, error) {
	const op = "model.Add"
	if err := errors.Join(id.CheckName("model", v.Model), r.check(ctx, v.Format, info)); err != nil {
		return Version{}, errs.E(op, errs.Other, errors.Join(err, r.Blobs.Remove(info)))
	}
	v.Digest, v.Size, v.Key = info.Digest, info.Size, info.Key
	v.Creator, v.Created = actor, r.Clock.Now()
	made, err := r.Store.CreateVersion(ctx, v, event.Event{Topic: "models", Kind: "model.registered", Subject: "model/" + v.Model + ":", Actor: actor})
	if err != nil {
		return Version{}, err
	}
	if made.Key != info.Key {
		return made, r.Blobs.Remove(info)
	}
	if r.Added != nil {
		r.Added(made)
	}
	return made, nil
}

func (r *Registry) check(ctx context.Context, f Format, info artifact.Info) error {
	if r.Check == nil {
		return nil
	}
	at, err := r.Blobs.OpenAt(ctx, info)
	if err != nil {
		return err
	}
	defer at.Close()
	return r.Check(f, at, info.Size)
}

// FormatOf tells the format from a file's name.
func FormatOf(filename string) (Format, error) {
	switch strings.ToLower(path.Ext(filename)) {
	case ".h5", ".hdf5":
		return KerasH5, nil
	case ".keras":
		return KerasZip, nil
	case ".onnx":
		return ONNX, nil
	case ".lsnn":
		return Packed, nil
	}
	return "", errs.Errorf("model.FormatOf", errs.Invalid, "cannot tell the format of %q from its name: send a Keras file ending in .h5 or .keras, or an ONNX file ending in .onnx", filename)
}

// Resolve finds a version by number, by alias, or, with neither, the newest.
func (r *Registry) Resolve(ctx context.Context, name string, version int64, alias string) (Version, error) {
	const op = "model.Resolve"
	if version == 0 {
		m, err := r.Store.GetModel(ctx, name)
		if err != nil {
			return Version{}, err
		}
		version = m.Latest
		if alias != "" {
			v, ok := m.Aliases[alias]
			if !ok {
				return Version{}, errs.Errorf(op, errs.NotFound, "model %q has no alias %q; `lineshaft models alias %s %s VERSION` sets one", name, alias, name, alias)
			}
			version = v
		}
	}
	return r.Store.GetVersion(ctx, name, version)
}

// Open gives the plain bytes of a version.
func (r *Registry) Open(ctx context.Context, v Version) (artifact.ReaderAt, error) {
	return r.Blobs.OpenAt(ctx, v.Artifact())
}

// Export streams the plain bytes of a version; the export is audited before the first byte leaves.
func (r *Registry) Export(ctx context.Context, v Version, record func(event.Event) error, actor string) (io.ReadCloser, error) {
	at, err := r.Open(ctx, v)
	if err != nil {
		return nil, err
	}
	detail := map[string]any{"digest": v.Digest, "format": v.Format}
	if err := record(event.New("models", "model.exported", v.Subject(), actor, detail)); err != nil {
		at.Close()
		return nil, err
	}
	return artifact.Stream(at, v.Size), nil
}

// SetAlias moves alias to a version; version 0 removes it.
func (r *Registry) SetAlias(ctx context.Context, actor, name, alias string, version int64) error {
	if err := id.CheckName("alias", alias); err != nil {
		return err
	}
	kind := "model.aliased"
	if version == 0 {
		kind = "model.unaliased"
	}
	data, err := json.Marshal(map[string]any{"model": name, "alias": alias, "version": version})
	if err != nil {
		return errs.E("model.SetAlias", errs.Other, err)
	}
	e := event.Event{Topic: "models", Kind: kind, Subject: "model/" + name, Actor: actor, Data: data}
	if err := r.Store.SetAlias(ctx, name, alias, version, e); err != nil {
		return err
	}
	if r.Aliased != nil {
		r.Aliased(ctx, name)
	}
	return nil
}

// Artifact is where the version's bytes are.
func (v Version) Artifact() artifact.Info {
	return artifact.Info{Digest: v.Digest, Size: v.Size, Key: v.Key}
}

// Subject names the version in events and the audit log.
func (v Version) Subject() string { return "model/" + v.Model + ":" + itoa(v.Version) }
