package nn_test

import (
	"testing"

	"github.com/lineshaft/lineshaft/nn"
)

// BenchmarkLayers answers 32 rows of 512 values with one layer of each kind.
func BenchmarkLayers(b *testing.B) {
	layers := map[string]nn.Layer{
		"batchnorm": nn.NewBatchNormalization("n", nn.NormConfig{Axis: -1, Epsilon: 0.001, Center: true, Scale: true}),
		"layernorm": nn.NewLayerNormalization("n", nn.NormConfig{Axis: -1, Epsilon: 0.001, Center: true, Scale: true}),
		"flatten":   nn.NewFlatten("n"), "dropout": nn.NewDropout("n", 0.5), "rescaling": nn.NewRescaling("n", 0.5, 1),
		"standardization": nn.NewStandardization("n", -1, []float32{0.5}, []float32{2}),
	}
	for _, f := range nn.Activations() {
		layers["activation "+f] = nn.NewActivation("n", f)
	}
	for name, l := range layers {
		b.Run(name, func(b *testing.B) {
			const rows, width = 32, 512
			n := &nn.Network{Input: []int{width}, Layers: []nn.Layer{l}}
			if err := n.Build(1); err != nil {
				b.Fatal(err)
			}
			p, err := nn.NewPredictor(n, rows)
			if err != nil {
				b.Fatal(err)
			}
			x := make([]float32, rows*width)
			for i := range x {
				x[i] = float32(i%97)/24 - 2
			}
			y := make([]float32, rows*n.OutputShape()[0])
			for b.Loop() {
				if err := p.Predict(y, x, rows); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows/width, "ns/value")
		})
	}
}
