package access_test

import (
	"encoding/base32"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/trust/access"
)

func TestATokenSpeaksForItsUserUntilItExpiresOrIsRevoked(t *testing.T) {
	w := newWorld(t)
	secret, made, err := w.CreateToken(t.Context(), w.as("dev"), access.TokenSpec{Name: "laptop", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	random, ok := strings.CutPrefix(secret, "ls_")
	if raw, err := base32.StdEncoding.DecodeString(strings.ToUpper(random)); !ok || err != nil || len(raw)*8 < 160 {
		t.Errorf("the secret %q has %d random bits, %v", secret, len(raw)*8, err)
	}
	p, err := w.Authenticate(t.Context(), secret)
	if err != nil || p.Name != "dev" || p.Role != access.Developer || p.Via != "token" || p.Token != made.ID || p.Actor() != "user/dev" {
		t.Errorf("got %+v, %v", p, err)
	}
	w.restart()
	w.clock.Advance(time.Hour - 1)
	if _, err := w.Authenticate(t.Context(), secret); err != nil {
		t.Errorf("it ended too early: %v", err)
	}
	w.clock.Advance(1)
	_, err = w.Authenticate(t.Context(), secret)
	wants(t, err, errs.Unauthenticated)

	secret, made, err = w.CreateToken(t.Context(), w.as("dev"), access.TokenSpec{})
	if err != nil || !made.Expires.Equal(w.clock.Now().Add(access.DefaultTTL)) {
		t.Fatalf("got %+v, %v", made, err)
	}
	if err := w.RevokeToken(t.Context(), w.as("dev"), made.ID); err != nil {
		t.Fatal(err)
	}
	_, open := w.token(access.TokenSpec{User: "dev", Role: access.Developer})
	if err := w.RevokeToken(t.Context(), w.root, open.Token); err != nil {
		t.Fatal(err)
	}
	wants(t, w.Authorize(t.Context(), open, "read", access.Resource{Type: "job", Name: "1"}), errs.Unauthenticated)
	for _, wrong := range []string{secret, "", "ls_", made.ID, secret[:len(secret)-1]} {
		_, err = w.Authenticate(t.Context(), wrong)
		wants(t, err, errs.Unauthenticated)
	}
}

func TestNobodyMakesATokenWithMoreThanTheyHave(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		by   string
		spec access.TokenSpec
		kind errs.Kind
	}{
		"a developer's for admin":          {"dev", access.TokenSpec{Role: access.Admin}, errs.Denied},
		"a developer's for another":        {"dev", access.TokenSpec{User: "eve"}, errs.Denied},
		"a viewer's for a service":         {"vic", access.TokenSpec{Role: access.ServiceRole}, errs.Denied},
		"a service's own":                  {"bot", access.TokenSpec{}, errs.Denied},
		"an admin's, above its user":       {"ann", access.TokenSpec{User: "vic", Role: access.Developer}, errs.Denied},
		"for nobody":                       {"ann", access.TokenSpec{User: "zoe"}, errs.NotFound},
		"without end":                      {"ann", access.TokenSpec{TTL: 100 * 366 * 24 * time.Hour}, errs.Invalid},
		"of the past":                      {"ann", access.TokenSpec{TTL: -time.Hour}, errs.Invalid},
		"with a scope that is none":        {"ann", access.TokenSpec{Scopes: []string{"everything"}}, errs.Invalid},
		"with a scope on nothing":          {"ann", access.TokenSpec{Scopes: []string{"read:"}}, errs.Invalid},
		"with too many scopes":             {"ann", access.TokenSpec{Scopes: slices.Repeat([]string{"read"}, 101)}, errs.TooLarge},
		"with a name that breaks the line": {"ann", access.TokenSpec{Name: "a\nb"}, errs.Invalid},
	} {
		if _, _, err := w.CreateToken(t.Context(), w.as(c.by), c.spec); !errs.Is(err, c.kind) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestATokenDoesNotOutgrowItsUser(t *testing.T) {
	w := newWorld(t)
	developer, _ := w.token(access.TokenSpec{User: "dev", Role: access.Developer})
	service, _ := w.token(access.TokenSpec{User: "dev", Role: access.ServiceRole})
	if err := w.SetRole(t.Context(), w.root, "dev", access.Viewer); err != nil {
		t.Fatal(err)
	}
	if p, err := w.Authenticate(t.Context(), developer); err != nil || p.Role != access.Viewer {
		t.Errorf("got %+v, %v", p, err)
	}
	if p, err := w.Authenticate(t.Context(), service); !errs.Is(err, errs.Unauthenticated) {
		t.Errorf("got %+v, %v", p, err)
	}
}

func TestATokenWithLessThanItsUserHasNotTheUsersGrants(t *testing.T) {
	w := newWorld(t)
	if _, err := w.Grant(t.Context(), w.root, access.Grant{User: "dev", Actions: []string{"export"}, Type: "model", Name: "*"}); err != nil {
		t.Fatal(err)
	}
	_, full := w.token(access.TokenSpec{User: "dev", Role: access.Developer})
	_, less := w.token(access.TokenSpec{User: "dev", Role: access.Viewer})
	mnist := access.Resource{Type: "model", Name: "mnist"}
	if err := w.Authorize(t.Context(), full, "export", mnist); err != nil {
		t.Error(err)
	}
	wants(t, w.Authorize(t.Context(), less, "export", mnist), errs.Denied)
}

func TestAScopeLimitsWhatATokenMayDo(t *testing.T) {
	w := newWorld(t)
	model := func(name string) access.Resource { return access.Resource{Type: "model", Name: name} }
	for scope, c := range map[string]struct{ may, mayNot map[string]access.Resource }{
		"read": {
			map[string]access.Resource{"read": model("mnist"), "list": {Type: "job"}},
			map[string]access.Resource{"predict": model("mnist"), "create": {Type: "job"}},
		},
		"predict:mnist": {
			map[string]access.Resource{"predict": model("mnist")},
			map[string]access.Resource{"predict": model("other"), "read": model("mnist"), "list": {Type: "model"}},
		},
		"create": {
			map[string]access.Resource{"create": {Type: "job"}},
			map[string]access.Resource{"read": {Type: "job", Name: "1"}},
		},
	} {
		_, p := w.token(access.TokenSpec{User: "ann", Role: access.Admin, Scopes: []string{scope}})
		for action, r := range c.may {
			if err := w.Authorize(t.Context(), p, action, r); err != nil {
				t.Errorf("%s: %v", scope, err)
			}
		}
		for action, r := range c.mayNot {
			if err := w.Authorize(t.Context(), p, action, r); !errs.Is(err, errs.Denied) && !errs.Is(err, errs.NotFound) {
				t.Errorf("%s: %s %+v gave %v", scope, action, r, err)
			}
		}
	}
}

// Otherwise whoever finds a token that may only "create" makes themselves an admin with it.
func TestALimitedTokenGivesNobodyRights(t *testing.T) {
	w := newWorld(t)
	var all []string
	for _, r := range access.Rights {
		for _, a := range r.Actions {
			if a != "list" {
				all = append(all, a)
			}
		}
	}
	slices.Sort(all)
	_, p := w.token(access.TokenSpec{User: "ann", Role: access.Admin, Scopes: slices.Compact(all)})
	_, err := w.CreateUser(t.Context(), p, access.UserSpec{Name: "mallory", Role: access.Admin, Password: password})
	wants(t, err, errs.Denied)
	_, _, err = w.CreateToken(t.Context(), p, access.TokenSpec{User: "ann"})
	wants(t, err, errs.Denied)
	_, err = w.Grant(t.Context(), p, access.Grant{User: "vic", Actions: []string{"read"}, Type: "audit", Name: "*"})
	wants(t, err, errs.Denied)
	wants(t, w.SetPassword(t.Context(), p, "ann", "another fine phrase"), errs.Denied)
	wants(t, w.SetRole(t.Context(), p, "vic", access.Admin), errs.Denied)
	wants(t, w.Authorize(t.Context(), p, "rotate", access.Resource{Type: "key"}), errs.Denied)
	if _, err := w.Users(t.Context(), p); err != nil {
		t.Error(err)
	}
}

func TestATokenWithLessThanItsAccountCannotTakeTheRest(t *testing.T) {
	w := newWorld(t)
	_, p := w.token(access.TokenSpec{User: "ann", Role: access.Viewer})
	wants(t, w.SetPassword(t.Context(), p, "ann", "another fine phrase"), errs.Denied)
	wants(t, w.Authorize(t.Context(), p, "update", access.Resource{Type: "user", Name: "ann", Owner: "ann"}), errs.Denied)
	_, _, err := w.CreateToken(t.Context(), p, access.TokenSpec{})
	wants(t, err, errs.Denied)
	wants(t, w.RevokeToken(t.Context(), p, p.Token), errs.Denied)
	_, full := w.token(access.TokenSpec{User: "dev", Role: access.Developer})
	if err := w.SetPassword(t.Context(), full, "dev", "another fine phrase"); err != nil {
		t.Error(err)
	}
}

func TestALimitedTokenLearnsNothingOfWhatElseThereIs(t *testing.T) {
	w := newWorld(t)
	_, p := w.token(access.TokenSpec{User: "ann", Role: access.Admin, Scopes: []string{"predict:mnist"}})
	wants(t, w.Authorize(t.Context(), p, "read", access.Resource{Type: "model", Name: "mnist"}), errs.Denied)
	wants(t, w.Authorize(t.Context(), p, "read", access.Resource{Type: "model", Name: "other"}), errs.NotFound)
	wants(t, w.Authorize(t.Context(), p, "read", access.Resource{Type: "secret", Name: "db", Owner: "dev"}), errs.NotFound)
}

func TestEachSeesTheirOwnTokens(t *testing.T) {
	w := newWorld(t)
	_, dev := w.token(access.TokenSpec{User: "dev", Role: access.Developer})
	_, eve := w.token(access.TokenSpec{User: "eve", Role: access.Developer})
	for name, want := range map[string][]string{"dev": {dev.Token}, "eve": {eve.Token}, "ann": {dev.Token, eve.Token}, "bot": nil} {
		list, err := w.Tokens(t.Context(), w.as(name))
		var got []string
		for _, token := range list {
			got = append(got, token.ID)
		}
		slices.Sort(got)
		slices.Sort(want)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s sees %v, %v; want %v", name, got, err, want)
		}
	}
	there := w.RevokeToken(t.Context(), w.as("dev"), eve.Token)
	gone := w.RevokeToken(t.Context(), w.as("dev"), "tok_x")
	if !errs.Is(there, errs.NotFound) || strings.ReplaceAll(there.Error(), eve.Token, "tok_x") != gone.Error() {
		t.Errorf("another's token gave %q, none %q", there, gone)
	}
}

func TestTheTimeOfUseIsWrittenInBatches(t *testing.T) {
	w := newWorld(t)
	secret, _, err := w.CreateToken(t.Context(), w.root, access.TokenSpec{User: "dev", Role: access.Developer})
	if err != nil {
		t.Fatal(err)
	}
	before := w.store.writes
	for range 100 {
		w.clock.Advance(time.Second)
		if _, err := w.Authenticate(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
	}
	if w.store.writes != before {
		t.Errorf("using a token wrote %d times", w.store.writes-before)
	}
	for range 3 {
		if err := w.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if w.store.writes != before+1 {
		t.Errorf("three flushes wrote %d times", w.store.writes-before)
	}
	w.restart()
	list, err := w.Tokens(t.Context(), w.root)
	if err != nil || len(list) != 1 || list[0].LastUsed == nil || w.clock.Now().Sub(*list[0].LastUsed) > time.Minute {
		t.Errorf("got %+v, %v", list, err)
	}
}
