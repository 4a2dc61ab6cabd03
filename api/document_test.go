package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// document is the API's OpenAPI description, read as a client would.
type document struct {
	OpenAPI    string                              `json:"openapi"`
	Paths      map[string]map[string]operation     `json:"paths"`
	Components struct{ Schemas map[string]schema } `json:"components"`
}

type operation struct {
	OperationID string `json:"operationId"`
	Summary     string `json:"summary"`
	Parameters  []struct {
		Name   string `json:"name"`
		In     string `json:"in"`
		Schema schema `json:"schema"`
	} `json:"parameters"`
	Body struct {
		Content map[string]struct {
			Schema schema `json:"schema"`
		} `json:"content"`
	} `json:"requestBody"`
	Responses map[string]struct {
		Content map[string]struct {
			Schema schema `json:"schema"`
		} `json:"content"`
	} `json:"responses"`
}

type schema struct {
	Ref        string            `json:"$ref"`
	Type       any               `json:"type"` // a name or a list of names
	Format     string            `json:"format"`
	Enum       []any             `json:"enum"`
	Properties map[string]schema `json:"properties"`
	Required   []string          `json:"required"`
	Items      *schema           `json:"items"`
	More       json.RawMessage   `json:"additionalProperties"`
}

func (h *hall) document() document {
	h.t.Helper()
	var d document
	h.as("vic", "GET", "/api/openapi.json", "").into(h.t, &d)
	return d
}

// operations are "GET /jobs/{id}" and so on.
func (d document) operations() (out []string) {
	for path, item := range d.Paths {
		for method := range item {
			out = append(out, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(out)
	return out
}

// pattern finds the operation of a request.
func (d document) pattern(method, path string) string {
	path, _, _ = strings.Cut(path, "?")
	got := strings.Split(path, "/")
	for _, op := range d.operations() {
		m, p, _ := strings.Cut(op, " ")
		want := strings.Split(p, "/")
		if m != method || len(want) != len(got) {
			continue
		}
		same := true
		for i := range want {
			same = same && (want[i] == got[i] || strings.HasPrefix(want[i], "{"))
		}
		if same {
			return op
		}
	}
	return method + " " + path
}

// check says where an answer is not what the document promises.
func (d document) check(method, path string, a answer) error {
	m, p, _ := strings.Cut(d.pattern(method, path), " ")
	op, ok := d.Paths[p][strings.ToLower(m)]
	if !ok {
		return fmt.Errorf("%s %s is not documented", m, p)
	}
	promised, ok := op.Responses[strconv.Itoa(a.code)]
	if !ok {
		if a.code < 400 {
			return fmt.Errorf("status %d is not documented", a.code)
		}
		promised = op.Responses["default"]
	}
	if len(promised.Content) == 0 {
		if a.body != "" {
			return fmt.Errorf("there should be no body")
		}
		return nil
	}
	ct, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil {
		return err
	}
	content, ok := promised.Content[ct]
	if !ok {
		return fmt.Errorf("the body is %s, promised is %v", ct, slices.Collect(maps.Keys(promised.Content)))
	}
	if content.Schema.Format == "binary" {
		return nil
	}
	var body any
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		return err
	}
	if a.code >= 400 {
		if e, ok := body.(map[string]any); !ok || e["status"] != float64(a.code) || e["message"] == "" {
			return fmt.Errorf("the error's form is wrong")
		}
	}
	return d.fits(content.Schema, body, "body")
}

// fits checks a value against the part of JSON Schema that the document uses.
func (d document) fits(s schema, v any, at string) error {
	if s.Ref != "" {
		to, ok := d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
		if !ok {
			return fmt.Errorf("%s: %s is nowhere", at, s.Ref)
		}
		s = to
	}
	if s.Type != nil && !slices.Contains(names(s.Type), kindOf(v)) && !(kindOf(v) == "integer" && slices.Contains(names(s.Type), "number")) {
		return fmt.Errorf("%s is %s, promised is %v", at, kindOf(v), s.Type)
	}
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, v) {
		return fmt.Errorf("%s is %v, promised is one of %v", at, v, s.Enum)
	}
	switch v := v.(type) {
	case []any:
		for i, item := range v {
			if s.Items != nil {
				if err := d.fits(*s.Items, item, fmt.Sprintf("%s[%d]", at, i)); err != nil {
					return err
				}
			}
		}
	case map[string]any:
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				return fmt.Errorf("%s.%s is missing", at, name)
			}
		}
		for name, value := range v {
			if err := d.property(s, name, value, at); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d document) property(s schema, name string, value any, at string) error {
	if p, ok := s.Properties[name]; ok {
		return d.fits(p, value, at+"."+name)
	}
	var more schema
	switch {
	case string(s.More) == "false":
		return fmt.Errorf("%s.%s is not promised", at, name)
	case len(s.More) > 0 && json.Unmarshal(s.More, &more) == nil:
		return d.fits(more, value, at+"."+name)
	}
	return nil
}

func names(t any) []string {
	if s, ok := t.(string); ok {
		return []string{s}
	}
	var out []string
	list, _ := t.([]any)
	for _, s := range list {
		out = append(out, s.(string))
	}
	return out
}

func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case float64:
		if v == float64(int64(v)) {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

func TestTheDocumentIsWhole(t *testing.T) {
	h := newHall(t)
	d := h.document()
	if d.OpenAPI != "3.1.0" || len(d.operations()) < 50 {
		t.Errorf("%s with %d operations", d.OpenAPI, len(d.operations()))
	}
	seen := map[string]string{}
	for path, item := range d.Paths {
		for method, op := range item {
			name := method + " " + path
			if op.Summary == "" || seen[op.OperationID] != "" {
				t.Errorf("%s: no summary, or the ID %q of %s", name, op.OperationID, seen[op.OperationID])
			}
			seen[op.OperationID] = name
		}
	}
	raw := h.as("vic", "GET", "/api/openapi.json", "")
	for _, word := range []string{"huma", "Huma", "ErrorModel"} {
		if strings.Contains(raw.body, word) {
			t.Errorf("the document speaks of %s", word)
		}
	}
	for _, part := range strings.Split(raw.body, `"$ref":"#/components/schemas/`)[1:] {
		name, _, _ := strings.Cut(part, `"`)
		if _, ok := d.Components.Schemas[name]; !ok {
			t.Errorf("schema %s is referred to and not there", name)
		}
	}
}

// brief is as, but does not wait for the end of a stream: what is sent at once is all.
func (h *hall) brief(who, method, path, body string) answer {
	h.t.Helper()
	if !strings.HasPrefix(path, "/api/v1/events") {
		return h.as(who, method, path, body)
	}
	r, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	if who != "" {
		r.Header.Set("Authorization", "Bearer "+h.tokens[who])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b := make([]byte, 4096)
	n, _ := resp.Body.Read(b)
	return answer{resp.StatusCode, string(b[:n]), resp.Header}
}
