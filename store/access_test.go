package store_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/store"
	"github.com/lineshaft/lineshaft/trust/access"
	"github.com/lineshaft/lineshaft/trust/audit"
)

var cheap = access.Params{Memory: 8, Time: 1, Threads: 1}

func gate(s *store.DB) *access.Service {
	return access.New(access.Options{Store: s, Clock: clock.NewFake(start), Hash: cheap})
}

func TestAccountsTokensSessionsAndGrantsOutliveTheServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := open(t, path)
	a := gate(s)
	if created, err := a.Bootstrap(t.Context()); err != nil || !created {
		t.Fatalf("got %v, %v", created, err)
	}
	if _, err := a.CreateUser(t.Context(), a.Socket(), access.UserSpec{Name: "dev", Role: access.Developer, Password: "correct horse"}); err != nil {
		t.Fatal(err)
	}
	g, err := a.Grant(t.Context(), a.Socket(), access.Grant{User: "dev", Actions: []string{"export"}, Type: "model", Name: "mnist"})
	if err != nil {
		t.Fatal(err)
	}
	secret, _, err := a.CreateToken(t.Context(), a.Socket(), access.TokenSpec{User: "dev", Role: access.Developer})
	if err != nil {
		t.Fatal(err)
	}
	code, err := a.NewLink(t.Context(), "admin")
	if err != nil {
		t.Fatal(err)
	}
	cookie, _, _, err := a.SignIn(t.Context(), "dev", "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Close()

	s = open(t, path)
	a = gate(s)
	if created, err := a.Bootstrap(t.Context()); err != nil || created {
		t.Errorf("a second start made the account again: %v, %v", created, err)
	}
	p, err := a.Authenticate(t.Context(), secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Authorize(t.Context(), p, "export", access.Resource{Type: "model", Name: "mnist", Owner: "eve"}); err != nil {
		t.Error(err)
	}
	if _, err := a.Session(t.Context(), cookie); err != nil {
		t.Error(err)
	}
	if _, _, _, err := a.SignInByLink(t.Context(), code); err != nil {
		t.Error(err)
	}
	if err := a.Revoke(t.Context(), a.Socket(), g.ID); err != nil {
		t.Error(err)
	}
	if r, err := s.VerifyAudit(t.Context()); err != nil || !r.OK || r.Entries < 7 {
		t.Errorf("the audit log is %+v, %v", r, err)
	}
	list, err := s.ListAudit(t.Context(), audit.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		for _, hidden := range []string{secret, code, cookie, "correct horse", "argon2id", `"hash"`} {
			if strings.Contains(string(e.Detail)+e.Subject, hidden) {
				t.Errorf("the audit log tells %q in %s %s", hidden, e.Action, e.Detail)
			}
		}
	}
}

func TestAChangeWhoseLinkWasTakenIsNotMade(t *testing.T) {
	s := fresh(t)
	link := access.StoredLink{Hash: "aa", User: "ann", Expires: start}
	if err := s.WriteAccess(t.Context(), access.Change{Links: []access.StoredLink{link}}); err != nil {
		t.Fatal(err)
	}
	take := access.Change{Take: []access.Ref{{Kind: access.LinkKind, ID: "aa"}}, Sessions: []access.StoredSession{{Hash: "bb", User: "ann"}}}
	if err := s.WriteAccess(t.Context(), take); err != nil {
		t.Fatal(err)
	}
	take.Sessions[0].Hash = "cc"
	if err := s.WriteAccess(t.Context(), take); !errs.Is(err, errs.NotFound) {
		t.Errorf("taking a link twice gave %v", err)
	}
	r, err := s.ReadAccess(t.Context())
	if err != nil || len(r.Links) != 0 || len(r.Sessions) != 1 || r.Sessions[0].Hash != "bb" {
		t.Errorf("kept %+v, %v", r, err)
	}
}

// TestWhatMayNotBeKnownReadsLikeWhatIsNotThere compares the words of the packages that keep things with those for who
// may not know of them.
func TestWhatMayNotBeKnownReadsLikeWhatIsNotThere(t *testing.T) {
	s := fresh(t)
	nodes, err := fleet.Open(t.Context(), s, clock.NewFake(start))
	if err != nil {
		t.Fatal(err)
	}
	a := gate(s)
	nobody := access.Principal{Name: "x", Role: access.ServiceRole, Via: "socket", Scopes: []string{"rotate"}}
	_, noJob := s.GetJob(t.Context(), 7)
	_, noModel := s.GetModel(t.Context(), "7")
	_, noSet := s.GetSet(t.Context(), "7", 0)
	_, noSecret := s.GetSecret(t.Context(), "7")
	for kind, absent := range map[string]error{
		"job": noJob, "model": noModel, "data": noSet, "secret": noSecret, "node": nodes.Uncordon(t.Context(), "user/x", "7"),
	} {
		hidden := a.Authorize(t.Context(), nobody, "read", access.Resource{Type: kind, Name: "7"})
		if !errs.Is(absent, errs.NotFound) || !errs.Is(hidden, errs.NotFound) || absent.Error() != hidden.Error() {
			t.Errorf("%s: %q is not there, %q is hidden", kind, absent, hidden)
		}
	}
}
