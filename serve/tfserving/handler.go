// Package tfserving speaks TensorFlow Serving's protocol, REST and gRPC, so that its clients work unchanged:
//
//	GET  /v1/models/M[/versions/N|/labels/L]            status
//	GET  /v1/models/M[/versions/N|/labels/L]/metadata   what it takes and gives
//	POST /v1/models/M[/versions/N|/labels/L]:predict    {"instances": […]} or {"inputs": …}
//	POST …:classify, …:regress                          {"examples": […], "context": …}
//	GET  /monitoring/prometheus/metrics
//	PredictionService  Predict, Classify, Regress, MultiInference, GetModelMetadata
//	ModelService       GetModelStatus, HandleReloadConfigRequest
//
// and beyond it
//
//	GET  /v1/models                                     every model in service that the caller may know of
//	POST /v1/models/M:load                              adds a version from a model file and serves it
//	GET  /healthz
//
// Paths match without regard to case, except for the names of models and labels. Errors are {"error": "…"} with
// TensorFlow Serving's statuses, and its codes by gRPC. Numbers are read as the nearest of the input's type, also where
// TensorFlow Serving refuses whole numbers of more than 24 bits, and refused where the type cannot hold them; answers are
// the shortest decimals that read back as the same value. Byte strings are text or {"b64": …}; an output of them whose
// name ends in _bytes is answered as the latter. A model has one signature, serving_default. Who may ask is decided by
// Options.Authorize and Calls.Allow.
//
// By REST a body is read in one pass into the tensors that the model takes (request.go); by gRPC a tensor stays where
// the message has it (wire.go). What a request can make the server hold or write is bounded by what it sent.
package tfserving

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/internal/web"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/port"
)

// Options is what the handler works with.
type Options struct {
	Manager *serve.Manager
	// Authorize says who asks, or refuses. Actions are predict, read and load; model is empty for what concerns none.
	Authorize func(r *http.Request, action, model string) (actor string, err error)
	// Load seals a model file as a new version, serves it beside the others and gives its number.
	Load        func(ctx context.Context, actor, model, filename string, body io.Reader) (version int64, err error)
	BodyLimit   units.Bytes         // of a predict request; 0: 64 MiB
	InFlight    units.Bytes         // of all predict bodies in memory at once; 0: eight times BodyLimit
	UploadLimit units.Bytes         // of a model file; 0: 8 GiB
	Others      func() []Other      // what else answers on this port, for the list of models; nil: nothing
	Metrics     prometheus.Gatherer // nil: none
	Guard       web.Options         // who may speak to the port at all
}

// Other is what answers under a name without being a model of the registry.
type Other struct {
	Name, Owner string
	Created     int64 // Unix seconds
}

type handler struct {
	o       Options
	port    *port.Port
	metrics http.Handler
}

// New makes the handler of a port that speaks this protocol alone, guarded against foreign pages and hosts.
func New(o Options) http.Handler {
	p := port.New(port.Options{Authorize: o.Authorize, BodyLimit: o.BodyLimit, InFlight: o.InFlight, Guard: o.Guard})
	return p.Handler(On(p, o), nil)
}

// On makes the handler of this protocol on a port that others share. Who may come in and ask, and how large bodies may
// be, is the port's to say; those of the options are not looked at.
func On(p *port.Port, o Options) http.Handler {
	if o.UploadLimit == 0 {
		o.UploadLimit = 8 * units.GiB
	}
	h := &handler{o: o, port: p}
	if o.Metrics != nil {
		h.metrics = promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{})
	}
	return h
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h.route(w, r); err != nil {
		port.WriteError(w, err)
	}
}

// route finds the call. Predictions come first: all else is rare.
func (h *handler) route(w http.ResponseWriter, r *http.Request) error {
	c, ok := parsePath(r.URL.Path)
	if !ok {
		return h.other(w, r)
	}
	get := r.Method == http.MethodGet || r.Method == http.MethodHead
	post := r.Method == http.MethodPost
	switch {
	case c.verb == "predict" && post:
		return h.servePredict(w, r, c.target)
	case c.verb == "load" && post && c.version == 0 && c.label == "":
		return h.serveLoad(w, r, c.model)
	case (c.verb == "classify" || c.verb == "regress") && post:
		return h.serveExamples(w, r, c.target, c.verb)
	case c.verb == "list" && get:
		return h.serveList(w, r)
	case c.verb == "status" && get:
		return h.serveStatus(w, r, c.target)
	case c.verb == "metadata" && get:
		return h.serveMetadata(w, r, c.target)
	}
	return malformed(r)
}

func malformed(r *http.Request) error {
	return errs.Errorf("tfserving.route", errs.Invalid, "malformed request: %s %s; a prediction is POST /v1/models/NAME:predict, a status GET /v1/models/NAME",
		r.Method, errs.Clip(r.URL.Path))
}

// other answers the paths outside /v1/models.
func (h *handler) other(w http.ResponseWriter, r *http.Request) error {
	path := strings.ToLower(r.URL.Path)
	get := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case path == "/monitoring/prometheus/metrics" && get && h.metrics != nil:
		if _, err := h.port.Authorize(r, "read", ""); err != nil {
			return err
		}
		h.metrics.ServeHTTP(w, r)
		return nil
	case path == "/healthz" && get:
		return port.WriteJSON(w, map[string]string{"status": "ok"})
	case strings.HasPrefix(path, "/v1/"):
		return malformed(r)
	}
	return errs.Errorf("tfserving.route", errs.NotFound, "nothing is at %s; models in service are at /v1/models", errs.Clip(r.URL.Path))
}

// call is a path, taken apart.
type call struct {
	target
	verb string // predict, classify, regress, load, list, status, metadata
}

// parsePath takes /v1/models[/M[/versions/N|/labels/L][/metadata|:VERB]] apart.
func parsePath(path string) (c call, ok bool) {
	rest, ok := cutFold(path, "/v1/models")
	if !ok {
		return c, false
	}
	if rest == "" {
		c.verb = "list"
		return c, true
	}
	if rest[0] != '/' {
		return c, false
	}
	c.model, rest = word(rest[1:])
	if after, found := cutFold(rest, "/versions/"); found {
		var digits string
		digits, rest = word(after)
		n, err := strconv.ParseUint(digits, 10, 63)
		if err != nil {
			return c, false
		}
		c.version = int64(n) // 0 is the newest, as OpenVINO's client has it
	} else if after, found := cutFold(rest, "/labels/"); found {
		if c.label, rest = word(after); c.label == "" {
			return c, false
		}
	}
	switch {
	case c.model == "":
		return c, false
	case rest == "":
		c.verb = "status"
	case rest[0] == ':':
		for _, verb := range [...]string{"predict", "classify", "regress", "load"} {
			if strings.EqualFold(rest[1:], verb) {
				c.verb = verb
			}
		}
	case strings.EqualFold(rest, "/metadata"):
		c.verb = "metadata"
	}
	return c, c.verb != ""
}

func cutFold(s, prefix string) (after string, ok bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// word is what comes before the next '/' or ':'.
func word(s string) (w, rest string) {
	if i := strings.IndexAny(s, "/:"); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}
