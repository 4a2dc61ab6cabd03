package kserve

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/lineshaft/lineshaft/internal/errs"
	kserveproto "github.com/lineshaft/lineshaft/serve/kserve/proto"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// sound holds that inputs are what they claim to be, and take no more memory than their request allows: eight bytes for
// each of the request's for numbers, a slice for each two for strings.
func sound(t *testing.T, q *request, size int) {
	t.Helper()
	total := 0
	for i := range q.inputs {
		in := &q.inputs[i].tensor
		if err := in.Check(); err != nil {
			t.Fatalf("the input %d was taken: %v", i, err)
		}
		total += len(in.Data)/8 + 2*len(in.Strings)
	}
	if total > size {
		t.Fatalf("%d elements were made of %d bytes", total, size)
	}
}

// echoed makes a request's inputs the outputs of its answer.
func (r *room) echoed() {
	r.outputs, r.call.Out = r.outputs[:0], r.call.Out[:0]
	for i := range r.inputs {
		r.outputs = append(r.outputs, output{name: r.inputs[i].name, at: i})
		r.call.Out = append(r.call.Out, r.inputs[i].tensor)
	}
}

func refusal(t *testing.T, err error) {
	t.Helper()
	switch errs.KindOf(err) {
	case errs.Invalid, errs.TooLarge, errs.Unsupported:
	default:
		t.Fatalf("refused as %v: %v", errs.KindOf(err), err)
	}
}

// FuzzRequest reads JSON and the bytes after it. What is taken is written as an answer, read again, and must be the same.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		`{"inputs":[{"name":"a","shape":[2,2],"datatype":"FP32","data":[[1,2.5],[-3e-2,NaN]]}]}`,
		`{"id":"x","inputs":[{"data":[1,true,0],"name":"a","datatype":"BOOL","shape":[3]}],"outputs":[{"name":"o","parameters":{"classification":3}}]}`,
		`{"inputs":[{"name":"a","shape":[2],"datatype":"BYTES","data":["x\u00e9","\""]},{"name":"b","shape":[1],"datatype":"INT64","data":[-9223372036854775808]}]}`,
		`{"parameters":{"binary_data_output":true,"priority":1,"timeout":5},"inputs":[{"name":"a","shape":[1],"datatype":"FP16","parameters":{"binary_data_size":2}}]}` + "\x00\x3c",
		`{"inputs":[{"name":"a","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":9}}]}` + "\x01\x00\x00\x00x\x00\x00\x00\x00",
		`{"inputs":[{"name":"a","shape":[1000000000],"datatype":"FP64","data":[1]}]}`, `{"inputs":[{"name":"a","shape":[0,5],"datatype":"UINT8","data":[]}]}`,
		`{"inputs":[{"name":"a","shape":[2,1,2],"datatype":"BF16","data":[[[1,2]],[[3,Infinity]]]}]}`, `{"inputs":[{"name":"a","shape":[],"datatype":"UINT64","data":[7]}]}`,
	} {
		f.Add([]byte(s), strings.LastIndex(s, "]}")+2)
	}
	f.Fuzz(func(t *testing.T, body []byte, end int) {
		if end < 0 || end > len(body) {
			end = len(body)
		}
		r := &room{}
		err := r.decoder.header(&r.request, body[:end])
		if err == nil {
			err = r.decoder.binaries(&r.request, body[end:])
		}
		if err != nil {
			refusal(t, err)
			return
		}
		sound(t, &r.request, len(body))
		r.echoed()
		answer, _, err := r.appendAnswer(nil, "m", 1)
		if err != nil {
			refusal(t, err) // bytes that are no text
			return
		}
		again := &room{}
		answer = bytes.Replace(answer, []byte(`"outputs":[`), []byte(`"inputs":[`), 1)
		if err := again.decoder.header(&again.request, answer); err != nil {
			t.Fatalf("%s\nwas written and is refused: %v", answer, err)
		}
		for i := range r.inputs {
			same(t, &r.inputs[i].tensor, &again.inputs[i].tensor)
		}
	})
}

