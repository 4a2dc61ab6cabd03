package access

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/internal/id"
)

// StoredSession is a signed-in browser, as it is stored.
type StoredSession struct {
	Hash    string    `json:"hash"` // SHA-256 of the cookie, hex
	User    string    `json:"user"`
	Via     string    `json:"via"` // password, link
	Created time.Time `json:"created"`
	Used    time.Time `json:"used"`    // to the minute
	Expires time.Time `json:"expires"` // in any case
}

// StoredLink is a one-time way in, as it is stored.
type StoredLink struct {
	Hash    string    `json:"hash"` // SHA-256 of the code, hex
	User    string    `json:"user"`
	Expires time.Time `json:"expires"`
}

// linkTTL is how long a sign-in link works.
const linkTTL = time.Hour

// maxSessions is how many sessions and links a user has at once; the oldest give way.
const maxSessions = 50

// SignIn gives a session for a name and a password. The answer for a wrong name is that for a wrong password, after the
// same work. Names that fail again and again are refused for a while, known or not.
func (s *Service) SignIn(ctx context.Context, name, password string) (cookie string, expires time.Time, p Principal, err error) {
	const op = "access.SignIn"
	v, err := s.read(ctx)
	if err != nil {
		return "", time.Time{}, Principal{}, err
	}
	name = name[:min(len(name), 128)]
	if wait := s.guesses.begin(name, s.o.Clock.Now()); wait > 0 {
		return "", time.Time{}, Principal{}, errs.Errorf(op, errs.Exhausted,
			"too many failed sign-ins with this name: try again in %v, or sign in by a link", wait.Round(time.Second))
	}
	a, ok := v.accounts[name]
	hash := ""
	if ok && !a.Disabled {
		hash = a.Password
	}
	good, err := s.hasher.check(ctx, hash, password)
	if err != nil {
		s.guesses.undo(name)
		return "", time.Time{}, Principal{}, err
	}
	if !good {
		subject := "user/" // what is no account's name may be a password in the wrong field
		if ok {
			subject += name
		}
		s.refusals.note(refusal{Actor: "anonymous", Action: "sign in", Subject: subject, Via: "password"}, s.o.Clock.Now())
		return "", time.Time{}, Principal{}, errs.Errorf(op, errs.Unauthenticated, "the name or the password is wrong")
	}
	s.guesses.forget(name)
	return s.open(ctx, "password", name, nil, hash)
}

// NewLink makes a code that signs user in once, within an hour. It is for the owner of the data folder; who else may
// call it is decided before.
func (s *Service) NewLink(ctx context.Context, user string) (code string, err error) {
	code = id.Secret("lk")
	err = s.alter(ctx, func(v *view, now time.Time) (Change, []event.Event, error) {
		if a, ok := v.accounts[user]; !ok || a.Disabled {
			return Change{}, nil, Missing(Resource{Type: "user", Name: user})
		}
		c := Change{Links: []StoredLink{{Hash: digest(code), User: user, Expires: now.Add(linkTTL)}}, Drop: v.crowded(user)}
		return c, []event.Event{note("link.created", "user/"+user, s.Socket(), map[string]any{"expires": now.Add(linkTTL)})}, nil
	})
	if err != nil {
		return "", err
	}
	return code, nil
}

// SignInByLink gives a session for a code of NewLink, and uses it up.
func (s *Service) SignInByLink(ctx context.Context, code string) (cookie string, expires time.Time, p Principal, err error) {
	const op = "access.SignInByLink"
	v, err := s.read(ctx)
	if err != nil {
		return "", time.Time{}, Principal{}, err
	}
	l, ok := v.links[digest(code)]
	if !ok || !s.o.Clock.Now().Before(l.Expires) {
		s.refusals.note(refusal{Actor: "anonymous", Action: "sign in", Subject: "user/", Via: "link"}, s.o.Clock.Now())
		return "", time.Time{}, Principal{}, usedUp(op)
	}
	return s.open(ctx, "link", l.User, []Ref{{LinkKind, l.Hash}}, "")
}

