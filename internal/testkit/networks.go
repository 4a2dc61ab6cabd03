package testkit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/lineshaft/lineshaft/nn"
)

// Networks are one for each activation and one for each layer with its settings, all with weights that are not zero.
func Networks(t testing.TB) map[string]*nn.Network {
	t.Helper()
	inf := math.Inf(1)
	all := map[string]*nn.Network{}
	add := func(name string, in []int, layers ...nn.Layer) {
		n := &nn.Network{Name: name, Input: in, Layers: layers}
		if err := n.Build(7); err != nil {
			t.Fatal(name, err)
		}
		r := rand.New(rand.NewPCG(3, uint64(len(name))))
		for _, p := range n.Params() {
			for i := range p.Value {
				p.Value[i] = float32(r.NormFloat64())
				if p.Name == "moving_variance" || p.Name == "variance" {
					p.Value[i] = r.Float32() + 0.1
				}
			}
		}
		all[name] = n
	}
	for _, a := range nn.Activations() {
		add("activation-"+a, []int{6}, nn.NewActivation("a", a))
		if a == "glu" {
			continue // it is a layer of its own
		}
		add("dense-"+a, []int{6}, nn.NewDense("first", 4, nn.DenseConfig{Activation: a}), nn.NewDense("out", 3, nn.DenseConfig{}))
	}
	for i, l := range []func(string) nn.Layer{
		func(n string) nn.Layer { return nn.NewReLU(n, inf, 0, 0) },
		func(n string) nn.Layer { return nn.NewReLU(n, 1.5, 0.1, 0) },
		func(n string) nn.Layer { return nn.NewReLU(n, inf, 0.25, 0.5) },
		func(n string) nn.Layer { return nn.NewReLU(n, 1, 0.25, -0.5) },
		func(n string) nn.Layer { return nn.NewELU(n, 0.7) },
		func(n string) nn.Layer { return nn.NewDropout(n, 0.5) },
		func(n string) nn.Layer { return nn.NewFlatten(n) },
		func(n string) nn.Layer { return nn.NewRescaling(n, 1.0/255, -0.5) },
		func(n string) nn.Layer { return nn.NewStandardization(n, -1, []float32{2}, []float32{0}) },
		func(n string) nn.Layer { return nn.NewStandardization(n, -1, nil, nil) },
		func(n string) nn.Layer {
			return nn.NewBatchNormalization(n, nn.NormConfig{Axis: -1, Epsilon: 1e-3, Center: true, Scale: true})
		},
		func(n string) nn.Layer {
			return nn.NewBatchNormalization(n, nn.NormConfig{Axis: -1, Epsilon: 1e-3})
		},
		func(n string) nn.Layer {
			return nn.NewLayerNormalization(n, nn.NormConfig{Axis: -1, Epsilon: 1e-3, Center: true, Scale: true})
		},
		func(n string) nn.Layer { return nn.NewLayerNormalization(n, nn.NormConfig{Axis: -1, Epsilon: 1e-3}) },
		func(n string) nn.Layer { return nn.NewDense(n, 5, nn.DenseConfig{Activation: "tanh", NoBias: true}) },
	} {
		add(fmt.Sprintf("layer-%d", i), []int{2, 3}, nn.NewRescaling("before", 2, 0.1), l("it"), nn.NewDense("wide", 4, nn.DenseConfig{Activation: "sigmoid"}))
		add(fmt.Sprintf("alone-%d", i), []int{2, 3}, l("it"))
	}
	add("mnist", []int{28, 28}, nn.NewRescaling("rescaling", 1.0/255, 0), nn.NewFlatten("flatten"),
		nn.NewDense("dense", 32, nn.DenseConfig{Activation: "relu"}), nn.NewDropout("dropout", 0.2), nn.NewDense("dense_1", 10, nn.DenseConfig{Activation: "softmax"}))
	return all
}