func same(t *testing.T, a, b *tensor.Tensor) {
	t.Helper()
	if a.Type != b.Type || tensor.Text(a.Shape) != tensor.Text(b.Shape) || len(a.Data) != len(b.Data) || len(a.Strings) != len(b.Strings) {
		t.Fatalf("%s %s became %s %s", a.Type, tensor.Text(a.Shape), b.Type, tensor.Text(b.Shape))
	}
	for i := range a.Strings {
		if !bytes.Equal(a.Strings[i], b.Strings[i]) {
			t.Fatalf("%q became %q", a.Strings[i], b.Strings[i])
		}
	}
	for at := 0; at < len(a.Data); at += a.Type.Size() {
		x, y := a.Data[at:at+a.Type.Size()], b.Data[at:at+a.Type.Size()]
		if bytes.Equal(x, y) || a.Type == tensor.Bool && x[0] != 0 && y[0] != 0 {
			continue
		}
		if v := a.Number(at / a.Type.Size()); v == v { // one NaN is as good as another
			t.Fatalf("%s: %x became %x", a.Type, x, y)
		}
	}
}

// FuzzMessage reads a gRPC message. What is taken is what protobuf's own reader sees, and comes back in the answer.
func FuzzMessage(f *testing.F) {
	parameter := func(n int64) map[string]*kserveproto.InferParameter {
		return map[string]*kserveproto.InferParameter{"priority": {ParameterChoice: &kserveproto.InferParameter_Int64Param{Int64Param: n}}}
	}
	for _, q := range []*kserveproto.ModelInferRequest{
		{ModelName: "m", ModelVersion: "3", Id: "x", Parameters: parameter(2), Inputs: []*kserveproto.ModelInferRequest_InferInputTensor{
			{Name: "a", Datatype: "FP32", Shape: []int64{2}, Contents: &kserveproto.InferTensorContents{Fp32Contents: []float32{1, 2}}},
			{Name: "b", Datatype: "INT8", Shape: []int64{1, 2}, Contents: &kserveproto.InferTensorContents{IntContents: []int32{-1, 127}}},
			{Name: "c", Datatype: "BYTES", Shape: []int64{2}, Contents: &kserveproto.InferTensorContents{BytesContents: [][]byte{{0}, nil}}},
		}},
		{Inputs: []*kserveproto.ModelInferRequest_InferInputTensor{{Name: "a", Datatype: "FP16", Shape: []int64{1}}}, RawInputContents: [][]byte{{0, 60}}},
		{
			Inputs:           []*kserveproto.ModelInferRequest_InferInputTensor{{Name: "a", Datatype: "BYTES", Shape: []int64{1}}},
			Outputs:          []*kserveproto.ModelInferRequest_InferRequestedOutputTensor{{Name: "o", Parameters: parameter(1)}},
			RawInputContents: [][]byte{{1, 0, 0, 0, 'x'}},
		},
		{Inputs: []*kserveproto.ModelInferRequest_InferInputTensor{{Name: "a", Datatype: "UINT64", Shape: []int64{1 << 40}, Contents: &kserveproto.InferTensorContents{Uint64Contents: []uint64{1}}}}},
	} {
		b, err := proto.Marshal(q)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		r := &room{}
		err := r.scan(msg)
		if err == nil {
			err = r.tensors()
		}
		if err != nil {
			refusal(t, err)
			return
		}
		sound(t, &r.request, len(msg))
		r.echoed()
		for _, raw := range []bool{true, r.asRaw()} {
			b := r.appendResponse(nil, 1, raw)
			if len(b) > r.bound(raw) {
				t.Fatalf("the answer has %d bytes, and at most %d were expected", len(b), r.bound(raw))
			}
			var answer kserveproto.ModelInferResponse
			if err := proto.Unmarshal(b, &answer); err != nil {
				if strings.Contains(err.Error(), "UTF-8") {
					continue // a name that came so goes so
				}
				t.Fatalf("%x is no answer: %v", b, err)
			}
			if len(answer.GetOutputs()) != len(r.inputs) || raw && len(answer.GetRawOutputContents()) != len(r.inputs) {
				t.Fatalf("%v", &answer)
			}
		}
	})
}
