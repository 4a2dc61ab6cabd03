package client

import (
	"context"
	"net/url"
	"strconv"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/serve/requestlog"
)

// Requests are the newest requests to a model that were kept, newest first.
func (c *Client) Requests(ctx context.Context, model string, limit int) ([]requestlog.Entry, error) {
	page, err := get[api.Page[requestlog.Entry]](ctx, c, servicePath(model)+"/log", url.Values{"limit": {strconv.Itoa(limit)}})
	return page.Items, err
}
