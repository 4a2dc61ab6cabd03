// Package access decides who may do what: Access = Grant(Role, Resource).
//
// A Principal is who asks (an account that signed in, a token, the owner of the data folder's socket, nobody), a Resource
// is what is asked for. Authorize is the one place that decides. It evaluates a few Cedar policies (policy.go) that never
// change; what differs from one server to the next is data: the table of rights below, and the grants that admins give,
// both as tags of Cedar entities. A decision costs the same with one grant as with 10,000.
//
// The table of rights. "any" is any thing of the type, "own" only what the principal owns.
//
//	type      actions                                     admin  developer  viewer  service
//	job       list read                                   any    any        any     -
//	job       create                                      any    any        -       -
//	job       update cancel exec                          any    own        -       -
//	code      read create                                 any    any        -       -
//	data      list read                                   any    any        any     -
//	data      create                                      any    any        -       -
//	data      update delete export                        any    own        -       -
//	model     list read                                   any    any        any     -
//	model     create update load deploy                   any    any        -       -
//	model     predict                                     any    any        -       any
//	model     export delete                               any    own        -       -
//	service   list read                                   any    any        any     any
//	service   create update delete load deploy            any    any        -       -
//	service   predict                                     any    any        -       any
//	service   log                                         any    -          -       -
//	node      list read                                   any    any        any     -
//	node      cordon                                      any    -          -       -
//	reservation  list read                               any    any        any     -
//	reservation  create                                  any    -          -       -
//	reservation  delete                                  any    own        -       -
//	policy    list read                                   any    any        any     -
//	policy    update                                      any    -          -       -
//	action    list read                                   any    any        any     -
//	action    approve                                     any    -          -       -
//	secret    list read create update delete              any    own        -       -
//	token     list read create delete                     any    own        own     -
//	user      read update                                 any    own        own     -
//	user      list create delete                          any    -          -       -
//	grant     list read create delete                     any    -          -       -
//	audit     list read                                   any    -          -       -
//	key       read rotate                                 any    -          -       -
//	overview  read                                        any    any        any     -
//	problem   solve                                       any    any        -       -
//	events    read                                        any    any        any     -
//
// With the server's demonstration, and only then, anonymous callers may load, predict and read on model and service.
// To log is to read what a model was asked and answered, where that is kept.
// To read a secret is to see its name, and to use it in a job; no role shows its value. To update a job is to retry it or
// to change its replicas; to update a model is to move its aliases.
//
// A grant adds to that: a user, or everyone with a role, may do some actions on one thing of a type, or on all ("*").
// A token takes away from it: it may have a lesser role than its account, and be limited to scopes, beyond which it may do
// nothing. A scope is an action ("read", which lists too) or an action and the name of a thing ("predict:mnist"). A token
// that has less than its account changes no accounts, tokens, grants or keys: with them it could give itself the rest.
//
// Who may do nothing at all to a thing is told that there is no such thing, in the words for a thing that is not there.
// Refusals are counted and written to the audit log in batches; every change to accounts, tokens and grants is an event
// in its own transaction. Passwords are kept as argon2id hashes, tokens, sessions and links as SHA-256 of 160 random
// bits: what is stored lets nobody in.
package access

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Extent is how far a right reaches.
type Extent string

// The extents.
const (
	None Extent = ""
	Own  Extent = "own" // things whose owner is the principal
	Any  Extent = "any"
)

// Right is one row of the table: what each role may do to a type of thing.
type Right struct {
	Type                              string
	Actions                           []string
	Admin, Developer, Viewer, Service Extent
}

// of is the row's extent for a role.
func (r Right) of(role Role) Extent {
	switch role {
	case Admin:
		return r.Admin
	case Developer:
		return r.Developer
	case Viewer:
		return r.Viewer
	case ServiceRole:
		return r.Service
	}
	return None
}

// Rights is the table of the package's comment. It is only read.
var Rights = [...]Right{
	{"job", words("list read"), Any, Any, Any, None},
	{"job", words("create"), Any, Any, None, None},
	{"job", words("update cancel exec"), Any, Own, None, None},
	{"code", words("read create"), Any, Any, None, None},
	{"data", words("list read"), Any, Any, Any, None},
	{"data", words("create"), Any, Any, None, None},
	{"data", words("update delete export"), Any, Own, None, None},
	{"model", words("list read"), Any, Any, Any, None},
	{"model", words("create update load deploy"), Any, Any, None, None},
	{"model", words("predict"), Any, Any, None, Any},
	{"model", words("export delete"), Any, Own, None, None},
	{"service", words("list read"), Any, Any, Any, Any},
	{"service", words("create update delete load deploy"), Any, Any, None, None},
	{"service", words("predict"), Any, Any, None, Any},
	{"service", words("log"), Any, None, None, None},
	{"node", words("list read"), Any, Any, Any, None},
	{"node", words("cordon"), Any, None, None, None},
	{"reservation", words("list read"), Any, Any, Any, None},
	{"reservation", words("create"), Any, None, None, None},
	{"reservation", words("delete"), Any, Own, None, None},
	{"policy", words("list read"), Any, Any, Any, None},
	{"policy", words("update"), Any, None, None, None},
	{"action", words("list read"), Any, Any, Any, None},
	{"action", words("approve"), Any, None, None, None},
	{"secret", words("list read create update delete"), Any, Own, None, None},
	{"token", words("list read create delete"), Any, Own, Own, None},
	{"user", words("read update"), Any, Own, Own, None},
	{"user", words("list create delete"), Any, None, None, None},
	{"grant", words("list read create delete"), Any, None, None, None},
	{"audit", words("list read"), Any, None, None, None},
	{"key", words("read rotate"), Any, None, None, None},
	{"overview", words("read"), Any, Any, Any, None},
	{"problem", words("solve"), Any, Any, None, None},
	{"events", words("read"), Any, Any, Any, None},
}

