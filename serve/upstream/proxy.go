package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/balance"
	"github.com/lineshaft/lineshaft/serve/port"
)

func newTransport() *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 2 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: 5 * time.Second,
		ExpectContinueTimeout: time.Second, ForceAttemptHTTP2: true, DisableCompression: true, // what comes is passed on as it is
		MaxResponseHeaderBytes: 1 << 20,
	}
}

// tries is how often a request is sent at most, whatever the budget has.
const tries = 4

// exchange is one request of a client on its way to servers.
type exchange struct {
	s      *service
	key    string
	body   []byte // where whole
	whole  bool   // the body may be sent again
	twice  bool   // the request may be sent again although it may have arrived
	path   string
	failed bool
}

// serve passes a request on. The body is what was read of it before, nil where nothing was.
func (h *handler) serve(w http.ResponseWriter, r *http.Request, s *service, to string, body []byte) {
	if _, err := h.port.Authorize(r, "predict", s.name); err != nil {
		port.WriteError(w, err)
		return
	}
	x := &exchange{s: s, path: to, body: body, whole: body != nil, key: keyOf(r), twice: mayTwice(r, to) || s.idempotent}
	if body == nil {
		held, err := h.read(r, x)
		if err != nil {
			port.WriteError(w, err)
			return
		}
		defer h.port.Close(held)
	}
	defer func() { s.count(x.failed) }()
	p := httputil.ReverseProxy{
		Rewrite:        x.rewrite,
		Transport:      x,
		ModifyResponse: tame,
		ErrorLog:       slog.NewLogLogger(h.u.o.Log.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			x.failed = true
			port.WriteError(w, err)
		},
	}
	p.ServeHTTP(w, r)
}

// tame takes from an answer what a server that is not ours may not do to a browser: speak for this host.
func tame(r *http.Response) error {
	r.Header.Del("Set-Cookie")
	r.Header.Set("X-Content-Type-Options", "nosniff")
	r.Header.Set("Content-Security-Policy", "sandbox")
	return nil
}

// read keeps a small body whole, so that it can be sent again.
func (h *handler) read(r *http.Request, x *exchange) (held int64, err error) {
	switch n := r.ContentLength; {
	case n == 0:
		x.whole = true
		return 0, nil
	case n < 0 || n > h.u.o.Whole:
		return 0, nil // it is passed on as it comes
	default:
		if err := h.port.Hold(n); err != nil {
			return 0, err
		}
		x.body = make([]byte, n)
		if _, err := io.ReadFull(r.Body, x.body); err != nil {
			h.port.Close(n)
			return 0, errs.Errorf("upstream.read", errs.Invalid, "the body did not arrive whole: %v", err)
		}
		x.whole = true
		return n, nil
	}
}

// keyOf is what the ring hashes: a session where the client names one, else who asks.
func keyOf(r *http.Request) string {
	if k := r.Header.Get("X-Session"); k != "" {
		return "session " + k
	}
	if k := r.Header.Get("Authorization"); k != "" {
		return "caller " + k
	}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	return "address " + host
}

// mayTwice says whether doing a request twice does what doing it once does: by its method (RFC 9110, 9.2.2), by the
// client's word, or because it asks for a prediction, which changes nothing.
func mayTwice(r *http.Request, to string) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete, http.MethodTrace:
		return true
	}
	if r.Header.Get("Idempotency-Key") != "" {
		return true
	}
	if strings.HasPrefix(to, "/v1/models/") {
		return strings.HasSuffix(to, ":predict") || strings.HasSuffix(to, ":classify") || strings.HasSuffix(to, ":regress")
	}
	return strings.HasPrefix(to, "/v2/models/") && strings.HasSuffix(to, "/infer")
}

// rewrite makes the request that a server sees: the caller's credentials are not for it.
func (x *exchange) rewrite(r *httputil.ProxyRequest) {
	r.SetXForwarded()
	r.Out.Header.Del("Authorization")
	r.Out.Header.Del("Cookie")
	r.Out.Header.Del("Proxy-Authorization")
	r.Out.Header.Del("Origin") // it was looked at when the request came in
	r.Out.URL.Path, r.Out.URL.RawPath = x.path, ""
	r.Out.URL.RawQuery = r.In.URL.RawQuery
}

// RoundTrip sends the request to one server after another, as far as it may.
func (x *exchange) RoundTrip(r *http.Request) (*http.Response, error) {
	var tried []string
	for {
		t, err := x.s.acquire(r.Context(), x.key, tried)
		if err != nil {
			return nil, err
		}
		answer, err := x.hedged(r, t, tried)
		if err == nil {
			return answer, nil
		}
		tried = append(tried, t.id)
		var e *sendError
		if errors.As(err, &e) && r.Context().Err() == nil && len(tried) < tries && x.whole && (x.twice || !e.arrived) && x.s.again(false) {
			continue
		}
		return nil, x.explain(r, err)
	}
}

// sendError is a request that a server did not answer. Arrived says that it may have come there.
type sendError struct {
	err     error
	arrived bool
}

func (e *sendError) Error() string { return e.err.Error() }
func (e *sendError) Unwrap() error { return e.err }

func (x *exchange) explain(r *http.Request, err error) error {
	const op = "upstream.send"
	if cause := context.Cause(r.Context()); cause != nil {
		return errs.E(op, errs.Other, cause)
	}
	if errors.Is(err, errSlow) {
		return errs.Errorf(op, errs.Timeout, "%q did not begin to answer within %v", x.s.name, x.s.timeout)
	}
	return errs.RetryAfter(errs.Errorf(op, errs.Unavailable, "%q did not answer: %v", x.s.name, err), time.Second)
}

