// Package api is Lineshaft's face to programs: HTTP with JSON, described by an OpenAPI 3.1 document, one file per
// resource.
//
// A handler decodes, asks whether the caller may, calls the domain, and returns a value or an error; one adapter writes
// the reply (route.go) and one turns errors into their form (errors.go). Whether somebody may is asked in one place
// (server.allow), and what somebody may not read does not exist for them.
//
//	h := api.New(api.Options{Jobs: runner, Access: access, …})
//	srv := web.NewServer(h, log)
//	srv.ConnContext = api.ConnContext // the data folder's socket lets its owner in
package api

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/lineshaft/lineshaft/internal/clock"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/internal/web"
	"github.com/lineshaft/lineshaft/model"
)

// Options are what the API works with. The interfaces are declared beside the handlers that use them.
type Options struct {
	Jobs       Jobs       // *job.Runner
	Models     Models     // *model.Registry
	Sets       Sets       // *data.Sets
	Code       Code       // uploaded folders
	Services   Services   // *serve.Manager
	Upstreams  Upstreams  // *upstream.Upstreams; nil: none
	Fleet      Fleet      // *fleet.Fleet
	Calendar   Calendar   // *calendar.Calendar
	Control    Control    // *control.Runner
	Access     Access     // *access.Service
	Secrets    Secrets    // *secret.Service
	Keys       Keys       // rotates the key-encryption keys
	Shells     Shells     // *local.Local
	Rows       Rows       // *store.DB
	Solver     Solver     // *solve.Engine; nil offers none
	Compressor Compressor // *compress.Service
	// Predict answers a request of TensorFlow Serving's REST API; tfserving.Predict does.
	Predict func(ctx context.Context, model string, version int64, label string, body []byte) ([]byte, error)

	// Requests reads the log of requests; nil where none is kept.
	Requests Requests

	// Convert writes the model that r holds in another format.
	Convert func(w io.Writer, to model.Format, r io.ReaderAt, size int64) error

	Addresses Addresses    // where all of it is
	Console   http.Handler // the console's files; nil serves none
	Version   string
	Clock     clock.Clock
	Log       *slog.Logger

	BodyLimit   int64 // of a request that is no upload; 64 MiB
	UploadLimit int64 // of a model, a data set or a code folder; 8 GiB
	// Timeout bounds a request that is neither a stream nor an upload; 1 min.
	Timeout time.Duration
	// Heartbeat is how long the stream of events is silent at most, and how often streams look whether their caller may
	// still be here; 15 s.
	Heartbeat time.Duration
	// Web says who may come in beside loopback and same-origin callers.
	Web web.Options
	// Ready says what is not ready yet; nil is always ready.
	Ready func(ctx context.Context) error
	// Closing ends when the server is about to: streams end with it. Nil never ends.
	Closing context.Context
	// Registerer and Gatherer hold the metrics that /metrics shows; nil keeps a registry of the API's own.
	Registerer prometheus.Registerer
	Gatherer   prometheus.Gatherer
}

// Rows is what the API reads from the store itself.
type Rows interface {
	ModelRows
	SetRows
	AuditRows
	EventRows
	Totals
}

func (o Options) defaults() Options {
	if o.Closing == nil {
		o.Closing = context.Background()
	}
	if o.BodyLimit <= 0 {
		o.BodyLimit = int64(64 * units.MiB)
	}
	if o.UploadLimit <= 0 {
		o.UploadLimit = int64(8 * units.GiB)
	}
	if o.Timeout <= 0 {
		o.Timeout = time.Minute
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = 15 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Registerer == nil || o.Gatherer == nil {
		own := prometheus.NewRegistry()
		o.Registerer, o.Gatherer = own, own
	}
	return o
}

type server struct {
	o       Options
	mux     *http.ServeMux
	huma    huma.API
	open    map[string]bool // patterns that need no credentials
	signIns *attempts
	started time.Time
	spec    []byte
	metrics metrics
	solving chan struct{} // a place for each problem being solved
}

// New is the handler of the console's and the API's port, and of the data folder's socket.
func New(o Options) http.Handler {
	s := &server{o: o.defaults(), mux: http.NewServeMux(), open: map[string]bool{}}
	s.started, s.signIns = s.o.Clock.Now(), newAttempts(s.o.Clock)
	s.metrics = newMetrics(s.o.Registerer)
	s.huma = huma.NewAPI(huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{Title: "Lineshaft", Version: s.o.Version, Description: "Production management for AI data centres. " +
				"Every call needs `Authorization: Bearer ls_…`, the session cookie of the console, or the data folder's Unix socket."},
			Servers:  []*huma.Server{{URL: base}},
			Security: []map[string][]string{{"token": {}}, {"session": {}}},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", schemaName),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token":   {Type: "http", Scheme: "bearer"},
					"session": {Type: "apiKey", In: "cookie", Name: cookieName},
				},
			},
		},
		Formats:                      map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{refused},
	}, adapter{s.mux})
	s.register()
	return s.observe(web.Guard(http.HandlerFunc(s.serve), s.o.Web))
}

