package access_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/trust/access"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// cheap hashes in microseconds, so that tests do not wait.
var cheap = access.Params{Memory: 8, Time: 1, Threads: 1}

// memory is a store that keeps records as bytes, so that nothing is shared by accident.
type memory struct {
	mu     sync.Mutex
	rows   map[access.Ref][]byte
	events []event.Event
	writes int
	broken error // every write fails with it
}

func newMemory() *memory { return &memory{rows: map[access.Ref][]byte{}} }

func (m *memory) ReadAccess(context.Context) (r access.Records, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for ref, body := range m.rows {
		switch ref.Kind {
		case access.UserKind:
			r.Accounts = add(r.Accounts, body, &err)
		case access.TokenKind:
			r.Tokens = add(r.Tokens, body, &err)
		case access.SessionKind:
			r.Sessions = add(r.Sessions, body, &err)
		case access.LinkKind:
			r.Links = add(r.Links, body, &err)
		case access.GrantKind:
			r.Grants = add(r.Grants, body, &err)
		}
	}
	return r, err
}

func add[T any](list []T, body []byte, err *error) []T {
	var v T
	if e := json.Unmarshal(body, &v); e != nil {
		*err = e
	}
	return append(list, v)
}

func (m *memory) WriteAccess(_ context.Context, c access.Change, events ...event.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return m.broken
	}
	for _, r := range c.Take {
		if _, ok := m.rows[r]; !ok {
			return errs.Errorf("memory", errs.NotFound, "no such %s", r.Kind)
		}
	}
	for _, r := range append(c.Take, c.Drop...) {
		delete(m.rows, r)
	}
	for _, v := range c.Accounts {
		m.put(access.UserKind, v.Name, v)
	}
	for _, v := range c.Tokens {
		m.put(access.TokenKind, v.ID, v)
	}
	for _, v := range c.Sessions {
		m.put(access.SessionKind, v.Hash, v)
	}
	for _, v := range c.Links {
		m.put(access.LinkKind, v.Hash, v)
	}
	for _, v := range c.Grants {
		m.put(access.GrantKind, v.ID, v)
	}
	m.events = append(m.events, events...)
	m.writes++
	return nil
}

func (m *memory) put(kind access.Kind, id string, v any) {
	m.rows[access.Ref{Kind: kind, ID: id}], _ = json.Marshal(v)
}

func (m *memory) Emit(_ context.Context, events ...event.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return m.broken
	}
	m.events = append(m.events, events...)
	return nil
}

// everything that was ever stored or emitted, as text.
func (m *memory) text() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b strings.Builder
	for _, body := range m.rows {
		b.Write(body)
	}
	for _, e := range m.events {
		text, _ := json.Marshal(e)
		b.Write(text)
	}
	return b.String()
}

func (m *memory) kinds() (out []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.events {
		out = append(out, e.Kind)
	}
	return out
}

// world is a service with the accounts ann (admin), dev, eve (developers), vic (viewer) and bot (service).
type world struct {
	*access.Service
	t     *testing.T
	store *memory
	clock *clock.Fake
	root  access.Principal
}

const password = "correct horse battery"

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, store: newMemory(), clock: clock.NewFake(start)}
	w.restart()
	w.root = w.Socket()
	for name, role := range map[string]access.Role{
		"ann": access.Admin, "dev": access.Developer, "eve": access.Developer, "vic": access.Viewer, "bot": access.ServiceRole,
	} {
		if _, err := w.CreateUser(t.Context(), w.root, access.UserSpec{Name: name, Role: role, Password: password}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// restart is a new server over what is stored.
func (w *world) restart() {
	w.Service = access.New(access.Options{Store: w.store, Clock: w.clock, Hash: cheap})
}

// as signs in.
func (w *world) as(name string) access.Principal {
	w.t.Helper()
	_, _, p, err := w.SignIn(w.t.Context(), name, password)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// token makes a token for user and gives who it speaks for.
func (w *world) token(spec access.TokenSpec) (string, access.Principal) {
	w.t.Helper()
	secret, _, err := w.CreateToken(w.t.Context(), w.root, spec)
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := w.Authenticate(w.t.Context(), secret)
	if err != nil {
		w.t.Fatal(err)
	}
	return secret, p
}

func wants(t *testing.T, err error, kind errs.Kind) {
	t.Helper()
	if !errs.Is(err, kind) {
		t.Errorf("got %v, want an error of kind %v", err, kind)
	}
}
