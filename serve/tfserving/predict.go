package tfserving

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// room is the buffers of one request.
type room struct {
	body, out []byte
	req       request
	call      serve.Call
}

var rooms = sync.Pool{New: func() any { return new(room) }}

// keepRoom is the largest body whose buffers are kept for the next request.
const keepRoom = 4 << 20

func (r *room) put() {
	r.req.b = nil
	r.req.cols.free()
	for i := range r.call.In { // the columns have the memory
		r.call.In[i].Data, r.call.In[i].Strings = nil, nil
	}
	for i := range r.call.Out {
		if cap(r.call.Out[i].Data) > keepRoom || r.call.Out[i].Strings != nil {
			r.call.Out[i] = tensor.Tensor{}
		}
	}
	if cap(r.body) <= keepRoom && cap(r.out) <= keepRoom {
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
	if err = lease.Admit(ctx); err == nil {
		dst, err = r.answer(ctx, lease, body, dst)
	}
	lease.Observe(time.Since(start), err != nil)
	return dst, err
}

func (r *room) answer(ctx context.Context, lease serve.Lease, body, dst []byte) ([]byte, error) {
	sig := lease.Signature()
	if err := r.req.parse(body, &sig); err != nil {
		return dst, err
	}
	for i := range sig.Outputs { // before anything is computed, where that can be said
		if size := max(1, sig.Outputs[i].RowSize()); r.req.rows > maxAnswer/size {
			return dst, errs.Errorf("tfserving.predict", errs.TooLarge, "%d rows would be answered with %d numbers each, together more than %d: send fewer rows at a time",
				r.req.rows, size, maxAnswer)
		}
	}
	r.req.cols.tensors(&r.call)
	if err := lease.Run(ctx, &r.call); err != nil {
		return dst, err
	}
	return appendAnswer(dst, sig.Outputs, r.call.Out, r.req.columnar)
}

var jsonType = []string{"application/json"}

// servePredict answers POST …:predict.
func (h *handler) servePredict(w http.ResponseWriter, req *http.Request, to target) error {
	if _, err := h.port.Authorize(req, "predict", to.model); err != nil {
		return err
	}
	held, err := h.port.Open(req)
	if err != nil {
		return err
	}
	defer h.port.Close(held)
	r := rooms.Get().(*room)
	defer r.put()
	if r.body, err = h.port.Read(req, r.body[:0], 0); err != nil {
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