// demonstration is what anonymous callers may do where Options.Demo says so.
var demonstration = [...]Right{
	{Type: "model", Actions: words("load predict read")},
	{Type: "service", Actions: words("load predict read")},
}

func words(s string) []string { return strings.Fields(s) }

// known reports whether the type has the action.
func known(kind, action string) bool {
	return slices.ContainsFunc(Rights[:], func(r Right) bool { return r.Type == kind && slices.Contains(r.Actions, action) })
}

// actionsOf lists what can be done to a type of thing.
func actionsOf(kind string) (out []string) {
	for _, r := range Rights {
		if r.Type == kind {
			out = append(out, r.Actions...)
		}
	}
	return out
}

// checkScope accepts ACTION and ACTION:NAME.
func checkScope(s string) error {
	const op = "access.CheckScope"
	action, name, named := strings.Cut(s, ":")
	ok := action != "list" && slices.ContainsFunc(Rights[:], func(r Right) bool { return slices.Contains(r.Actions, action) })
	if !ok || len(name) > 128 || named && name == "" {
		return errs.Errorf(op, errs.Invalid, `scope %.80q is not known: write an action such as "read" or "predict", or an action and a name such as "predict:mnist"`, s)
	}
	return nil
}

// scopeOf is the word of a scope that an action falls under.
func scopeOf(action string) string {
	if action == "list" {
		return "read"
	}
	return action
}

// gives reports whether the action changes what rights come from.
func gives(action, kind string) bool {
	return scopeOf(action) != "read" && slices.Contains([]string{"user", "token", "grant", "key"}, kind)
}

// grantable reports whether rights on the type can be granted one by one. Whoever had those on accounts, tokens, grants or
// keys could give themselves all others.
func grantable(kind string) bool { return !gives("update", kind) }

// Missing is the error for a thing that is not there, in the words of the package that keeps it. Whoever may not know of
// a thing reads the same.
func Missing(r Resource) error {
	hint := map[string]string{
		"job":         "no job %s; `lineshaft jobs` lists them",
		"array":       "no array %s; `lineshaft jobs` lists them",
		"model":       "no model %q; `lineshaft models list` lists them",
		"data":        "no data set %q; `lineshaft data list` lists them, `lineshaft data import` adds one",
		"service":     "no model %q is in service; `lineshaft deploy %[1]s` puts it there",
		"code":        "no uploaded code %s: `lineshaft submit --code DIR` uploads a folder",
		"action":      "no open action %q; `lineshaft advice` lists them",
		"policy":      "no policy %q; `lineshaft advice` lists them",
		"node":        "no node %q; `lineshaft fleet` lists them",
		"reservation": "no reservation %q; `lineshaft reservations` lists them",
		"secret":      "no secret %q; `lineshaft secrets list` lists yours",
		"user":        "no user %q; `lineshaft users list` lists them",
		"token":       "no token %q; `lineshaft tokens list` lists them",
		"grant":       "no grant %q; `lineshaft grants list` lists them",
	}[r.Type]
	if hint == "" {
		hint = "no " + r.Type + " %q"
	}
	return errs.Errorf("access.Missing", errs.NotFound, hint, r.Name)
}

// refuse says what was asked, what would be allowed and what would make it work.
func refuse(op string, p Principal, action string, r Resource, limited bool) error {
	what := r.Type + " " + r.Name
	if r.Name == "" {
		what = "a " + r.Type
		if strings.ContainsRune("aeiou", rune(r.Type[0])) {
			what = "an " + r.Type
		}
	}
	who := fmt.Sprintf("%s (%s)", strings.TrimPrefix(p.Actor(), "user/"), p.Role)
	if p.Role == Anon {
		return errs.Errorf(op, errs.Unauthenticated, "access denied: without a token one may not %s %s; send `Authorization: Bearer ls_…`, `lineshaft tokens create` makes one", action, what)
	}
	var roles []string
	own := false
	for _, row := range Rights {
		if row.Type != r.Type || !slices.Contains(row.Actions, action) {
			continue
		}
		own = own || row.of(p.Role) == Own
		for _, role := range []Role{Admin, Developer, Viewer, ServiceRole} {
			if row.of(role) == Any {
				roles = append(roles, string(role))
			}
		}
	}
	may := "that takes the role " + strings.Join(roles, " or ")
	switch {
	case limited && gives(action, r.Type):
		may = "a token that has less than its account changes no accounts, tokens, grants or keys"
	case len(p.Scopes) > 0 && slices.Contains(roles, string(p.Role)):
		may = fmt.Sprintf("token %s is limited to %s, and this takes the scope %q", p.Token, strings.Join(p.Scopes, ", "), scopeOf(action))
	case own && r.Owner != "":
		may = fmt.Sprintf("it belongs to %s; only the owner or an admin may", r.Owner)
	case own:
		may += ", or to own it"
	}
	if !limited && grantable(r.Type) {
		may += "; an admin can give a grant for it"
	}
	return errs.Errorf(op, errs.Denied, "access denied: %s may not %s %s: %s", who, action, what, may)
}
