package client

import (
	"context"
	"io"
	"net/http"
	"net/url"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/train/compress"
)

func modelPath(name string) string { return base + "/models/" + seg(name) }

func versionPath(name string, version int64) string {
	return modelPath(name) + "/versions/" + itoa(version)
}

// Models lists the models by name.
func (c *Client) Models(ctx context.Context) ([]model.Model, error) {
	models, _, err := all[model.Model](ctx, c, base+"/models", nil, List{})
	return models, err
}

// Model is one model with its versions, newest first.
func (c *Client) Model(ctx context.Context, name string) (api.ModelDetail, error) {
	return get[api.ModelDetail](ctx, c, modelPath(name), nil)
}

// Version is one version of a model.
func (c *Client) Version(ctx context.Context, name string, version int64) (model.Version, error) {
	return get[model.Version](ctx, c, versionPath(name, version), nil)
}

// UploadModel adds a version from a Keras file, whose name tells the format.
func (c *Client) UploadModel(ctx context.Context, name, filename string, r io.Reader, dryRun bool) (model.Version, error) {
	var v model.Version
	q := url.Values{"filename": {filename}}
	if dryRun {
		q.Set("dry_run", "true")
	}
	err := c.answer(ctx, request{
		method: http.MethodPost, path: modelPath(name) + "/versions", query: q, body: r, contentType: "application/octet-stream", accept: "application/json",
	}, &v)
	return v, err
}

// Export reads the plain bytes of a version, in the format it is kept in where format is empty. The caller closes.
func (c *Client) Export(ctx context.Context, name string, version int64, format model.Format) (io.ReadCloser, error) {
	q := url.Values{}
	if format != "" {
		q.Set("format", string(format))
	}
	resp, err := c.send(ctx, request{method: http.MethodGet, path: versionPath(name, version) + "/export", query: q})
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// Compress makes a smaller version of one and gives it with what was measured of both.
func (c *Client) Compress(ctx context.Context, name string, version int64, r compress.Request, dryRun bool) (compress.Result, error) {
	return change[compress.Result](ctx, c, http.MethodPost, versionPath(name, version)+"/compress", dry(dryRun), r)
}

// SetAlias points an alias at a version.
func (c *Client) SetAlias(ctx context.Context, name, alias string, version int64, dryRun bool) (model.Model, error) {
	return change[model.Model](ctx, c, http.MethodPut, modelPath(name)+"/aliases/"+seg(alias), dry(dryRun), api.AliasTarget{Version: version})
}

// DeleteAlias removes an alias.
func (c *Client) DeleteAlias(ctx context.Context, name, alias string, dryRun bool) (model.Model, error) {
	return change[model.Model](ctx, c, http.MethodDelete, modelPath(name)+"/aliases/"+seg(alias), dry(dryRun), nil)
}
