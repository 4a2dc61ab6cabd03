package tfserving

import (
	"strconv"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// digit is like a body with one MNIST image: a fifth of the numbers are not zero.
func digit() string {
	text := make([]string, 784)
	for i := range text {
		text[i] = "0.0"
		if i%28 > 10 && i%28 < 16 {
			text[i] = strconv.FormatFloat(float64(float32(i*37%256)/255), 'f', -1, 64)
		}
	}
	return `{"instances": [[` + strings.Join(text, ", ") + `]]}`
}

func BenchmarkParse(b *testing.B) {
	body := []byte(digit())
	sig := serve.Signature{Inputs: []tensor.Spec{{Name: "x", Type: tensor.Float32, Shape: []int{tensor.Any, 784}}}, Batched: true}
	var r request
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := r.parse(body, &sig); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAnswer(b *testing.B) {
	y := tensor.Float32s([]float32{1e-8, 3.1e-5, 0.99, 2.3e-7, 0.001, 0.0012, 4.5e-12, 0.003, 5.6e-4, 0.0042}, 1, 10)
	spec := []tensor.Spec{{Name: "y", Type: tensor.Float32, Shape: []int{tensor.Any, 10}}}
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if out, err = appendAnswer(out[:0], spec, []tensor.Tensor{y}, false); err != nil {
			b.Fatal(err)
		}
	}
}
