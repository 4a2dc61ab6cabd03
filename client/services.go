package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve"
)

func servicePath(model string) string { return base + "/services/" + seg(model) }

// Services lists the models in service.
func (c *Client) Services(ctx context.Context) ([]serve.Service, error) {
	page, err := get[api.Page[serve.Service]](ctx, c, base+"/services", nil)
	return page.Items, err
}

// Service is one model in service.
func (c *Client) Service(ctx context.Context, model string) (serve.Service, error) {
	return get[serve.Service](ctx, c, servicePath(model), nil)
}

// Deploy puts a version in service, by number or by alias, or the newest with neither, and waits until it answers.
func (c *Client) Deploy(ctx context.Context, model string, version int64, alias string, dryRun bool) (serve.Service, error) {
	return change[serve.Service](ctx, c, http.MethodPost, base+"/services", dry(dryRun), api.Deployment{Model: model, Version: version, Alias: alias})
}

// Undeploy takes a model out of service.
func (c *Client) Undeploy(ctx context.Context, model string, dryRun bool) error {
	return c.call(ctx, http.MethodDelete, servicePath(model), dry(dryRun), nil, nil)
}

// Predict asks a model in the form of TensorFlow Serving's REST API, by version or by label, or the one that answers
// without either.
func (c *Client) Predict(ctx context.Context, model string, version int64, label string, body []byte) ([]byte, error) {
	const op = "client.Predict"
	q := url.Values{}
	if version > 0 {
		q.Set("version", itoa(version))
	}
	if label != "" {
		q.Set("label", label)
	}
	resp, err := c.send(ctx, request{
		method: http.MethodPost, path: servicePath(model) + "/predict", query: q, body: bytes.NewReader(body), contentType: "application/json", accept: "application/json",
	})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, errs.E(op, errs.Unavailable, errors.Join(errors.New("the answer broke off"), err))
	}
	return answer, nil
}
