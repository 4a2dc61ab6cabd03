package tfserving

import (
	"strconv"
	"strings"
	"testing"

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
	body, x := []byte(digit()), make([]float32, 0, 784)
	input := tensor.Spec{Name: "x", Type: tensor.Float32, Shape: []int{tensor.Any, 784}}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parse(body, input, x); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAnswer(b *testing.B) {
	y := []float32{1e-8, 3.1e-5, 0.99, 2.3e-7, 0.001, 0.0012, 4.5e-12, 0.003, 5.6e-4, 0.0042}
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		out = appendAnswer(out[:0], y, 1, []int{10}, false)
	}
}
