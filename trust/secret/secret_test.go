package secret_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/trust/seal"
	"github.com/lineshaft/lineshaft/trust/secret"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

type memory struct {
	rows   map[string]secret.Stored
	events []event.Event
}

func (m *memory) PutSecret(_ context.Context, s secret.Stored, e ...event.Event) error {
	m.rows[s.Name] = s
	m.events = append(m.events, e...)
	return nil
}

func (m *memory) GetSecret(_ context.Context, name string) (secret.Stored, error) {
	s, ok := m.rows[name]
	if !ok {
		return s, errs.Errorf("memory", errs.NotFound, "no secret %q", name)
	}
	return s, nil
}

func (m *memory) ListSecrets(context.Context) (out []secret.Stored, _ error) {
	for _, name := range slices.Sorted(maps.Keys(m.rows)) {
		out = append(out, m.rows[name])
	}
	return out, nil
}

func (m *memory) DeleteSecret(_ context.Context, name string, e ...event.Event) error {
	delete(m.rows, name)
	m.events = append(m.events, e...)
	return nil
}

func fresh(t *testing.T) (*secret.Service, *memory, *clock.Fake) {
	t.Helper()
	keys, err := seal.OpenKeyring(filepath.Join(t.TempDir(), "keys.json"), start)
	if err != nil {
		t.Fatal(err)
	}
	m, c := &memory{rows: map[string]secret.Stored{}}, clock.NewFake(start)
	return secret.New(secret.Options{Store: m, Keys: keys, Clock: c}), m, c
}

const value = "hunter2-of-all-things"

func TestASecretComesBackAndIsNowhereInPlain(t *testing.T) {
	s, m, c := fresh(t)
	if err := s.Put(t.Context(), "user/ann", "ann", "db", []byte(value)); err != nil {
		t.Fatal(err)
	}
	c.Advance(time.Hour)
	if err := s.Put(t.Context(), "user/ann", "ann", "db", []byte(value+"!")); err != nil {
		t.Fatal(err)
	}
	got, err := s.Value(t.Context(), "db")
	if err != nil || string(got) != value+"!" {
		t.Errorf("got %q, %v", got, err)
	}
	list, err := s.List(t.Context())
	if err != nil || len(list) != 1 || list[0] != (secret.Secret{Name: "db", Owner: "ann", Created: start, Updated: start.Add(time.Hour)}) {
		t.Errorf("listed %v, %v", list, err)
	}
	if err := s.Delete(t.Context(), "user/ann", "db"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Value(t.Context(), "db"); !errs.Is(err, errs.NotFound) {
		t.Errorf("a deleted secret gave %v", err)
	}
	text, err := json.Marshal(m.events)
	if err != nil || strings.Contains(string(text), value) || strings.Contains(string(text), "sealed") {
		t.Errorf("the events say %s", text)
	}
	var kinds []string
	for _, e := range m.events {
		kinds = append(kinds, e.Kind+" "+e.Subject+" "+e.Actor)
	}
	want := []string{"secret.created secret/db user/ann", "secret.updated secret/db user/ann", "secret.deleted secret/db user/ann"}
	if !slices.Equal(kinds, want) {
		t.Errorf("the events are %v", kinds)
	}
}

func TestOneSecretsBytesDoNotOpenAsAnothers(t *testing.T) {
	s, m, _ := fresh(t)
	for _, name := range []string{"a", "b"} {
		if err := s.Put(t.Context(), "user/ann", "ann", name, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Contains(fmt.Sprint(m.rows), value) {
		t.Error("a value is stored in plain")
	}
	swapped := m.rows["a"]
	swapped.Sealed = m.rows["b"].Sealed
	m.rows["a"] = swapped
	if got, err := s.Value(t.Context(), "a"); !errs.Is(err, errs.Corrupt) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestANameBelongsToWhoTookIt(t *testing.T) {
	s, _, _ := fresh(t)
	if err := s.Put(t.Context(), "user/ann", "ann", "db", []byte(value)); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "user/bob", "bob", "db", []byte("mine")); !errs.Is(err, errs.Exists) {
		t.Errorf("taking another's name gave %v", err)
	}
	if got, err := s.Value(t.Context(), "db"); err != nil || string(got) != value {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestWhatNoTaskCouldTakeIsRefusedWithoutRepeatingIt(t *testing.T) {
	s, _, _ := fresh(t)
	for name, c := range map[string]struct {
		name  string
		value []byte
		kind  errs.Kind
	}{
		"empty":       {"a", nil, errs.Invalid},
		"too large":   {"a", bytes.Repeat([]byte("x"), secret.MaxSize+1), errs.TooLarge},
		"a zero byte": {"a", []byte(value + "\x00"), errs.Invalid},
		"a path":      {"../a", []byte(value), errs.Invalid},
		"no name":     {"", []byte(value), errs.Invalid},
	} {
		err := s.Put(t.Context(), "user/ann", "ann", c.name, c.value)
		if !errs.Is(err, c.kind) || strings.Contains(err.Error(), value) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := s.Put(t.Context(), "user/ann", "ann", "a", bytes.Repeat([]byte("x"), secret.MaxSize)); err != nil {
		t.Errorf("the largest value gave %v", err)
	}
}
