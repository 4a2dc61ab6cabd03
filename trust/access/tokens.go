package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/internal/id"
)

// Token is a key for programs, as others may see it.
type Token struct {
	ID       string     `json:"id"`
	Name     string     `json:"name"` // what it is for, in words
	User     string     `json:"user"` // whose it is
	Role     Role       `json:"role"`
	Scopes   []string   `json:"scopes,omitempty"` // none means everything that the role may
	Created  time.Time  `json:"created"`
	Expires  time.Time  `json:"expires"`
	LastUsed *time.Time `json:"last_used,omitempty"` // to the minute
}

// StoredToken is a token with the hash that it is found by, as it is stored.
type StoredToken struct {
	Token
	Hash string `json:"hash"` // SHA-256 of the secret, hex
}

// TokenSpec is a new token. User and Role are the maker's where empty, TTL is DefaultTTL where zero.
type TokenSpec struct {
	Name   string
	User   string
	Role   Role
	Scopes []string
	TTL    time.Duration
}

// How long a token lives.
const (
	DefaultTTL = 90 * 24 * time.Hour
	MaxTTL     = 366 * 24 * time.Hour
)

// maxTokens is how many tokens a user may have at once, and maxScopes how many scopes a token.
const (
	maxTokens = 1000
	maxScopes = 100
)

