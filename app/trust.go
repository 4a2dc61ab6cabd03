package app

import (
	"context"
	"errors"
	"os"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/trust/access"
	"github.com/lineshaft/lineshaft/trust/seal"
	"github.com/lineshaft/lineshaft/trust/secret"
)

// openKeys reads the key file. A folder with records and without one lost it: new keys would open nothing, and hide that.
func (s *Server) openKeys() (*seal.Keyring, error) {
	_, records := os.Stat(s.path(databaseFile))
	if _, err := os.Lstat(s.path(keysFile)); errors.Is(err, os.ErrNotExist) && records == nil {
		return nil, errs.Errorf("app.openKeys", errs.Corrupt,
			"%s is missing, and the folder has records that are sealed under its keys: restore it from a backup", s.path(keysFile))
	}
	return seal.OpenKeyring(s.path(keysFile), s.clock.Now())
}

func (s *Server) openTrust(ctx context.Context, opt Options) (err error) {
	s.access = access.New(access.Options{Store: s.db, Clock: s.clock, Demo: opt.Demo})
	s.secrets = secret.New(secret.Options{Store: s.db, Keys: s.keys, Clock: s.clock})
	// A rotation that was cut off has left everything readable: what is still to do can wait for a better day.
	if done, err := s.rotator().Finish(ctx); err != nil || len(done.Damaged) > 0 {
		s.log.Error("the keys: a rotation could not be finished", "err", errs.Trace(err), "damaged", done.Damaged)
	}
	s.created, err = s.access.Bootstrap(ctx)
	return err
}

// rotator changes the key-encryption keys for the API.
func (s *Server) rotator() rotator {
	return rotator{&seal.Rotator{Keys: s.keys, Holder: s.db, Clock: s.clock}}
}

type rotator struct{ *seal.Rotator }

func (r rotator) Rotate(ctx context.Context, actor string) (key string, rewrapped int, err error) {
	done, err := r.Rotator.Rotate(ctx, actor)
	return r.Keys.Primary(), done.Rewrapped, err
}

// secretFor opens a secret for a job. That its owner might use it when it was submitted is not enough: the account may
// have been closed since, a grant taken back, the name taken by another.
func (s *Server) secretFor(ctx context.Context, owner, name string) ([]byte, error) {
	p, err := s.access.As(ctx, owner)
	if err != nil {
		return nil, err
	}
	what, err := s.secrets.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := s.access.Authorize(ctx, p, "read", access.Resource{Type: "secret", Name: name, Owner: what.Owner}); err != nil {
		return nil, err
	}
	return s.secrets.Value(ctx, name)
}
