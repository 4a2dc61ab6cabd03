package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/manifest"
	"github.com/lineshaft/lineshaft/internal/units"
)

// read takes a whole body of at most limit bytes.
func read(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	const op = "api.read"
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	return b, bodyError(op, err)
}

// bodyError gives what can happen to a body on its way its kind.
func bodyError(op string, err error) error {
	var large *http.MaxBytesError
	var known *errs.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &large):
		return errs.Errorf(op, errs.TooLarge, "the body is larger than %v, the most this call takes", units.Bytes(large.Limit))
	case errors.As(err, &known) && !errors.Is(err, io.ErrUnexpectedEOF):
		return err
	}
	return errs.Errorf(op, errs.Invalid, "the body broke off: %v", err)
}

// readJSON reads a small body strictly: a field that is not known is an error with its place. No error repeats anything
// of a secret body.
func (s *server) readJSON(w http.ResponseWriter, r *http.Request, into any, secret bool) error {
	const op = "api.readJSON"
	if ct := r.Header.Get("Content-Type"); ct != "" {
		if t, _, err := mime.ParseMediaType(ct); err != nil || t != "application/json" {
			return errs.Errorf(op, errs.Invalid, "the body comes as %q: send JSON, with Content-Type: application/json", ct)
		}
	}
	body, err := read(w, r, min(s.o.BodyLimit, manifest.MaxSize))
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return errs.Errorf(op, errs.Invalid, "the body is empty: send a JSON object; /api/openapi.json says what this call takes")
	}
	if b := bytes.TrimSpace(body); b[0] != '{' {
		return errs.Errorf(op, errs.Invalid, "the body is no JSON object; /api/openapi.json says what this call takes")
	}
	err = manifest.Decode(body, into)
	if err != nil && secret {
		return errs.Errorf(op, errs.KindOf(err), "the body does not fit; it may hold a secret, so it is not said where: /api/openapi.json says what this call takes")
	}
	if err != nil {
		return errs.Errorf(op, errs.KindOf(err), "the body does not fit: %v", err)
	}
	return nil
}

func writeJSON(w http.ResponseWriter, v any) error {
	const op = "api.writeJSON"
	if _, nothing := v.(none); nothing {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return errs.E(op, errs.Other, err)
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(append(b, '\n'))
	return errs.E(op, errs.Canceled, err)
}
