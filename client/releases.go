package client

import (
	"context"
	"net/http"

	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/release"
)

// Release is the release under way of a model in service.
func (c *Client) Release(ctx context.Context, model string) (release.Release, error) {
	return get[release.Release](ctx, c, servicePath(model)+"/release", nil)
}

// SetRelease begins a release of a model in service, or moves the share of the one under way, and waits until that holds.
func (c *Client) SetRelease(ctx context.Context, model string, p release.Plan, dryRun bool) (serve.Service, error) {
	return change[serve.Service](ctx, c, http.MethodPut, servicePath(model)+"/release", dry(dryRun), p)
}

// EndRelease promotes the candidate of the release under way, or rolls it back.
func (c *Client) EndRelease(ctx context.Context, model string, o release.Outcome, dryRun bool) (serve.Service, error) {
	q := dry(dryRun)
	if q == nil {
		q = map[string][]string{}
	}
	q.Set("outcome", string(o))
	return change[serve.Service](ctx, c, http.MethodDelete, servicePath(model)+"/release", q, nil)
}
