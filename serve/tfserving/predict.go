package tfserving

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// maxAnswer bounds what one request may make a model write: a row of one number can ask for a million back.
const maxAnswer = 8 << 20 // values

// room is the buffers of one request.
type room struct {
	body, out []byte
	x         []float32
	call      serve.Call
	shape     []int
}

var rooms = sync.Pool{New: func() any { return new(room) }}

// keepRoom is the largest body whose buffers are kept for the next request.
const keepRoom = 4 << 20

func (r *room) put() {
	for i := range r.call.Out {
		if cap(r.call.Out[i].Data) > keepRoom {
			r.call.Out[i] = tensor.Tensor{}
		}
	}
	if cap(r.body) <= keepRoom && cap(r.out) <= keepRoom && cap(r.x) <= keepRoom {
		rooms.Put(r)
	}
}

// Predict answers a body of the predict call; it is what port 8501 and the console's API share. The answer is appended
// to dst.
func Predict(ctx context.Context, m *serve.Manager, model string, version int64, label string, body, dst []byte) ([]byte, error) {
	r := rooms.Get().(*room)
	defer r.put()
	return r.predict(ctx, m, target{model, version, label}, body, dst)
}

// target is the version a request is for.
type target struct {
	model   string
	version int64
	label   string
}

func (r *room) predict(ctx context.Context, m *serve.Manager, to target, body, dst []byte) ([]byte, error) {
	start := time.Now()
	lease, err := m.Acquire(to.model, to.version, to.label)
	if err != nil {
		return dst, err
	}
	defer lease.Release()
	dst, err = r.answer(ctx, lease, body, dst)
	lease.Observe(time.Since(start), err != nil)
	return dst, err
}

func (r *room) answer(ctx context.Context, lease serve.Lease, body, dst []byte) ([]byte, error) {
	sig := lease.Signature()
	if len(sig.Inputs) != 1 || len(sig.Outputs) != 1 || sig.Inputs[0].Type != tensor.Float32 || sig.Inputs[0].RowSize() == 0 || sig.Outputs[0].Type != tensor.Float32 {
		return dst, errs.Errorf("tfserving.predict", errs.Unsupported, "a model with other than one input and one output of float32 is not asked by this protocol yet")
	}
	req, err := parse(body, sig.Inputs[0], r.x)
	r.x = req.x
	if err != nil {
		return dst, err
	}
	size := max(1, sig.Outputs[0].RowSize())
	if req.rows > maxAnswer/size {
		return dst, errs.Errorf("tfserving.predict", errs.TooLarge, "%d rows would be answered with %d numbers each, together more than %d: send fewer rows at a time",
			req.rows, size, maxAnswer)
	}
	r.shape = append(append(r.shape[:0], req.rows), sig.Inputs[0].RowShape()...)
	r.call.In = append(r.call.In[:0], tensor.Float32s(req.x, r.shape...))
	if err := lease.Run(ctx, &r.call); err != nil {
		return dst, err
	}
	y := &r.call.Out[0]
	return appendAnswer(dst, y.Float32s(), req.rows, y.Shape[1:], req.columnar), nil
}

// readBody reads the whole body into r.body; over the limit it is errs.TooLarge before more than the limit is held.
func (r *room) readBody(req *http.Request, limit units.Bytes) error {
	const op = "tfserving.readBody"
	if req.ContentLength > int64(limit) {
		return tooLarge(op, limit)
	}
	r.body = r.body[:0]
	if n := req.ContentLength; n > 0 {
		r.body = slices.Grow(r.body, int(min(n, 1<<20)))
	}
	for {
		if len(r.body) == cap(r.body) {
			r.body = slices.Grow(r.body, 512)
		}
		n, err := req.Body.Read(r.body[len(r.body):cap(r.body)])
		r.body = r.body[:len(r.body)+n]
		switch {
		case len(r.body) > int(limit):
			return tooLarge(op, limit)
		case err == io.EOF: // Read returns it bare
			return nil
		case err != nil:
			return errs.Errorf(op, errs.Invalid, "the body did not arrive whole: %v", err)
		case int64(len(r.body)) == req.ContentLength:
			return nil
		}
	}
}

func tooLarge(op string, limit units.Bytes) error {
	return errs.Errorf(op, errs.TooLarge, "the body is larger than %s (body-limit in the configuration): send fewer rows at a time", limit)
}

// reserve counts the body to those in memory, and refuses it where they would be too many: each is within its limit,
// but a thousand at once are not.
func (h *handler) reserve(req *http.Request) (int64, error) {
	n := req.ContentLength
	if n < 0 || n > int64(h.o.BodyLimit) {
		n = int64(h.o.BodyLimit)
	}
	if h.held.Add(n) > int64(h.o.InFlight) {
		h.held.Add(-n)
		return 0, errs.Errorf("tfserving.reserve", errs.Exhausted, "requests under way hold their limit of %s: try again, or send fewer rows at a time", h.o.InFlight)
	}
	return n, nil
}

// decoded lets the body be read plain, whatever it came as.
func decoded(req *http.Request) error {
	const op = "tfserving.decoded"
	switch as := req.Header.Get("Content-Encoding"); as {
	case "", "identity":
		return nil
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(req.Body)
		if err != nil {
			return errs.Errorf(op, errs.Invalid, "the header Content-Encoding says gzip, and the body is none: %v", err)
		}
		req.Body, req.ContentLength = inflated{z, req.Body}, -1
		return nil
	default:
		return errs.Errorf(op, errs.Invalid, "the body comes in the encoding %q: send it plain, or with Content-Encoding: gzip", as)
	}
}

// inflated reads what a gzip body holds.
type inflated struct {
	io.Reader
	io.Closer
}

var jsonType = []string{"application/json"}

// servePredict answers POST …:predict.
func (h *handler) servePredict(w http.ResponseWriter, req *http.Request, to target) error {
	if _, err := h.o.Authorize(req, "predict", to.model); err != nil {
		return err
	}
	if err := decoded(req); err != nil {
		return err
	}
	held, err := h.reserve(req)
	if err != nil {
		return err
	}
	defer h.held.Add(-held)
	r := rooms.Get().(*room)
	defer r.put()
	if err := r.readBody(req, h.o.BodyLimit); err != nil {
		return err
	}
	if r.out, err = r.predict(req.Context(), h.o.Manager, to, r.body, r.out[:0]); err != nil {
		return err
	}
	w.Header()["Content-Type"] = jsonType
	if len(r.out) > 2000 { // shorter ones get their length from net/http
		w.Header()["Content-Length"] = []string{strconv.Itoa(len(r.out))}
	}
	_, _ = w.Write(r.out) // the client may be gone
	return nil
}
