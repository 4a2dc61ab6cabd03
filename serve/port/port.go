// Package port is what the protocols of serving's REST port, 8501, have in common: who may come in (web.Guard's rules),
// who may ask for what, how large a body may be and how many may be in memory at once, and the form of an error.
//
// Each protocol is a handler made over the same Port, so that a flood on one is held by the bound that all share:
//
//	p := port.New(port.Options{Authorize: mayServe})
//	h := p.Handler(tfserving.On(p, …), map[string]http.Handler{"v2": kserve.On(p, …)})
package port

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/internal/web"
)

// Options is what a port works with.
type Options struct {
	// Authorize says who asks, or refuses. Actions are predict, read, load and deploy; model is empty for what concerns
	// none.
	Authorize func(r *http.Request, action, model string) (actor string, err error)
	BodyLimit units.Bytes // of a request that is no upload; 0: 64 MiB
	InFlight  units.Bytes // of all such bodies in memory at once; 0: eight times BodyLimit
	Guard     web.Options // who may speak to the port at all
}

// Port is shared by the protocols that are spoken on it.
type Port struct {
	o    Options
	held atomic.Int64 // bytes of bodies in memory
}

// New makes a port.
func New(o Options) *Port {
	if o.BodyLimit == 0 {
		o.BodyLimit = 64 * units.MiB
	}
	if o.InFlight == 0 {
		o.InFlight = 8 * o.BodyLimit
	}
	o.Guard.Refuse = func(w http.ResponseWriter, _ *http.Request, err error) { WriteError(w, err) }
	return &Port{o: o}
}

// Handler is the port's handler, guarded against foreign pages and hosts: paths whose first element is a key of special
// go there, all others to general.
func (p *Port) Handler(general http.Handler, special map[string]http.Handler) http.Handler {
	return web.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(special) > 0 {
			first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
			if h, ok := special[first]; ok {
				h.ServeHTTP(w, r)
				return
			}
		}
		general.ServeHTTP(w, r)
	}), p.o.Guard)
}

// Authorize says who asks, or refuses.
func (p *Port) Authorize(r *http.Request, action, model string) (actor string, err error) {
	return p.o.Authorize(r, action, model)
}

var jsonType = []string{"application/json"}

// WriteError answers with {"error": message}, the form of TensorFlow Serving and of KServe, and the status of the
// error's kind.
func WriteError(w http.ResponseWriter, err error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(map[string]string{"error": err.Error()}) // strings always encode
	h := w.Header()
	h["Content-Type"] = jsonType
	h.Set("X-Content-Type-Options", "nosniff")
	if errs.Is(err, errs.Unauthenticated) {
		h.Set("WWW-Authenticate", "Bearer")
	}
	if seconds, ok := errs.RetrySeconds(err); ok {
		h.Set("Retry-After", strconv.Itoa(seconds))
	}
	w.WriteHeader(errs.KindOf(err).HTTPStatus())
	_, _ = w.Write(b.Bytes())
}

// WriteJSON answers with a document.
func WriteJSON(w http.ResponseWriter, v any) error {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return errs.E("port.WriteJSON", errs.Other, err)
	}
	w.Header()["Content-Type"] = jsonType
	_, _ = w.Write(append(b, '\n')) // the client may be gone
	return nil
}
