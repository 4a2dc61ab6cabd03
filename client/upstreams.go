package client

import (
	"context"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/serve/upstream"
)

// Upstreams lists the services that are answered by servers of their own.
func (c *Client) Upstreams(ctx context.Context) ([]upstream.Status, error) {
	page, err := get[api.Page[upstream.Status]](ctx, c, base+"/upstreams", nil)
	return page.Items, err
}
