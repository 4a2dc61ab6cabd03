package client

import (
	"context"
	"encoding/base64"
	"net/http"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/trust/access"
	"github.com/lineshaft/lineshaft/trust/secret"
)

// Me is who the server takes the caller for.
func (c *Client) Me(ctx context.Context) (api.Me, error) {
	return get[api.Me](ctx, c, base+"/session", nil)
}

// Users lists the accounts by name.
func (c *Client) Users(ctx context.Context) ([]access.User, error) {
	page, err := get[api.Page[access.User]](ctx, c, base+"/users", nil)
	return page.Items, err
}

// User is one account.
func (c *Client) User(ctx context.Context, name string) (access.User, error) {
	return get[access.User](ctx, c, base+"/users/"+seg(name), nil)
}

// CreateUser makes an account.
func (c *Client) CreateUser(ctx context.Context, u api.NewUser, dryRun bool) (access.User, error) {
	return change[access.User](ctx, c, http.MethodPost, base+"/users", dry(dryRun), u)
}

// ChangeUser changes what of an account is not nil.
func (c *Client) ChangeUser(ctx context.Context, name string, u api.UserChange, dryRun bool) (access.User, error) {
	return change[access.User](ctx, c, http.MethodPatch, base+"/users/"+seg(name), dry(dryRun), u)
}

// DeleteUser removes an account with its tokens and grants.
func (c *Client) DeleteUser(ctx context.Context, name string, dryRun bool) error {
	return c.call(ctx, http.MethodDelete, base+"/users/"+seg(name), dry(dryRun), nil, nil)
}

// LinkUser makes a link that signs the user in once, within an hour.
func (c *Client) LinkUser(ctx context.Context, name string) (api.Link, error) {
	return change[api.Link](ctx, c, http.MethodPost, base+"/users/"+seg(name)+"/link", nil, nil)
}

// Tokens lists the tokens, newest first.
func (c *Client) Tokens(ctx context.Context) ([]access.Token, error) {
	page, err := get[api.Page[access.Token]](ctx, c, base+"/tokens", nil)
	return page.Items, err
}

// CreateToken makes a token; the answer holds its secret, this once.
func (c *Client) CreateToken(ctx context.Context, t api.NewToken, dryRun bool) (api.MadeToken, error) {
	return change[api.MadeToken](ctx, c, http.MethodPost, base+"/tokens", dry(dryRun), t)
}

// RevokeToken ends a token.
func (c *Client) RevokeToken(ctx context.Context, id string, dryRun bool) error {
	return c.call(ctx, http.MethodDelete, base+"/tokens/"+seg(id), dry(dryRun), nil, nil)
}

// Grants lists the grants, oldest first.
func (c *Client) Grants(ctx context.Context) ([]access.Grant, error) {
	page, err := get[api.Page[access.Grant]](ctx, c, base+"/grants", nil)
	return page.Items, err
}

// CreateGrant gives a grant.
func (c *Client) CreateGrant(ctx context.Context, g api.NewGrant, dryRun bool) (access.Grant, error) {
	return change[access.Grant](ctx, c, http.MethodPost, base+"/grants", dry(dryRun), g)
}

// DeleteGrant takes a grant back.
func (c *Client) DeleteGrant(ctx context.Context, id string, dryRun bool) error {
	return c.call(ctx, http.MethodDelete, base+"/grants/"+seg(id), dry(dryRun), nil, nil)
}

// Secrets lists the secrets by name, without their values.
func (c *Client) Secrets(ctx context.Context) ([]secret.Secret, error) {
	page, err := get[api.Page[secret.Secret]](ctx, c, base+"/secrets", nil)
	return page.Items, err
}

// SetSecret keeps a value under a name.
func (c *Client) SetSecret(ctx context.Context, name string, value []byte, dryRun bool) (secret.Secret, error) {
	return change[secret.Secret](ctx, c, http.MethodPut, base+"/secrets/"+seg(name), dry(dryRun), api.SecretValue{Base64: base64.StdEncoding.EncodeToString(value)})
}

// DeleteSecret removes a secret.
func (c *Client) DeleteSecret(ctx context.Context, name string, dryRun bool) error {
	return c.call(ctx, http.MethodDelete, base+"/secrets/"+seg(name), dry(dryRun), nil, nil)
}

// RotateKeys wraps all data keys under a new key-encryption key.
func (c *Client) RotateKeys(ctx context.Context, dryRun bool) (api.Rotation, error) {
	return change[api.Rotation](ctx, c, http.MethodPost, base+"/keys/rotate", dry(dryRun), nil)
}
