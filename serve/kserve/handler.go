package kserve

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/port"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// handler answers by REST.
type handler struct {
	inference
	port *port.Port
}

// On makes the handler of /v2 on a port, which says who may come in and ask and how large bodies may be.
func On(p *port.Port, o Options) http.Handler { return &handler{inference{o}, p} }

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h.route(w, r); err != nil {
		port.WriteError(w, err)
	}
}

// target is a path, taken apart: /v2/models/M[/versions/V][/VERB].
type target struct {
	model, version, verb string
}

func parsePath(rest string) (p target, ok bool) {
	p.model, rest, _ = strings.Cut(rest, "/")
	if after, found := strings.CutPrefix(rest, "versions/"); found {
		if p.version, rest, _ = strings.Cut(after, "/"); p.version == "" {
			return p, false
		}
	}
	p.verb = rest
	return p, p.model != ""
}

// route finds the call. Inferences come first: all else is rare.
func (h *handler) route(w http.ResponseWriter, r *http.Request) error {
	get := r.Method == http.MethodGet || r.Method == http.MethodHead
	post := r.Method == http.MethodPost
	if rest, ok := strings.CutPrefix(r.URL.Path, "/v2/models/"); ok {
		if p, ok := parsePath(rest); ok {
			switch {
			case p.verb == "infer" && post:
				return h.infer(w, r, p)
			case p == target{model: "stats"} && get:
				return h.stats(w, r, target{})
			case p.verb == "stats" && get:
				return h.stats(w, r, p)
			case p.verb == "" && get:
				return h.describe(w, r, p)
			case p.verb == "ready" && get:
				return h.modelReady(w, r, p)
			case p.verb == "config" && get:
				return h.configuration(w, r, p)
			}
		}
		return malformed(r)
	}
	return h.other(w, r, get, post)
}

// other answers the paths outside /v2/models.
func (h *handler) other(w http.ResponseWriter, r *http.Request, get, post bool) error {
	what := strings.Trim(strings.TrimPrefix(r.URL.Path, "/v2"), "/")
	switch {
	case what == "" && get:
		return h.server(w, r)
	case what == "health/live" && get:
		return port.WriteJSON(w, map[string]bool{"live": true})
	case what == "health/ready" && get:
		return h.ready(w)
	case what == "models" && get:
		return h.models(w, r)
	case what == "repository/index" && (post || get):
		return h.index(w, r)
	}
	if rest, ok := strings.CutPrefix(what, "repository/models/"); ok && post {
		if model, found := strings.CutSuffix(rest, "/load"); found {
			return h.load(w, r, model)
		}
		if model, found := strings.CutSuffix(rest, "/unload"); found {
			return h.unload(w, r, model)
		}
	}
	for _, no := range []string{"systemsharedmemory", "cudasharedmemory", "trace", "logging"} {
		if strings.HasPrefix(what, no) {
			return errs.Errorf("kserve.route", errs.Unsupported, "the extension of %s is not offered here; GET /v2 lists those that are", errs.Clip(r.URL.Path))
		}
	}
	return malformed(r)
}

func malformed(r *http.Request) error {
	return errs.Errorf("kserve.route", errs.NotFound, "nothing answers %s %s; an inference is POST /v2/models/NAME/infer, a model's description GET /v2/models/NAME",
		errs.Clip(r.Method), errs.Clip(r.URL.Path))
}

const (
	lengthHeader = "Inference-Header-Content-Length" // in its canonical form
	maxHeader    = 1 << 62
)

var (
	jsonType   = []string{"application/json"}
	binaryType = []string{"application/octet-stream"}
)

// infer answers POST …/infer.
func (h *handler) infer(w http.ResponseWriter, req *http.Request, p target) error {
	if _, err := h.port.Authorize(req, "predict", p.model); err != nil {
		return err
	}
	number, label, err := version(p.version)
	if err != nil {
		return err
	}
	held, err := h.port.Open(req)
	if err != nil {
		return err
	}
	r := rooms.Get().(*room)
	r.decoder.port, r.decoder.held = h.port, 0
	defer func() {
		h.port.Close(held + r.decoder.held)
		r.put()
	}()
	plain, err := h.read(req, r)
	if err != nil {
		return err
	}
	start := time.Now()
	lease, err := h.o.Manager.Acquire(p.model, number, label)
	if err != nil {
		return err
	}
	defer lease.Release()
	if err = lease.Admit(req.Context()); err == nil {
		err = r.decode(lease.Signature(), plain)
	}
	if err == nil {
		err = r.run(req.Context(), lease)
	}
	raw := 0
	if err == nil {
		r.out, raw, err = r.appendAnswer(r.out[:0], p.model, lease.Version())
	}
	lease.Observe(time.Since(start), err != nil)
	if err != nil {
		return err
	}
	r.write(w, raw)
	return nil
}

// read reads the body: the JSON into r.head, what follows it into r.raw. plain says that there is no JSON, only the
// bytes of the one input.
func (h *handler) read(req *http.Request, r *room) (plain bool, err error) {
	const op = "kserve.read"
	r.head, r.raw = r.head[:0], r.raw[:0]
	text := req.Header[lengthHeader]
	if len(text) == 0 {
		r.head, err = h.port.Read(req, r.head, 0)
		return false, err
	}
	n, err := strconv.ParseUint(text[0], 10, 62)
	if err != nil || len(text) > 1 {
		return false, errs.Errorf(op, errs.Invalid, "the header %s is %q: it says how many bytes of the body are JSON, a whole number", lengthHeader, errs.Clip(strings.Join(text, ", ")))
	}
	if req.ContentLength >= 0 && n > uint64(req.ContentLength) {
		return false, errs.Errorf(op, errs.Invalid, "the header %s says that %d bytes are JSON, and the body has %d", lengthHeader, n, req.ContentLength)
	}
	if n > 0 {
		if r.head, err = h.port.ReadN(req, r.head, int(n)); err != nil {
			return false, err
		}
	}
	r.raw, err = h.port.Read(req, r.raw, int(n)) // at the beginning of memory of its own, where elements are aligned
	return n == 0, err
}

// write sends the answer: its JSON and raw bytes of tensors. Large ones go as they lie.
func (r *room) write(w http.ResponseWriter, raw int) {
	header := w.Header()
	if raw == 0 && !r.anyBinary() {
		header["Content-Type"] = jsonType
		header["Content-Length"] = []string{strconv.Itoa(len(r.out))}
		_, _ = w.Write(r.out) // the client may be gone
		return
	}
	size := len(r.out)
	header["Content-Type"] = binaryType
	header[lengthHeader] = []string{strconv.Itoa(size)}
	header["Content-Length"] = []string{strconv.Itoa(size + raw)}
	const together = 4 << 10 // net/http gathers less in its own buffer
	for i := range r.outputs {
		if !r.outputs[i].binary {
			continue
		}
		t := r.result(i)
		if t.Type != tensor.Bytes && len(t.Data) > together {
			if _, err := w.Write(r.out); err != nil {
				return
			}
			if _, err := w.Write(t.Data); err != nil {
				return
			}
			r.out = r.out[:0]
			continue
		}
		r.out = appendRaw(r.out, t)
	}
	_, _ = w.Write(r.out)
}

func (r *room) anyBinary() bool {
	for i := range r.outputs {
		if r.outputs[i].binary {
			return true
		}
	}
	return false
}
