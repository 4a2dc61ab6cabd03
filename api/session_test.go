package api_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/trust/access"
)

const session = "/api/v1/session"

// signIn gives the cookie of a session.
func (h *hall) signIn(name string) string {
	h.t.Helper()
	a := h.as("", "POST", session, `{"name":"`+name+`","password":"a long pass phrase"}`, "Origin", h.url)
	var me api.Me
	a.into(h.t, &me)
	cookie := a.header.Get("Set-Cookie")
	for _, want := range []string{"lineshaft_session=lss_", "HttpOnly", "SameSite=Strict", "Path=/"} {
		if !strings.Contains(cookie, want) {
			h.t.Errorf("the cookie %q is not %s", cookie, want)
		}
	}
	if me.Name != name || me.Via != "password" || me.Expires == nil {
		h.t.Errorf("%+v", me)
	}
	cookie, _, _ = strings.Cut(cookie, ";")
	return cookie
}

func TestAPersonSignsInByPasswordAndOut(t *testing.T) {
	h := newHall(t)
	cookie := h.signIn("dan")
	var me api.Me
	h.as("", "GET", session, "", "Cookie", cookie).into(t, &me)
	if me.Name != "dan" || me.Role != "developer" {
		t.Errorf("%+v", me)
	}
	if a := h.as("", "DELETE", session, "", "Cookie", cookie, "Origin", h.url); a.code != http.StatusNoContent || !strings.Contains(a.header.Get("Set-Cookie"), "lineshaft_session=;") {
		t.Errorf("%d %s %v", a.code, a.body, a.header)
	}
	if a := h.as("", "GET", session, "", "Cookie", cookie); a.code != http.StatusUnauthorized {
		t.Errorf("the session lives on: %d", a.code)
	}
}

func TestALinkLetsInOnce(t *testing.T) {
	h := newHall(t)
	var link api.Link
	h.as("socket", "POST", "/api/v1/users/vic/link", "").into(t, &link)
	if link.Path != "/signin#"+link.Code {
		t.Errorf("%+v", link)
	}
	var me api.Me
	h.as("", "POST", session, `{"code":"`+link.Code+`"}`).into(t, &me)
	if me.Name != "vic" || me.Via != "link" {
		t.Errorf("%+v", me)
	}
	if a := h.as("", "POST", session, `{"code":"`+link.Code+`"}`); a.code != http.StatusUnauthorized {
		t.Errorf("the second time: %d %s", a.code, a.body)
	}
}

func TestAForeignPageCanDoNothingWithACookie(t *testing.T) {
	h := newHall(t)
	cookie := h.signIn("dan")
	for _, c := range []struct {
		name   string
		header []string
		want   int
	}{
		{"our page", []string{"Origin", h.url}, http.StatusOK},
		{"no origin", nil, http.StatusForbidden},
		{"another site", []string{"Origin", "https://evil.example"}, http.StatusForbidden},
		{"another port", []string{"Origin", "http://127.0.0.1:1"}, http.StatusForbidden},
		{"a file", []string{"Origin", "null"}, http.StatusForbidden},
		{"a name that points here", []string{"Origin", "http://evil.example", "Host", "evil.example"}, http.StatusForbidden},
	} {
		a := h.as("", "POST", "/api/v1/jobs?dry_run=true", sleeper, append([]string{"Cookie", cookie}, c.header...)...)
		if a.code != c.want {
			t.Errorf("%s: %d %s", c.name, a.code, a.body)
		}
	}
	if a := h.as("", "GET", "/api/v1/jobs", "", "Cookie", cookie); a.code != http.StatusOK {
		t.Errorf("a read without an origin: %d %s", a.code, a.body)
	}
	if a := h.as("", "GET", "/api/v1/jobs/1/exec", "", "Cookie", cookie, "Connection", "Upgrade", "Upgrade", "websocket"); a.code != http.StatusForbidden {
		t.Errorf("a websocket without an origin: %d %s", a.code, a.body)
	}
	if a := h.as("ann", "GET", "/api/v1/jobs", "", "Host", "evil.example"); a.code != http.StatusForbidden || !strings.Contains(a.body, "evil.example") {
		t.Errorf("a foreign host with a token: %d %s", a.code, a.body)
	}
}

func TestSignInsThatFailHaveToWait(t *testing.T) {
	h := newHall(t)
	seen := map[int]int{}
	for range 70 {
		a := h.as("", "POST", session, `{"code":"lk_wrong"}`)
		seen[a.code]++
	}
	if seen[http.StatusUnauthorized] != 60 || seen[http.StatusTooManyRequests] != 10 {
		t.Errorf("%v", seen)
	}
	h.Clock.Advance(time.Minute)
	h.signIn("dan")
}

func TestTheSocketLetsItsOwnerInAndNobodyPretendsToBeIt(t *testing.T) {
	h := newHall(t)
	var me api.Me
	h.as("socket", "GET", session, "").into(t, &me)
	if me.Role != "admin" || me.Via != "socket" {
		t.Errorf("%+v", me)
	}
	h.as("socket", "GET", session, "", "Authorization", "Bearer "+h.tokens["vic"]).into(t, &me)
	if me.Name != "vic" || me.Via != "token" {
		t.Errorf("a token on the socket: %+v", me)
	}
	for _, header := range [][]string{nil, {"Authorization", "Bearer"}, {"Authorization", "Basic YTpi"}, {"Authorization", "Bearer ls_wrong"}, {"Cookie", "lineshaft_session=lss_wrong"}, {"X-Forwarded-For", "@"}} {
		a := h.as("", "GET", session, "", header...)
		if a.code != http.StatusUnauthorized || !strings.Contains(a.header.Get("WWW-Authenticate"), "Bearer") || !strings.Contains(a.body, `"kind":"unauthenticated"`) {
			t.Errorf("%v: %d %s", header, a.code, a.body)
		}
	}
}

func TestAStreamEndsWithTheRightToIt(t *testing.T) {
	h := newHall(t, func(o *api.Options) { o.Heartbeat = time.Millisecond })
	h.await(h.submit("dan", sleeper).ID, job.Running)
	root := h.access.Socket()
	for _, c := range []struct {
		name string
		end  func(token access.Token) error
	}{
		{"revoked", func(k access.Token) error { return h.access.RevokeToken(t.Context(), root, k.ID) }},
		{"another role", func(access.Token) error { return h.access.SetRole(t.Context(), root, "dan", access.Viewer) }},
		{"closed", func(access.Token) error { return h.access.SetDisabled(t.Context(), root, "dan", true) }},
	} {
		secret, token, err := h.access.CreateToken(t.Context(), root, access.TokenSpec{User: "dan", Role: people["dan"]})
		if err != nil {
			t.Fatal(err)
		}
		h.tokens["dan"] = secret
		events := h.listenTo("dan", "", "")
		log, err := h.client("dan").Logs(t.Context(), 1, 0, 0, true)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.end(token); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, events.lines); err != nil {
			t.Errorf("%s: the events should end well: %v", c.name, err)
		}
		if _, err := io.Copy(io.Discard, log); err == nil {
			t.Errorf("%s: the log looks as if it had ended", c.name)
		}
		log.Close()
		if err := h.access.SetRole(t.Context(), root, "dan", people["dan"]); err != nil {
			t.Fatal(err)
		}
	}
}
