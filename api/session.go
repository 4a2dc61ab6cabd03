package api

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/trust/access"
)

// SignIns opens and ends the console's sessions.
type SignIns interface {
	SignIn(ctx context.Context, name, password string) (cookie string, expires time.Time, p access.Principal, err error)
	SignInByLink(ctx context.Context, code string) (cookie string, expires time.Time, p access.Principal, err error)
	SignOut(ctx context.Context, cookie string) error
}

// Me is who the caller is.
type Me struct {
	Name    string     `json:"name"`
	Role    string     `json:"role"`
	Via     string     `json:"via"` // password, link, token, socket
	Expires *time.Time `json:"expires,omitempty"`
}

// SignIn is a way in for the console: the code of a one-time link, or a name and a password.
type SignIn struct {
	Code     string `json:"code,omitempty"`
	Name     string `json:"name,omitempty"`
	Password string `json:"password,omitempty"`
}

func (s *server) sessionRoutes() {
	get(s, "/session", "Who the caller is", s.whoami)
	send(s, route{method: http.MethodPost, path: "/session", summary: "Sign in; the answer sets the session's cookie", open: true, secret: true}, s.signIn)
	send(s, route{method: http.MethodDelete, path: "/session", summary: "Sign out"}, s.signOut)
}

func me(p access.Principal) Me { return Me{Name: p.Name, Role: string(p.Role), Via: p.Via} }

func (s *server) whoami(ctx context.Context, _ *none) (Me, error) { return me(callOf(ctx).who), nil }

func (s *server) signIn(ctx context.Context, _ *none, in SignIn) (Me, error) {
	const op = "api.signIn"
	if (in.Code == "") == (in.Name == "" || in.Password == "") {
		return Me{}, errs.Errorf(op, errs.Invalid, `send either {"code": …} of a sign-in link, or {"name": …, "password": …}`)
	}
	c := callOf(ctx)
	done, err := s.signIns.begin(address(c.r))
	if err != nil {
		return Me{}, err
	}
	var cookie string
	var expires time.Time
	if in.Code != "" {
		cookie, expires, c.who, err = s.o.Access.SignInByLink(ctx, in.Code)
	} else {
		cookie, expires, c.who, err = s.o.Access.SignIn(ctx, in.Name, in.Password)
	}
	done(err == nil)
	if err != nil {
		return Me{}, err
	}
	http.SetCookie(c.w, sessionCookie(c.r, cookie, expires))
	out := me(c.who)
	out.Expires = &expires
	return out, nil
}

func (s *server) signOut(ctx context.Context, _ *none, _ none) (none, error) {
	c := callOf(ctx)
	if cookie, err := c.r.Cookie(cookieName); err == nil {
		if err := s.o.Access.SignOut(ctx, cookie.Value); err != nil && !errs.Is(err, errs.NotFound) {
			return none{}, err
		}
	}
	http.SetCookie(c.w, sessionCookie(c.r, "", time.Unix(1, 0)))
	return none{}, nil
}

func sessionCookie(r *http.Request, value string, expires time.Time) *http.Cookie {
	return &http.Cookie{
		Name: cookieName, Value: value, Path: "/", Expires: expires, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	}
}

func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
