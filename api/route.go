package api

import (
	"context"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/trust/access"
)

// base is where the resources live.
const base = "/api/v1"

// route is one endpoint as the OpenAPI document shows it.
type route struct {
	method, path string
	summary      string
	open         bool   // reachable without credentials
	slow         bool   // a stream or an upload: no timeout of its own
	secret       bool   // the body holds a password or the like: no error repeats any of it
	takes        string // content type of a body that is no JSON
	gives        string // content type of an answer that is no JSON
	body, answer reflect.Type
}

// none is the input of a handler without parameters, or the answer of one that has nothing to say.
type none struct{}

// Change are the parameters of everything that changes something. Parameters that handlers share are exported, because the
// library that reads them sees exported fields only.
type Change struct {
	DryRun bool `query:"dry_run" doc:"check everything and change nothing"`
}

// on is the context in which trust/access changes something, or only says what would become of it.
func (c Change) on(ctx context.Context) context.Context {
	if c.DryRun {
		return access.Dry(ctx)
	}
	return ctx
}

// get registers a reading endpoint.
func get[I, O any](s *server, path, summary string, h func(ctx context.Context, in *I) (O, error)) {
	send(s, route{method: http.MethodGet, path: path, summary: summary}, func(ctx context.Context, in *I, _ none) (O, error) {
		return h(ctx, in)
	})
}

// send registers an endpoint with a JSON body B (none for none) and a JSON answer O.
func send[I, B, O any](s *server, rt route, h func(ctx context.Context, in *I, body B) (O, error)) {
	rt.answer = reflect.TypeFor[O]()
	if b := reflect.TypeFor[B](); b != reflect.TypeFor[none]() {
		rt.body = b
	}
	stream(s, rt, func(w http.ResponseWriter, r *http.Request, in *I) error {
		var body B
		if rt.body != nil {
			if err := s.readJSON(w, r, &body, rt.secret); err != nil {
				return err
			}
		}
		out, err := h(r.Context(), in, body)
		if err != nil {
			return err
		}
		return writeJSON(w, out)
	})
}

// stream registers an endpoint whose handler reads and writes HTTP itself. An error it returns before it has written
// anything is answered in the API's form; later, the connection is cut, so that a piece is never taken for the whole.
func stream[I any](s *server, rt route, h func(w http.ResponseWriter, r *http.Request, in *I) error) {
	op := rt.operation(s)
	huma.Register(s.huma, op, func(ctx context.Context, in *I) (*huma.StreamResponse, error) {
		c := callOf(ctx)
		var done func()
		if rt.slow {
			ctx, done = s.attend(ctx, c)
		} else {
			ctx, done = context.WithTimeout(ctx, s.o.Timeout)
		}
		defer done()
		head := c.r.Method == http.MethodHead
		if head {
			ctx, c.w.begun = context.WithCancel(ctx) // nobody reads what comes after the header
			defer c.w.begun()
		}
		if err := h(c.w, c.r.WithContext(ctx), in); err != nil && !(head && c.w.wrote) {
			if why := context.Cause(ctx); why != nil && errs.Is(err, errs.Canceled) {
				err = why
			}
			s.fail(c, err)
		}
		return &huma.StreamResponse{Body: func(huma.Context) {}}, nil
	})
	rt.describe(s)
	if rt.open {
		s.open[rt.method+" "+base+rt.path] = true
	}
}

// attend ends a stream when the server is about to end, and when its caller may no longer be here: signed out, revoked,
// closed, or given another role. done must be called when the stream has ended.
func (s *server) attend(ctx context.Context, c *call) (attended context.Context, done func()) {
	const op = "api.attend"
	ctx, end := context.WithCancelCause(ctx)
	forget := context.AfterFunc(s.o.Closing, func() {
		end(errs.Errorf(op, errs.Unavailable, "the server is going down: try again when it is back"))
	})
	var owned sync.WaitGroup
	owned.Go(func() {
		look := time.NewTicker(s.o.Heartbeat)
		defer look.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-look.C:
			}
			switch who, err := s.identify(c.r); {
			case errs.Is(err, errs.Unauthenticated), errs.Is(err, errs.Denied):
				end(err)
			case err == nil && (who.Name != c.who.Name || who.Role != c.who.Role):
				end(errs.Errorf(op, errs.Unauthenticated, "the rights of %s have changed: call again", c.who.Name))
			}
		}
	})
	return ctx, func() {
		forget()
		end(nil)
		owned.Wait()
	}
}

