package store

import (
	"context"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/trust/access"
	"github.com/lineshaft/lineshaft/trust/secret"
)

func (d *DB) secrets() table[secret.Stored] { return table[secret.Stored]{d, "secret", "secret"} }

// PutSecret writes a sealed secret, over an older one of the name.
func (d *DB) PutSecret(ctx context.Context, s secret.Stored, events ...event.Event) error {
	return d.secrets().put(ctx, s.Name, s, events...)
}

// GetSecret finds one.
func (d *DB) GetSecret(ctx context.Context, name string) (secret.Stored, error) {
	s, err := d.secrets().get(ctx, name)
	if errs.Is(err, errs.NotFound) {
		err = access.Missing(access.Resource{Type: "secret", Name: name})
	}
	return s, err
}

// ListSecrets lists by name.
func (d *DB) ListSecrets(ctx context.Context) ([]secret.Stored, error) { return d.secrets().list(ctx) }

// DeleteSecret removes one.
func (d *DB) DeleteSecret(ctx context.Context, name string, events ...event.Event) error {
	return d.secrets().remove(ctx, name, events...)
}

var _ secret.Store = (*DB)(nil)
