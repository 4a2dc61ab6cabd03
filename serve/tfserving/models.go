package tfserving

import (
	"net/http"
	"strconv"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/port"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// versionStatus is TensorFlow Serving's ModelVersionStatus in proto3's JSON: 64-bit numbers are strings.
type versionStatus struct {
	Version string `json:"version"`
	State   string `json:"state"`
	Status  struct {
		Code    string `json:"error_code"`
		Message string `json:"error_message"`
	} `json:"status"`
}

func statusOf(v serve.VersionStatus) versionStatus {
	s := versionStatus{Version: strconv.FormatInt(v.Version, 10), State: string(v.State)}
	s.Status.Code, s.Status.Message = "OK", v.Error
	if v.Error != "" {
		s.Status.Code = "UNKNOWN"
	}
	return s
}

// serveStatus answers GET /v1/models/M[/versions/N|/labels/L].
func (h *handler) serveStatus(w http.ResponseWriter, r *http.Request, to target) error {
	if _, err := h.port.Authorize(r, "read", to.model); err != nil {
		return err
	}
	found, err := statuses(h.o.Manager, to)
	if err != nil {
		return err
	}
	all := []versionStatus{}
	for _, v := range found {
		all = append(all, statusOf(v))
	}
	if to.version != 0 || to.label != "" {
		return port.WriteJSON(w, map[string]any{"model_version_status": all})
	}
	s, err := h.o.Manager.Get(to.model)
	if err != nil {
		return err
	}
	return port.WriteJSON(w, listedOf(s, all)) // the whole model: OpenAI's clients ask for it by the same path
}

type dim struct {
	Size string `json:"size"`
	Name string `json:"name"`
}

type tensorInfo struct {
	DType string `json:"dtype"`
	Shape struct {
		Dim         []dim `json:"dim"`
		UnknownRank bool  `json:"unknown_rank"`
	} `json:"tensor_shape"`
	Name string `json:"name"`
}

func infoOf(t tensor.Spec, name string) tensorInfo {
	i := tensorInfo{DType: dtypeOf(t.Type).String(), Name: name}
	i.Shape.Dim = []dim{}
	for _, d := range t.Shape {
		i.Shape.Dim = append(i.Shape.Dim, dim{Size: strconv.Itoa(d)})
	}
	return i
}

// serveMetadata answers GET …/metadata.
func (h *handler) serveMetadata(w http.ResponseWriter, r *http.Request, to target) error {
	if _, err := h.port.Authorize(r, "read", to.model); err != nil {
		return err
	}
	lease, err := h.o.Manager.Acquire(to.model, to.version, to.label)
	if err != nil {
		return err
	}
	defer lease.Release()
	sig := lease.Signature()
	inputs, outputs := map[string]tensorInfo{}, map[string]tensorInfo{}
	for i := range sig.Inputs {
		inputs[sig.Inputs[i].Name] = infoOf(sig.Inputs[i], inputName(sig, i))
	}
	for i := range sig.Outputs {
		outputs[sig.Outputs[i].Name] = infoOf(sig.Outputs[i], outputName(i))
	}
	return port.WriteJSON(w, map[string]any{
		"model_spec": map[string]string{"name": to.model, "signature_name": "", "version": strconv.FormatInt(lease.Version(), 10)},
		"metadata": map[string]any{"signature_def": map[string]any{
			"@type": "type.googleapis.com/tensorflow.serving.SignatureDefMap",
			"signature_def": map[string]any{defaultSignature: map[string]any{
				"inputs":      inputs,
				"outputs":     outputs,
				"method_name": predictMethod,
			}},
		}},
	})
}

// listed is a model as OpenAI's and TensorFlow Serving's clients both understand it.
type listed struct {
	ID       string          `json:"id"`
	Object   string          `json:"object"`
	Created  int64           `json:"created"`
	OwnedBy  string          `json:"owned_by"`
	Default  string          `json:"default_version,omitempty"`
	Versions []versionStatus `json:"model_version_status"`
}

func listedOf(s serve.Service, versions []versionStatus) listed {
	l := listed{ID: s.Model, Object: "model", Created: s.Created.Unix(), OwnedBy: s.Actor, Versions: versions}
	if s.Default != 0 {
		l.Default = strconv.FormatInt(s.Default, 10)
	}
	return l
}

// serveList answers GET /v1/models with what the caller may read.
func (h *handler) serveList(w http.ResponseWriter, r *http.Request) error {
	all := []listed{}
	var refused error
	services := h.o.Manager.List()
	for _, s := range services {
		if _, err := h.port.Authorize(r, "read", s.Model); err != nil {
			refused = err
			continue
		}
		versions := []versionStatus{}
		for _, v := range s.Versions {
			versions = append(versions, statusOf(v))
		}
		all = append(all, listedOf(s, versions))
	}
	if h.o.Others != nil {
		for _, o := range h.o.Others() {
			if _, err := h.port.Authorize(r, "read", o.Name); err != nil {
				refused = err
				continue
			}
			all = append(all, listed{ID: o.Name, Object: "model", Created: o.Created, OwnedBy: o.Owner, Versions: []versionStatus{}})
		}
	}
	if len(services) == 0 {
		_, refused = h.port.Authorize(r, "read", "")
	}
	// Who has no credentials at all is told so; who may read none of the models gets an empty list.
	if errs.Is(refused, errs.Unauthenticated) {
		return refused
	}
	return port.WriteJSON(w, map[string]any{"object": "list", "data": all})
}
