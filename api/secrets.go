package api

import (
	"context"
	"encoding/base64"
	"net/http"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/trust/access"
	"github.com/lineshaft/lineshaft/trust/secret"
)

// Secrets keeps small values that jobs use by name; *secret.Service does. No answer holds a value.
type Secrets interface {
	Put(ctx context.Context, actor, owner, name string, value []byte) error
	Get(ctx context.Context, name string) (secret.Secret, error)
	List(ctx context.Context) ([]secret.Secret, error)
	Delete(ctx context.Context, actor, name string) error
}

// SecretValue is a secret's value, as text or, where it is none, in base64.
type SecretValue struct {
	Value  string `json:"value,omitempty"`
	Base64 string `json:"base64,omitempty"`
}

type secretPath struct {
	Name string `path:"name"`
	Change
}

func (s *server) secretRoutes() {
	get(s, "/secrets", "List the secrets that the caller may use, without their values", s.listSecrets)
	send(s, route{method: http.MethodPut, path: "/secrets/{name}", summary: "Keep a value under a name", secret: true}, s.putSecret)
	send(s, route{method: http.MethodDelete, path: "/secrets/{name}", summary: "Remove a secret"}, s.deleteSecret)
}

func secretResource(c secret.Secret) access.Resource {
	return access.Resource{Type: "secret", Name: c.Name, Owner: c.Owner}
}

// secret finds a secret that the caller may do the action to.
func (s *server) secret(ctx context.Context, name, action string) (secret.Secret, error) {
	c, err := s.o.Secrets.Get(ctx, name)
	if err == nil {
		err = s.allow(ctx, action, secretResource(c))
	}
	return c, hidden(err, access.Resource{Type: "secret", Name: name})
}

// listSecrets shows each their own, so it asks for each instead of for all.
func (s *server) listSecrets(ctx context.Context, _ *none) (Page[secret.Secret], error) {
	page := Page[secret.Secret]{Items: []secret.Secret{}}
	if err := s.allow(ctx, "list", access.Resource{Type: "secret", Owner: callOf(ctx).who.Name}); err != nil {
		return page, err
	}
	all, err := s.o.Secrets.List(ctx)
	if err != nil {
		return page, err
	}
	for _, c := range all {
		ok, err := s.visible(ctx, secretResource(c))
		if err != nil {
			return page, err
		}
		if ok {
			page.Items = append(page.Items, c)
		}
	}
	return page, nil
}

// putSecret makes a secret, or gives one a new value; it keeps its owner.
func (s *server) putSecret(ctx context.Context, in *secretPath, v SecretValue) (secret.Secret, error) {
	const op = "api.putSecret"
	who := callOf(ctx).who
	value := []byte(v.Value)
	if (v.Value == "") == (v.Base64 == "") {
		return secret.Secret{}, errs.Errorf(op, errs.Invalid, `send {"value": TEXT}, or {"base64": …} for what is no text`)
	}
	if v.Base64 != "" {
		var err error
		if value, err = base64.StdEncoding.DecodeString(v.Base64); err != nil {
			return secret.Secret{}, errs.Errorf(op, errs.Invalid, "the value of secret %q is not base64", in.Name)
		}
	}
	owner, action := who.Name, "create"
	old, err := s.o.Secrets.Get(ctx, in.Name)
	switch {
	case err == nil:
		owner, action = old.Owner, "update"
	case !errs.Is(err, errs.NotFound):
		return secret.Secret{}, err
	}
	if err := s.allow(ctx, action, access.Resource{Type: "secret", Name: in.Name, Owner: owner}); errs.Is(err, errs.NotFound) {
		return secret.Secret{}, errs.Errorf(op, errs.Exists, "the name %q is taken by another user's secret: choose another name", in.Name)
	} else if err != nil {
		return secret.Secret{}, err
	}
	if err := secret.Check(in.Name, value); err != nil {
		return secret.Secret{}, err
	}
	if in.DryRun {
		return secret.Secret{Name: in.Name, Owner: owner, Created: old.Created, Updated: old.Updated}, nil
	}
	if err := s.o.Secrets.Put(ctx, who.Actor(), owner, in.Name, value); err != nil {
		return secret.Secret{}, err
	}
	return s.o.Secrets.Get(ctx, in.Name)
}

func (s *server) deleteSecret(ctx context.Context, in *secretPath, _ none) (none, error) {
	if _, err := s.secret(ctx, in.Name, "delete"); err != nil || in.DryRun {
		return none{}, err
	}
	return none{}, s.o.Secrets.Delete(ctx, callOf(ctx).who.Actor(), in.Name)
}
