package tfserving_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lineshaft/lineshaft/internal/artifact"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/runtime"
	"github.com/lineshaft/lineshaft/serve/tfserving"
)

// registry keeps files in memory, one model for each name, a version for each file.
type registry struct {
	mu      sync.Mutex
	files   map[string][][]byte
	aliases map[string]int64
}

func (*registry) PutService(context.Context, serve.Record, ...event.Event) error { return nil }
func (*registry) DeleteService(context.Context, string, ...event.Event) error    { return nil }
func (*registry) Services(context.Context) ([]serve.Record, error)               { return nil, nil }
func (*registry) Emit(context.Context, ...event.Event) error                     { return nil }

func (g *registry) Resolve(_ context.Context, name string, version int64, _ string) (model.Version, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if version == 0 {
		version = int64(len(g.files[name]))
	}
	if version == 0 || int(version) > len(g.files[name]) {
		return model.Version{}, errs.Errorf("test", errs.NotFound, "model %q has no version %d", name, version)
	}
	return model.Version{Model: name, Version: version, Size: int64(len(g.files[name][version-1]))}, nil
}

func (g *registry) Model(_ context.Context, name string) (model.Model, error) {
	return model.Model{Name: name, Aliases: g.aliases}, nil
}

type file struct{ *bytes.Reader }

func (file) Close() error { return nil }

func (g *registry) Open(_ context.Context, v model.Version) (artifact.ReaderAt, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return file{bytes.NewReader(g.files[v.Model][v.Version-1])}, nil
}

func (g *registry) add(name string, b []byte) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.files[name] = append(g.files[name], b)
	return int64(len(g.files[name]))
}

