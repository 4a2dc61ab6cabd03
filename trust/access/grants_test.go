package access_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/trust/access"
)

func TestAGrantToAUserAddsThatAndNothingElse(t *testing.T) {
	w := newWorld(t)
	dev, eve, vic := w.as("dev"), w.as("eve"), w.as("vic")
	mnist := access.Resource{Type: "model", Name: "mnist", Owner: "eve"}
	g, err := w.Grant(t.Context(), w.as("ann"), access.Grant{User: "dev", Actions: []string{"export"}, Type: "model", Name: "mnist"})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Authorize(t.Context(), dev, "export", mnist); err != nil {
		t.Errorf("the grant does not work: %v", err)
	}
	if err := w.Authorize(t.Context(), eve, "export", mnist); err != nil {
		t.Errorf("the owner may not export: %v", err)
	}
	for name, ask := range map[string]func() error{
		"another model": func() error {
			return w.Authorize(t.Context(), dev, "export", access.Resource{Type: "model", Name: "mnist2"})
		},
		"another action": func() error { return w.Authorize(t.Context(), dev, "delete", mnist) },
		"another type": func() error {
			return w.Authorize(t.Context(), dev, "export", access.Resource{Type: "data", Name: "mnist", Owner: "eve"})
		},
		"another user": func() error { return w.Authorize(t.Context(), vic, "export", mnist) },
	} {
		if err := ask(); !errs.Is(err, errs.Denied) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	w.restart()
	if err := w.Authorize(t.Context(), dev, "export", mnist); err != nil {
		t.Errorf("the grant is gone after a restart: %v", err)
	}
	if err := w.Revoke(t.Context(), w.root, g.ID); err != nil {
		t.Fatal(err)
	}
	wants(t, w.Authorize(t.Context(), dev, "export", mnist), errs.Denied)
	wants(t, w.Revoke(t.Context(), w.root, g.ID), errs.NotFound)
}

func TestTheSameGrantTwiceIsOne(t *testing.T) {
	w := newWorld(t)
	g := access.Grant{Role: access.Viewer, Actions: []string{"read", "list", "read"}, Type: "audit", Name: "*"}
	one, err := w.Grant(t.Context(), w.root, g)
	if err != nil {
		t.Fatal(err)
	}
	two, err := w.Grant(t.Context(), w.root, access.Grant{Role: access.Viewer, Actions: []string{"list", "read"}, Type: "audit", Name: "*"})
	if err != nil || one.ID != two.ID {
		t.Errorf("got %v and %v, %v", one, two, err)
	}
	if list, err := w.Grants(t.Context(), w.root); err != nil || len(list) != 1 {
		t.Errorf("listed %v, %v", list, err)
	}
	if err := w.Authorize(t.Context(), w.as("vic"), "read", access.Resource{Type: "audit"}); err != nil {
		t.Error(err)
	}
	wants(t, w.Authorize(t.Context(), w.as("dev"), "read", access.Resource{Type: "audit"}), errs.Denied)
}

func TestAGrantThatMakesNoSenseIsRefused(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		g    access.Grant
		kind errs.Kind
	}{
		"to nobody":        {access.Grant{Actions: []string{"read"}, Type: "job", Name: "*"}, errs.Invalid},
		"to two":           {access.Grant{User: "dev", Role: access.Viewer, Actions: []string{"read"}, Type: "job", Name: "*"}, errs.Invalid},
		"to no such user":  {access.Grant{User: "zoe", Actions: []string{"read"}, Type: "job", Name: "*"}, errs.NotFound},
		"to no such role":  {access.Grant{Role: "boss", Actions: []string{"read"}, Type: "job", Name: "*"}, errs.Invalid},
		"to the anonymous": {access.Grant{Role: access.Anon, Actions: []string{"read"}, Type: "job", Name: "*"}, errs.Invalid},
		"of no action":     {access.Grant{User: "dev", Type: "job", Name: "*"}, errs.Invalid},
		"of no such":       {access.Grant{User: "dev", Actions: []string{"bake"}, Type: "job", Name: "*"}, errs.Invalid},
		"of a wrong one":   {access.Grant{User: "dev", Actions: []string{"predict"}, Type: "job", Name: "*"}, errs.Invalid},
		"on no type":       {access.Grant{User: "dev", Actions: []string{"read"}, Type: "cake", Name: "*"}, errs.Invalid},
		"on no name":       {access.Grant{User: "dev", Actions: []string{"read"}, Type: "job"}, errs.Invalid},
		"on two names":     {access.Grant{User: "dev", Actions: []string{"read"}, Type: "job", Name: "a b"}, errs.Invalid},
		"of all rights":    {access.Grant{User: "dev", Actions: []string{"create"}, Type: "grant", Name: "*"}, errs.Invalid},
	} {
		_, err := w.Grant(t.Context(), w.root, c.g)
		if !errs.Is(err, c.kind) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	g := access.Grant{User: "dev", Actions: []string{"read"}, Type: "audit", Name: "*"}
	if _, err := w.Grant(t.Context(), w.as("dev"), g); !errs.Is(err, errs.Denied) {
		t.Errorf("a developer's grant gave %v", err)
	}
}

// naive is what grants mean, in the plainest words: a list that is searched.
type naive struct {
	grants map[string]access.Grant
}

func (n naive) may(p access.Principal, action string, r access.Resource) bool {
	for _, row := range access.Rights {
		extent := map[access.Role]access.Extent{access.Admin: row.Admin, access.Developer: row.Developer, access.Viewer: row.Viewer, access.ServiceRole: row.Service}[p.Role]
		if row.Type == r.Type && slices.Contains(row.Actions, action) && (extent == access.Any || extent == access.Own && r.Owner == p.Name) {
			return true
		}
	}
	for _, g := range n.grants {
		if (g.User == p.Name || g.Role == p.Role) && g.Type == r.Type && (g.Name == "*" || g.Name == r.Name) && slices.Contains(g.Actions, action) {
			return true
		}
	}
	return false
}

// TestNoHistoryOfGrantsDiffersFromAListThatIsSearched runs 500 seeded histories of grants, revocations and restarts, and
// asks all along.
func TestNoHistoryOfGrantsDiffersFromAListThatIsSearched(t *testing.T) {
	w := newWorld(t)
	who := []access.Principal{w.as("dev"), w.as("eve"), w.as("vic"), w.as("bot")}
	kinds := []string{"model", "data", "job", "service", "secret", "audit"}
	names := []string{"a", "b", "c", "*"}
	roles := []access.Role{access.Developer, access.Viewer, access.ServiceRole}
	actions := map[string][]string{}
	for _, r := range access.Rights {
		actions[r.Type] = append(actions[r.Type], r.Actions...)
	}
	pick := func(r *rand.Rand, list []string) string { return list[r.IntN(len(list))] }
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 11))
		model := naive{grants: map[string]access.Grant{}}
		for range 20 {
			switch r.IntN(5) {
			case 0, 1:
				g := access.Grant{Type: pick(r, kinds), Name: pick(r, names)}
				if r.IntN(3) == 0 {
					g.Role = roles[r.IntN(len(roles))]
				} else {
					g.User = who[r.IntN(len(who))].Name
				}
				for range 1 + r.IntN(2) {
					g.Actions = append(g.Actions, pick(r, actions[g.Type]))
				}
				got, err := w.Grant(t.Context(), w.root, g)
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				model.grants[got.ID] = got
			case 2:
				for _, id := range slices.Sorted(maps.Keys(model.grants)) {
					if r.IntN(3) == 0 {
						if err := w.Revoke(t.Context(), w.root, id); err != nil {
							t.Fatalf("seed %d: %v", seed, err)
						}
						delete(model.grants, id)
					}
				}
			case 3:
				if r.IntN(4) == 0 {
					w.restart()
				}
			}
			for range 5 {
				p := who[r.IntN(len(who))]
				kind := pick(r, kinds)
				action := pick(r, actions[kind])
				what := access.Resource{Type: kind, Name: pick(r, names[:3]), Owner: pick(r, []string{"", "dev", "eve", "vic"})}
				got, err := w.May(t.Context(), p, action, what)
				if want := model.may(p, action, what); err != nil || got != want {
					t.Fatalf("seed %d: %s (%s) %s %+v gave %v, %v; the list says %v; grants %v", seed, p.Name, p.Role, action, what, got, err, want, fmt.Sprint(model.grants))
				}
			}
		}
		for id := range model.grants {
			if err := w.Revoke(t.Context(), w.root, id); err != nil {
				t.Fatal(err)
			}
		}
	}
}
