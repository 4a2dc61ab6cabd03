package onnx_test

import (
	"bytes"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/testkit"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/graph"
	"github.com/lineshaft/lineshaft/nn/onnx"
)

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
	for name, n := range testkit.Networks(t) {
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
	n := testkit.Networks(t)["mnist"]
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
