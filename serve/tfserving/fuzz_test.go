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

	"google.golang.org/protobuf/proto"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/port"
	"github.com/lineshaft/lineshaft/serve/tensor"
	tfproto "github.com/lineshaft/lineshaft/serve/tfserving/proto"
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
	sig := serve.Signature{Inputs: []tensor.Spec{{Name: "x", Type: tensor.Float32, Shape: []int{tensor.Any, 3, 2}}}, Batched: true}
	f.Fuzz(func(t *testing.T, body []byte) {
		var r request
		err := r.parse(body, &sig)
		if err != nil {
			if !errs.Is(err, errs.Invalid) {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		if r.rows < 1 || len(r.cols[0].x) != r.rows*6 || len(r.cols[0].x)*2 > len(body) {
			t.Fatalf("%q: %d rows, %d values", body, r.rows, len(r.cols[0].x))
		}
		compare(t, body, r.cols[0].x, r.columnar)
	})
}

// compare reads the body with the standard library, where that can.
func compare(t *testing.T, body []byte, x []float32, columnar bool) {
	t.Helper()
	var doc map[string]any
	if json.Unmarshal(body, &doc) != nil {
		return // NaN and the like
	}
	key := "instances"
	if columnar {
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
	if len(want) != len(x) {
		t.Fatalf("%q: %d values, the standard library has %d", body, len(x), len(want))
	}
	for i, v := range want {
		if d := math.Abs(float64(x[i]) - v); d > 1.2e-7*math.Abs(v)+1e-44 {
			t.Fatalf("%q: value %d is %v, the standard library has %v", body, i, x[i], v)
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

// everything has an input for every kind of element and of shape.
func everything() serve.Signature {
	return serve.Signature{Inputs: []tensor.Spec{
		{Name: "f", Type: tensor.Float32, Shape: []int{tensor.Any, tensor.Any}},
		{Name: "i", Type: tensor.Int8, Shape: []int{tensor.Any, 2, tensor.Any}},
		{Name: "s", Type: tensor.Bytes, Shape: []int{tensor.Any}},
		{Name: "b", Type: tensor.Bool, Shape: []int{tensor.Any, 1}},
	}, Batched: true}
}

// sound holds that what was read is a tensor, and took memory in proportion to what was sent.
func sound(t *testing.T, cols columns, sent int) {
	t.Helper()
	var c serve.Call
	cols.tensors(&c)
	for i := range c.In {
		if err := c.In[i].Check(); err != nil {
			t.Fatal(err)
		}
		if len(c.In[i].Data) > 8*sent || len(c.In[i].Strings) > sent {
			t.Fatalf("%d bytes and %d strings of %d bytes", len(c.In[i].Data), len(c.In[i].Strings), sent)
		}
	}
}

// FuzzValues holds that whatever is read fits together.
func FuzzValues(f *testing.F) {
	for _, s := range []string{
		`{"instances": [{"f": [1, 2], "i": [[1], [2]], "s": "x", "b": [true]}, {"s": {"b64": "YQ=="}, "b": [false], "f": [3, 4], "i": [[3], [4]]}]}`,
		`{"inputs": {"f": [[1], [2]], "i": [[[], []], [[], []]], "s": ["\u00e9\n", {"b64": ""}], "b": [[true], [1]]}}`, `{"instances": [{"f": []}]}`,
	} {
		f.Add([]byte(s))
	}
	sig := everything()
	f.Fuzz(func(t *testing.T, body []byte) {
		var r request
		if err := r.parse(body, &sig); err != nil {
			if !errs.Is(err, errs.Invalid) {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		sound(t, r.cols, len(body))
	})
}

// FuzzPredictRequest holds that a message is read or refused, and that what is read is a tensor.
func FuzzPredictRequest(f *testing.F) {
	seed := func(m proto.Message) {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	dim := func(n ...int64) *tfproto.TensorShapeProto {
		s := &tfproto.TensorShapeProto{}
		for _, n := range n {
			s.Dim = append(s.Dim, &tfproto.TensorShapeProto_Dim{Size: n})
		}
		return s
	}
	for _, in := range []*tfproto.TensorProto{
		{Dtype: tfproto.DataType_DT_FLOAT, TensorShape: dim(1, 2), FloatVal: []float32{1, 2}},
		{Dtype: tfproto.DataType_DT_INT8, TensorShape: dim(1, 2, 3), IntVal: []int32{-1}},
		{Dtype: tfproto.DataType_DT_STRING, TensorShape: dim(2), StringVal: [][]byte{nil, []byte("x")}},
		{Dtype: tfproto.DataType_DT_STRING, TensorShape: dim(1), TensorContent: []byte{1, 'a'}},
		{Dtype: tfproto.DataType_DT_HALF, TensorShape: dim(1 << 20), HalfVal: []int32{1, 2}},
		{Dtype: tfproto.DataType_DT_UINT64, TensorShape: dim(1), Uint64Val: []uint64{1 << 63}},
	} {
		seed(&tfproto.PredictRequest{
			ModelSpec: &tfproto.ModelSpec{Name: "m", SignatureName: "s", VersionChoice: &tfproto.ModelSpec_VersionLabel{VersionLabel: "l"}},
			Inputs:    map[string]*tfproto.TensorProto{"x": in}, OutputFilter: []string{"y"},
		})
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		var p prediction
		if err := p.scan(msg); err != nil {
			return
		}
		for _, e := range p.inputs {
			var in, room tensor.Tensor
			if err := readTensor(e.tensor, "x", &in, &room); err != nil {
				continue
			}
			if err := in.Check(); err != nil {
				t.Fatalf("%x: %v", msg, err)
			}
			if n := max(len(in.Data), 24*len(in.Strings)); n > max(maxFill, 8*len(msg)) {
				t.Fatalf("%d bytes of memory for %d", n, len(msg))
			}
		}
	})
}

// FuzzExamples holds that examples, as JSON and as a message, are read or refused, and fill tensors where they are read.
func FuzzExamples(f *testing.F) {
	f.Add([]byte(`{"examples": [{"f": [1, 2], "i": [1, 2], "s": "x", "b": true}, {}], "context": {"f": [3, 4], "i": [5, 6], "s": {"b64": ""}, "b": [0]}}`))
	b, err := proto.Marshal(&tfproto.Input{Kind: &tfproto.Input_ExampleListWithContext{ExampleListWithContext: &tfproto.ExampleListWithContext{
		Examples: []*tfproto.Example{{Features: &tfproto.Features{Feature: map[string]*tfproto.Feature{
			"f": {Kind: &tfproto.Feature_FloatList{FloatList: &tfproto.FloatList{Value: []float32{1, 2}}}},
			"i": {Kind: &tfproto.Feature_Int64List{Int64List: &tfproto.Int64List{Value: []int64{1, -2}}}},
			"s": {Kind: &tfproto.Feature_BytesList{BytesList: &tfproto.BytesList{Value: [][]byte{[]byte("x")}}}},
		}}}},
		Context: &tfproto.Example{Features: &tfproto.Features{Feature: map[string]*tfproto.Feature{
			"b": {Kind: &tfproto.Feature_Int64List{Int64List: &tfproto.Int64List{Value: []int64{1}}}},
		}}},
	}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	sig := everything()
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, read := range []func(*examples) error{
			func(e *examples) error { return e.read(in, &sig) }, func(e *examples) error { return e.scan(in, &sig) },
		} {
			var e examples
			if err := read(&e); err != nil {
				if !errs.Is(err, errs.Invalid) {
					t.Fatalf("%q: %v", in, err)
				}
				continue
			}
			sound(t, e.cols, len(in)*len(in))
		}
	})
}
