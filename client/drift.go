package client

import (
	"context"
	"net/http"

	"github.com/lineshaft/lineshaft/api"
)

// TakeReference makes what a version was lately asked the reference from which drift is told.
func (c *Client) TakeReference(ctx context.Context, model string, version int64, dryRun bool) (api.Taken, error) {
	return change[api.Taken](ctx, c, http.MethodPost, servicePath(model)+"/reference", dry(dryRun), api.ReferenceOf{Version: version})
}
