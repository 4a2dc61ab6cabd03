package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/id"
	"github.com/lineshaft/lineshaft/trust/access"
)

// call is one request on its way.
type call struct {
	id  string
	w   *writer
	r   *http.Request
	who access.Principal
}

type callKey struct{}

func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) } //nolint:forcetypeassert // observe put it there

// writer remembers whether an answer has begun.
type writer struct {
	http.ResponseWriter
	status int
	wrote  bool
	begun  func() // called when the answer begins; may be nil
}

func (w *writer) WriteHeader(status int) {
	first := !w.wrote
	if first {
		w.wrote, w.status = status >= 200, status
	}
	w.ResponseWriter.WriteHeader(status)
	if first && w.wrote && w.begun != nil {
		w.begun()
	}
}

func (w *writer) Write(b []byte) (int, error) {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap gives http.ResponseController and the websocket the connection.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush sends on what was written.
func (w *writer) Flush() {
	_ = http.NewResponseController(w.ResponseWriter).Flush() // a connection that is gone shows at the next write
}

// observe gives every request its number, a line in the log, its metrics, and a floor under a panic.
func (s *server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{id: id.New("req"), w: &writer{ResponseWriter: w}}
		c.r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
		w.Header().Set("X-Request-Id", c.id)
		begin := time.Now()
		s.metrics.open.Inc()
		defer func() {
			s.metrics.open.Dec()
			s.metrics.done(c, time.Since(begin))
			s.o.Log.LogAttrs(c.r.Context(), slog.LevelDebug, "request", slog.String("request", c.id), slog.String("method", r.Method),
				slog.String("path", r.URL.Path), slog.Int("status", c.w.status), slog.String("who", c.who.Name), slog.Duration("took", time.Since(begin)))
		}()
		defer s.contain(c)
		next.ServeHTTP(c.w, c.r)
	})
}

// contain answers for a handler that panicked: one request fails, the server goes on.
func (s *server) contain(c *call) {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p) // cuts the connection, as asked for
	}
	s.o.Log.Error("a request's handler panicked", "request", c.id, "method", c.r.Method, "path", c.r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	if c.w.wrote {
		panic(http.ErrAbortHandler)
	}
	s.fail(c, errs.Errorf("api.contain", errs.Other, "panic: %v", p))
}
