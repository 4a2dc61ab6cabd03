package access

import (
	"context"
	"maps"
	"sync/atomic"
	"time"

	cedar "github.com/cedar-policy/cedar-go"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
)

// Kind names a sort of record.
type Kind string

// The kinds of records.
const (
	UserKind    Kind = "user"
	TokenKind   Kind = "token"
	SessionKind Kind = "session"
	LinkKind    Kind = "link"
	GrantKind   Kind = "grant"
)

// Ref names a record.
type Ref struct {
	Kind Kind
	ID   string
}

// Change is what one write does, in one transaction.
type Change struct {
	Accounts []Account
	Tokens   []StoredToken
	Sessions []StoredSession
	Links    []StoredLink
	Grants   []Grant
	Take     []Ref // removed; one that is not there refuses the whole change with errs.NotFound
	Drop     []Ref // removed, if there
}

func (c Change) empty() bool {
	return len(c.Accounts)+len(c.Tokens)+len(c.Sessions)+len(c.Links)+len(c.Grants)+len(c.Take)+len(c.Drop) == 0
}

// Records is everything that is kept.
type Records struct {
	Accounts []Account
	Tokens   []StoredToken
	Sessions []StoredSession
	Links    []StoredLink
	Grants   []Grant
}

// Store keeps the records. Secrets reach it hashed only.
type Store interface {
	ReadAccess(ctx context.Context) (Records, error)
	WriteAccess(ctx context.Context, c Change, events ...event.Event) error
	// Emit records events that belong to no record: refusals.
	Emit(ctx context.Context, events ...event.Event) error
}

// view is everything that is known, as one value that never changes: a change makes the next one. What a use moves
// (the times in token and session) is atomic.
type view struct {
	accounts map[string]*account
	tokens   map[string]*token   // by hash
	ids      map[string]string   // a token's hash by its ID
	sessions map[string]*session // by hash
	links    map[string]StoredLink
	grants   map[string]Grant
	roles    map[Role]cedar.Entity
}

type account struct {
	Account
	attributes cedar.Record // of the account with all that it has
	tags       cedar.Record // the grants to the user
}

func newAccount(a Account, tags cedar.Record) *account {
	return &account{a, attributesOf(a.Name, a.Role, a.Disabled, false, nil), tags}
}

type token struct {
	StoredToken
	used atomic.Int64 // Unix seconds, 0 where never; ahead of what is stored
}

type session struct {
	StoredSession
	used atomic.Int64
}

// closed reports whether the account behind p is gone or disabled, or its token revoked: what a stream or a shell that was
// let in long ago does is decided by what is known now.
func (v *view) closed(p Principal) bool {
	if p.Via == "socket" || p.Role == Anon {
		return false
	}
	if _, ok := v.ids[p.Token]; p.Token != "" && !ok {
		return true
	}
	a, ok := v.accounts[p.Name]
	return !ok || a.Disabled
}

// limited reports whether p is a token with less than its account has.
func (v *view) limited(p Principal) bool {
	a, ok := v.accounts[p.Name]
	return p.Via == "token" && (len(p.Scopes) > 0 || !ok || a.Role != p.Role)
}

// attributes is p for the policies.
func (v *view) attributes(p Principal) cedar.Record {
	limited := v.limited(p)
	if a, ok := v.accounts[p.Name]; ok && a.Role == p.Role && !limited && p.Via != "socket" && p.Token == "" {
		return a.attributes
	}
	return attributesOf(p.Name, p.Role, v.closed(p), limited, p.Scopes)
}

// granted is the grants to the user. A token with less than its user's role does not have them.
func (v *view) granted(p Principal) cedar.Record {
	if a, ok := v.accounts[p.Name]; ok && a.Role == p.Role {
		return a.tags
	}
	return cedar.Record{}
}

func (v *view) role(r Role) cedar.Entity {
	if e, ok := v.roles[r]; ok {
		return e
	}
	return cedar.Entity{UID: roleUID(r)}
}

// next is the view after a change.
func (v *view) next(c Change, demo bool) *view {
	n := &view{
		accounts: maps.Clone(v.accounts), tokens: v.tokens, ids: v.ids, sessions: v.sessions, links: v.links,
		grants: v.grants, roles: v.roles,
	}
	drop := append(append([]Ref(nil), c.Take...), c.Drop...)
	touched := map[Kind]bool{}
	for _, r := range drop {
		touched[r.Kind] = true
	}
	for _, a := range c.Accounts {
		var tags cedar.Record
		if old, ok := v.accounts[a.Name]; ok {
			tags = old.tags
		}
		n.accounts[a.Name] = newAccount(a, tags)
	}
	if len(c.Tokens) > 0 || touched[TokenKind] {
		n.tokens, n.ids = maps.Clone(v.tokens), maps.Clone(v.ids)
		for _, t := range c.Tokens {
			n.tokens[t.Hash], n.ids[t.ID] = newToken(t), t.Hash
		}
	}
	if len(c.Sessions) > 0 || touched[SessionKind] {
		n.sessions = maps.Clone(v.sessions)
		for _, s := range c.Sessions {
			n.sessions[s.Hash] = newSession(s)
		}
	}
	if len(c.Links) > 0 || touched[LinkKind] {
		n.links = maps.Clone(v.links)
		for _, l := range c.Links {
			n.links[l.Hash] = l
		}
	}
	if len(c.Grants) > 0 || touched[GrantKind] {
		n.grants = maps.Clone(v.grants)
		for _, g := range c.Grants {
			n.grants[g.ID] = g
		}
	}
	for _, r := range drop {
		n.drop(r)
	}
	if len(c.Grants) > 0 || touched[GrantKind] {
		n.tag(v.affected(c, drop), demo)
	}
	return n
}

