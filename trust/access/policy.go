package access

import (
	"context"
	"fmt"

	cedar "github.com/cedar-policy/cedar-go"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// policies is every rule there is. The request's context holds the keys under which the entities' tags are looked up:
// right "ACTION TYPE", grant "ACTION TYPE NAME", grants "ACTION TYPE *", scope "ACTION", scoped "ACTION:NAME". gives is
// true for changes to what rights come from.
const policies = `
@id("rights: the table of the principal's role")
permit (principal, action, resource) when {
	principal.role.hasTag(context.right) &&
	(principal.role.getTag(context.right) == "any" || (resource has owner && resource.owner == principal.name))
};

@id("grants: what was given to the user or to everyone with the role")
permit (principal, action, resource) when {
	principal.hasTag(context.grant) || principal.hasTag(context.grants) ||
	principal.role.hasTag(context.grant) || principal.role.hasTag(context.grants)
};

@id("scopes: a token that is limited to scopes does no more than they say")
forbid (principal, action, resource) when {
	principal has scopes && !principal.scopes.containsAny([context.scope, context.scoped])
};

@id("limits: a token with less than its account gives nobody rights, or it would give itself the rest")
forbid (principal, action, resource) when { context.gives && principal.limited };

@id("closed: an account that was disabled or deleted, and a token that was revoked, do nothing")
forbid (principal, action, resource) when { principal.closed };
`

// compile parses the policies.
func compile() *cedar.PolicySet {
	set, err := cedar.NewPolicySetFromBytes("policies", []byte(policies))
	if err != nil {
		panic(err) // the text above does not parse
	}
	return set
}

func roleUID(r Role) cedar.EntityUID { return cedar.NewEntityUID("Role", cedar.String(r)) }

// roleTags is a role's row of the table as tags: the right under "ACTION TYPE" is "any" or "own".
func roleTags(role Role, demo bool) cedar.RecordMap {
	tags := cedar.RecordMap{}
	for _, row := range Rights {
		if extent := row.of(role); extent != None {
			for _, a := range row.Actions {
				tags[cedar.String(a+" "+row.Type)] = cedar.String(extent)
			}
		}
	}
	if role == Anon && demo {
		for _, row := range demonstration {
			for _, a := range row.Actions {
				tags[cedar.String(a+" "+row.Type)] = cedar.String(Any)
			}
		}
	}
	return tags
}

// roleEntity is a role with its rights and the grants that everyone with it has.
func roleEntity(role Role, demo bool, granted cedar.RecordMap) cedar.Entity {
	tags := roleTags(role, demo)
	for k, v := range granted {
		tags[k] = v
	}
	return cedar.Entity{UID: roleUID(role), Tags: cedar.NewRecord(tags)}
}

// asked is the entities of one request: who, with which role, and what.
type asked [3]cedar.Entity

// Get finds one of them.
func (a *asked) Get(uid cedar.EntityUID) (cedar.Entity, bool) {
	for i := range a {
		if a[i].UID == uid {
			return a[i], true
		}
	}
	return cedar.Entity{}, false
}

// Authorize decides. Nil lets p do it; errs.Denied (errs.Unauthenticated for an anonymous p) says what would make it
// work; errs.NotFound is for who may do nothing at all to the thing, and so may not know that it exists.
func (s *Service) Authorize(ctx context.Context, p Principal, action string, r Resource) error {
	return s.decide(ctx, p, action, r, r)
}

// admin decides about an account where owning it is not enough.
func (s *Service) admin(ctx context.Context, p Principal, action, user string) error {
	r := Resource{Type: "user", Name: user}
	return s.decide(ctx, p, action, r, Resource{Type: r.Type, Name: user, Owner: user})
}

// decide is Authorize about r for whoever may know of the thing as seen.
func (s *Service) decide(ctx context.Context, p Principal, action string, r, seen Resource) error {
	const op = "access.Authorize"
	if !known(r.Type, action) {
		return errs.Errorf(op, errs.Denied, "there is no action %q on %q", action, r.Type)
	}
	st, err := s.read(ctx)
	if err != nil {
		return err
	}
	if s.allows(st, p, action, r) {
		return nil
	}
	if st.closed(p) {
		return errs.Errorf(op, errs.Unauthenticated, "the account %q was closed, or its token revoked: sign in again", p.Name)
	}
	s.refusals.note(refusal{Actor: p.Actor(), Action: action, Subject: r.Subject(), Via: p.Via}, s.o.Clock.Now())
	if r.Name != "" && action != "create" && p.Role != Anon {
		hidden := true
		for _, a := range actionsOf(r.Type) {
			hidden = hidden && !s.allows(st, p, a, seen)
		}
		if hidden {
			return Missing(r)
		}
	}
	return refuse(op, p, action, r, st.limited(p))
}

// May decides as Authorize does, for choosing what to show: a no is no refusal, and is not audited.
func (s *Service) May(ctx context.Context, p Principal, action string, r Resource) (bool, error) {
	st, err := s.read(ctx)
	return err == nil && known(r.Type, action) && s.allows(st, p, action, r), err
}

// allows evaluates the policies. A policy that cannot be evaluated denies.
func (s *Service) allows(st *view, p Principal, action string, r Resource) bool {
	who := cedar.NewEntityUID("User", cedar.String(p.Name))
	what := cedar.Entity{UID: cedar.NewEntityUID(cedar.EntityType(r.Type), cedar.String(r.Name))}
	if r.Owner != "" {
		what.Attributes = cedar.NewRecord(cedar.RecordMap{"owner": cedar.String(r.Owner)})
	}
	right := action + " " + r.Type
	decision, diagnostic := cedar.Authorize(s.policies, &asked{
		{UID: who, Attributes: st.attributes(p), Tags: st.granted(p)}, st.role(p.Role), what,
	}, cedar.Request{
		Principal: who, Action: cedar.NewEntityUID("Action", cedar.String(action)), Resource: what.UID,
		Context: cedar.NewRecord(cedar.RecordMap{
			"right": cedar.String(right), "grant": cedar.String(right + " " + r.Name), "grants": cedar.String(right + " *"),
			"scope": cedar.String(scopeOf(action)), "scoped": cedar.String(scopeOf(action) + ":" + r.Name),
			"gives": cedar.Boolean(gives(action, r.Type)),
		}),
	})
	return decision == cedar.Allow && len(diagnostic.Errors) == 0
}

// attributesOf is a principal for the policies.
func attributesOf(name string, role Role, closed, limited bool, scopes []string) cedar.Record {
	m := cedar.RecordMap{
		"name": cedar.String(name), "role": roleUID(role), "closed": cedar.Boolean(closed), "limited": cedar.Boolean(limited),
	}
	if len(scopes) > 0 {
		list := make([]cedar.Value, len(scopes))
		for i, scope := range scopes {
			list[i] = cedar.String(scope)
		}
		m["scopes"] = cedar.NewSet(list...)
	}
	return cedar.NewRecord(m)
}

// tagsOf is grants as tags.
func tagsOf(grants []Grant) cedar.RecordMap {
	tags := cedar.RecordMap{}
	for _, g := range grants {
		for _, a := range g.Actions {
			tags[cedar.String(fmt.Sprintf("%s %s %s", a, g.Type, g.Name))] = cedar.True
		}
	}
	return tags
}
