package web

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

// preface is what a client of HTTP/2 sends first (RFC 9113, 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Split tells HTTP/2 from HTTP/1 on one listener by the first bytes of each connection, so that gRPC, which is HTTP/2
// from its first byte on, and REST answer on one port. With a TLS configuration connections are decrypted first.
// HTTP/1 comes out of h1, HTTP/2 out of h2; ln is closed with the second of them.
func Split(ln net.Listener, secure *tls.Config) (h1, h2 net.Listener) {
	s := &split{ln: ln, secure: secure, asking: map[net.Conn]struct{}{}, open: 2}
	s.h1, s.h2 = newHalf(s), newHalf(s)
	s.work.Go(s.accept)
	return s.h1, s.h2
}

type split struct {
	ln     net.Listener
	secure *tls.Config
	h1, h2 *half
	work   sync.WaitGroup

	mu     sync.Mutex
	asking map[net.Conn]struct{} // connections whose protocol is not known yet
	open   int                   // halves
}

// half is one of the two listeners.
type half struct {
	s      *split
	conns  chan net.Conn
	closed chan struct{}
	failed chan struct{} // closed when the listener below has ended, with err
	err    error
	once   sync.Once
}

func newHalf(s *split) *half {
	return &half{s: s, conns: make(chan net.Conn), closed: make(chan struct{}), failed: make(chan struct{})}
}

func (h *half) Addr() net.Addr { return h.s.ln.Addr() }

func (h *half) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	case <-h.failed:
		return nil, h.err
	}
}

func (h *half) Close() error {
	var err error
	h.once.Do(func() {
		close(h.closed)
		err = h.s.leave()
	})
	return err
}

// leave closes one half; with the second everything ends.
func (s *split) leave() error {
	s.mu.Lock()
	s.open--
	last := s.open == 0
	if last {
		for c := range s.asking {
			c.Close()
		}
	}
	s.mu.Unlock()
	if !last {
		return nil
	}
	err := s.ln.Close()
	s.work.Wait()
	return err
}

func (s *split) accept() {
	pause := time.Duration(0)
	for {
		c, err := s.ln.Accept()
		if err == nil {
			pause = 0
			s.work.Go(func() { s.lead(c) })
			continue
		}
		if errors.Is(err, net.ErrClosed) || pause > time.Second {
			for _, h := range []*half{s.h1, s.h2} {
				h.err = err
				close(h.failed)
			}
			return
		}
		pause = max(2*pause, 5*time.Millisecond) // out of file descriptors, for example: they come back
		time.Sleep(pause)
	}
}

// lead finds out what a connection speaks and hands it on.
func (s *split) lead(c net.Conn) {
	s.mu.Lock()
	over := s.open == 0
	s.asking[c] = struct{}{}
	s.mu.Unlock()
	out, to := net.Conn(nil), s.h1
	if !over {
		out, to = s.ask(c)
	}
	s.mu.Lock()
	delete(s.asking, c)
	s.mu.Unlock()
	if out == nil {
		c.Close()
		return
	}
	select {
	case to.conns <- out:
	case <-to.closed:
		out.Close()
	}
}

// ask reads up to the byte that decides.
func (s *split) ask(c net.Conn) (net.Conn, *half) {
	if c.SetDeadline(time.Now().Add(headerTimeout)) != nil {
		return nil, nil
	}
	if s.secure != nil {
		t := tls.Server(c, s.secure)
		if t.Handshake() != nil { // within the deadline
			return nil, nil
		}
		c = t
	}
	head := make([]byte, 0, len(preface))
	for len(head) < len(preface) && string(head) == preface[:len(head)] {
		n, err := c.Read(head[len(head):cap(head)])
		head = head[:len(head)+n]
		if err != nil {
			return nil, nil
		}
	}
	if c.SetDeadline(time.Time{}) != nil {
		return nil, nil
	}
	to := s.h1
	if string(head) == preface {
		to = s.h2
	}
	return &begun{Conn: c, head: head}, to
}

// begun is a connection of which the head was read already.
type begun struct {
	net.Conn
	head []byte
}

func (b *begun) Read(p []byte) (int, error) {
	if len(b.head) == 0 {
		return b.Conn.Read(p)
	}
	n := copy(p, b.head)
	b.head = b.head[n:]
	return n, nil
}
