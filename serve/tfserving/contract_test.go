package tfserving_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/tfserving"
)

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

func TestStatusHasTheFieldsOfTensorFlowServingAndOfOpenAI(t *testing.T) {
	p := open(t)
	want := `{
 "id": "r",
 "object": "model",
 "created": 0,
 "owned_by": "user/ann",
 "default_version": "2",
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
	code, text := p.ask(t, "GET", "/v1/models/r", "")
	if text = regexp.MustCompile(`"created": \d{10}`).ReplaceAllString(text, `"created": 0`); code != 200 || text != want {
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

func TestABodyMayComeAsGzip(t *testing.T) {
	p := open(t, func(o *tfserving.Options) { o.BodyLimit = 2000 })
	packed := func(s string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		fmt.Fprint(z, s)
		z.Close()
		return b.String()
	}
	body := `{"instances": [` + twelve("1") + `]}`
	_, plain := p.ask(t, "POST", "/v1/models/r:predict", body)
	for _, c := range []struct {
		encoding, body string
		code           int
		says           string
	}{
		{"gzip", packed(body), 200, plain},
		{"identity", body, 200, plain},
		{"gzip", body, 400, "Content-Encoding says gzip"},
		{"br", body, 400, `encoding \"br\"`},
		{"gzip", packed(body)[:40], 400, "did not arrive whole"},
		{"gzip", packed(body + strings.Repeat(" ", 1<<20)), 413, "body-limit"},
	} {
		if code, text := p.ask(t, "POST", "/v1/models/r:predict", c.body, "Content-Encoding", c.encoding); code != c.code || !strings.Contains(text, c.says) {
			t.Errorf("%s: %d %s", c.encoding, code, text)
		}
	}
}
