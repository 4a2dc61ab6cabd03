package folder

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/serve"
)

// Store keeps what is in service in memory: the folders say it again after a start.
type Store struct {
	mu      sync.Mutex
	records map[string]serve.Record
}

// NewStore makes an empty one.
func NewStore() *Store { return &Store{records: map[string]serve.Record{}} }

// PutService keeps a record.
func (s *Store) PutService(_ context.Context, r serve.Record, _ ...event.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[r.Model] = r
	return nil
}

// DeleteService forgets one.
func (s *Store) DeleteService(_ context.Context, name string, _ ...event.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.records, name)
	return nil
}

// Services lists them.
func (s *Store) Services(context.Context) ([]serve.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.records)), nil
}

// Emit drops events: nobody listens.
func (*Store) Emit(context.Context, ...event.Event) error { return nil }

var _ serve.Store = (*Store)(nil)
