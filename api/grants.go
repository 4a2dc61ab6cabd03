package api

import (
	"context"
	"net/http"

	"github.com/lineshaft/lineshaft/trust/access"
)

// Grants keeps what users and roles may do beyond the table of rights. Its methods decide themselves whether by may.
type Grants interface {
	Grant(ctx context.Context, by access.Principal, g access.Grant) (access.Grant, error)
	Revoke(ctx context.Context, by access.Principal, id string) error
	Grants(ctx context.Context, by access.Principal) ([]access.Grant, error)
}

// NewGrant lets a user, or everyone with a role, do some actions on one thing of a type, or on all ("*").
type NewGrant struct {
	User    string   `json:"user,omitempty"`
	Role    string   `json:"role,omitempty" enum:"admin,developer,viewer,service"`
	Actions []string `json:"actions"`
	Type    string   `json:"type"`
	Name    string   `json:"name"`
}

type grantPath struct {
	ID string `path:"id"`
	Change
}

func (s *server) grantRoutes() {
	get(s, "/grants", "List the grants, oldest first", func(ctx context.Context, _ *none) (Page[access.Grant], error) {
		all, err := s.o.Access.Grants(ctx, callOf(ctx).who)
		return Page[access.Grant]{Items: filled(all)}, err
	})
	send(s, route{method: http.MethodPost, path: "/grants", summary: "Give a grant"}, s.grant)
	send(s, route{method: http.MethodDelete, path: "/grants/{id}", summary: "Take a grant back"}, s.revoke)
}

func (s *server) grant(ctx context.Context, in *Change, n NewGrant) (access.Grant, error) {
	g := access.Grant{User: n.User, Actions: n.Actions, Type: n.Type, Name: n.Name}
	if n.Role != "" {
		role, err := access.ParseRole(n.Role)
		if err != nil {
			return access.Grant{}, err
		}
		g.Role = role
	}
	return s.o.Access.Grant(in.on(ctx), callOf(ctx).who, g)
}

func (s *server) revoke(ctx context.Context, in *grantPath, _ none) (none, error) {
	return none{}, s.o.Access.Revoke(in.on(ctx), callOf(ctx).who, in.ID)
}
