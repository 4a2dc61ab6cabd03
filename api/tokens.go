package api

import (
	"context"
	"net/http"
	"time"

	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/trust/access"
)

// Tokens keeps the keys of programs. Its methods decide themselves whether by may.
type Tokens interface {
	CreateToken(ctx context.Context, by access.Principal, spec access.TokenSpec) (secret string, t access.Token, err error)
	Tokens(ctx context.Context, by access.Principal) ([]access.Token, error)
	RevokeToken(ctx context.Context, by access.Principal, id string) error
}

// NewToken is a token to be made. User and role are the maker's where absent.
type NewToken struct {
	Name   string       `json:"name,omitempty"`
	User   string       `json:"user,omitempty"`
	Role   string       `json:"role,omitempty" enum:"admin,developer,viewer,service"`
	Scopes []string     `json:"scopes,omitempty"`
	TTL    job.Duration `json:"ttl,omitempty" example:"720h"`
}

// MadeToken is a token with its secret, which is shown this once.
type MadeToken struct {
	access.Token
	Secret string `json:"token"`
}

func (s *server) tokenRoutes() {
	get(s, "/tokens", "List the tokens that the caller may see, newest first", s.listTokens)
	send(s, route{method: http.MethodPost, path: "/tokens", summary: "Make a token; its secret is shown once"}, s.createToken)
	send(s, route{method: http.MethodDelete, path: "/tokens/{id}", summary: "End a token"}, s.revokeToken)
}

func (s *server) listTokens(ctx context.Context, _ *none) (Page[access.Token], error) {
	all, err := s.o.Access.Tokens(ctx, callOf(ctx).who)
	return Page[access.Token]{Items: filled(all)}, err
}

func (s *server) createToken(ctx context.Context, in *Change, n NewToken) (MadeToken, error) {
	who := callOf(ctx).who
	spec := access.TokenSpec{Name: n.Name, User: n.User, Scopes: n.Scopes, TTL: time.Duration(n.TTL)}
	if n.Role != "" {
		role, err := access.ParseRole(n.Role)
		if err != nil {
			return MadeToken{}, err
		}
		spec.Role = role
	}
	secret, t, err := s.o.Access.CreateToken(in.on(ctx), who, spec)
	return MadeToken{Token: t, Secret: secret}, err
}

type tokenPath struct {
	ID string `path:"id"`
	Change
}

func (s *server) revokeToken(ctx context.Context, in *tokenPath, _ none) (none, error) {
	return none{}, s.o.Access.RevokeToken(in.on(ctx), callOf(ctx).who, in.ID)
}