func (s *server) register() {
	aliasSchemas(s.huma.OpenAPI().Components.Schemas)
	s.sessionRoutes()
	s.jobRoutes()
	s.modelRoutes()
	s.dataRoutes()
	s.codeRoutes()
	s.serviceRoutes()
	s.upstreamRoutes()
	s.releaseRoutes()
	s.idleRoutes()
	s.driftRoutes()
	s.requestRoutes()
	s.attachmentRoutes()
	s.batchingRoutes()
	s.fleetRoutes()
	s.reservationRoutes()
	s.controlRoutes()
	s.userRoutes()
	s.tokenRoutes()
	s.grantRoutes()
	s.secretRoutes()
	s.keyRoutes()
	s.auditRoutes()
	s.overviewRoutes()
	s.solveRoutes()
	s.execRoutes()
	s.eventRoutes()
	for _, t := range []reflect.Type{reflect.TypeFor[huma.ErrorModel](), reflect.TypeFor[huma.ErrorDetail]()} {
		delete(s.huma.OpenAPI().Components.Schemas.Map(), schemaName(t, "")) // the library's own form, never sent
	}
	var err error
	if s.spec, err = json.Marshal(s.huma.OpenAPI()); err != nil {
		panic(err) // the document is made of this program's types alone
	}
	s.mux.HandleFunc("GET /api/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		w.Write(s.spec) // the caller may be gone
	})
	s.mux.Handle("GET /metrics", s.metricsHandler())
}

// serve sends a request to its part of the port.
func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	c := callOf(r.Context())
	switch {
	case r.URL.Path == "/healthz":
		c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		c.w.Write([]byte("ok\n")) //nolint:errcheck // the caller may be gone
	case r.URL.Path == "/readyz":
		s.ready(c)
	case r.URL.Path == "/metrics" || r.URL.Path == "/api" || strings.HasPrefix(r.URL.Path, "/api/"):
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		s.call(c, r)
	case s.o.Console != nil:
		consoleHeaders(w.Header())
		s.o.Console.ServeHTTP(c.w, r)
	default:
		s.fail(c, errs.Errorf("api.serve", errs.NotFound, "nothing is served at %s: this server has no console, its API is under %s", r.URL.Path, base))
	}
}

// call finds out who asks and lets the resource's handler answer.
func (s *server) call(c *call, r *http.Request) {
	h, pattern := s.mux.Handler(r)
	who, err := s.identify(r)
	if err != nil && !s.open[pattern] {
		s.fail(c, err)
		return
	}
	c.who = who
	if pattern == "" {
		s.nowhere(c, r, h)
		return
	}
	if s.open[pattern] {
		s.mux.ServeHTTP(c.w, r)
		return
	}
	if err := ownPage(c.who, r); err != nil {
		s.fail(c, err)
		return
	}
	s.mux.ServeHTTP(c.w, r)
}

// nowhere answers for a path or a method that there is not.
func (s *server) nowhere(c *call, r *http.Request, h http.Handler) {
	seen := &recorder{header: http.Header{}}
	h.ServeHTTP(seen, r)
	if seen.status != http.StatusMethodNotAllowed {
		s.fail(c, errs.Errorf("api.nowhere", errs.NotFound, "the API has no %s; /api/openapi.json lists what there is", r.URL.Path))
		return
	}
	allowed := seen.header.Get("Allow")
	c.w.Header().Set("Allow", allowed)
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(http.StatusMethodNotAllowed)
	json.NewEncoder(c.w).Encode(Error{ //nolint:errcheck // the caller may be gone
		Status: http.StatusMethodNotAllowed, Kind: errs.Unsupported.String(),
		Message: r.Method + " is not offered at " + r.URL.Path + "; there is " + allowed,
	})
}

// recorder takes what the mux says to a request that it has no handler for.
type recorder struct {
	header http.Header
	status int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return len(b), nil }

func (s *server) ready(c *call) {
	if s.o.Ready != nil {
		if err := s.o.Ready(c.r.Context()); err != nil {
			s.fail(c, errs.E("api.ready", errs.Unavailable, err))
			return
		}
	}
	c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	c.w.Write([]byte("ready\n")) //nolint:errcheck // the caller may be gone
}

// consoleHeaders keep the console's files from running what is not theirs and from being shown in another's frame. A
// page may set a policy of its own.
func consoleHeaders(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "+
		"font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
}
