package kserve

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/port"
)

// This file is Triton's model repository extension over the registry: what is in service, what could be, and bringing a
// model into and out of service. The rules:
//
//   - The index shows every version in service that the caller may read, and, of the models that are not in service, the
//     newest version to those who may load it.
//   - Loading deploys the newest version, or the one that a configuration's version policy names, in the place of what was
//     deployed before (as `lineshaft deploy` does); a file that comes with the request is registered first and served
//     beside the others (as POST /v1/models/M:load does).
//   - Unloading takes the model out of service.

// indexed is a version in the index.
type indexed struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	State   string `json:"state"`
	Reason  string `json:"reason"`
}

// states are Triton's words for ours.
var states = map[serve.State]string{
	serve.Start: "LOADING", serve.Loading: "LOADING", serve.Available: "READY", serve.Unloading: "UNLOADING", serve.End: "UNAVAILABLE",
}

// list makes the index of what allow lets the caller know.
func (s *inference) list(ctx context.Context, onlyReady bool, allow func(action, model string) error) ([]indexed, error) {
	all := []indexed{}
	seen := map[string]bool{}
	var refused error
	services := s.o.Manager.List()
	for _, service := range services {
		seen[service.Model] = true
		if err := allow("read", service.Model); err != nil {
			refused = err
			continue
		}
		for _, v := range service.Versions {
			if onlyReady && v.State != serve.Available {
				continue
			}
			reason := v.Error
			if v.State == serve.End && reason == "" {
				reason = "unloaded"
			}
			all = append(all, indexed{service.Model, strconv.FormatInt(v.Version, 10), states[v.State], reason})
		}
	}
	if len(services) == 0 {
		refused = allow("read", "")
	}
	// Who has no credentials at all is told so; who may read none of the models gets an empty list.
	if errs.Is(refused, errs.Unauthenticated) {
		return nil, refused
	}
	if s.o.Registry == nil || onlyReady {
		return all, nil
	}
	models, err := s.o.Registry(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range models {
		if !seen[m.Name] && m.Latest > 0 && allow("deploy", m.Name) == nil {
			all = append(all, indexed{m.Name, strconv.FormatInt(m.Latest, 10), "UNAVAILABLE", "not in service"})
		}
	}
	slices.SortStableFunc(all, func(a, b indexed) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// parameters are those of a load: a configuration, and files by path.
type parameters struct {
	config string
	files  map[string][]byte // "1/model.onnx": its bytes
}

// bring brings a model into service.
func (s *inference) bring(ctx context.Context, actor, name string, p parameters) error {
	const op = "kserve.load"
	var number int64
	if p.config != "" {
		var err error
		if number, err = specific(p.config); err != nil {
			return err
		}
	}
	switch len(p.files) {
	case 0:
		_, err := s.o.Manager.Deploy(ctx, actor, name, number)
		return err
	case 1:
		if s.o.Load == nil {
			return errs.Errorf(op, errs.Unsupported, "model files are not taken here: put the file into the served folder, and load it")
		}
		for file, b := range p.files {
			_, err := s.o.Load(ctx, actor, name, path.Base(file), bytes.NewReader(b))
			return err
		}
	}
	return errs.Errorf(op, errs.Unsupported, "%d files came: a model here is one file", len(p.files))
}

// scan reads an entry of a RepositoryModelLoadRequest's parameters.
func (p *parameters) scan(entry []byte) error {
	return parameter(entry, func(key string, v value) error {
		file, isFile := strings.CutPrefix(key, "file:")
		switch {
		case isFile && v.kind == 4:
			p.put(file, v.text)
		case key == "config" && v.kind == 3:
			p.config = string(v.text)
		case isFile || key == "config":
			return errs.Errorf("kserve.load", errs.Invalid, "the parameter %q is of the wrong kind: a file is bytes_param, config string_param", errs.Clip(key))
		}
		return nil
	})
}

// What follows answers by REST.

const maxIndexBody = 64 << 10

func (h *handler) index(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		Ready bool `json:"ready"`
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxIndexBody)
	body, err := h.port.Read(r, nil, 0)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(body)) > 0 {
		if err := json.Unmarshal(body, &q); err != nil {
			return errs.Errorf("kserve.index", errs.Invalid, "the body must be empty or {\"ready\": true}: %v", err)
		}
	}
	all, err := h.list(r.Context(), q.Ready, func(action, model string) error {
		_, err := h.port.Authorize(r, action, model)
		return err
	})
	if err != nil {
		return err
	}
	return port.WriteJSON(w, all)
}

func (h *handler) load(w http.ResponseWriter, r *http.Request, model string) error {
	const op = "kserve.load"
	actor, err := h.port.Authorize(r, "load", model)
	if err != nil {
		return err
	}
	held, err := h.port.Open(r)
	if err != nil {
		return err
	}
	defer h.port.Close(held)
	body, err := h.port.Read(r, nil, 0)
	if err != nil {
		return err
	}
	var q struct {
		Parameters map[string]any `json:"parameters"`
	}
	if len(bytes.TrimSpace(body)) > 0 {
		if err := json.Unmarshal(body, &q); err != nil {
			return errs.Errorf(op, errs.Invalid, "the body must be empty or {\"parameters\": {…}}: %v", err)
		}
	}
	var p parameters
	for key, value := range q.Parameters {
		text, isText := value.(string)
		file, isFile := strings.CutPrefix(key, "file:")
		switch {
		case isFile && isText:
			b, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return errs.Errorf(op, errs.Invalid, "the parameter %q is no base64: %v", errs.Clip(key), err)
			}
			p.put(file, b)
		case key == "config" && isText:
			p.config = text
		case isFile || key == "config":
			return errs.Errorf(op, errs.Invalid, "the parameter %q must be a string", errs.Clip(key))
		}
	}
	if len(p.files) == 0 { // what is deployed is replaced
		if actor, err = h.port.Authorize(r, "deploy", model); err != nil {
			return err
		}
	}
	if err := h.bring(r.Context(), actor, model, p); err != nil {
		return err
	}
	return port.WriteJSON(w, map[string]any{"name": model, "load": true})
}

func (p *parameters) put(file string, b []byte) {
	if p.files == nil {
		p.files = map[string][]byte{}
	}
	p.files[file] = b
}

func (h *handler) unload(w http.ResponseWriter, r *http.Request, model string) error {
	actor, err := h.port.Authorize(r, "deploy", model)
	if err != nil {
		return err
	}
	if err := h.o.Manager.Undeploy(r.Context(), actor, model); err != nil {
		return err
	}
	return port.WriteJSON(w, map[string]any{"name": model, "unload": true})
}