func (v *view) drop(r Ref) {
	switch r.Kind {
	case UserKind:
		delete(v.accounts, r.ID)
	case TokenKind:
		delete(v.tokens, v.ids[r.ID])
		delete(v.ids, r.ID)
	case SessionKind:
		delete(v.sessions, r.ID)
	case LinkKind:
		delete(v.links, r.ID)
	case GrantKind:
		delete(v.grants, r.ID)
	}
}

// affected is who a change of grants is about.
func (v *view) affected(c Change, drop []Ref) map[receiver]bool {
	out := map[receiver]bool{}
	for _, g := range c.Grants {
		out[g.to()] = true
	}
	for _, r := range drop {
		if g, ok := v.grants[r.ID]; ok && r.Kind == GrantKind {
			out[g.to()] = true
		}
	}
	return out
}

// tag puts the grants of the receivers into the tags that decisions look at; nil means everyone's.
func (v *view) tag(only map[receiver]bool, demo bool) {
	by := map[receiver][]Grant{}
	for _, g := range v.grants {
		if only == nil || only[g.to()] {
			by[g.to()] = append(by[g.to()], g)
		}
	}
	for name, a := range v.accounts {
		if to := (receiver{user: name}); only == nil || only[to] {
			v.accounts[name] = newAccount(a.Account, cedar.NewRecord(tagsOf(by[to])))
		}
	}
	roles := map[Role]cedar.Entity{}
	for _, role := range []Role{Admin, Developer, Viewer, ServiceRole, Anon} {
		if to := (receiver{role: role}); only == nil || only[to] {
			roles[role] = roleEntity(role, demo, tagsOf(by[to]))
		} else {
			roles[role] = v.roles[role]
		}
	}
	v.roles = roles
}

func newToken(t StoredToken) *token {
	k := &token{StoredToken: t}
	if t.LastUsed != nil {
		k.used.Store(t.LastUsed.Unix())
	}
	return k
}

func newSession(s StoredSession) *session {
	k := &session{StoredSession: s}
	k.used.Store(s.Used.Unix())
	return k
}

// read gives what is known; the first call reads the store.
func (s *Service) read(ctx context.Context) (*view, error) {
	if v := s.state.Load(); v != nil {
		return v, nil
	}
	s.change.Lock()
	defer s.change.Unlock()
	return s.load(ctx)
}

// load reads the store where that has not been done. The caller holds s.change.
func (s *Service) load(ctx context.Context) (*view, error) {
	if v := s.state.Load(); v != nil {
		return v, nil
	}
	all, err := s.o.Store.ReadAccess(ctx)
	if err != nil {
		return nil, errs.E("access.load", errs.Other, err)
	}
	v := &view{
		accounts: map[string]*account{}, tokens: map[string]*token{}, ids: map[string]string{}, sessions: map[string]*session{},
		links: map[string]StoredLink{}, grants: map[string]Grant{},
	}
	for _, a := range all.Accounts {
		v.accounts[a.Name] = newAccount(a, cedar.Record{})
	}
	for _, t := range all.Tokens {
		v.tokens[t.Hash], v.ids[t.ID] = newToken(t), t.Hash
	}
	for _, k := range all.Sessions {
		v.sessions[k.Hash] = newSession(k)
	}
	for _, l := range all.Links {
		v.links[l.Hash] = l
	}
	for _, g := range all.Grants {
		v.grants[g.ID] = g
	}
	v.tag(nil, s.o.Demo)
	s.state.Store(v)
	return v, nil
}

type dryKey struct{}

// Dry is a context in which every method of Service decides as it would, gives the answer and the errors that it would,
// and changes nothing.
func Dry(ctx context.Context) context.Context { return context.WithValue(ctx, dryKey{}, true) }

func dry(ctx context.Context) bool { return ctx.Value(dryKey{}) != nil }

// alter runs one change: decide looks at what is known and says what to write, with its events. The store is written
// first, so that a failed write has changed nothing.
func (s *Service) alter(ctx context.Context, decide func(v *view, now time.Time) (Change, []event.Event, error)) error {
	s.change.Lock()
	defer s.change.Unlock()
	v, err := s.load(ctx)
	if err != nil {
		return err
	}
	c, events, err := decide(v, s.o.Clock.Now())
	if err != nil {
		return err
	}
	if dry(ctx) || c.empty() && len(events) == 0 {
		return nil
	}
	// Once begun, the write is not given up: an answer that says "changed" or "not changed" must be the truth.
	if err := s.o.Store.WriteAccess(context.WithoutCancel(ctx), c, events...); err != nil {
		s.state.Store(nil) // should it have been written all the same, the next read finds it
		return errs.E("access.write", errs.Other, err)
	}
	s.state.Store(v.next(c, s.o.Demo))
	return nil
}

func note(kind, subject string, by Principal, data any) event.Event {
	return event.New("audit", kind, subject, by.Actor(), data)
}
