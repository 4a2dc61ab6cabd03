package onnx_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/graph"
	"github.com/lineshaft/lineshaft/nn/onnx"
)

// networks are one for each activation and one for each layer with its settings, all with weights that are not zero.
func networks(t *testing.T) map[string]*nn.Network {
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

func write(t *testing.T, n *nn.Network) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := onnx.Write(&b, n); err != nil {
		t.Fatal(n.Name, err)
	}
	return b.Bytes()
}

// fields takes a message apart: the bytes of its fields by number.
func fields(t *testing.T, b []byte) map[protowire.Number][][]byte {
	t.Helper()
	all := map[protowire.Number][][]byte{}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatal("no message")
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			t.Fatal("no message")
		}
		v := b[:n]
		if typ == protowire.BytesType {
			v, _ = protowire.ConsumeBytes(v)
		}
		all[num] = append(all[num], v)
		b = b[n:]
	}
	return all
}

func TestEveryValueIsMadeOnceBeforeItIsUsed(t *testing.T) {
	for name, n := range networks(t) {
		body := fields(t, fields(t, write(t, n))[7][0])
		made := map[string]bool{graph.Input(n): true}
		for _, init := range body[5] {
			f := fields(t, init)
			made[string(f[8][0])] = true
			size := 4
			if v, _ := protowire.ConsumeVarint(f[2][0]); v == 7 {
				size = 8
			}
			elements := 1
			for dims := slices.Concat(f[1]...); len(dims) > 0; {
				d, k := protowire.ConsumeVarint(dims)
				elements, dims = elements*int(d), dims[k:]
			}
			if len(f[9][0]) != elements*size {
				t.Errorf("%s: constant %s has %d bytes for %d elements", name, f[8][0], len(f[9][0]), elements)
			}
		}
		if len(made) != 1+len(body[5]) {
			t.Errorf("%s: constants share a name", name)
		}
		for _, node := range body[1] {
			f := fields(t, node)
			for _, in := range f[1] {
				if !made[string(in)] {
					t.Errorf("%s: %s takes %s, which is not there yet", name, f[4][0], in)
				}
			}
			for _, out := range f[2] {
				if made[string(out)] {
					t.Errorf("%s: %s is made twice", name, out)
				}
				made[string(out)] = true
			}
		}
		if !made[graph.Output(n)] {
			t.Errorf("%s: the output is not made", name)
		}
	}
}

func TestTheSameNetworkGivesTheSameBytes(t *testing.T) {
	n := networks(t)["mnist"]
	if !bytes.Equal(write(t, n), write(t, n)) {
		t.Error("they differ")
	}
}

// other is a layer that ONNX does not know of.
type other struct{ *nn.Flatten }

func (other) Kind() string { return "Other" }

func TestALayerWithoutAFormIsRefusedByName(t *testing.T) {
	n := &nn.Network{Input: []int{2}, Layers: []nn.Layer{other{nn.NewFlatten("odd")}}}
	if err := n.Build(1); err != nil {
		t.Fatal(err)
	}
	if err := onnx.Write(&bytes.Buffer{}, n); !errs.Is(err, errs.Unsupported) || err.Error() != `layer "odd" is of kind Other, which has no form in other frameworks` {
		t.Error(err)
	}
}