func keras(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../../nn/keras/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type reference struct{ Inputs, Outputs [][]float32 }

func outputs(t testing.TB, name string) (r reference) {
	t.Helper()
	if err := json.Unmarshal(keras(t, name), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

type port struct {
	*httptest.Server
	manager *serve.Manager
	files   *registry
	loaded  []string // actor, model, file name of every load
}

// open serves the regression model (12 numbers in, 1 out) as r, versions 1 and 2, and a classifier as c.
func open(t testing.TB, edit ...func(*tfserving.Options)) *port {
	t.Helper()
	p := &port{files: &registry{files: map[string][][]byte{}, aliases: map[string]int64{"prod": 1}}}
	p.files.add("r", keras(t, "regression.h5"))
	p.files.add("r", keras(t, "regression.h5"))
	p.files.add("c", keras(t, "keras3.keras"))
	p.manager = serve.New(serve.Options{Store: p.files, Models: p.files, Runtime: runtime.New(runtime.Options{})})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.manager.Run(ctx) }()
	for _, name := range []string{"r", "c"} {
		if _, err := p.manager.Deploy(ctx, "user/ann", name, 0); err != nil {
			t.Fatal(err)
		}
	}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(p.manager.Metrics())
	o := tfserving.Options{
		Manager:   p.manager,
		Metrics:   metrics,
		Authorize: func(*http.Request, string, string) (string, error) { return "anonymous", nil },
		Load: func(ctx context.Context, actor, name, filename string, body io.Reader) (int64, error) {
			p.loaded = append(p.loaded, actor+" "+name+" "+filename)
			b, err := io.ReadAll(body)
			if err != nil {
				return 0, err
			}
			if err := runtime.Check("", bytes.NewReader(b), int64(len(b))); err != nil {
				return 0, err
			}
			v, err := p.files.Resolve(ctx, name, p.files.add(name, b), "")
			if err == nil {
				_, err = p.manager.Add(ctx, actor, v)
			}
			return v.Version, err
		},
	}
	for _, e := range edit {
		e(&o)
	}
	p.Server = httptest.NewServer(tfserving.New(o))
	t.Cleanup(func() {
		p.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p
}

// ask sends a request and gives status and body.
func (p *port) ask(t testing.TB, method, path, body string, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, p.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if ct := resp.Header.Get("Content-Type"); ct != "application/json" && !strings.Contains(path, "metrics") {
		t.Errorf("%s %s: Content-Type %q", method, path, ct)
	}
	return resp.StatusCode, string(b)
}

func encode(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func near(t *testing.T, what string, got, want [][]float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d rows, want %d", what, len(got), len(want))
		return
	}
	for i := range want {
		for j := range want[i] {
			if len(got[i]) != len(want[i]) || math.Abs(float64(got[i][j]-want[i][j])) > 1e-5 {
				t.Errorf("%s: row %d is %v, want %v", what, i, got[i], want[i])
				break
			}
		}
	}
}

func TestRowsAndColumnsAreAnsweredAsKerasDoes(t *testing.T) {
	p := open(t)
	for name, ref := range map[string]reference{"r": outputs(t, "regression.json"), "c": outputs(t, "keras3.json")} {
		rows := encode(t, ref.Inputs)
		var meta struct {
			Metadata struct {
				Def struct {
					Def map[string]struct{ Inputs map[string]any } `json:"signature_def"`
				} `json:"signature_def"`
			}
		}
		_, text := p.ask(t, "GET", "/v1/models/"+name+"/metadata", "")
		if err := json.Unmarshal([]byte(text), &meta); err != nil {
			t.Fatal(err)
		}
		input := ""
		for input = range meta.Metadata.Def.Def["serving_default"].Inputs {
		}
		var named []string
		for _, row := range ref.Inputs {
			named = append(named, fmt.Sprintf(`{%q: %s}`, input, encode(t, row)))
		}
		for what, body := range map[string]string{
			"instances": `{"instances": ` + rows + `}`,
			"named":     `{"instances": [` + strings.Join(named, ", ") + `]}`,
			"signature": `{"signature_name": "serving_default", "instances": ` + rows + `}`,
			"after":     `{"instances": ` + rows + `, "signature_name": null, "who": {"asks": ["x", 1, true, null, {}]}}`,
			"inputs":    `{"inputs": ` + rows + `}`,
			"columns":   `{"inputs": {"` + input + `": ` + rows + `}}`,
			"indented":  "\t{\n \"instances\" :\r\n " + strings.ReplaceAll(rows, ",", " ,\n\t") + "\n}\n\n",
		} {
			code, text := p.ask(t, "POST", "/v1/models/"+name+":predict", body)
			var got struct{ Predictions, Outputs [][]float32 }
			if err := json.Unmarshal([]byte(text), &got); err != nil || code != 200 {
				t.Fatalf("%s %s: %d %s %v", name, what, code, text, err)
			}
			answers, other := got.Predictions, got.Outputs
			if what == "inputs" || what == "columns" {
				answers, other = other, answers
			}
			if other != nil {
				t.Errorf("%s: both predictions and outputs in %s", what, text)
			}
			near(t, name+" "+what, answers, ref.Outputs)
		}
	}
}

func twelve(first string) string { return "[" + first + strings.Repeat(", 0", 11) + "]" }

func TestPathsMatchWithoutRegardToCaseAndFindVersionsAndLabels(t *testing.T) {
	p := open(t)
	body := `{"instances": [` + twelve("1") + `]}`
	p.manager.SyncAliases(context.Background(), "r")
	for path, want := range map[string]int{
		"/v1/models/r:predict": 200, "/V1/Models/r:PREDICT": 200, "/v1/models/r/versions/2:predict": 200, "/v1/models/r/VERSIONS/1:predict": 200,
		"/v1/models/r/labels/prod:predict": 200, "/v1/models/r/Labels/prod:predict": 200,
		"/v1/models/R:predict": 404, "/v1/models/nope:predict": 404, "/v1/models/r/versions/7:predict": 404,
		"/v1/models/r/labels/Prod:predict": 400, "/v1/models/r/versions/x:predict": 400, "/v1/models/r/versions/-1:predict": 400,
		"/v1/models/r/versions/99999999999999999999:predict": 400, "/v1/models/:predict": 400, "/v1/models/r:": 400, "/v1/models/r:train": 400,
		"/v1/models/r/labels/:predict": 400, "/v1/models/r/predict": 400, "/v1/models/r:predict/": 400, "/v1/models/r:predict:predict": 400,
		"/v1/modelsr:predict": 400, "/v2/models/r:predict": 404, "/": 404, "/v1/models/r:classify": 400, "/v1/models/r:regress": 400,
	} {
		code, text := p.ask(t, "POST", path, body)
		if code != want || code != 200 && !strings.HasPrefix(text, `{"error":"`) {
			t.Errorf("POST %s: %d %s, want %d", path, code, text, want)
		}
	}
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		if code, text := p.ask(t, method, "/v1/models/r:predict", body); code != 400 || !strings.Contains(text, "malformed request") {
			t.Errorf("%s: %d %s", method, code, text)
		}
	}
}

func TestStatusHasTheFormOfTensorFlowServing(t *testing.T) {
	p := open(t)
	want := `{
 "model_version_status": [
  {
   "version": "2",
   "state": "AVAILABLE",
   "status": {
    "error_code": "OK",
    "error_message": ""
   }
  },
  {
   "version": "1",
   "state": "AVAILABLE",
   "status": {
    "error_code": "OK",
    "error_message": ""
   }
  }
 ]
}
`
	if code, text := p.ask(t, "GET", "/v1/models/r", ""); code != 200 || text != want {
		t.Errorf("%d %s", code, text)
	}
	for path, version := range map[string]string{"/v1/models/r/versions/2": "2", "/v1/models/r/labels/prod": "1"} {
		if code, text := p.ask(t, "GET", path, ""); code != 200 || strings.Count(text, `"state"`) != 1 || !strings.Contains(text, `"version": "`+version+`"`) {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
	for path, want := range map[string]int{"/v1/models/x": 404, "/v1/models/r/versions/9": 404, "/v1/models/r/labels/x": 400, "/v1/models/x/metadata": 404} {
		if code, text := p.ask(t, "GET", path, ""); code != want || !strings.Contains(text, `"error"`) {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
	if code, text := p.ask(t, "GET", "/v1/models", ""); code != 200 || strings.Count(text, `"id"`) != 2 {
		t.Errorf("%d %s", code, text)
	}
	if code, text := p.ask(t, "GET", "/healthz", ""); code != 200 {
		t.Errorf("%d %s", code, text)
	}
}

func TestMetadataSaysWhatTheModelTakesAndGives(t *testing.T) {
	p := open(t)
	_, text := p.ask(t, "GET", "/v1/models/r/versions/1/metadata", "")
	var got map[string]any
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`"name": "r"`, `"version": "1"`, `"serving_default"`, `"dtype": "DT_FLOAT"`, `"size": "-1"`, `"size": "12"`,
		`"unknown_rank": false`, `"method_name": "tensorflow/serving/predict"`, `"type.googleapis.com/tensorflow.serving.SignatureDefMap"`,
	} {
		if !strings.Contains(text, part) {
			t.Errorf("%s is not in %s", part, text)
		}
	}
}

func TestABadBodyIsRefusedWithThePlace(t *testing.T) {
	p := open(t)
	row := twelve("1")
	for body, says := range map[string]string{
		``:                           "the end of the body",
		`[]`:                         "must be a JSON object",
		`null`:                       "must be a JSON object",
		`{}`:                         "neither",
		`{"instances": []}`:          "the list is empty",
		`{"instances": 7}`:           "instances: \\\"7\\\" where a list of rows is needed",
		`{"instances": {}}`:          "an object where a list of rows",
		`{"instances": [7]}`:         "instances[0]: \\\"7\\\" where a list of 12 is needed",
		`{"instances": [[1, 2, 3]]}`: "instances[0]: the list has 3 elements and 12 are needed",
		`{"instances": [[]]}`:        "instances[0]: the list has 0 elements",
		`{"instances": [` + row + `, ` + strings.Replace(row, "1", "1, 2", 1) + `]}`: "instances[1]: the list has more than 12 elements",
		`{"instances": [[` + row + `]]}`:                                             "instances[0][0]: a list where a number is needed",
		`{"instances": [` + twelve(`"1"`) + `]}`:                                     "instances[0][0]: a string where a number",
		`{"instances": [` + twelve(`1`) + `, ` + twelve(`true`) + `]}`:               "instances[1][0]: \\\"true\\\" where a number",
		`{"instances": [` + twelve(`null`) + `]}`:                                    "where a number",
		`{"instances": [` + twelve(`01`) + `]}`:                                      "where a number",
		`{"instances": [` + twelve(`1.`) + `]}`:                                      "where a number",
		`{"instances": [` + twelve(`+1`) + `]}`:                                      "where a number",
		`{"instances": [` + twelve(`1e39`) + `]}`:                                    "does not fit a float32",
		`{"instances": [` + twelve(`-1e9999999999999999999`) + `]}`:                  "does not fit a float32",
		`{"instances": [` + twelve(`{"b64": "AAAA"}`) + `]}`:                         "an object where a number",
		`{"instances": [{"b64": "AAAA"}]}`:                                           "bytes",
		`{"instances": [{"nope": ` + row + `}]}`:                                     "the model has no input \\\"nope\\\"",
		`{"instances": [{}]}`:                                                        "is missing",
		`{"instances": [` + row + `], "instances": [` + row + `]}`:                   "stands twice",
		`{"instances": [` + row + `], "inputs": [` + row + `]}`:                      "not both",
		`{"instances": [` + row + `]`:                                                "where ',' or '}' is needed",
		`{"instances": [` + row + `}`:                                                "where ',' or ']' is needed",
		`{"instances": [` + row:                                                      "the end of the body",
		`{"instances": [` + row[:9]:                                                  "the end of the body",
		`{"instances": [` + row + `]} x`:                                             "follows the end",
		`{"instances": [` + row + `],}`:                                              "where a key",
		`{"instances": [` + row + `,]}`:                                              "where a list of 12",
		`{"instances" [` + row + `]}`:                                                "where ':' is needed",
		`{"signature_name": "other", "instances": [` + row + `]}`:                    "not found in signature def",
		`{"signature_name": 1, "instances": [` + row + `]}`:                          "must be a string",
		`{"inputs": 1}`:                                  "where a list of rows",
		`{"inputs": {"nope": [` + row + `]}}`:            "the model has no input",
		`{"inputs": {"b64": "AAAA"}}`:                    "bytes",
		`{"x": ` + strings.Repeat("[", 100_000):          "nests deeper than 64",
		`{"x": ` + strings.Repeat(`{"a":`, 100_000):      "nests deeper than 64",
		`{"instances": ` + strings.Repeat("[", 1000_000): "a list where a number",
		`{"x": "` + "\x01" + `"}`:                        "control character",
		`{"x": "\q"}`:                                    "escape",
		`{"x": "abc`:                                     "does not end",
		`{"x": tru}`:                                     "where a value is needed",
		`{"\u0069nstances": [[1]]}`:                      "instances[0]: the list has 1 elements",
	} {
		code, text := p.ask(t, "POST", "/v1/models/r:predict", body)
		if code != 400 || !strings.Contains(text, says) {
			if len(body) > 200 {
				body = body[:200] + "…"
			}
			t.Errorf("%s\n\t%d %s\twant %q", body, code, text, says)
		}
	}
	if code, text := p.ask(t, "POST", "/v1/models/r:predict", `{"instances": [`+row+`]}`); code != 200 {
		t.Errorf("a good request afterwards: %d %s", code, text)
	}
}

func TestNumbersThatJSONCannotSayGoBothWays(t *testing.T) {
	p := open(t)
	code, text := p.ask(t, "POST", "/v1/models/r:predict", `{"instances": [`+twelve("NaN")+`, `+twelve("Infinity")+`,`+twelve("-Infinity")+`]}`)
	if code != 200 || !strings.Contains(text, "NaN") {
		t.Errorf("%d %s", code, text)
	}
}

func TestLimitsAreSaidWith413(t *testing.T) {
	p := open(t, func(o *tfserving.Options) { o.BodyLimit, o.UploadLimit = 1000, 50_000 })
	big := `{"instances": [` + strings.Repeat(twelve("1")+", ", 100) + twelve("1") + `]}`
	if code, text := p.ask(t, "POST", "/v1/models/r:predict", big); code != 413 || !strings.Contains(text, "body-limit") {
		t.Errorf("%d %s", code, text)
	}
	r, err := http.NewRequest(http.MethodPost, p.URL+"/v1/models/r:predict", io.MultiReader(strings.NewReader(big))) // of unknown length
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("chunked: %d", resp.StatusCode)
	}
	for _, chunked := range []bool{false, true} {
		var form bytes.Buffer
		kind := write(t, &form, "file", "model.h5", bytes.Repeat([]byte("x"), 2<<20))
		var body io.Reader = &form
		if chunked {
			body = io.MultiReader(&form)
		}
		resp, err := http.Post(p.URL+"/v1/models/r:load", kind, body)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(string(text), "upload-limit") {
			t.Errorf("chunked %v: %d %s", chunked, resp.StatusCode, text)
		}
	}
}

func TestBodiesUnderWayAreBoundedTogether(t *testing.T) {
	p := open(t, func(o *tfserving.Options) { o.BodyLimit, o.InFlight = 1000, 1500 })
	c, err := net.Dial("tcp", p.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "POST /v1/models/r:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
	body := `{"instances": [` + twelve("1") + `]` + strings.Repeat(" ", 800) + `}`
	for code := 0; code != http.StatusTooManyRequests; {
		var text string
		if code, text = p.ask(t, "POST", "/v1/models/r:predict", body); code != 200 && (code != 429 || !strings.Contains(text, "under way")) {
			t.Fatalf("%d %s", code, text)
		}
	}
	c.Close()
	for code := 0; code != http.StatusOK; {
		code, _ = p.ask(t, "POST", "/v1/models/r:predict", body)
	}
}

// write makes a form as curl -F does and gives its Content-Type.
func write(t testing.TB, w io.Writer, field, name string, content []byte) string {
	t.Helper()
	form := multipart.NewWriter(w)
	if err := form.WriteField("note", "before the file"); err != nil {
		t.Fatal(err)
	}
	part, err := form.CreateFormFile(field, name)
	if err == nil {
		_, err = part.Write(content)
	}
	if err = errors.Join(err, form.Close()); err != nil {
		t.Fatal(err)
	}
	return form.FormDataContentType()
}

func TestAFileIsLoadedFromAFormOrABody(t *testing.T) {
	p := open(t)
	ref := outputs(t, "keras3.json")
	body := `{"instances": ` + encode(t, ref.Inputs) + `}`
	version := 0
	for _, name := range []string{"keras3.h5", "keras3.keras", "keras2.h5"} {
		for _, form := range []bool{true, false} {
			var b bytes.Buffer
			path, kind := "/v1/models/new:LOAD", ""
			if form {
				kind = write(t, &b, "file", "/some where/"+name, keras(t, name))
			} else {
				path, kind = "/v1/models/new:load?filename="+name, "application/x-www-form-urlencoded" // what curl -d says
				b.Write(keras(t, name))
			}
			version++
			code, text := p.ask(t, "POST", path, b.String(), "Content-Type", kind)
			if code != 200 || !strings.Contains(text, fmt.Sprintf(`"version": "%d"`, version)) || !strings.Contains(text, `"AVAILABLE"`) {
				t.Fatalf("%s, form %v: %d %s", name, form, code, text)
			}
			if last := p.loaded[len(p.loaded)-1]; !strings.HasPrefix(last, "anonymous new ") || !strings.HasSuffix(last, name) {
				t.Errorf("%s", last)
			}
			if code, text := p.ask(t, "POST", "/v1/models/new:predict", body); code != 200 {
				t.Errorf("%d %s", code, text)
			} else if name != "keras2.h5" {
				var got struct{ Predictions [][]float32 }
				if err := json.Unmarshal([]byte(text), &got); err != nil {
					t.Fatal(err)
				}
				near(t, name, got.Predictions, ref.Outputs)
			}
		}
	}
}

func TestABadUploadIsRefusedInWords(t *testing.T) {
	p := open(t)
	good := keras(t, "regression.h5")
	var whole bytes.Buffer
	kind := write(t, &whole, "file", "model.h5", good)
	var other, text bytes.Buffer
	otherKind := write(t, &other, "model", "model.h5", good)
	form := multipart.NewWriter(&text)
	if err := errors.Join(form.WriteField("file", "model.h5"), form.Close()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ what, path, kind, body, says string }{
		{"nothing", "/v1/models/r:load", "", "", "no file is in the request"},
		{"no name", "/v1/models/r:load", "application/octet-stream", string(good), "no file is in the request"},
		{"empty body", "/v1/models/r:load?filename=a.h5", "", "", "the body is empty"},
		{"other field", "/v1/models/r:load", otherKind, other.String(), "no file in the field"},
		{"text field", "/v1/models/r:load", form.FormDataContentType(), text.String(), "write it with an @"},
		{"no boundary", "/v1/models/r:load", "multipart/form-data", whole.String(), "no boundary"},
		{"wrong boundary", "/v1/models/r:load", "multipart/form-data; boundary=zzz", whole.String(), "did not arrive whole"},
		{"cut", "/v1/models/r:load", kind, whole.String()[:whole.Len()-100], "did not arrive whole"},
		{"no end", "/v1/models/r:load", kind, whole.String()[:whole.Len()-70], "did not arrive whole"},
		{"not Keras", "/v1/models/r:load?filename=a.h5", "", "plain text", "neither a Keras"},
		{"damaged", "/v1/models/r:load?filename=a.h5", "", string(good[:len(good)/2]), ""},
	} {
		code, text := p.ask(t, "POST", c.path, c.body, "Content-Type", c.kind)
		if code != 400 || !strings.Contains(text, c.says) {
			t.Errorf("%s: %d %s", c.what, code, text)
		}
	}
	for _, path := range []string{"/v1/models/r/versions/1:load", "/v1/models/r/labels/prod:load"} {
		if code, _ := p.ask(t, "POST", path, whole.String(), "Content-Type", kind); code != 400 {
			t.Errorf("%s: %d", path, code)
		}
	}
	if s, err := p.manager.Get("r"); err != nil || s.Default != 2 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestAForeignPageCanNeitherAskNorLoad(t *testing.T) {
	p := open(t)
	body := `{"instances": [` + twelve("1") + `]}`
	for _, header := range [][]string{{"Origin", "https://evil.example"}, {"Origin", "null"}, {"Host", "evil.example"}, {"Sec-Fetch-Site", "cross-site"}} {
		for _, path := range []string{"/v1/models/r:predict", "/v1/models/r:load?filename=a.h5"} {
			if code, text := p.ask(t, "POST", path, body, header...); code != 403 || !strings.HasPrefix(text, `{"error":"`) {
				t.Errorf("%v %s: %d %s", header, path, code, text)
			}
		}
	}
	if len(p.loaded) != 0 {
		t.Errorf("loaded %q", p.loaded)
	}
}

func TestWhoMayIsAskedOfAuthorize(t *testing.T) {
	var asked []string
	deny := errs.Denied
	p := open(t, func(o *tfserving.Options) {
		o.Authorize = func(_ *http.Request, action, name string) (string, error) {
			asked = append(asked, action+" "+name)
			return "", errs.Errorf("test", deny, "a token is needed")
		}
	})
	calls := [][3]string{
		{"POST", "/v1/models/r:predict", "predict r"},
		{"POST", "/v1/models/r:load", "load r"},
		{"GET", "/v1/models/r", "read r"},
		{"GET", "/v1/models/r/metadata", "read r"},
		{"GET", "/monitoring/prometheus/metrics", "read "},
		{"POST", "/v1/models/r:classify", "predict r"},
	}
	for _, c := range calls {
		asked = nil
		if code, text := p.ask(t, c[0], c[1], "{}"); code != 403 || len(asked) != 1 || asked[0] != c[2] {
			t.Errorf("%v: %d %s, asked %q", c, code, text, asked)
		}
	}
	if code, text := p.ask(t, "GET", "/v1/models", ""); code != 200 || strings.Contains(text, `"id"`) {
		t.Errorf("%d %s", code, text)
	}
	deny = errs.Unauthenticated
	for _, c := range append(calls, [3]string{"GET", "/v1/models", ""}) {
		if code, _ := p.ask(t, c[0], c[1], "{}"); code != 401 {
			t.Errorf("%v: %d", c, code)
		}
	}
}

func TestVersionsAreSwappedUnderHTTPLoadWithoutAFailedRequest(t *testing.T) {
	p := open(t)
	ref := outputs(t, "regression.json")
	body := `{"instances": ` + encode(t, ref.Inputs[:1]) + `}`
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				code, text := p.ask(t, "POST", "/v1/models/r:predict", body)
				var got struct{ Predictions [][]float32 }
				if err := json.Unmarshal([]byte(text), &got); code != 200 || err != nil {
					t.Errorf("%d %s %v", code, text, err)
					return
				}
				near(t, "swap", got.Predictions, ref.Outputs[:1])
			}
		})
	}
	for n := range 40 {
		if _, err := p.manager.Deploy(context.Background(), "user/ann", "r", int64(1+n%2)); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	clients.Wait()
}

func TestRequestsAreCountedForPrometheus(t *testing.T) {
	p := open(t)
	for range 3 {
		p.ask(t, "POST", "/v1/models/r:predict", `{"instances": [`+twelve("1")+`]}`)
	}
	p.ask(t, "POST", "/v1/models/r:predict", `{"instances": [1]}`)
	code, text := p.ask(t, "GET", "/Monitoring/prometheus/metrics", "")
	for _, line := range []string{
		`lineshaft_serve_requests_total{model="r",version="2"} 4`, `lineshaft_serve_errors_total{model="r",version="2"} 1`,
		`lineshaft_serve_version_state{model="r",state="AVAILABLE",version="1"} 1`, `lineshaft_serve_request_duration_seconds_count{model="r"} 4`,
		`:tensorflow:serving:request_count{model_name="r",status="OK"} 3`,
		`:tensorflow:serving:request_latency_bucket{API="Predict",entrypoint="REST",model_name="r",le="+Inf"} 4`,
	} {
		if code != 200 || !strings.Contains(text, line+"\n") {
			t.Errorf("%d: %q is not in\n%s", code, line, text)
		}
	}
}

func TestTheConsoleAsksTheSameWay(t *testing.T) {
	p := open(t)
	ref := outputs(t, "regression.json")
	got, err := tfserving.Predict(context.Background(), p.manager, "r", 0, "", []byte(`{"instances": `+encode(t, ref.Inputs)+`}`), nil)
	if err != nil || !strings.HasPrefix(string(got), `{"predictions":[[`) {
		t.Errorf("%s %v", got, err)
	}
	image := base64.StdEncoding.EncodeToString([]byte("x"))
	if _, err := tfserving.Predict(context.Background(), p.manager, "r", 0, "", []byte(`{"instances": [{"b64": "`+image+`"}]}`), nil); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
}
