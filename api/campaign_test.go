package api_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// odd are values that programs stumble over.
var odd = []string{
	"", "0", "-1", "1", "2", "7", "9223372036854775807", "9223372036854775808", "1e3", "0x10", "NaN", "true", "null", "mnist", "digits", "digits@1", "web", "prod", "hub",
	"here", "restart", "dan", "ann", "..", ".", "a/b", "%", "%00", "a\x00b", "é", "天轴", "a b", "a\nb", "'; DROP TABLE jobs; --", "<script>", "${jndi:x}", strings.Repeat("a", 300),
}

// caller makes up calls of one operation: mostly what the document asks for, with mistakes in between.
type caller struct {
	r *rand.Rand
	d document
}

func (c *caller) pick(list []string) string { return list[c.r.IntN(len(list))] }

func (c *caller) call(op string) (method, path, body string) {
	method, pattern, _ := strings.Cut(op, " ")
	segments := strings.Split(pattern, "/")
	for i, s := range segments {
		if strings.HasPrefix(s, "{") {
			if segments[i] = url.PathEscape(c.pick(odd)); segments[i] == "" || segments[i] == "." || segments[i] == ".." {
				segments[i] = "1"
			}
		}
	}
	item := c.d.Paths[pattern][strings.ToLower(method)]
	query := url.Values{}
	for _, p := range item.Parameters {
		switch {
		case p.In != "query" || c.r.IntN(3) > 0:
		case c.r.IntN(2) == 0:
			query.Set(p.Name, c.pick(odd))
		default:
			query.Set(p.Name, strings.Trim(fmt.Sprint(c.value(p.Schema, 0)), "[]"))
		}
	}
	query.Del("follow") // a log that is followed does not end
	if s, ok := item.Body.Content["application/json"]; ok && c.r.IntN(8) > 0 {
		b, err := json.Marshal(c.value(s.Schema, 0))
		if err != nil {
			panic(err)
		}
		if body = string(b); c.r.IntN(8) == 0 {
			body = body[:c.r.IntN(len(body)+1)]
		}
	} else if c.r.IntN(2) == 0 {
		body = c.pick(odd)
	}
	path = strings.Join(segments, "/")
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return method, path, body
}

// value makes one up that fits the schema, nearly always.
func (c *caller) value(s schema, depth int) any {
	if s.Ref != "" {
		s = c.d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
	}
	kinds := names(s.Type)
	if s.Type == nil || c.r.IntN(12) == 0 {
		kinds = []string{"string", "integer", "boolean", "array", "object", "null", "number"}
	}
	switch kind := c.pick(kinds); {
	case len(s.Enum) > 0 && c.r.IntN(4) > 0:
		return s.Enum[c.r.IntN(len(s.Enum))]
	case kind == "string":
		return c.pick(odd)
	case kind == "integer":
		return []int64{0, 1, 2, -1, 3, 1 << 40}[c.r.IntN(6)]
	case kind == "number":
		return c.r.NormFloat64()
	case kind == "boolean":
		return c.r.IntN(2) == 0
	case kind == "array" && depth < 3:
		var list []any
		for range c.r.IntN(3) {
			if s.Items != nil {
				list = append(list, c.value(*s.Items, depth+1))
			}
		}
		return list
	case kind == "object" && depth < 3:
		object := map[string]any{}
		for name, p := range s.Properties {
			if c.r.IntN(4) > 0 {
				object[name] = c.value(p, depth+1)
			}
		}
		if c.r.IntN(10) == 0 {
			object[c.pick(odd)] = 1
		}
		return object
	}
	return nil
}

func TestWhateverIsAskedTheAnswerIsAsPromised(t *testing.T) {
	askAtRandom(t, 2026, 2000)
}

// askAtRandom asks for what a careless program would, by everybody, of a hall in use: each answer has the form that the
// document promises, and nothing is a fault of the server.
func askAtRandom(t *testing.T, seed uint64, calls int) {
	h := furnished(t)
	d := h.document()
	c := &caller{rand.New(rand.NewPCG(7, seed)), d}
	names := append(who[:], "socket")
	codes := map[int]int{}
	for i := range calls {
		op := d.operations()[i%len(d.operations())]
		method, path, body := c.call(op)
		if op == "GET /events" || op == "DELETE /users/{name}" || strings.Contains(body, "disabled") {
			continue // the one does not end, the others would leave nobody to ask
		}
		name := c.pick(names)
		a := h.as(name, method, "/api/v1"+path, body)
		codes[a.code]++
		if a.code >= 500 && a.code != http.StatusNotImplemented { // what this hall goes without is no fault
			t.Errorf("call %d, %s as %q with %q: %d %s", i, method+" "+path, name, body, a.code, a.body)
		}
		if a.code == http.StatusMethodNotAllowed || strings.Contains(path, "%2F") || strings.Contains(path, "//") {
			continue // it is another path than the operation's
		}
		if err := d.check(method, path, a); err != nil {
			t.Errorf("call %d, %s as %q with %q: %v: %d %s", i, method+" "+path, name, body, err, a.code, a.body)
		}
	}
	if codes[200] < 100 || codes[400] < 100 || codes[404] < 100 || codes[401] < 50 || codes[403] < 20 {
		t.Errorf("the calls are not varied: %v", codes)
	}
	for line := range strings.Lines(h.log.String()) {
		if strings.Contains(line, "panicked") {
			t.Error("a handler panicked: " + line)
		}
	}
}
