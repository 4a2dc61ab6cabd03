package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/trust/access"
)

// Users keeps the accounts. Its methods decide themselves whether by may.
type Users interface {
	Users(ctx context.Context, by access.Principal) ([]access.User, error)
	User(ctx context.Context, by access.Principal, name string) (access.User, error)
	CreateUser(ctx context.Context, by access.Principal, spec access.UserSpec) (access.User, error)
	SetPassword(ctx context.Context, by access.Principal, name, password string) error
	SetRole(ctx context.Context, by access.Principal, name string, role access.Role) error
	SetDisabled(ctx context.Context, by access.Principal, name string, disabled bool) error
	DeleteUser(ctx context.Context, by access.Principal, name string) error
	// NewLink leaves it to the caller to decide who may.
	NewLink(ctx context.Context, user string) (code string, err error)
}

// NewUser is an account to be made. Without a password it signs in by link.
type NewUser struct {
	Name     string `json:"name"`
	Role     string `json:"role" enum:"admin,developer,viewer,service"`
	Password string `json:"password,omitempty"`
}

// UserChange is what of an account is to be different; what is absent stays.
type UserChange struct {
	Role     *string `json:"role,omitempty" enum:"admin,developer,viewer,service"`
	Disabled *bool   `json:"disabled,omitempty"`
	Password *string `json:"password,omitempty"`
}

// Link signs a user in once.
type Link struct {
	Code string `json:"code"`
	Path string `json:"path"` // on this server: /signin#CODE
}

// UserPath names an account.
type UserPath struct {
	Name string `path:"name"`
}

type userTarget struct {
	UserPath
	Change
}

func (s *server) userRoutes() {
	get(s, "/users", "List the accounts, by name", s.listUsers)
	get(s, "/users/{name}", "One account", func(ctx context.Context, in *UserPath) (access.User, error) {
		return s.o.Access.User(ctx, callOf(ctx).who, in.Name)
	})
	send(s, route{method: http.MethodPost, path: "/users", summary: "Make an account", secret: true}, s.createUser)
	send(s, route{method: http.MethodPatch, path: "/users/{name}", summary: "Change an account's role or password, or close it", secret: true}, s.changeUser)
	send(s, route{method: http.MethodDelete, path: "/users/{name}", summary: "Remove an account with its tokens and grants"}, s.deleteUser)
	send(s, route{method: http.MethodPost, path: "/users/{name}/link", summary: "Make a link that signs the user in once, within an hour"}, s.linkUser)
}

func (s *server) listUsers(ctx context.Context, _ *none) (Page[access.User], error) {
	all, err := s.o.Access.Users(ctx, callOf(ctx).who)
	return Page[access.User]{Items: filled(all)}, err
}

func (s *server) createUser(ctx context.Context, in *Change, u NewUser) (access.User, error) {
	who := callOf(ctx).who
	role, err := access.ParseRole(u.Role)
	if err != nil {
		return access.User{}, err
	}
	return s.o.Access.CreateUser(in.on(ctx), who, access.UserSpec{Name: u.Name, Role: role, Password: u.Password})
}

func (s *server) changeUser(ctx context.Context, in *userTarget, c UserChange) (access.User, error) {
	who := callOf(ctx).who
	u, err := s.o.Access.User(ctx, who, in.Name)
	if err != nil {
		return u, err
	}
	var role access.Role
	if c.Role != nil {
		if role, err = access.ParseRole(*c.Role); err != nil {
			return u, err
		}
	}
	if c == (UserChange{}) {
		return u, errs.Errorf("api.changeUser", errs.Invalid, "nothing is to be changed: send role, disabled or password")
	}
	changing := in.on(ctx)
	if c.Role != nil {
		err = s.o.Access.SetRole(changing, who, in.Name, role)
	}
	if err == nil && c.Disabled != nil {
		err = s.o.Access.SetDisabled(changing, who, in.Name, *c.Disabled)
	}
	if err == nil && c.Password != nil {
		err = s.o.Access.SetPassword(changing, who, in.Name, *c.Password)
	}
	if err != nil {
		return u, err
	}
	return s.o.Access.User(ctx, who, in.Name)
}

func (s *server) deleteUser(ctx context.Context, in *userTarget, _ none) (none, error) {
	return none{}, s.o.Access.DeleteUser(in.on(ctx), callOf(ctx).who, in.Name)
}

// linkUser lets somebody in as the user, so it takes the right to change the account, and to see it first.
func (s *server) linkUser(ctx context.Context, in *userTarget, _ none) (Link, error) {
	u, err := s.o.Access.User(ctx, callOf(ctx).who, in.Name)
	if err == nil {
		err = s.allow(ctx, "update", access.Resource{Type: "user", Name: in.Name, Owner: in.Name})
	}
	if err != nil || in.DryRun {
		return Link{}, err
	}
	code, err := s.o.Access.NewLink(ctx, u.Name)
	return Link{Code: code, Path: "/signin#" + strings.TrimSpace(code)}, err
}
