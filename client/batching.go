package client

import (
	"context"
	"net/http"

	"github.com/lineshaft/lineshaft/serve"
)

// SetBatching sets how requests to a model in service are queued and joined; nil leaves it to the runtime.
func (c *Client) SetBatching(ctx context.Context, model string, b *serve.Batching, dryRun bool) (serve.Service, error) {
	path := servicePath(model) + "/batching"
	if b == nil {
		return change[serve.Service](ctx, c, http.MethodDelete, path, dry(dryRun), nil)
	}
	return change[serve.Service](ctx, c, http.MethodPut, path, dry(dryRun), b)
}
