package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/control"
	"github.com/lineshaft/lineshaft/fleet"
)

// Overview is the hall at a glance.
func (c *Client) Overview(ctx context.Context) (api.Overview, error) {
	return get[api.Overview](ctx, c, base+"/overview", nil)
}

// Fleet lists the machines.
func (c *Client) Fleet(ctx context.Context) ([]fleet.Node, error) {
	page, err := get[api.Page[fleet.Node]](ctx, c, base+"/fleet", nil)
	return page.Items, err
}

// Cordon stops new work on a node.
func (c *Client) Cordon(ctx context.Context, node, reason string, dryRun bool) (fleet.Node, error) {
	return change[fleet.Node](ctx, c, http.MethodPost, base+"/fleet/"+seg(node)+"/cordon", dry(dryRun), api.CordonReason{Reason: reason})
}

// Uncordon lets a node take work again.
func (c *Client) Uncordon(ctx context.Context, node string, dryRun bool) (fleet.Node, error) {
	return change[fleet.Node](ctx, c, http.MethodPost, base+"/fleet/"+seg(node)+"/uncordon", dry(dryRun), nil)
}

// Policies lists the loop's policies with their modes.
func (c *Client) Policies(ctx context.Context) ([]control.PolicyInfo, error) {
	page, err := get[api.Page[control.PolicyInfo]](ctx, c, base+"/policies", nil)
	return page.Items, err
}

// SetMode changes how far a policy may go.
func (c *Client) SetMode(ctx context.Context, policy string, m control.Mode, dryRun bool) (control.PolicyInfo, error) {
	return change[control.PolicyInfo](ctx, c, http.MethodPut, base+"/policies/"+seg(policy), dry(dryRun), api.PolicyMode{Mode: string(m)})
}

// Actions lists the loop's newest actions, or only those that are not at their end.
func (c *Client) Actions(ctx context.Context, open bool) ([]control.Action, error) {
	q := url.Values{"limit": {"1000"}}
	if open {
		q.Set("open", "true")
	}
	page, err := get[api.Page[control.Action]](ctx, c, base+"/actions", q)
	return page.Items, err
}

// Approve lets a proposed action go ahead.
func (c *Client) Approve(ctx context.Context, id string, dryRun bool) (control.Action, error) {
	return change[control.Action](ctx, c, http.MethodPost, base+"/actions/"+seg(id)+"/approve", dry(dryRun), nil)
}
