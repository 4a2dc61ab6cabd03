package kserve

import (
	"encoding/json"
	"math"
	"net/http"
	"slices"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/port"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// maxBatch is what a configuration says of rows that are independent of each other: requests may have as many as their
// body and answer have room for, and a client that wants a figure gets this one.
const maxBatch = 1024

// config is Triton's description of how a model is served: as much of its ModelConfig as means something here.
type config struct {
	Name     string         `json:"name"`
	Platform string         `json:"platform"`
	Backend  string         `json:"backend"`
	Policy   map[string]any `json:"version_policy,omitempty"`
	MaxBatch int32          `json:"max_batch_size"`
	Input    []configTensor `json:"input"`
	Output   []configTensor `json:"output"`
	// Dynamic is there where requests are joined.
	Dynamic *dynamic `json:"dynamic_batching,omitempty"`
}

type dynamic struct {
	Preferred []int32 `json:"preferred_batch_size,omitempty"`
}

type configTensor struct {
	Name     string  `json:"name"`
	Datatype string  `json:"data_type"`
	Dims     []int64 `json:"dims"` // without the batch's where MaxBatch is set
}

func (s *inference) config(model, text string) (config, error) {
	lease, err := s.acquire(model, text)
	if err != nil {
		return config{}, err
	}
	defer lease.Release()
	sig := lease.Signature()
	c := config{Name: model, Platform: platform(lease.Format()), Backend: backend(platform(lease.Format()))}
	if sig.Batched {
		c.MaxBatch, c.Dynamic = maxBatch, &dynamic{}
		if service, err := s.o.Manager.Get(model); err == nil && service.Batching != nil {
			c.batched(*service.Batching)
		}
	}
	c.Input, c.Output = configured(sig.Inputs, sig.Batched), configured(sig.Outputs, sig.Batched)
	return c, nil
}

// batched tells of a model's own settings.
func (c *config) batched(b serve.Batching) {
	if b.MaxRows > 0 {
		c.MaxBatch = int32(min(b.MaxRows, math.MaxInt32))
	}
	for _, n := range slices.Concat(b.Sizes, b.Preferred) {
		c.Dynamic.Preferred = append(c.Dynamic.Preferred, int32(min(n, math.MaxInt32)))
	}
}

func backend(platform string) string {
	if platform == "onnxruntime_onnx" {
		return "onnxruntime"
	}
	return "lineshaft"
}

func configured(specs []tensor.Spec, batched bool) []configTensor {
	all := make([]configTensor, 0, len(specs))
	for _, s := range specs {
		shape := s.Shape
		if batched {
			shape = s.RowShape()
		}
		name := datatype(s.Type)
		if s.Type == tensor.Bytes {
			name = "STRING"
		}
		all = append(all, configTensor{s.Name, "TYPE_" + name, dims(shape)})
	}
	return all
}

func (h *handler) configuration(w http.ResponseWriter, r *http.Request, p target) error {
	if _, err := h.port.Authorize(r, "read", p.model); err != nil {
		return err
	}
	c, err := h.config(p.model, p.version)
	if err != nil {
		return err
	}
	return port.WriteJSON(w, c)
}

// specific finds the one version that a configuration given at loading asks for: {"version_policy": {"specific":
// {"versions": [3]}}}. 0: none, the newest is meant.
func specific(text string) (int64, error) {
	const op = "kserve.specific"
	var c struct {
		Policy struct {
			Specific *struct {
				Versions []json.Number `json:"versions"`
			} `json:"specific"`
		} `json:"version_policy"`
	}
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return 0, errs.Errorf(op, errs.Invalid, "the parameter \"config\" is no model configuration in JSON: %v", err)
	}
	if c.Policy.Specific == nil {
		return 0, nil
	}
	if n := len(c.Policy.Specific.Versions); n != 1 {
		return 0, errs.Errorf(op, errs.Invalid, "the configuration asks for %d specific versions; one is deployed at a time, `lineshaft models alias` keeps others beside it", n)
	}
	v, err := c.Policy.Specific.Versions[0].Int64()
	if err != nil || v < 1 {
		return 0, errs.Errorf(op, errs.Invalid, "the configuration asks for the version %s: versions are whole numbers from 1", c.Policy.Specific.Versions[0])
	}
	return v, nil
}
