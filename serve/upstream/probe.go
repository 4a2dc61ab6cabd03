package upstream

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	probeEvery   = 2 * time.Second // of a server that is well
	probeTimeout = time.Second
)

// probe asks servers for their health: those that are not well at each look, the others every few seconds.
func (s *service) probe(ctx context.Context, owned *sync.WaitGroup) {
	if s.health == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.u.o.Clock.Now()
	for _, st := range s.b.Stats(now) {
		if s.probing[st.ID] || st.State == "draining" || st.State != "ill" && now.Sub(s.probed[st.ID]) < probeEvery {
			continue
		}
		t := s.targets[st.ID]
		s.probing[t.id] = true
		owned.Go(func() {
			well := s.u.well(ctx, t, s.health)
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.probing, t.id)
			if _, there := s.targets[t.id]; !there || ctx.Err() != nil {
				delete(s.probed, t.id)
				return
			}
			at := s.u.o.Clock.Now()
			s.probed[t.id] = at
			s.b.Probe(at, t.id, well)
			s.tell()
		})
	}
}

func (u *Upstreams) well(ctx context.Context, t target, path string) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	at := *t.base
	to, query, _ := strings.Cut(path, "?")
	at.Path, at.RawQuery = under(t.base.Path, to), query
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return false
	}
	answer, err := u.transport.RoundTrip(r)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, 4<<10) // so that the connection is used again
	return answer.StatusCode >= 200 && answer.StatusCode < 300
}
