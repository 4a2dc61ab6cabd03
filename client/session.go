package client

import (
	"context"

	"github.com/lineshaft/lineshaft/api"
)

// Me is who the server takes the caller for.
func (c *Client) Me(ctx context.Context) (api.Me, error) {
	return get[api.Me](ctx, c, base+"/session", nil)
}