var errSlow = errors.New("no answer in time")

// hedged sends the request, and to a second server too where the first takes longer than usual and the request may be
// sent twice. The first answer counts.
func (x *exchange) hedged(r *http.Request, t target, tried []string) (*http.Response, error) {
	after, ok := time.Duration(0), false
	if x.twice && x.whole && len(tried) == 0 {
		after, ok = x.s.hedge()
	}
	if !ok {
		return x.send(r, t)
	}
	type result struct {
		answer *http.Response
		err    error
		t      target
	}
	both := make(chan result, 2)
	begin := func(t target) context.CancelFunc {
		ctx, cancel := context.WithCancel(r.Context())
		go func() {
			answer, err := x.send(r.WithContext(ctx), t) //nolint:bodyclose // whoever takes the result closes it
			both <- result{answer, err, t}
		}()
		return cancel
	}
	cancels := map[string]context.CancelFunc{t.id: begin(t)}
	timer := time.NewTimer(after)
	defer timer.Stop()
	var last error
	for running := 1; running > 0; {
		select {
		case <-timer.C:
			if second, ok := x.s.another(t.id); ok {
				cancels[second.id] = begin(second)
				running++
			}
		case got := <-both:
			running--
			if got.err != nil {
				cancels[got.t.id]()
				last = got.err
				continue
			}
			for id, cancel := range cancels {
				if id != got.t.id {
					cancel()
				}
			}
			if running > 0 {
				go func() { // the slower one, which was told to end
					if late := <-both; late.err == nil {
						late.answer.Body.Close()
					}
				}()
			}
			got.answer.Body = &ended{ReadCloser: got.answer.Body, end: cancels[got.t.id]}
			return got.answer, nil
		}
	}
	return nil, last
}

type ended struct {
	io.ReadCloser
	end func()
}

func (e *ended) Close() error {
	err := e.ReadCloser.Close()
	e.end()
	return err
}

// another takes a server for a hedge, where there is one and the budget pays.
func (s *service) another(not string) (target, bool) {
	if !s.again(true) {
		return target{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.u.o.Clock.Now()
	id, ok := s.b.Pick(now, "", []string{not})
	if !ok {
		return target{}, false
	}
	if id == not {
		s.b.Done(now, id, balance.Outcome{Left: true})
		return target{}, false
	}
	s.pass(now)
	s.inFlight++
	return s.targets[id], true
}

// send asks one server. The service counts it as under way until the answer's body is closed.
func (x *exchange) send(r *http.Request, t target) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	began := x.s.u.o.Clock.Now()
	out := r.Clone(ctx)
	out.URL.Scheme, out.URL.Host, out.URL.Path, out.URL.RawPath = t.base.Scheme, t.base.Host, under(t.base.Path, r.URL.Path), ""
	out.Host = t.base.Host
	if x.whole {
		out.Body, out.ContentLength = http.NoBody, int64(len(x.body))
		if len(x.body) > 0 {
			out.Body = io.NopCloser(bytes.NewReader(x.body))
		}
	}
	timer := time.AfterFunc(x.s.timeout, func() { cancel(errSlow) })
	answer, err := x.s.u.transport.RoundTrip(out)
	timer.Stop()
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errSlow) {
			err = errSlow
		}
		cancel(nil)
		left := r.Context().Err() != nil
		var dial *net.OpError
		gone := errors.As(err, &dial) && dial.Op == "dial"
		x.s.release(t.id, balance.Outcome{Failed: !left, Left: left, Gone: gone}, "failed")
		return nil, &sendError{err: plain(err), arrived: !gone}
	}
	took := x.s.u.o.Clock.Now().Sub(began)
	once := sync.OnceFunc(func() {
		x.s.release(t.id, balance.Outcome{Latency: took}, class(answer.StatusCode))
		cancel(nil)
	})
	if s := answer.StatusCode; s == http.StatusBadGateway || s == http.StatusServiceUnavailable || s == http.StatusGatewayTimeout {
		if x.twice && x.whole {
			answer.Body.Close()
			x.s.release(t.id, balance.Outcome{Failed: true, Latency: took}, class(s))
			cancel(nil)
			return nil, &sendError{err: errors.New("it answered " + strconv.Itoa(s)), arrived: true}
		}
	}
	if answer.StatusCode == http.StatusSwitchingProtocols {
		once() // the connection is the client's from here on
		return answer, nil
	}
	if n := answer.ContentLength; x.twice && n > 0 && n <= x.s.u.o.Whole && r.Method != http.MethodHead {
		body := make([]byte, n)
		if _, err := io.ReadFull(answer.Body, body); err != nil {
			answer.Body.Close()
			cancel(nil)
			left := r.Context().Err() != nil
			x.s.release(t.id, balance.Outcome{Failed: !left, Left: left}, "failed")
			return nil, &sendError{err: plain(err), arrived: true}
		}
		answer.Body.Close()
		answer.Body = io.NopCloser(bytes.NewReader(body))
		once()
		return answer, nil
	}
	answer.Body = &ended{ReadCloser: answer.Body, end: once}
	return answer, nil
}

// under puts a path below a server's base, which no ".." leaves.
func under(base, rest string) string {
	clean := path.Clean("/" + rest)
	if strings.HasSuffix(rest, "/") && clean != "/" {
		clean += "/"
	}
	return strings.TrimSuffix(base, "/") + clean
}

// plain is an error without the URL, which is nobody's business.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func class(status int) string { return strconv.Itoa(status/100) + "xx" }
