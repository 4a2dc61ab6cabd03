package upstream

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/port"
)

// Handler answers requests for the services on the serving port, and hands all others to next.
func (u *Upstreams) Handler(p *port.Port, next http.Handler) http.Handler {
	return &handler{u: u, port: p, next: next}
}

type handler struct {
	u    *Upstreams
	port *port.Port
	next http.Handler
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch name, kind := route(r.URL.Path); kind {
	case byName:
		if s := h.u.find(name); s != nil {
			h.serve(w, r, s, r.URL.Path, nil)
			return
		}
	case stripped:
		h.stripped(w, r, name)
		return
	case byBody:
		h.byBody(w, r)
		return
	}
	h.next.ServeHTTP(w, r)
}

type kind int

const (
	none     kind = iota
	byName        // the path names the service, and the server sees the same path
	stripped      // the path names the service, and the server sees what follows
	byBody        // the body names it
)

// ofOpenAI are the paths at which the body says which model is meant (OpenAI's API reference).
var ofOpenAI = [...]string{"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/rerank"}

// route says whom a path is for.
func route(path string) (name string, k kind) {
	if rest, ok := strings.CutPrefix(path, "/services/"); ok {
		name, _, _ = strings.Cut(rest, "/")
		return name, stripped
	}
	for _, prefix := range [...]string{"/v1/models/", "/v2/models/"} {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			if i := strings.IndexAny(rest, "/:"); i >= 0 {
				rest = rest[:i]
			}
			return rest, byName
		}
	}
	for _, p := range ofOpenAI {
		if path == p {
			return "", byBody
		}
	}
	return "", none
}

// stripped answers /services/NAME/REST with what the server has at /REST.
func (h *handler) stripped(w http.ResponseWriter, r *http.Request, name string) {
	s := h.u.find(name)
	if s == nil {
		h.unknown(w, r, name)
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/services/"+name)
	if path == "" {
		path = "/"
	}
	h.serve(w, r, s, path, nil)
}

// unknown says that nobody answers under a name, to those who may know.
func (h *handler) unknown(w http.ResponseWriter, r *http.Request, name string) {
	if _, err := h.port.Authorize(r, "predict", name); err != nil {
		port.WriteError(w, err)
		return
	}
	port.WriteError(w, errs.Errorf("upstream.route", errs.NotFound, "no server answers as %q; GET /v1/models lists what does", errs.Clip(name)))
}

// byBody reads the body for the name of the model. OpenAI's clients want its own form of an error.
func (h *handler) byBody(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		port.WriteError(w, errs.Errorf("upstream.route", errs.Invalid, "%s %s: send a POST with a JSON body that names a model", r.Method, r.URL.Path))
		return
	}
	if _, err := h.port.Authorize(r, "predict", ""); errs.Is(err, errs.Unauthenticated) { // before a body is read for nobody
		port.WriteError(w, err)
		return
	}
	held, err := h.port.Open(r)
	if err != nil {
		port.WriteError(w, err)
		return
	}
	defer h.port.Close(held)
	body, err := h.port.Read(r, nil, 0)
	if err != nil {
		port.WriteError(w, err)
		return
	}
	r.Header.Del("Content-Encoding") // it is plain now
	name, err := modelOf(body)
	if err != nil {
		port.WriteError(w, err)
		return
	}
	s := h.u.find(name)
	if s == nil {
		h.unknown(w, r, name)
		return
	}
	h.serve(w, r, s, r.URL.Path, body)
}

// modelOf finds the field "model" of a JSON object, without building the rest.
func modelOf(body []byte) (string, error) {
	const op = "upstream.modelOf"
	wrong := func(err error) error {
		return errs.Errorf(op, errs.Invalid, "the body is no JSON object: %v", err)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	t, err := dec.Token()
	if err != nil {
		return "", wrong(err)
	}
	if t != json.Delim('{') {
		return "", errs.Errorf(op, errs.Invalid, "the body is no JSON object: it names no model")
	}
	name, found := "", false
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return "", wrong(err)
		}
		if key != "model" {
			var skipped json.RawMessage
			if err := dec.Decode(&skipped); err != nil {
				return "", wrong(err)
			}
			continue
		}
		if found { // whoever reads the last of two would serve what another was allowed
			return "", errs.Errorf(op, errs.Invalid, `the body has the field "model" twice`)
		}
		found = true
		if err := dec.Decode(&name); err != nil {
			return "", errs.Errorf(op, errs.Invalid, `the field "model" is no text`)
		}
	}
	if _, err := dec.Token(); err != nil {
		return "", wrong(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return "", errs.Errorf(op, errs.Invalid, "the body goes on after its JSON object")
	}
	if name == "" {
		return "", errs.Errorf(op, errs.Invalid, `the body names no model: give it in the field "model"; GET /v1/models lists what there is`)
	}
	return name, nil
}

// Listed is a service as GET /v1/models shows it.
type Listed struct {
	Name, Owner string
	Created     int64 // Unix seconds
}

// Listed are the services that a model of ours does not hide, by name.
func (u *Upstreams) Listed() (out []Listed) {
	for _, s := range u.all() {
		if !u.o.Shadowed(s.name) {
			l := Listed{Name: s.name, Owner: s.owner}
			if !s.created.IsZero() {
				l.Created = s.created.Unix()
			}
			out = append(out, l)
		}
	}
	return out
}
