package tfserving

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/port"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// FuzzParse holds that a body is read or refused, and that what is read is what the standard library reads.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"instances": [[[1, 2.5], [-3e-2, 4], [5, 6]]]}`, `{"inputs": {"x": [[[1,2],[3,4],[5,6]]]}, "signature_name": ""}`,
		`{"instances": [{"x": [[NaN,Infinity],[-Infinity,0],[0,0]]}]}`, `{"a": [{"b": [1,"\u00e9",null]}], "instances": []}`,
		`{"instances": [[1]]}`, `{"\u0069nputs": 1}`, "{\"x\": \"\x01\"}", `[`, `{"instances": [[[1,2],[3,4],[5,6]], [[1,2],[3,4]]]}`,
	} {
		f.Add([]byte(s))
	}
	input := tensor.Spec{Name: "x", Type: tensor.Float32, Shape: []int{tensor.Any, 3, 2}}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parse(body, input, nil)
		if err != nil {
			if !errs.Is(err, errs.Invalid) {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		if r.rows < 1 || len(r.x) != r.rows*6 || len(r.x)*2 > len(body) {
			t.Fatalf("%q: %d rows, %d values", body, r.rows, len(r.x))
		}
		compare(t, body, r)
	})
}

// compare reads the body with the standard library, where that can.
func compare(t *testing.T, body []byte, r request) {
	t.Helper()
	var doc map[string]any
	if json.Unmarshal(body, &doc) != nil {
		return // NaN and the like
	}
	key := "instances"
	if r.columnar {
		key = "inputs"
	}
	var want []float64
	var flatten func(v any)
	flatten = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				flatten(e)
			}
		case map[string]any:
			flatten(v["x"])
		case float64:
			want = append(want, v)
		default:
			t.Fatalf("%q: %v was taken for a number", body, v)
		}
	}
	flatten(doc[key])
	if len(want) != len(r.x) {
		t.Fatalf("%q: %d values, the standard library has %d", body, len(r.x), len(want))
	}
	for i, v := range want {
		if d := math.Abs(float64(r.x[i]) - v); d > 1.2e-7*math.Abs(v)+1e-44 {
			t.Fatalf("%q: value %d is %v, the standard library has %v", body, i, r.x[i], v)
		}
	}
}

// FuzzUpload holds that a form gives the file it holds or an error, and never more than was sent.
func FuzzUpload(f *testing.F) {
	const kind = "multipart/form-data; boundary=B"
	whole := "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.h5\"\r\n\r\nbytes\r\n--B--\r\n"
	f.Add(kind, []byte(whole))
	f.Add(kind, []byte(whole[:len(whole)-9]))
	f.Add(kind, []byte("--B\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n"+whole))
	f.Add(kind, []byte("--B\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n1\r\n--B--"))
	f.Add("multipart/form-data", []byte(whole))
	f.Add("multipart/form-data; boundary=\"B\"\"", []byte(strings.Repeat("--B\r\n", 1000)))
	f.Add("", []byte("plain"))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		var got []byte
		p := port.New(port.Options{Authorize: func(*http.Request, string, string) (string, error) { return "anonymous", nil }})
		h := On(p, Options{
			UploadLimit: units.Bytes(1000),
			Manager:     serve.New(serve.Options{}),
			Load: func(_ context.Context, _, _, _ string, in io.Reader) (int64, error) {
				var err error
				got, err = io.ReadAll(in)
				return 1, err
			},
		})
		r := httptest.NewRequest(http.MethodPost, "/v1/models/m:load?filename=a.h5", bytes.NewReader(body))
		r.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch w.Code {
		case 200, 400, 413:
		default:
			t.Fatalf("%q %q: %d %s", kind, body, w.Code, w.Body)
		}
		if w.Code == 200 && !bytes.Contains(body, got) {
			t.Fatalf("%q %q: loaded %q", kind, body, got)
		}
	})
}
