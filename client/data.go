package client

import (
	"context"
	"io"
	"net/http"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/data"
)

// DataSets lists the data sets by name, each with its newest version.
func (c *Client) DataSets(ctx context.Context) ([]data.Set, error) {
	sets, _, err := all[data.Set](ctx, c, base+"/data", nil, List{})
	return sets, err
}

// DataSet is one version of a data set: NAME for the newest, or NAME@VERSION.
func (c *Client) DataSet(ctx context.Context, ref string) (data.Set, error) {
	return get[data.Set](ctx, c, base+"/data/"+seg(ref), nil)
}

// ImportData adds a version of a data set from a tar stream of its files.
func (c *Client) ImportData(ctx context.Context, name string, tar io.Reader, dryRun bool) (data.Set, error) {
	var set data.Set
	err := c.answer(ctx, request{
		method: http.MethodPost, path: base + "/data/" + seg(name), query: dry(dryRun), body: tar, contentType: "application/x-tar", accept: "application/json",
	}, &set)
	return set, err
}

// UploadCode keeps a folder of code, sent as a gzipped tar archive, for jobs that name its digest.
func (c *Client) UploadCode(ctx context.Context, archive io.Reader, dryRun bool) (api.CodeFolder, error) {
	var code api.CodeFolder
	err := c.answer(ctx, request{
		method: http.MethodPost, path: base + "/code", query: dry(dryRun), body: archive, contentType: "application/gzip", accept: "application/json",
	}, &code)
	return code, err
}
