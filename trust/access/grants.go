package access

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/internal/id"
)

// Grant lets a user, or everyone with a role, do more than the table of rights says.
type Grant struct {
	ID      string    `json:"id"`
	User    string    `json:"user,omitempty"` // either a user
	Role    Role      `json:"role,omitempty"` // or a role
	Actions []string  `json:"actions"`
	Type    string    `json:"type"`
	Name    string    `json:"name"` // of one thing, or "*" for all of the type
	By      string    `json:"by"`
	Created time.Time `json:"created"`
}

// receiver is who a grant is for.
type receiver struct {
	user string
	role Role
}

func (g Grant) to() receiver { return receiver{g.User, g.Role} }

func (g Grant) check() error {
	const op = "access.Grant"
	if (g.User == "") == (g.Role == "") {
		return errs.Errorf(op, errs.Invalid, "a grant is for either a user or a role")
	}
	if g.Role != "" {
		if _, err := ParseRole(string(g.Role)); err != nil {
			return err
		}
	}
	may := actionsOf(g.Type)
	switch {
	case len(may) == 0:
		return errs.Errorf(op, errs.Invalid, "there is no type of thing %q: grants are on model, data, job, service, secret and the other types of the table of rights", g.Type)
	case !grantable(g.Type):
		return errs.Errorf(op, errs.Invalid, "rights on %s cannot be granted one by one: whoever has them can give themselves all others; use the role admin", g.Type)
	case len(g.Actions) == 0:
		return errs.Errorf(op, errs.Invalid, "a grant names actions: on %s there are %s", g.Type, strings.Join(may, ", "))
	case g.Name == "" || len(g.Name) > 128 || strings.ContainsFunc(g.Name, func(r rune) bool { return r <= ' ' }):
		return errs.Errorf(op, errs.Invalid, `a grant names one %s, or "*" for all`, g.Type)
	}
	for _, a := range g.Actions {
		if !slices.Contains(may, a) {
			return errs.Errorf(op, errs.Invalid, "%q cannot be done to a %s: there are %s", a, g.Type, strings.Join(may, ", "))
		}
	}
	return nil
}

// Grant adds a grant. The same grant again gives the one that is there.
func (s *Service) Grant(ctx context.Context, by Principal, g Grant) (Grant, error) {
	if err := s.Authorize(ctx, by, "create", Resource{Type: "grant"}); err != nil {
		return Grant{}, err
	}
	g.Actions = slices.Clone(g.Actions)
	slices.Sort(g.Actions)
	g.Actions = slices.Compact(g.Actions)
	if err := g.check(); err != nil {
		return Grant{}, err
	}
	err := s.alter(ctx, func(v *view, now time.Time) (Change, []event.Event, error) {
		if _, ok := v.accounts[g.User]; !ok && g.User != "" {
			return Change{}, nil, Missing(Resource{Type: "user", Name: g.User})
		}
		for _, old := range v.grants {
			if old.to() == g.to() && old.Type == g.Type && old.Name == g.Name && slices.Equal(old.Actions, g.Actions) {
				g = old
				return Change{}, nil, nil
			}
		}
		g.ID, g.By, g.Created = id.New("gr"), by.Actor(), now
		return Change{Grants: []Grant{g}}, []event.Event{note("grant.created", "grant/"+g.ID, by, g)}, nil
	})
	if dry(ctx) {
		g.ID = ""
	}
	return g, err
}

// Revoke takes a grant back.
func (s *Service) Revoke(ctx context.Context, by Principal, grantID string) error {
	r := Resource{Type: "grant", Name: grantID}
	if err := s.Authorize(ctx, by, "delete", r); err != nil {
		return err
	}
	return s.alter(ctx, func(v *view, _ time.Time) (Change, []event.Event, error) {
		g, ok := v.grants[grantID]
		if !ok {
			return Change{}, nil, Missing(r)
		}
		return Change{Take: []Ref{{GrantKind, grantID}}}, []event.Event{note("grant.revoked", "grant/"+grantID, by, g)}, nil
	})
}

// Grants lists the grants, oldest first. It is for those who may list them.
func (s *Service) Grants(ctx context.Context, by Principal) ([]Grant, error) {
	if err := s.Authorize(ctx, by, "list", Resource{Type: "grant"}); err != nil {
		return nil, err
	}
	v, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Grant, 0, len(v.grants))
	for _, g := range v.grants {
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b Grant) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out, nil
}
