package api

import (
	"context"
	"net/http"

	"github.com/lineshaft/lineshaft/trust/access"
)

// Keys turns the key-encryption keys.
type Keys interface {
	// Rotate adds a key that wraps from now on, wraps anew what the old ones wrapped, and says how many data keys that were.
	Rotate(ctx context.Context, actor string) (key string, rewrapped int, err error)
}

// Rotation is what a rotation did.
type Rotation struct {
	Key       string `json:"key"`       // the ID of the key that wraps from now on
	Rewrapped int    `json:"rewrapped"` // data keys
}

func (s *server) keyRoutes() {
	send(s, route{method: http.MethodPost, path: "/keys/rotate", summary: "Wrap all data keys under a new key-encryption key", slow: true}, s.rotate)
}

func (s *server) rotate(ctx context.Context, in *Change, _ none) (out Rotation, err error) {
	if err := s.allow(ctx, "rotate", access.Resource{Type: "key"}); err != nil || in.DryRun {
		return out, err
	}
	out.Key, out.Rewrapped, err = s.o.Keys.Rotate(ctx, callOf(ctx).who.Actor())
	return out, err
}
