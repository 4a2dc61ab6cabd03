package tfserving

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/port"
)

// field is the form field that holds the file, as in curl -F "file=@model.h5".
const field = "file"

// formRoom is what a form may have beside the file.
const formRoom = 1 << 20

// serveLoad answers POST /v1/models/M:load with a form that holds a file, or with the file itself and ?filename=. The
// bytes go from the connection to Options.Load as they come; nothing is kept on the way.
func (h *handler) serveLoad(w http.ResponseWriter, r *http.Request, model string) error {
	actor, err := h.port.Authorize(r, "load", model)
	if err != nil {
		return err
	}
	limit := int64(h.o.UploadLimit) + formRoom
	if r.ContentLength > limit {
		return h.uploadTooLarge()
	}
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	filename, body, err := file(r)
	if err != nil {
		return h.uploadFault(err)
	}
	in := &counted{r: body}
	version, err := h.o.Load(r.Context(), actor, model, filename, in)
	switch {
	case in.err != nil:
		return h.uploadFault(in.err) // the connection's fault comes first: Load saw its consequence
	case err != nil:
		return err
	}
	answer := map[string]any{"model_spec": map[string]string{"name": model, "version": strconv.FormatInt(version, 10)}}
	if s, err := h.o.Manager.Get(model); err == nil {
		for _, v := range s.Versions {
			if v.Version == version {
				answer["model_version_status"] = []versionStatus{statusOf(v)}
			}
		}
	}
	return port.WriteJSON(w, answer)
}

// file finds the file in a request: its name and its bytes.
func file(r *http.Request) (name string, body io.Reader, err error) {
	const op = "tfserving.load"
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		name := r.URL.Query().Get("filename")
		if name == "" {
			return "", nil, errs.Errorf(op, errs.Invalid, "no file is in the request: send it as the form field %q (curl -F \"file=@model.h5\"), "+
				"or as the body with ?filename=model.h5", field)
		}
		if r.ContentLength == 0 {
			return "", nil, errs.Errorf(op, errs.Invalid, "the body is empty: send the file %q in it", errs.Clip(name))
		}
		return name, r.Body, nil
	}
	boundary := params["boundary"]
	if boundary == "" {
		return "", nil, errs.Errorf(op, errs.Invalid, "the form has no boundary in its Content-Type")
	}
	form := multipart.NewReader(r.Body, boundary)
	for {
		part, err := form.NextRawPart()
		switch {
		case errors.Is(err, io.EOF):
			return "", nil, errs.Errorf(op, errs.Invalid, "the form has no file in the field %q: send curl -F \"file=@model.h5\"", field)
		case err != nil:
			return "", nil, err
		case part.FormName() == field && part.FileName() == "":
			return "", nil, errs.Errorf(op, errs.Invalid, "the form field %q holds text, not a file: write it with an @, curl -F \"file=@model.h5\"", field)
		case part.FormName() == field:
			return part.FileName(), part, nil
		}
	}
}

// counted remembers the fault of a reader, which comes back from Load in other words.
type counted struct {
	r   io.Reader
	err error
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}

func (h *handler) uploadTooLarge() error {
	return errs.Errorf("tfserving.load", errs.TooLarge, "the file is larger than %s (upload-limit in the configuration)", h.o.UploadLimit)
}

func (h *handler) uploadFault(err error) error {
	var own *errs.Error
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &own):
		return err
	case errors.As(err, &over):
		return h.uploadTooLarge()
	}
	return errs.Errorf("tfserving.load", errs.Invalid, "the file did not arrive whole: %v; nothing was kept", err)
}
