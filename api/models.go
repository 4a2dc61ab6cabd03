package api

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"net/http"
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/trust/access"
)

// Models adds, moves and opens models; *model.Registry does.
type Models interface {
	Upload(ctx context.Context, actor, name, filename string, body io.Reader) (model.Version, error)
	Export(ctx context.Context, v model.Version, record func(event.Event) error, actor string) (io.ReadCloser, error)
	SetAlias(ctx context.Context, actor, name, alias string, version int64) error
	Attachments
}

// ModelRows lists what the registry holds; *store.DB does.
type ModelRows interface {
	GetModel(ctx context.Context, name string) (model.Model, error)
	ListModels(ctx context.Context, after string, limit int) ([]model.Model, error)
	GetVersion(ctx context.Context, name string, version int64) (model.Version, error)
	ListVersions(ctx context.Context, name string) ([]model.Version, error)
}

// ModelDetail is a model with its versions, newest first.
type ModelDetail struct {
	model.Model
	Items []model.Version `json:"items"`
}

// AliasTarget is the version an alias is to name.
type AliasTarget struct {
	Version int64 `json:"version"`
}

// ModelPath names a model.
type ModelPath struct {
	Name string `path:"name"`
}

// VersionPath names a version of a model.
type VersionPath struct {
	ModelPath
	Version int64 `path:"version" minimum:"1"`
}

type aliasPath struct {
	ModelPath
	Alias string `path:"alias"`
	Change
}

func (s *server) modelRoutes() {
	get(s, "/models", "List models by name", s.listModels)
	get(s, "/models/{name}", "One model with its versions", s.getModel)
	get(s, "/models/{name}/versions/{version}", "One version", s.getVersion)
	stream(s, route{
		method: http.MethodPost, path: "/models/{name}/versions", summary: "Add a version from a Keras file", slow: true,
		takes: "application/octet-stream", answer: typeOf[model.Version](),
	}, s.uploadModel)
	stream(s, route{
		method: http.MethodGet, path: "/models/{name}/versions/{version}/export", summary: "The plain bytes of a version; granted and audited", slow: true,
		gives: "application/octet-stream",
	}, s.exportModel)
	s.compressRoutes()
	send(s, route{method: http.MethodPut, path: "/models/{name}/aliases/{alias}", summary: "Point an alias at a version"}, s.setAlias)
	send(s, route{method: http.MethodDelete, path: "/models/{name}/aliases/{alias}", summary: "Remove an alias"},
		func(ctx context.Context, in *aliasPath, _ none) (model.Model, error) {
			return s.setAlias(ctx, in, AliasTarget{})
		})
}

func modelResource(name string) access.Resource { return access.Resource{Type: "model", Name: name} }

// model finds a model that the caller may do the action to.
func (s *server) model(ctx context.Context, name, action string) (model.Model, error) {
	m, err := s.o.Rows.GetModel(ctx, name)
	if err == nil {
		err = s.allow(ctx, action, modelResource(name))
	}
	return m, hidden(err, modelResource(name))
}

// version finds a version that the caller may do the action to. It belongs to whoever made it.
func (s *server) version(ctx context.Context, in *VersionPath, action string) (model.Version, error) {
	v, err := s.o.Rows.GetVersion(ctx, in.Name, in.Version)
	if errs.Is(err, errs.NotFound) {
		if _, err := s.model(ctx, in.Name, action); err != nil {
			return model.Version{}, err
		}
		return model.Version{}, errs.Errorf("api.version", errs.NotFound, "model %q has no version %d; `lineshaft models show %s` lists them", in.Name, in.Version, in.Name)
	}
	if err == nil {
		r := modelResource(in.Name)
		r.Owner = strings.TrimPrefix(v.Creator, "user/")
		err = s.allow(ctx, action, r)
	}
	return v, hidden(err, modelResource(in.Name))
}

func (s *server) listModels(ctx context.Context, in *Listing) (Page[model.Model], error) {
	if err := s.allow(ctx, "list", access.Resource{Type: "model"}); err != nil {
		return Page[model.Model]{}, err
	}
	return collect(in.After, in.Limit,
		func(after string, n int) ([]model.Model, error) { return s.o.Rows.ListModels(ctx, after, n) },
		func(m model.Model) (bool, error) { return s.visible(ctx, modelResource(m.Name)) },
		func(m model.Model) string { return m.Name })
}