func usedUp(op string) error {
	return errs.Errorf(op, errs.Unauthenticated, "the sign-in link does not work: it lets in once, within an hour; `lineshaft users link NAME` on the server's machine makes a new one")
}

// open starts a session and takes what it was given for. hash is the password it was checked against: one that was
// changed meanwhile does not let in.
func (s *Service) open(ctx context.Context, via, user string, take []Ref, hash string) (cookie string, expires time.Time, p Principal, err error) {
	const op = "access.open"
	cookie = id.Secret("lss")
	err = s.alter(ctx, func(v *view, now time.Time) (Change, []event.Event, error) {
		a, ok := v.accounts[user]
		if !ok || a.Disabled || via == "password" && a.Password != hash {
			return Change{}, nil, errs.Errorf(op, errs.Unauthenticated, "the name or the password is wrong")
		}
		if len(take) > 0 {
			if _, still := v.links[take[0].ID]; !still {
				return Change{}, nil, usedUp(op)
			}
		}
		expires = now.Add(s.o.SessionMax)
		p = Principal{Name: user, Role: a.Role, Via: via}
		signed := a.Account
		signed.LastSignIn = &now
		return Change{
			Accounts: []Account{signed},
			Sessions: []StoredSession{{Hash: digest(cookie), User: user, Via: via, Created: now, Used: now, Expires: expires}},
			Take:     take, Drop: v.crowded(user),
		}, []event.Event{note("session.opened", "user/"+user, p, map[string]any{"via": via})}, nil
	})
	if err != nil {
		return "", time.Time{}, Principal{}, err
	}
	return cookie, expires, p, nil
}

// crowded is the user's oldest sessions and links over the limit, one more being added to each.
func (v *view) crowded(user string) (out []Ref) {
	type aged struct {
		ref Ref
		at  time.Time
	}
	var sessions, links []aged
	for hash, k := range v.sessions {
		if k.User == user {
			sessions = append(sessions, aged{Ref{SessionKind, hash}, k.Created})
		}
	}
	for hash, l := range v.links {
		if l.User == user {
			links = append(links, aged{Ref{LinkKind, hash}, l.Expires})
		}
	}
	for _, list := range [][]aged{sessions, links} {
		slices.SortFunc(list, func(a, b aged) int { return cmp.Or(b.at.Compare(a.at), cmp.Compare(a.ref.ID, b.ref.ID)) })
		for i := maxSessions - 1; i < len(list); i++ {
			out = append(out, list[i].ref)
		}
	}
	return out
}

// Session finds who a cookie speaks for, and keeps the session alive.
func (s *Service) Session(ctx context.Context, cookie string) (Principal, error) {
	const op = "access.Session"
	v, err := s.read(ctx)
	if err != nil {
		return Principal{}, err
	}
	now := s.o.Clock.Now()
	k, ok := v.sessions[digest(cookie)]
	if !ok || s.over(k, now) {
		return Principal{}, errs.Errorf(op, errs.Unauthenticated, "the session has ended: sign in again")
	}
	a, ok := v.accounts[k.User]
	if !ok || a.Disabled {
		return Principal{}, errs.Errorf(op, errs.Unauthenticated, "the account %q was closed: ask an admin to open it", k.User)
	}
	if at := now.Unix(); at-k.used.Load() >= 60 {
		k.used.Store(at)
	}
	return Principal{Name: k.User, Role: a.Role, Via: k.Via}, nil
}

func (s *Service) over(k *session, now time.Time) bool {
	return !now.Before(k.Expires) || now.Sub(time.Unix(k.used.Load(), 0)) >= s.o.SessionIdle
}

// SignOut ends the session. One that has ended is no error.
func (s *Service) SignOut(ctx context.Context, cookie string) error {
	hash := digest(cookie)
	return s.alter(ctx, func(v *view, _ time.Time) (Change, []event.Event, error) {
		k, ok := v.sessions[hash]
		if !ok {
			return Change{}, nil, nil
		}
		return Change{Take: []Ref{{SessionKind, hash}}}, []event.Event{note("session.closed", "user/"+k.User, Principal{Name: k.User}, nil)}, nil
	})
}
