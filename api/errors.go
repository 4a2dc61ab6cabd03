package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/web"
)

// Error is the body of every answer that is no success. The status and the kind say the same, for a program; the
// message is for a person.
type Error struct {
	Status  int    `json:"status"`
	Kind    string `json:"kind"`
	Message string `json:"message"`
}

// fail answers with the error. What is a fault of ours is logged with its operations and told without them.
func (s *server) fail(c *call, err error) {
	kind := errs.KindOf(err)
	if errors.Is(c.r.Context().Err(), context.Canceled) {
		kind = errs.Canceled // whatever it says, the caller is gone
	}
	level := slog.LevelDebug
	if kind == errs.Other || kind == errs.Corrupt {
		level = slog.LevelError
	}
	s.o.Log.Log(c.r.Context(), level, "request failed", "request", c.id, "method", c.r.Method, "path", c.r.URL.Path, "error", errs.Trace(err))
	if c.w.wrote {
		panic(http.ErrAbortHandler)
	}
	switch kind {
	case errs.Other:
		err = errs.Errorf("", kind, "something went wrong here, not with the request: the server's log has it under request %s", c.id)
	case errs.Unauthenticated:
		c.w.Header().Set("WWW-Authenticate", `Bearer realm="lineshaft"`)
	case errs.Timeout:
		if errors.Is(err, context.DeadlineExceeded) {
			err = errs.Errorf("", kind, "the request took longer than %v: try again, and look at the server's log if it stays so", s.o.Timeout)
		}
	}
	web.WriteError(c.w, errs.E("", kind, err))
}

// refused turns what the parameters' validation found into the API's form.
func refused(ctx huma.Context, _ string, v any) (any, error) {
	found, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	kind := errs.Invalid
	if found.Status >= 500 {
		kind = errs.Other
	}
	var wrong []string
	for _, e := range found.Errors {
		where, name, _ := strings.Cut(e.Location, ".")
		text := fmt.Sprintf("%s parameter %q", where, name)
		if e.Value != nil && e.Value != "" {
			text += fmt.Sprintf(" is %q", fmt.Sprint(e.Value))
		}
		wrong = append(wrong, text+": "+e.Message)
	}
	if len(wrong) == 0 {
		wrong = []string{strings.ToLower(found.Detail)}
	}
	ctx.SetHeader("Content-Type", "application/json")
	return Error{Status: kind.HTTPStatus(), Kind: kind.String(), Message: strings.Join(wrong, "; ") + "; /api/openapi.json says what this call takes"}, nil
}
