package api

import (
	"context"
	"net"
	"net/http"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/trust/access"
)

// cookieName is the console's session.
const cookieName = "lineshaft_session"

// Access says who asks and what they may, and keeps the accounts; *access.Service does.
type Access interface {
	Authenticate(ctx context.Context, bearer string) (access.Principal, error)
	Session(ctx context.Context, cookie string) (access.Principal, error)
	// Socket is who comes through the data folder's socket.
	Socket() access.Principal
	// Authorize is nil, errs.Denied, or errs.NotFound where the principal may not know that the thing exists.
	Authorize(ctx context.Context, p access.Principal, action string, r access.Resource) error
	// May is Authorize for choosing what to show: a no is no refusal.
	May(ctx context.Context, p access.Principal, action string, r access.Resource) (bool, error)

	SignIns
	Users
	Tokens
	Grants
}

type socketKey struct{}

// ConnContext marks the connections of the data folder's socket. It is the http.Server's ConnContext.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if c.LocalAddr().Network() == "unix" {
		return context.WithValue(ctx, socketKey{}, true)
	}
	return ctx
}

// identify finds out who asks: by token, by the socket, or by the console's cookie, in this order, so that the owner of
// the data folder can try somebody else's token.
func (s *server) identify(r *http.Request) (access.Principal, error) {
	const op = "api.identify"
	if header := r.Header.Get("Authorization"); header != "" {
		token, err := access.Bearer(header)
		if err != nil {
			return access.Principal{}, err
		}
		return s.o.Access.Authenticate(r.Context(), token)
	}
	if r.Context().Value(socketKey{}) != nil {
		return s.o.Access.Socket(), nil
	}
	if cookie, err := r.Cookie(cookieName); err == nil && cookie.Value != "" {
		return s.o.Access.Session(r.Context(), cookie.Value)
	}
	return access.Principal{}, errs.Errorf(op, errs.Unauthenticated,
		"nobody is signed in: send a token as `Authorization: Bearer ls_…` (`lineshaft tokens create` makes one), or sign in on the console")
}

// ownPage refuses what a foreign page could have a signed-in browser do. The guard has refused foreign origins; with a
// cookie an origin must be there to be checked.
func ownPage(p access.Principal, r *http.Request) error {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	upgrade := r.Header.Get("Upgrade") != ""
	cookie := r.Header.Get("Authorization") == "" && r.Context().Value(socketKey{}) == nil
	if !cookie || reads && !upgrade || r.Header.Get("Origin") != "" {
		return nil
	}
	return errs.Errorf("api.ownPage", errs.Denied, "a change by cookie needs the Origin header of this server's own page; programs use a token")
}

// allow is the one place where the API asks whether the caller may.
func (s *server) allow(ctx context.Context, action string, r access.Resource) error {
	return s.o.Access.Authorize(ctx, callOf(ctx).who, action, r)
}

// hidden tells that a thing is not there in the same words as that it may not be known of.
func hidden(err error, r access.Resource) error {
	if errs.Is(err, errs.NotFound) {
		return access.Missing(r)
	}
	return err
}

// visible reports whether the caller may know of the thing, for lists and streams.
func (s *server) visible(ctx context.Context, r access.Resource) (bool, error) {
	return s.o.Access.May(ctx, callOf(ctx).who, "read", r)
}