func (s *server) getModel(ctx context.Context, in *ModelPath) (ModelDetail, error) {
	m, err := s.model(ctx, in.Name, "read")
	if err != nil {
		return ModelDetail{}, err
	}
	versions, err := s.o.Rows.ListVersions(ctx, in.Name)
	return ModelDetail{Model: m, Items: versions}, err
}

func (s *server) getVersion(ctx context.Context, in *VersionPath) (model.Version, error) {
	return s.version(ctx, in, "read")
}

type modelUpload struct {
	ModelPath
	Filename string `query:"filename" required:"true" doc:"tells the format: .h5, .keras, .onnx or .lsnn" example:"model.h5"`
	Change
}

func (s *server) uploadModel(w http.ResponseWriter, r *http.Request, in *modelUpload) error {
	ctx := r.Context()
	if err := s.allow(ctx, "create", modelResource(in.Name)); err != nil {
		return err
	}
	format, err := model.FormatOf(in.Filename)
	if err != nil {
		return err
	}
	actor := callOf(ctx).who.Actor()
	if in.DryRun {
		return writeJSON(w, model.Version{Model: in.Name, Format: format, Source: "upload", Creator: actor})
	}
	v, err := s.o.Models.Upload(ctx, actor, in.Name, in.Filename, http.MaxBytesReader(w, r.Body, s.o.UploadLimit))
	if err != nil {
		return bodyError("api.uploadModel", err)
	}
	return writeJSON(w, v)
}

type exportQuery struct {
	VersionPath
	Format model.Format `query:"format" enum:"keras-h5,keras-zip,lineshaft-nn" doc:"as it is stored when absent"`
}

func (s *server) exportModel(w http.ResponseWriter, r *http.Request, in *exportQuery) error {
	const op = "api.exportModel"
	ctx := r.Context()
	v, err := s.version(ctx, &in.VersionPath, "export")
	if err != nil {
		return err
	}
	format := cmp.Or(in.Format, v.Format)
	if format != v.Format && v.Format == model.ONNX {
		return errs.Errorf(op, errs.Unsupported, "an ONNX model is exported as it is, not as %s: leave the format out", format)
	}
	if r.Method == http.MethodHead {
		fileHeader(w.Header(), v.Model+format.Ext())
		return nil // nothing is exported
	}
	record := func(e event.Event) error { return s.o.Rows.Emit(ctx, e) }
	body, err := s.o.Models.Export(ctx, v, record, callOf(ctx).who.Actor())
	if err != nil {
		return err
	}
	defer body.Close()
	from, size := io.Reader(body), v.Size
	if format != v.Format {
		var b bytes.Buffer
		if err := s.convert(&b, format, body); err != nil {
			return errs.E(op, errs.Other, err)
		}
		from, size = &b, int64(b.Len())
	}
	fileHeader(w.Header(), v.Model+format.Ext())
	w.Header().Set("Content-Length", itoa(size))
	_, err = io.Copy(w, from)
	return errs.E(op, errs.Other, err)
}

func fileHeader(h http.Header, name string) {
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", `attachment; filename="`+name+`"`)
}

// convert writes a model in another format. It is done before the first byte is sent, so that an error can be told.
func (s *server) convert(w io.Writer, to model.Format, body io.Reader) error {
	plain, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	return s.o.Convert(w, to, bytes.NewReader(plain), int64(len(plain)))
}

func (s *server) setAlias(ctx context.Context, in *aliasPath, to AliasTarget) (model.Model, error) {
	const op = "api.setAlias"
	m, err := s.model(ctx, in.Name, "update")
	if err != nil {
		return m, err
	}
	_, is := m.Aliases[in.Alias]
	removing := callOf(ctx).r.Method == http.MethodDelete
	switch {
	case removing && !is:
		return m, errs.Errorf(op, errs.NotFound, "model %q has no alias %q; `lineshaft models %s` lists them", in.Name, in.Alias, in.Name)
	case !removing && to.Version < 1:
		return m, errs.Errorf(op, errs.Invalid, `version is %d: send {"version": N} of a version that is there`, to.Version)
	case !removing:
		if _, err := s.version(ctx, &VersionPath{in.ModelPath, to.Version}, "update"); err != nil {
			return m, err
		}
	}
	if in.DryRun {
		return m, nil
	}
	if err := s.o.Models.SetAlias(ctx, callOf(ctx).who.Actor(), in.Name, in.Alias, to.Version); err != nil {
		return m, err
	}
	return s.o.Rows.GetModel(ctx, in.Name)
}
