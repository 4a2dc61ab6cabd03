package rpc

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"github.com/lineshaft/lineshaft/internal/units"
)

// This file bounds what messages under way hold together: each is within its limit, but a thousand at once are not. The
// connections get their buffers from one pool, which counts what is out. Above Options.InFlight new calls are refused,
// while those whose messages have begun to come go on; at twice that nothing more is read from any connection until
// something is given back, and a connection that has waited for long is closed. Frames of at most a kibibyte pass the
// pool by and are not counted.

// patience is how long a connection waits for others to give memory back.
const patience = 5 * time.Second

// memory is the pool of the server's connections (mem.BufferPool).
type memory struct {
	limit int64 // above it calls are refused, above twice that nothing is read
	held  atomic.Int64
	sizes [len(tiers)]sync.Pool
}

// tiers are the sizes of buffers that are used again. A frame has at most 16 KiB.
var tiers = [...]int{
	4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20, 8 << 20, 16 << 20, 32 << 20, 64 << 20,
}

// buffer is a piece of memory; what is handed out is the address of b.
type buffer struct {
	b    []byte
	full []byte
	lent *lent
}

// lent says whether a buffer is out. It outlives a buffer that is never put back: a connection that breaks leaves what it
// had received to the garbage collector.
type lent struct {
	memory *memory
	size   int64
	out    atomic.Bool
}

func (l *lent) end() {
	if l.out.CompareAndSwap(true, false) {
		l.memory.held.Add(-l.size)
	}
}

func tier(n int) int {
	for i, size := range tiers {
		if n <= size {
			return i
		}
	}
	return len(tiers)
}

// Get gives a buffer of n bytes, whatever is in them.
func (m *memory) Get(n int) *[]byte {
	i := tier(n)
	var e *buffer
	if i < len(tiers) {
		e, _ = m.sizes[i].Get().(*buffer)
	}
	if e == nil {
		size := n
		if i < len(tiers) {
			size = tiers[i]
		}
		e = &buffer{full: make([]byte, size), lent: &lent{memory: m, size: int64(size)}}
		runtime.AddCleanup(e, (*lent).end, e.lent)
	}
	e.b = e.full[:n]
	e.lent.out.Store(true)
	m.held.Add(e.lent.size)
	return &e.b
}

// Put takes back what Get gave.
func (m *memory) Put(b *[]byte) {
	e := (*buffer)(unsafe.Pointer(b)) // b is its first field
	e.lent.end()
	if i := tier(len(e.full)); i < len(tiers) {
		m.sizes[i].Put(e)
	}
}

// admit refuses a new call where too much is held (tap.ServerInHandle).
func (m *memory) admit(ctx context.Context, _ *tap.Info) (context.Context, error) {
	if m.held.Load() > m.limit {
		return ctx, status.Errorf(codes.ResourceExhausted, "requests under way hold their limit of %s: try again, or send fewer rows at a time", units.Bytes(m.limit))
	}
	return ctx, nil
}

// gate lets connections wait where too much is held.
type gate struct {
	credentials.TransportCredentials
	memory   *memory
	patience time.Duration
}

func newGate(m *memory) gate { return gate{insecure.NewCredentials(), m, patience} }

// ServerHandshake puts the gate before a new connection.
func (g gate) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := g.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	return &gated{conn, g}, info, nil
}

// Clone copies the gate.
func (g gate) Clone() credentials.TransportCredentials {
	g.TransportCredentials = g.TransportCredentials.Clone()
	return g
}

type gated struct {
	net.Conn
	gate gate
}

var errHeld = errors.New("requests under way hold too much memory")

func (c *gated) Read(b []byte) (int, error) {
	m := c.gate.memory
	var begun time.Time
	for m.held.Load() > 2*m.limit {
		switch now := time.Now(); {
		case begun.IsZero():
			begun = now
		case now.Sub(begun) > c.gate.patience:
			return 0, errHeld
		}
		time.Sleep(5 * time.Millisecond)
	}
	return c.Conn.Read(b)
}
