package serve

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lineshaft/lineshaft/serve/release"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// This file gives a shadow copies of requests. A request costs its copy, and nothing waits for the shadow: what comes while
// copies hold their limit of memory, or while its queue is full, is dropped and counted.

const (
	shadowQueue = 64
	shadowBytes = 64 << 20 // of all copies of one model
	shadowTime  = 30 * time.Second
)

// shadow is where copies of the requests to one version go.
type shadow struct {
	candidate *instance
	weight    atomic.Uint64 // of 2³²
	turn      atomic.Uint32
	held      atomic.Int64
	queue     chan copied
	end       context.CancelFunc

	mu     sync.Mutex
	copies release.Copies
}

// copied is a request with the answer that was given.
type copied struct {
	in, out []tensor.Tensor
	took    time.Duration
	size    int64
}

func (m *Manager) newShadow(candidate *instance) *shadow {
	ctx, end := context.WithCancel(m.ctx)
	s := &shadow{candidate: candidate, queue: make(chan copied, shadowQueue), end: end}
	m.work.Go(func() { s.work(ctx) })
	return s
}

// see copies a request that was answered, if it is its turn and there is room.
func (s *shadow) see(c *Call, took time.Duration) {
	if uint64(s.turn.Add(1)*golden) >= s.weight.Load() {
		return
	}
	size := sizeOf(c.In) + sizeOf(c.Out)
	if s.held.Add(size) > shadowBytes {
		s.held.Add(-size)
		s.drop()
		return
	}
	select {
	case s.queue <- copied{clone(c.In), clone(c.Out), took, size}:
	default:
		s.held.Add(-size)
		s.drop()
	}
}

func (s *shadow) drop() {
	s.mu.Lock()
	s.copies.Dropped++
	s.mu.Unlock()
}

func (s *shadow) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-s.queue:
			s.answer(ctx, c)
			s.held.Add(-c.size)
		}
	}
}

// answer asks the shadow and compares.
func (s *shadow) answer(ctx context.Context, c copied) {
	if !s.candidate.acquire() {
		return // it is being freed: the release has ended
	}
	l := Lease{i: s.candidate}
	defer l.Release()
	ctx, cancel := context.WithTimeout(ctx, shadowTime)
	defer cancel()
	call := Call{In: c.in, Priority: math.MinInt32} // after everything that somebody waits for
	begin := time.Now()
	err := l.compute(ctx, &call)
	took := time.Since(begin)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if ctx.Err() == nil {
			s.copies.Fail(err.Error())
		}
		return
	}
	s.copies.Compare(c.out, call.Out, c.took, took)
}

func (s *shadow) show() *release.Copies {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.copies
	return &out
}

func sizeOf(all []tensor.Tensor) (n int64) {
	for i := range all {
		n += int64(len(all[i].Data)) + 64
		for _, s := range all[i].Strings {
			n += int64(len(s)) + 24
		}
	}
	return n
}

// clone copies tensors, for their memory is used again.
func clone(all []tensor.Tensor) []tensor.Tensor {
	out := make([]tensor.Tensor, len(all))
	for i, t := range all {
		out[i] = tensor.Tensor{Type: t.Type, Shape: append([]int(nil), t.Shape...), Data: append([]byte(nil), t.Data...)}
		for _, s := range t.Strings {
			out[i].Strings = append(out[i].Strings, append([]byte(nil), s...))
		}
	}
	return out
}
