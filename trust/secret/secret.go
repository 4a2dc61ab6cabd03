// Package secret keeps small values that jobs use by name: passwords, keys of other services.
//
// A value is sealed under the keyring in the context "secret/NAME", so that one secret's stored bytes do not open as
// another's. It leaves the server only into the tasks that name it, never into an answer, an event, a log or an error.
// Names are shared by all users; a secret belongs to who made it, and who may use it is decided in trust/access.
package secret

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/internal/id"
	"github.com/lineshaft/lineshaft/trust/seal"
)

// MaxSize is how many bytes a value may have: it must fit into a task's environment.
const MaxSize = 64 << 10

// Secret is what may be known of a secret.
type Secret struct {
	Name    string    `json:"name"`
	Owner   string    `json:"owner"` // account name
	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`
}

// Stored is a secret with its sealed value, as it is stored.
type Stored struct {
	Secret
	Sealed string `json:"sealed"`
}

// Context is what a secret's value is sealed for.
func Context(name string) string { return "secret/" + name }

// Store keeps the sealed secrets.
type Store interface {
	PutSecret(ctx context.Context, s Stored, events ...event.Event) error
	// GetSecret of a name that is not there is errs.NotFound.
	GetSecret(ctx context.Context, name string) (Stored, error)
	// ListSecrets lists by name.
	ListSecrets(ctx context.Context) ([]Stored, error)
	DeleteSecret(ctx context.Context, name string, events ...event.Event) error
}

// Sealer seals and opens small values; seal.Keyring is one.
type Sealer interface {
	Seal(plain []byte, context string) (string, error)
	Open(sealed, context string) ([]byte, error)
}

// Options are what a Service works with.
type Options struct {
	Store Store
	Keys  Sealer
	Clock clock.Clock
}

// Service keeps the secrets. Who may do what to which is decided before it is called.
type Service struct {
	o   Options
	put sync.Mutex // looking who owns a name and writing it are one
}

// New makes a service.
func New(o Options) *Service { return &Service{o: o} }

// Put keeps a value under a name. A name that is taken must belong to the same owner, whose value is replaced.
func (s *Service) Put(ctx context.Context, actor, owner, name string, value []byte) error {
	const op = "secret.Put"
	if err := Check(name, value); err != nil {
		return err
	}
	s.put.Lock()
	defer s.put.Unlock()
	now := s.o.Clock.Now()
	next := Stored{Secret: Secret{Name: name, Owner: owner, Created: now, Updated: now}}
	kind := "secret.created"
	switch old, err := s.o.Store.GetSecret(ctx, name); {
	case err == nil && old.Owner != owner:
		return errs.Errorf(op, errs.Exists, "the name %q is taken by another user's secret: choose another name", name)
	case err == nil:
		next.Created = old.Created
		kind = "secret.updated"
	case !errs.Is(err, errs.NotFound):
		return errs.E(op, errs.Other, err)
	}
	var err error
	if next.Sealed, err = s.o.Keys.Seal(value, Context(name)); err != nil {
		return errs.E(op, errs.Other, err)
	}
	return s.o.Store.PutSecret(ctx, next, event.New("audit", kind, "secret/"+name, actor, next.Secret))
}

// Check says what is wrong with a secret, and nothing of its value.
func Check(name string, value []byte) error {
	const op = "secret.Check"
	if err := id.CheckName("secret", name); err != nil {
		return err
	}
	switch {
	case len(value) == 0:
		return errs.Errorf(op, errs.Invalid, "the value of secret %q is empty: `lineshaft secrets delete %s` removes a secret", name, name)
	case len(value) > MaxSize:
		return errs.Errorf(op, errs.TooLarge, "the value of secret %q has %d bytes: at most %d are kept as a secret, larger things as a data set", name, len(value), MaxSize)
	case strings.ContainsRune(string(value), 0):
		return errs.Errorf(op, errs.Invalid, "the value of secret %q has a zero byte, which no environment variable can hold: encode it, in base64 for example", name)
	}
	return nil
}

// Value opens a secret, for a task that may use it.
func (s *Service) Value(ctx context.Context, name string) ([]byte, error) {
	stored, err := s.o.Store.GetSecret(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.o.Keys.Open(stored.Sealed, Context(name))
}

// Get finds a secret without its value.
func (s *Service) Get(ctx context.Context, name string) (Secret, error) {
	stored, err := s.o.Store.GetSecret(ctx, name)
	return stored.Secret, err
}

// List lists the secrets without their values, by name.
func (s *Service) List(ctx context.Context) ([]Secret, error) {
	all, err := s.o.Store.ListSecrets(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Secret, len(all))
	for i, stored := range all {
		out[i] = stored.Secret
	}
	return out, nil
}

// Delete removes a secret; jobs that name it do not start any more.
func (s *Service) Delete(ctx context.Context, actor, name string) error {
	stored, err := s.o.Store.GetSecret(ctx, name)
	if err != nil {
		return err
	}
	return s.o.Store.DeleteSecret(ctx, name, event.New("audit", "secret.deleted", "secret/"+name, actor, stored.Secret))
}

var _ Sealer = (*seal.Keyring)(nil)
