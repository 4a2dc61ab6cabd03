package client

import (
	"bytes"
	"context"
	"net/http"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/serve"
)

// Warmup says what warm-up requests a version has.
func (c *Client) Warmup(ctx context.Context, model string, version int64) (api.Warmup, error) {
	return get[api.Warmup](ctx, c, versionPath(model, version)+"/warmup", nil)
}

// SetWarmup stores the requests that a version answers before it answers others.
func (c *Client) SetWarmup(ctx context.Context, model string, version int64, body []byte, dryRun bool) (api.Warmup, error) {
	var out api.Warmup
	err := c.answer(ctx, request{
		method: http.MethodPut, path: versionPath(model, version) + "/warmup", query: dry(dryRun), body: bytes.NewReader(body), contentType: "application/json", accept: "application/json",
	}, &out)
	return out, err
}

// DeleteWarmup removes them.
func (c *Client) DeleteWarmup(ctx context.Context, model string, version int64, dryRun bool) error {
	return c.call(ctx, http.MethodDelete, versionPath(model, version)+"/warmup", dry(dryRun), nil, nil)
}

// SetIdle says after how long without a request the versions of a model in service leave memory; "0s" is never.
func (c *Client) SetIdle(ctx context.Context, model string, idle api.Idle, dryRun bool) (serve.Service, error) {
	return change[serve.Service](ctx, c, http.MethodPut, servicePath(model)+"/idle", dry(dryRun), idle)
}
