package web

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// How long a client may keep a connection, a header, a body and an answer waiting.
const (
	idleTimeout   = 2 * time.Minute
	headerTimeout = 10 * time.Second
	maxHeader     = 64 << 10
	grace         = 30 * time.Second // before a body or an answer must have moved
	minRate       = 16 << 10         // bytes a second that a body must come with after that
	paceStep      = 256 << 10        // a deadline moves every so many bytes
	maxConns      = 8192             // connections at once: more wait in the system's queue
	lingerTime    = 5 * time.Second  // for a client to hear that its upload is refused
	lingerBytes   = 1 << 30
)

// NewServer is an http.Server with limits on what a slow or rude client can hold. Its errors go to log.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
	}
	if log != nil {
		s.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelDebug)
	}
	return s
}

// pace gives the body of a request a deadline that moves on as bytes come. There is no single timeout, because an
// upload of gigabytes is welcome as long as it goes on.
func pace(w http.ResponseWriter, r *http.Request) *paced {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return nil
	}
	c := http.NewResponseController(w)
	start := time.Now()
	if c.SetReadDeadline(start.Add(grace)) != nil {
		return nil // a writer without deadlines, as in a test
	}
	p := &paced{body: r.Body, c: c, start: start, left: r.ContentLength, next: paceStep}
	r.Body = p
	return p
}

type paced struct {
	body  io.ReadCloser
	c     *http.ResponseController
	start time.Time
	left  int64 // of a known length; below zero when unknown
	n     int64
	next  int64
	begun bool // the handler asked for it
	ended bool
}

func (p *paced) Read(b []byte) (int, error) {
	p.begun = true
	n, err := p.body.Read(b)
	p.n += int64(n)
	switch {
	case err != nil || p.n == p.left:
		p.ended = true
		// The connection is read on while the handler works, to learn that the client went away: without a deadline.
		_ = p.c.SetReadDeadline(time.Time{})
	case p.n >= p.next:
		p.next = p.n + paceStep
		_ = p.c.SetReadDeadline(p.start.Add(grace + time.Duration(p.n/minRate)*time.Second))
	}
	return n, err
}

func (p *paced) Close() error { return p.body.Close() }

// linger sends the answer and takes in, for a while, what the client is still sending of a body that the handler gave up:
// a connection closed at once would be reset, and the answer lost before the client has read it (RFC 9112, 9.6). A body
// that was never asked for is not waited for: the client may be holding it back (Expect: 100-continue).
func (p *paced) linger() {
	if p == nil || !p.begun || p.ended {
		return
	}
	if p.c.Flush() != nil || p.c.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, p.body, lingerBytes) // until the client has heard
}

// Listener bounds how many connections are open at once and how long one write may take: a client that does not read
// its answer is cut off.
func Listener(ln net.Listener) net.Listener {
	return &listener{Listener: ln, free: make(chan struct{}, maxConns), closed: make(chan struct{})}
}

type listener struct {
	net.Listener
	free   chan struct{}
	closed chan struct{}
	once   sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case l.free <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &conn{Conn: c, release: sync.OnceFunc(func() { <-l.free })}, nil
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type conn struct {
	net.Conn
	release func()
}

func (c *conn) Write(b []byte) (n int, err error) {
	for {
		if err := c.SetWriteDeadline(time.Now().Add(grace)); err != nil {
			return n, err
		}
		k, err := c.Conn.Write(b[n:min(len(b), n+paceStep)])
		if n += k; err != nil || n == len(b) {
			return n, err
		}
	}
}

func (c *conn) Close() error {
	c.release()
	return c.Conn.Close()
}