func digest(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func (t *TokenSpec) complete(by Principal) error {
	const op = "access.CreateToken"
	if t.User == "" {
		t.User = by.Name
	}
	if t.Role == "" {
		t.Role = by.Role
	}
	if t.TTL == 0 {
		t.TTL = DefaultTTL
	}
	if _, err := ParseRole(string(t.Role)); err != nil {
		return err
	}
	switch {
	case t.TTL < time.Minute || t.TTL > MaxTTL:
		return errs.Errorf(op, errs.Invalid, "a token lives from 1m to %v, not %v", MaxTTL, t.TTL)
	case len(t.Name) > 128 || strings.ContainsFunc(t.Name, func(r rune) bool { return r < ' ' }):
		return errs.Errorf(op, errs.Invalid, "the token's name is longer than 128 bytes or has control characters")
	case len(t.Scopes) > maxScopes:
		return errs.Errorf(op, errs.TooLarge, "a token has at most %d scopes, not %d", maxScopes, len(t.Scopes))
	case !by.Role.covers(t.Role):
		return errs.Errorf(op, errs.Denied, "access denied: with the role %s one cannot make a token with the role %s", by.Role, t.Role)
	}
	for _, scope := range t.Scopes {
		if err := checkScope(scope); err != nil {
			return err
		}
	}
	return nil
}

// CreateToken makes a token. The secret is shown once and not kept.
func (s *Service) CreateToken(ctx context.Context, by Principal, spec TokenSpec) (secret string, t Token, err error) {
	const op = "access.CreateToken"
	if err := spec.complete(by); err != nil {
		return "", Token{}, err
	}
	if err := s.Authorize(ctx, by, "create", Resource{Type: "token", Owner: spec.User}); err != nil {
		return "", Token{}, err
	}
	secret = id.Secret("ls")
	err = s.alter(ctx, func(v *view, now time.Time) (Change, []event.Event, error) {
		owner, ok := v.accounts[spec.User]
		switch {
		case !ok:
			return Change{}, nil, Missing(Resource{Type: "user", Name: spec.User})
		case !owner.Role.covers(spec.Role):
			return Change{}, nil, errs.Errorf(op, errs.Denied, "access denied: user %q is %s, whose tokens cannot have the role %s", owner.Name, owner.Role, spec.Role)
		case len(v.tokensOf(spec.User)) >= maxTokens:
			return Change{}, nil, errs.Errorf(op, errs.Exhausted, "user %q has %d tokens: revoke some first", spec.User, maxTokens)
		}
		t = Token{
			ID: id.New("tok"), Name: spec.Name, User: spec.User, Role: spec.Role, Scopes: slices.Clone(spec.Scopes),
			Created: now, Expires: now.Add(spec.TTL),
		}
		c := Change{Tokens: []StoredToken{{Token: t, Hash: digest(secret)}}}
		return c, []event.Event{note("token.created", "token/"+t.ID, by, t)}, nil
	})
	if err != nil {
		return "", Token{}, err
	}
	if dry(ctx) { // what was not kept opens nothing
		secret, t.ID = "", ""
	}
	return secret, t, nil
}

func (v *view) tokensOf(user string) (out []*token) {
	for _, t := range v.tokens {
		if t.User == user {
			out = append(out, t)
		}
	}
	return out
}

// shown is the token with the time of its last use.
func (t *token) shown() Token {
	out := t.Token
	if used := t.used.Load(); used != 0 {
		at := time.Unix(used, 0).UTC()
		out.LastUsed = &at
	}
	return out
}

// Tokens lists the tokens that by may see, newest first.
func (s *Service) Tokens(ctx context.Context, by Principal) ([]Token, error) {
	v, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	may := map[string]bool{} // by owner: grants to single tokens are asked for each
	out := []Token{}
	for _, t := range v.tokens {
		ok, asked := may[t.User]
		if !asked {
			ok = s.allows(v, by, "read", Resource{Type: "token", Owner: t.User})
			may[t.User] = ok
		}
		if ok || s.allows(v, by, "read", Resource{Type: "token", Name: t.ID, Owner: t.User}) {
			out = append(out, t.shown())
		}
	}
	slices.SortFunc(out, func(a, b Token) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out, nil
}

// RevokeToken ends a token.
func (s *Service) RevokeToken(ctx context.Context, by Principal, tokenID string) error {
	v, err := s.read(ctx)
	if err != nil {
		return err
	}
	r := Resource{Type: "token", Name: tokenID}
	t, ok := v.tokens[v.ids[tokenID]]
	if !ok {
		return Missing(r)
	}
	r.Owner = t.User
	if err := s.Authorize(ctx, by, "delete", r); err != nil {
		return err
	}
	return s.alter(ctx, func(v *view, _ time.Time) (Change, []event.Event, error) {
		t, ok := v.tokens[v.ids[tokenID]]
		if !ok {
			return Change{}, nil, Missing(r)
		}
		return Change{Take: []Ref{{TokenKind, tokenID}}}, []event.Event{note("token.revoked", "token/"+tokenID, by, t.shown())}, nil
	})
}

// Authenticate finds who a bearer token speaks for.
func (s *Service) Authenticate(ctx context.Context, bearer string) (Principal, error) {
	const op = "access.Authenticate"
	v, err := s.read(ctx)
	if err != nil {
		return Principal{}, err
	}
	now := s.o.Clock.Now()
	t, ok := v.tokens[digest(bearer)]
	if !ok {
		s.refusals.note(refusal{Actor: "anonymous", Action: "authenticate", Subject: "token/", Via: "token"}, now)
		return Principal{}, errs.Errorf(op, errs.Unauthenticated, "the token is not known here, or was revoked; `lineshaft tokens create` makes one")
	}
	refuse := func(format string, args ...any) (Principal, error) {
		s.refusals.note(refusal{Actor: "user/" + t.User, Action: "authenticate", Subject: "token/" + t.ID, Via: "token"}, now)
		return Principal{}, errs.Errorf(op, errs.Unauthenticated, format, args...)
	}
	owner, ok := v.accounts[t.User]
	switch {
	case !now.Before(t.Expires):
		return refuse("token %s expired on %s; `lineshaft tokens create` makes a new one", t.ID, t.Expires.Format(time.DateOnly))
	case !ok || owner.Disabled:
		return refuse("the account of token %s is closed", t.ID)
	}
	role := t.Role
	switch {
	case owner.Role.covers(role):
	case role.covers(owner.Role): // the account was given less since
		role = owner.Role
	default:
		return refuse("token %s has the role %s, which its account, now %s, does not have any more; make a new token", t.ID, t.Role, owner.Role)
	}
	if at := now.Unix(); at-t.used.Load() >= 60 {
		t.used.Store(at)
	}
	return Principal{Name: t.User, Role: role, Via: "token", Token: t.ID, Scopes: t.Scopes}, nil
}
