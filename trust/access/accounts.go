package access

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/internal/id"
)

// User is an account as others may see it.
type User struct {
	Name        string     `json:"name"`
	Role        Role       `json:"role"`
	Disabled    bool       `json:"disabled"`
	HasPassword bool       `json:"has_password"` // without one it signs in by link only
	Created     time.Time  `json:"created"`
	LastSignIn  *time.Time `json:"last_sign_in,omitempty"`
}

// Account is a user with the hash of the password, as it is stored.
type Account struct {
	User
	Password string `json:"password,omitempty"` // PHC string of argon2id
}

// UserSpec is a new account. Without a password it signs in by link.
type UserSpec struct {
	Name     string
	Role     Role
	Password string
}

// Bounds of a password: below, it can be guessed; above, it is a mistake.
const (
	minPassword = 12 // characters
	maxPassword = 512
)

func checkPassword(name, password string) error {
	const op = "access.CheckPassword"
	switch {
	case utf8.RuneCountInString(password) < minPassword:
		return errs.Errorf(op, errs.Invalid, "the password is too short: use at least %d characters, a few words for example", minPassword)
	case len(password) > maxPassword:
		return errs.Errorf(op, errs.Invalid, "the password is longer than %d bytes", maxPassword)
	case strings.EqualFold(strings.Trim(password, "0123456789"), name), strings.Count(password, password[:1]) == len(password):
		return errs.Errorf(op, errs.Invalid, "the password is easily guessed: use a few words that have nothing to do with the name")
	}
	return nil
}

// Bootstrap makes the account admin where there is no account at all. It has no password: NewLink lets it in.
func (s *Service) Bootstrap(ctx context.Context) (created bool, err error) {
	err = s.alter(ctx, func(v *view, now time.Time) (Change, []event.Event, error) {
		if len(v.accounts) > 0 {
			return Change{}, nil, nil
		}
		created = true
		u := User{Name: "admin", Role: Admin, Created: now}
		return Change{Accounts: []Account{{User: u}}}, []event.Event{event.New("audit", "user.created", "user/admin", "service/access", u)}, nil
	})
	return created && err == nil, err
}

// CreateUser adds an account.
func (s *Service) CreateUser(ctx context.Context, by Principal, spec UserSpec) (User, error) {
	const op = "access.CreateUser"
	if err := s.Authorize(ctx, by, "create", Resource{Type: "user"}); err != nil {
		return User{}, err
	}
	if err := id.CheckName("user", spec.Name); err != nil {
		return User{}, err
	}
	if _, err := ParseRole(string(spec.Role)); err != nil {
		return User{}, err
	}
	if strings.EqualFold(spec.Name, "anonymous") {
		return User{}, errs.Errorf(op, errs.Invalid, "%q names who brings no credentials: choose another name", spec.Name)
	}
	a := Account{User: User{Name: spec.Name, Role: spec.Role}}
	if spec.Password != "" {
		hash, err := s.newPassword(ctx, spec.Name, spec.Password)
		if err != nil {
			return User{}, err
		}
		a.Password, a.HasPassword = hash, true
	}
	err := s.alter(ctx, func(v *view, now time.Time) (Change, []event.Event, error) {
		for name := range v.accounts {
			if strings.EqualFold(name, a.Name) {
				return Change{}, nil, errs.Errorf(op, errs.Exists, "there is already a user %q", name)
			}
		}
		a.Created = now
		return Change{Accounts: []Account{a}}, []event.Event{note("user.created", "user/"+a.Name, by, a.User)}, nil
	})
	return a.User, err
}

func (s *Service) newPassword(ctx context.Context, name, password string) (string, error) {
	if err := checkPassword(name, password); err != nil {
		return "", err
	}
	return s.hasher.hash(ctx, password)
}

// SetPassword changes a password, one's own or, as an admin, another's, and ends every session of the account, the
// current one too. An empty password takes it away.
func (s *Service) SetPassword(ctx context.Context, by Principal, name, password string) error {
	if err := s.Authorize(ctx, by, "update", Resource{Type: "user", Name: name, Owner: name}); err != nil {
		return err
	}
	hash := ""
	if password != "" {
		var err error
		if hash, err = s.newPassword(ctx, name, password); err != nil {
			return err
		}
	}
	return s.edit(ctx, by, name, "user.password", true, func(_ *view, a *Account) error {
		a.Password, a.HasPassword = hash, hash != ""
		return nil
	})
}

// SetRole changes what an account is for. Its tokens keep no more than the new role allows.
func (s *Service) SetRole(ctx context.Context, by Principal, name string, role Role) error {
	if err := s.admin(ctx, by, "update", name); err != nil {
		return err
	}
	if _, err := ParseRole(string(role)); err != nil {
		return err
	}
	return s.edit(ctx, by, name, "user.role", false, func(v *view, a *Account) error {
		a.Role = role
		return lastAdmin(v, *a)
	})
}