func (rt route) operation(s *server) huma.Operation {
	op := huma.Operation{
		Method: rt.method, Path: rt.path, Summary: rt.summary, OperationID: rt.id(),
		Tags: []string{strings.Split(rt.path, "/")[1]}, Responses: map[string]*huma.Response{},
		SkipValidateBody: true, BodyReadTimeout: -1 * time.Second,
	}
	if rt.open {
		op.Security = []map[string][]string{{}}
	}
	registry := s.huma.OpenAPI().Components.Schemas
	switch {
	case rt.gives != "":
		op.DefaultStatus = http.StatusOK
		op.Responses["200"] = &huma.Response{Description: "OK", Content: map[string]*huma.MediaType{
			rt.gives: {Schema: bytesOf(rt.gives)},
		}}
	case rt.answer == reflect.TypeFor[none]():
		op.DefaultStatus = http.StatusNoContent
		op.Responses["204"] = &huma.Response{Description: "done; nothing to say"}
	default:
		op.DefaultStatus = http.StatusOK
		op.Responses["200"] = jsonResponse("OK", registry.Schema(rt.answer, true, rt.id()+"-answer"))
	}
	op.Responses["default"] = jsonResponse("what was wrong, where, and what to do next", registry.Schema(reflect.TypeFor[Error](), true, "Error"))
	return op
}

// bytesOf is the schema of a body that handlers read or write as it is.
func bytesOf(contentType string) *huma.Schema {
	if contentType == "application/json" {
		return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
	}
	return &huma.Schema{Type: huma.TypeString, Format: "binary"}
}

func jsonResponse(description string, s *huma.Schema) *huma.Response {
	return &huma.Response{Description: description, Content: map[string]*huma.MediaType{"application/json": {Schema: s}}}
}

// describe adds the body to the document. It comes after the registration: bodies are read here, strictly and as
// streams, and not by the library.
func (rt route) describe(s *server) {
	var content map[string]*huma.MediaType
	switch {
	case rt.body != nil:
		content = map[string]*huma.MediaType{"application/json": {Schema: s.huma.OpenAPI().Components.Schemas.Schema(rt.body, true, rt.id()+"-body")}}
	case rt.takes != "":
		content = map[string]*huma.MediaType{}
		for t := range strings.FieldsSeq(rt.takes) {
			content[t] = &huma.MediaType{Schema: bytesOf(t)}
		}
	default:
		return
	}
	item := s.huma.OpenAPI().Paths[rt.path]
	for method, op := range map[string]*huma.Operation{http.MethodPost: item.Post, http.MethodPut: item.Put, http.MethodPatch: item.Patch, http.MethodDelete: item.Delete} {
		if method == rt.method {
			op.RequestBody = &huma.RequestBody{Required: true, Content: content}
		}
	}
}

// id is "get-jobs-id-logs".
func (rt route) id() string {
	return strings.ToLower(rt.method) + strings.NewReplacer("/", "-", "{", "", "}", "").Replace(rt.path)
}

// adapter puts the operations on the mux under base.
type adapter struct{ mux *http.ServeMux }

func (a adapter) Handle(op *huma.Operation, handler func(huma.Context)) {
	a.mux.HandleFunc(op.Method+" "+base+op.Path, func(w http.ResponseWriter, r *http.Request) {
		handler(plain{humago.NewContext(op, r, w)})
	})
}

func (a adapter) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// plain gives a refused parameter the status that errs.Invalid has everywhere else.
type plain struct{ humaContext }

type humaContext huma.Context // its method Context would clash with a field of that name

func (p plain) SetStatus(code int) {
	if code == http.StatusUnprocessableEntity {
		code = http.StatusBadRequest
	}
	p.humaContext.SetStatus(code)
}

func (p plain) Unwrap() huma.Context { return p.humaContext }

// schemaName is the type's name with its package's before it, unless they are the same: job.Job is Job, job.Task is
// JobTask, Page[job.Job] is JobPage.
func schemaName(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name := t.Name()
	if name == "" {
		return camel(hint)
	}
	outer, inner, generic := strings.Cut(name, "[")
	if generic {
		pkg, of, _ := strings.Cut(inner[strings.LastIndex(inner, "/")+1:], ".")
		return qualified(pkg, strings.TrimSuffix(of, "]")) + outer
	}
	return qualified(t.PkgPath()[strings.LastIndex(t.PkgPath(), "/")+1:], name)
}

func qualified(pkg, name string) string {
	if pkg == "api" || strings.EqualFold(pkg, name) {
		return camel(name)
	}
	return camel(pkg) + camel(name)
}

func camel(s string) string {
	var b strings.Builder
	for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '-' || r == '_' || r == '.' || r == '/' }) {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// aliasSchemas says how types look whose JSON is not that of their Go kind.
func aliasSchemas(r huma.Registry) {
	r.RegisterTypeAlias(reflect.TypeFor[job.Duration](), reflect.TypeFor[string]())
}
