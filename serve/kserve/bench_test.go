package kserve

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	kserveproto "github.com/lineshaft/lineshaft/serve/kserve/proto"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

func head(size int) []byte {
	return fmt.Appendf(nil, `{"parameters": {"binary_data_output": true}, "inputs": [{"name": "dense_input", "shape": [1, 784], "datatype": "FP32", "parameters": {"binary_data_size": %d}}]}`, size)
}

func BenchmarkBinaryRequest(b *testing.B) {
	r := &room{}
	text, raw := head(3136), make([]byte, 3136)
	b.ReportAllocs()
	for b.Loop() {
		if err := r.decoder.header(&r.request, text); err != nil {
			b.Fatal(err)
		}
		if err := r.decoder.binaries(&r.request, raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJSONRequest(b *testing.B) {
	r := &room{}
	numbers := make([]string, 784)
	for i := range numbers {
		numbers[i] = "0.0"
		if i%28 > 10 && i%28 < 16 {
			numbers[i] = strconv.FormatFloat(float64(float32(i*37%256)/255), 'f', -1, 64)
		}
	}
	text := fmt.Appendf(nil, `{"inputs": [{"name": "dense_input", "shape": [1, 784], "datatype": "FP32", "data": [%s]}]}`, strings.Join(numbers, ", "))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if err := r.decoder.header(&r.request, text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGRPCRequest(b *testing.B) {
	msg, err := proto.Marshal(&kserveproto.ModelInferRequest{
		ModelName: "mnist", Inputs: []*kserveproto.ModelInferRequest_InferInputTensor{{Name: "dense_input", Datatype: "FP32", Shape: []int64{1, 784}}},
		RawInputContents: [][]byte{make([]byte, 3136)},
	})
	if err != nil {
		b.Fatal(err)
	}
	r := &room{}
	b.ReportAllocs()
	for b.Loop() {
		if err := r.scan(msg); err != nil {
			b.Fatal(err)
		}
		if err := r.tensors(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAnswer(b *testing.B) {
	r := &room{}
	r.call.Out = []tensor.Tensor{tensor.Float32s([]float32{1e-8, 3.1e-5, 0.99, 2.3e-7, 0.001, 0.0012, 4.5e-12, 0.003, 5.6e-4, 0.0042}, 1, 10)}
	r.outputs = []output{{name: "dense_2", binary: true}}
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if r.out, _, err = r.appendAnswer(r.out[:0], "mnist", 1); err != nil {
			b.Fatal(err)
		}
	}
}