// SetDisabled closes an account or opens it again. Closing ends its sessions; its tokens are refused while it is closed.
func (s *Service) SetDisabled(ctx context.Context, by Principal, name string, disabled bool) error {
	if err := s.admin(ctx, by, "update", name); err != nil {
		return err
	}
	kind := "user.enabled"
	if disabled {
		kind = "user.disabled"
	}
	return s.edit(ctx, by, name, kind, disabled, func(v *view, a *Account) error {
		a.Disabled = disabled
		return lastAdmin(v, *a)
	})
}

// edit changes one account; ends says whether its sessions end.
func (s *Service) edit(ctx context.Context, by Principal, name, kind string, ends bool, do func(*view, *Account) error) error {
	return s.alter(ctx, func(v *view, _ time.Time) (Change, []event.Event, error) {
		old, ok := v.accounts[name]
		if !ok {
			return Change{}, nil, Missing(Resource{Type: "user", Name: name})
		}
		a := old.Account
		if err := do(v, &a); err != nil {
			return Change{}, nil, err
		}
		c := Change{Accounts: []Account{a}}
		if ends {
			c.Drop = v.signedIn(name)
		}
		return c, []event.Event{note(kind, "user/"+name, by, a.User)}, nil
	})
}

// lastAdmin refuses a change after which nobody could give rights any more.
func lastAdmin(v *view, changed Account) error {
	if changed.Role == Admin && !changed.Disabled {
		return nil
	}
	for name, a := range v.accounts {
		if name != changed.Name && a.Role == Admin && !a.Disabled {
			return nil
		}
	}
	if a, ok := v.accounts[changed.Name]; ok && (a.Role != Admin || a.Disabled) {
		return nil // it was none before
	}
	return errs.Errorf("access.lastAdmin", errs.Conflict, "user %q is the last admin: make another account admin first", changed.Name)
}

// signedIn is the sessions and links of a user.
func (v *view) signedIn(name string) (out []Ref) {
	for hash, k := range v.sessions {
		if k.User == name {
			out = append(out, Ref{SessionKind, hash})
		}
	}
	for hash, l := range v.links {
		if l.User == name {
			out = append(out, Ref{LinkKind, hash})
		}
	}
	return out
}

// DeleteUser removes an account with its sessions, tokens and grants. What it owns stays, for admins.
func (s *Service) DeleteUser(ctx context.Context, by Principal, name string) error {
	if err := s.admin(ctx, by, "delete", name); err != nil {
		return err
	}
	return s.alter(ctx, func(v *view, _ time.Time) (Change, []event.Event, error) {
		a, ok := v.accounts[name]
		if !ok {
			return Change{}, nil, Missing(Resource{Type: "user", Name: name})
		}
		if err := lastAdmin(v, Account{User: User{Name: name, Disabled: true}}); err != nil {
			return Change{}, nil, err
		}
		c := Change{Take: []Ref{{UserKind, name}}, Drop: v.signedIn(name)}
		for id, hash := range v.ids {
			if v.tokens[hash].User == name {
				c.Drop = append(c.Drop, Ref{TokenKind, id})
			}
		}
		for id, g := range v.grants {
			if g.User == name {
				c.Drop = append(c.Drop, Ref{GrantKind, id})
			}
		}
		return c, []event.Event{note("user.deleted", "user/"+name, by, a.User)}, nil
	})
}

// As is who an account is when the server acts for it, as for a job that it submitted. One that is gone or disabled gives
// errs.Denied.
func (s *Service) As(ctx context.Context, name string) (Principal, error) {
	v, err := s.read(ctx)
	if err != nil {
		return Principal{}, err
	}
	a, ok := v.accounts[name]
	if !ok || a.Disabled {
		return Principal{}, errs.Errorf("access.As", errs.Denied, "access denied: the account %q was closed", name)
	}
	return Principal{Name: name, Role: a.Role, Via: "server"}, nil
}

// Users lists the accounts that by may see, by name.
func (s *Service) Users(ctx context.Context, by Principal) ([]User, error) {
	v, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	out := []User{}
	for _, name := range slices.Sorted(maps.Keys(v.accounts)) {
		if s.allows(v, by, "read", Resource{Type: "user", Name: name, Owner: name}) {
			out = append(out, v.accounts[name].User)
		}
	}
	return out, nil
}

// User finds one account that by may see.
func (s *Service) User(ctx context.Context, by Principal, name string) (User, error) {
	r := Resource{Type: "user", Name: name, Owner: name}
	if err := s.Authorize(ctx, by, "read", r); err != nil {
		return User{}, err
	}
	v, err := s.read(ctx)
	if err != nil {
		return User{}, err
	}
	a, ok := v.accounts[name]
	if !ok {
		return User{}, Missing(r)
	}
	return a.User, nil
}
