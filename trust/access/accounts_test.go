package access_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/trust/access"
)

func TestANewFolderGetsOneAdminWithoutAPassword(t *testing.T) {
	w := newWorld(t)
	w.store = newMemory()
	w.restart()
	if created, err := w.Bootstrap(t.Context()); err != nil || !created {
		t.Fatalf("got %v, %v", created, err)
	}
	if created, err := w.Bootstrap(t.Context()); err != nil || created {
		t.Errorf("the second time gave %v, %v", created, err)
	}
	for _, guess := range []string{"", "admin", "password"} {
		_, _, _, err := w.SignIn(t.Context(), "admin", guess)
		wants(t, err, errs.Unauthenticated)
	}
	u, err := w.User(t.Context(), w.Socket(), "admin")
	if err != nil || u.Role != access.Admin || u.HasPassword {
		t.Errorf("got %+v, %v", u, err)
	}
}

func TestASignInLinkWorksOnceAndForAnHour(t *testing.T) {
	w := newWorld(t)
	code, err := w.NewLink(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	cookie, expires, p, err := w.SignInByLink(t.Context(), code)
	if err != nil || p.Name != "ann" || p.Role != access.Admin || p.Via != "link" || !expires.After(start) {
		t.Fatalf("got %+v until %v, %v", p, expires, err)
	}
	if again, err := w.Session(t.Context(), cookie); err != nil || again.Name != "ann" || again.Via != "link" {
		t.Errorf("the session is %+v, %v", again, err)
	}
	_, _, _, err = w.SignInByLink(t.Context(), code)
	wants(t, err, errs.Unauthenticated)

	if code, err = w.NewLink(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(time.Hour)
	_, _, _, err = w.SignInByLink(t.Context(), code)
	wants(t, err, errs.Unauthenticated)
	_, err = w.NewLink(t.Context(), "zoe")
	wants(t, err, errs.NotFound)
}

func TestASessionEndsWhenItIsNotUsedAndInAnyCase(t *testing.T) {
	w := newWorld(t)
	cookie, expires, _, err := w.SignIn(t.Context(), "dev", password)
	if err != nil {
		t.Fatal(err)
	}
	for w.clock.Now().Add(11 * time.Hour).Before(expires) {
		w.clock.Advance(11 * time.Hour)
		if _, err := w.Session(t.Context(), cookie); err != nil {
			t.Fatalf("a session in use ended at %v: %v", w.clock.Now(), err)
		}
		if err := w.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.restart()
	}
	w.clock.Advance(11 * time.Hour)
	_, err = w.Session(t.Context(), cookie)
	wants(t, err, errs.Unauthenticated)

	cookie, _, _, err = w.SignIn(t.Context(), "dev", password)
	if err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(12 * time.Hour)
	_, err = w.Session(t.Context(), cookie)
	wants(t, err, errs.Unauthenticated)
	if err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r, err := w.store.ReadAccess(t.Context()); err != nil || len(r.Sessions) != 0 {
		t.Errorf("sessions that are over are still stored: %v, %v", r.Sessions, err)
	}
}

func TestSigningOutEndsTheSessionOnly(t *testing.T) {
	w := newWorld(t)
	one, _, _, err := w.SignIn(t.Context(), "dev", password)
	if err != nil {
		t.Fatal(err)
	}
	two, _, _, err := w.SignIn(t.Context(), "dev", password)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.SignOut(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}
	_, err = w.Session(t.Context(), one)
	wants(t, err, errs.Unauthenticated)
	if _, err := w.Session(t.Context(), two); err != nil {
		t.Error(err)
	}
}

func TestAChangedPasswordEndsTheSessions(t *testing.T) {
	w := newWorld(t)
	cookie, _, dev, err := w.SignIn(t.Context(), "dev", password)
	if err != nil {
		t.Fatal(err)
	}
	wants(t, w.SetPassword(t.Context(), dev, "eve", "another fine phrase"), errs.NotFound)
	wants(t, w.SetPassword(t.Context(), dev, "dev", "short"), errs.Invalid)
	wants(t, w.SetPassword(t.Context(), dev, "dev", "aaaaaaaaaaaaaaaa"), errs.Invalid)
	wants(t, w.SetPassword(t.Context(), dev, "dev", "dev123456789012"), errs.Invalid)
	wants(t, w.SetPassword(t.Context(), dev, "dev", strings.Repeat("long ", 200)), errs.Invalid)
	if err := w.SetPassword(t.Context(), dev, "dev", "another fine phrase"); err != nil {
		t.Fatal(err)
	}
	_, err = w.Session(t.Context(), cookie)
	wants(t, err, errs.Unauthenticated)
	_, _, _, err = w.SignIn(t.Context(), "dev", password)
	wants(t, err, errs.Unauthenticated)
	if _, _, _, err := w.SignIn(t.Context(), "dev", "another fine phrase"); err != nil {
		t.Error(err)
	}
}

func TestAClosedAccountDoesNothingUntilItIsOpened(t *testing.T) {
	w := newWorld(t)
	secret, p := w.token(access.TokenSpec{User: "dev", Role: access.Developer})
	cookie, _, _, err := w.SignIn(t.Context(), "dev", password)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.SetDisabled(t.Context(), w.as("ann"), "dev", true); err != nil {
		t.Fatal(err)
	}
	_, err = w.Authenticate(t.Context(), secret)
	wants(t, err, errs.Unauthenticated)
	_, err = w.Session(t.Context(), cookie)
	wants(t, err, errs.Unauthenticated)
	_, _, _, err = w.SignIn(t.Context(), "dev", password)
	wants(t, err, errs.Unauthenticated)
	_, err = w.NewLink(t.Context(), "dev")
	wants(t, err, errs.NotFound)
	wants(t, w.Authorize(t.Context(), p, "read", access.Resource{Type: "job", Name: "1"}), errs.Unauthenticated)

	if err := w.SetDisabled(t.Context(), w.root, "dev", false); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Authenticate(t.Context(), secret); err != nil {
		t.Error(err)
	}
	if _, _, _, err := w.SignIn(t.Context(), "dev", password); err != nil {
		t.Error(err)
	}
}

func TestADeletedAccountTakesItsTokensAndGrantsWithIt(t *testing.T) {
	w := newWorld(t)
	secret, _ := w.token(access.TokenSpec{User: "dev", Role: access.Developer})
	if _, err := w.Grant(t.Context(), w.root, access.Grant{User: "dev", Actions: []string{"read"}, Type: "audit", Name: "*"}); err != nil {
		t.Fatal(err)
	}
	if err := w.DeleteUser(t.Context(), w.root, "dev"); err != nil {
		t.Fatal(err)
	}
	_, err := w.Authenticate(t.Context(), secret)
	wants(t, err, errs.Unauthenticated)
	if _, err := w.CreateUser(t.Context(), w.root, access.UserSpec{Name: "dev", Role: access.Developer, Password: password}); err != nil {
		t.Fatal(err)
	}
	wants(t, w.Authorize(t.Context(), w.as("dev"), "read", access.Resource{Type: "audit"}), errs.Denied)
	r, err := w.store.ReadAccess(t.Context())
	if err != nil || len(r.Grants)+len(r.Tokens) != 0 {
		t.Errorf("left %+v, %v", r, err)
	}
}

func TestTheLastAdminStays(t *testing.T) {
	w := newWorld(t)
	wants(t, w.DeleteUser(t.Context(), w.root, "ann"), errs.Conflict)
	wants(t, w.SetDisabled(t.Context(), w.root, "ann", true), errs.Conflict)
	wants(t, w.SetRole(t.Context(), w.root, "ann", access.Viewer), errs.Conflict)
	if err := w.SetRole(t.Context(), w.root, "dev", access.Admin); err != nil {
		t.Fatal(err)
	}
	if err := w.DeleteUser(t.Context(), w.as("dev"), "ann"); err != nil {
		t.Error(err)
	}
}

func TestOnlyAdminsChangeAccounts(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"dev", "vic", "bot"} {
		p := w.as(name)
		_, err := w.CreateUser(t.Context(), p, access.UserSpec{Name: "new", Role: access.Viewer})
		wants(t, err, errs.Denied)
		err = w.SetRole(t.Context(), p, name, access.Admin)
		if kind := errs.KindOf(err); name == "bot" && kind != errs.NotFound || name != "bot" && kind != errs.Denied {
			t.Errorf("%s making itself admin gave %v", name, err)
		}
		if err := w.DeleteUser(t.Context(), p, "eve"); !errs.Is(err, errs.NotFound) {
			t.Errorf("%s deleting another gave %v", name, err)
		}
		users, err := w.Users(t.Context(), p)
		if err != nil || name != "bot" && (len(users) != 1 || users[0].Name != name) || name == "bot" && len(users) != 0 {
			t.Errorf("%s sees %v, %v", name, users, err)
		}
	}
	for _, bad := range []access.UserSpec{
		{Name: "DEV", Role: access.Viewer},
		{Name: "anonymous", Role: access.Viewer},
		{Name: "a/b", Role: access.Viewer},
		{Name: "new", Role: "boss"},
		{Name: "new", Role: access.Anon},
		{Name: "new", Role: access.Viewer, Password: "short"},
	} {
		if _, err := w.CreateUser(t.Context(), w.root, bad); !errs.Is(err, errs.Invalid) && !errs.Is(err, errs.Exists) {
			t.Errorf("%+v gave %v", bad, err)
		}
	}
}

func TestAWriteThatFailsChangesNothing(t *testing.T) {
	w := newWorld(t)
	secret, _ := w.token(access.TokenSpec{User: "dev", Role: access.Developer})
	w.store.broken = errs.Errorf("store", errs.Full, "the disk is full")
	wants(t, w.DeleteUser(t.Context(), w.root, "dev"), errs.Full)
	if _, err := w.CreateUser(t.Context(), w.root, access.UserSpec{Name: "new", Role: access.Viewer}); !errs.Is(err, errs.Full) {
		t.Errorf("got %v", err)
	}
	w.store.broken = nil
	if _, err := w.Authenticate(t.Context(), secret); err != nil {
		t.Errorf("the account is half gone: %v", err)
	}
	if users, err := w.Users(t.Context(), w.root); err != nil || len(users) != 5 {
		t.Errorf("got %v, %v", users, err)
	}
}

func TestEveryChangeIsWrittenDownAndNoSecretIs(t *testing.T) {
	w := newWorld(t)
	secret, _ := w.token(access.TokenSpec{User: "dev", Role: access.Developer})
	code, err := w.NewLink(t.Context(), "dev")
	if err != nil {
		t.Fatal(err)
	}
	cookie, _, dev, err := w.SignInByLink(t.Context(), code)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := w.SignIn(t.Context(), "my-password-by-mistake", "dev"); err == nil {
		t.Fatal("signed in")
	}
	err = errors.Join(w.SetPassword(t.Context(), dev, "dev", "another fine phrase"), w.SetRole(t.Context(), w.root, "dev", access.Viewer),
		w.SetDisabled(t.Context(), w.root, "vic", true), w.SetDisabled(t.Context(), w.root, "vic", false), w.DeleteUser(t.Context(), w.root, "vic"),
		w.Flush(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := w.Tokens(t.Context(), w.root)
	if err != nil || len(tokens) != 1 {
		t.Fatalf("got %v, %v", tokens, err)
	}
	if err := w.RevokeToken(t.Context(), w.root, tokens[0].ID); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{
		"user.created", "token.created", "link.created", "session.opened", "user.password", "user.role", "user.disabled",
		"user.enabled", "user.deleted", "access.denied", "token.revoked",
	} {
		if !slices.Contains(w.store.kinds(), kind) {
			t.Errorf("%s was not written down", kind)
		}
	}
	text := w.store.text()
	for _, hidden := range []string{secret, code, cookie, password, "another fine phrase", "my-password-by-mistake"} {
		if strings.Contains(text, hidden) {
			t.Errorf("what is stored holds %q", hidden)
		}
	}
	for _, e := range w.store.events {
		if strings.Contains(string(e.Data), "argon2id") || strings.Contains(string(e.Data), "hash") {
			t.Errorf("an event holds a hash: %s", e.Data)
		}
	}
}

func TestADryRunAnswersAsTheRealOneAndChangesNothing(t *testing.T) {
	w := newWorld(t)
	ann, dry := w.as("ann"), access.Dry(t.Context())
	g, err := w.Grant(t.Context(), ann, access.Grant{User: "dev", Actions: []string{"export"}, Type: "model", Name: "*"})
	if err != nil {
		t.Fatal(err)
	}
	_, token := w.token(access.TokenSpec{User: "dev", Role: access.Developer})
	writes, events := w.store.writes, len(w.store.events)
	u, err := w.CreateUser(dry, ann, access.UserSpec{Name: "new", Role: access.Viewer, Password: password})
	if err != nil || u.Name != "new" || !u.HasPassword {
		t.Errorf("got %+v, %v", u, err)
	}
	secret, made, err := w.CreateToken(dry, ann, access.TokenSpec{User: "dev", Role: access.Viewer})
	if err != nil || secret != "" || made.ID != "" || made.Role != access.Viewer {
		t.Errorf("got %q, %+v, %v", secret, made, err)
	}
	if _, err := w.Grant(dry, ann, access.Grant{Role: access.Viewer, Actions: []string{"read"}, Type: "audit", Name: "*"}); err != nil {
		t.Error(err)
	}
	err = errors.Join(w.SetRole(dry, ann, "dev", access.Admin), w.SetDisabled(dry, ann, "dev", true), w.SetPassword(dry, ann, "dev", "another fine phrase"),
		w.DeleteUser(dry, ann, "dev"), w.RevokeToken(dry, ann, token.Token), w.Revoke(dry, ann, g.ID))
	if err != nil {
		t.Error(err)
	}
	if w.store.writes != writes || len(w.store.events) != events {
		t.Error("a dry run wrote something")
	}
	w.as("dev")
	_, err = w.CreateUser(dry, ann, access.UserSpec{Name: "dev", Role: access.Viewer})
	wants(t, err, errs.Exists)
	_, err = w.Grant(dry, ann, access.Grant{User: "zoe", Actions: []string{"read"}, Type: "audit", Name: "*"})
	wants(t, err, errs.NotFound)
	wants(t, w.DeleteUser(dry, ann, "ann"), errs.Conflict)
}
