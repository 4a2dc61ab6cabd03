package kserve

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/port"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// inference is what both ports answer from.
type inference struct{ o Options }

// described is a tensor in a model's description.
type described struct {
	Name     string  `json:"name"`
	Datatype string  `json:"datatype"`
	Shape    []int64 `json:"shape"`
}

func describe(specs []tensor.Spec) []described {
	all := make([]described, 0, len(specs))
	for _, s := range specs {
		all = append(all, described{s.Name, datatype(s.Type), dims(s.Shape)})
	}
	return all
}

func dims(shape []int) []int64 {
	d := make([]int64, len(shape))
	for i, n := range shape {
		d[i] = int64(n)
	}
	return d
}

// metadata is the description of a model.
type metadata struct {
	Name     string      `json:"name"`
	Versions []string    `json:"versions"`
	Platform string      `json:"platform"`
	Inputs   []described `json:"inputs"`
	Outputs  []described `json:"outputs"`
}

// acquire finds the version that a name and a version's text mean.
func (s *inference) acquire(model, text string) (serve.Lease, error) {
	number, label, err := version(text)
	if err != nil {
		return serve.Lease{}, err
	}
	return s.o.Manager.Acquire(model, number, label)
}

func (s *inference) metadata(model, text string) (metadata, error) {
	lease, err := s.acquire(model, text)
	if err != nil {
		return metadata{}, err
	}
	defer lease.Release()
	m := metadata{Name: model, Versions: []string{}, Platform: platform(lease.Format())}
	sig := lease.Signature()
	m.Inputs, m.Outputs = describe(sig.Inputs), describe(sig.Outputs)
	service, err := s.o.Manager.Get(model)
	if err != nil {
		return metadata{}, err
	}
	for _, v := range slices.Backward(service.Versions) {
		if v.State == serve.Available && (text == "" || v.Version == lease.Version()) {
			m.Versions = append(m.Versions, strconv.FormatInt(v.Version, 10))
		}
	}
	return m, nil
}

// platform names the framework of a file and its format, as <framework>_<format>.
func platform(f model.Format) string {
	switch f {
	case model.KerasH5, model.KerasZip, "":
		return "keras"
	case model.ONNX:
		return "onnxruntime_onnx"
	}
	return string(f)
}

// restored says whether everything that was in service before is back.
func (s *inference) restored() bool {
	select {
	case <-s.o.Manager.Restored():
		return true
	default:
		return false
	}
}

// isReady says whether a version answers; an error where there is none that could.
func (s *inference) isReady(model, text string) (bool, error) {
	lease, err := s.acquire(model, text)
	switch {
	case err == nil:
		lease.Release()
		return true, nil
	case errs.Is(err, errs.Unavailable):
		return false, nil
	}
	return false, err
}

// What follows answers by REST.

func (h *handler) server(w http.ResponseWriter, r *http.Request) error {
	if _, err := h.port.Authorize(r, "read", ""); err != nil {
		return err
	}
	return port.WriteJSON(w, map[string]any{"name": name, "version": h.o.Version, "extensions": extensions})
}

// models lists what is in service, as KServe's own servers do.
func (h *handler) models(w http.ResponseWriter, r *http.Request) error {
	all, err := h.list(r.Context(), true, func(action, model string) error {
		_, err := h.port.Authorize(r, action, model)
		return err
	})
	if err != nil {
		return err
	}
	found := []string{}
	for _, v := range all {
		if !slices.Contains(found, v.Name) {
			found = append(found, v.Name)
		}
	}
	return port.WriteJSON(w, map[string]any{"models": found})
}

func (h *handler) ready(w http.ResponseWriter) error {
	return writeReady(w, map[string]any{"ready": h.restored()}, h.restored())
}

func (h *handler) modelReady(w http.ResponseWriter, r *http.Request, p target) error {
	if _, err := h.port.Authorize(r, "read", p.model); err != nil {
		return err
	}
	ready, err := h.isReady(p.model, p.version)
	if err != nil {
		return err
	}
	return writeReady(w, map[string]any{"name": p.model, "ready": ready}, ready)
}

// writeReady answers a probe: who only looks at the status is told too.
func writeReady(w http.ResponseWriter, v map[string]any, ready bool) error {
	if ready {
		return port.WriteJSON(w, v)
	}
	w.Header()["Content-Type"] = jsonType
	w.WriteHeader(http.StatusServiceUnavailable)
	return port.WriteJSON(w, v)
}

func (h *handler) describe(w http.ResponseWriter, r *http.Request, p target) error {
	if _, err := h.port.Authorize(r, "read", p.model); err != nil {
		return err
	}
	m, err := h.metadata(p.model, p.version)
	if err != nil {
		return err
	}
	return port.WriteJSON(w, m)
}
