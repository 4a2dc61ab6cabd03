package tensor_test

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

func TestAViewSharesAndACopyDoesNot(t *testing.T) {
	x := []float32{1, 2, 3}
	a := tensor.Float32s(x, 1, 3)
	a.Float32s()[1] = 7
	if x[1] != 7 || a.Check() != nil {
		t.Errorf("%v, %v", x, a.Check())
	}
	b := tensor.Tensor{Type: tensor.Float32, Shape: []int{3}, Data: append([]byte{0}, a.Data...)[1:]}
	if got := b.Float32s(); len(got) != 3 || got[1] != 7 {
		t.Errorf("from unaligned bytes: %v", got)
	}
}

func TestResetUsesItsMemoryAgain(t *testing.T) {
	var a tensor.Tensor
	a.Reset(tensor.Int64, 4, 2)
	if a.Check() != nil || len(a.Data) != 64 {
		t.Fatalf("%+v", a)
	}
	first := &a.Data[0]
	a.Reset(tensor.Float32, 3)
	if &a.Data[0] != first || a.Check() != nil {
		t.Errorf("the memory is another: %+v", a)
	}
	a.Reset(tensor.Bytes, 2)
	if a.Check() != nil || a.Data != nil {
		t.Errorf("%+v: %v", a, a.Check())
	}
}

func TestWhatDoesNotFitSaysWhy(t *testing.T) {
	spec := tensor.Spec{Name: "x", Type: tensor.Float32, Shape: []int{tensor.Any, 3}}
	for _, c := range []struct {
		t    tensor.Tensor
		kind errs.Kind
		says string
	}{
		{tensor.Float32s(make([]float32, 6), 2, 3), 0, ""},
		{tensor.Float32s(make([]float32, 4), 2, 2), errs.Invalid, `"x" has the shape [?, 3], and [2, 2] came`},
		{tensor.Float32s(make([]float32, 3), 3), errs.Invalid, "[3] came"},
		{tensor.Float32s(make([]float32, 5), 2, 3), errs.Invalid, "needs 24 bytes, and there are 20"},
		{tensor.Tensor{Type: tensor.Int8, Shape: []int{1, 3}, Data: make([]byte, 3)}, errs.Invalid, "is of float32, and int8 came"},
		{tensor.Tensor{Type: tensor.Float32, Shape: []int{1 << 40, 3}}, errs.TooLarge, "more than 1073741824 elements"},
		{tensor.Tensor{Type: tensor.Float32, Shape: []int{-2, 3}}, errs.Invalid, "negative"},
	} {
		err := spec.Check(&c.t)
		if c.says == "" && err == nil {
			continue
		}
		if !errs.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v", c.t.Shape, err)
		}
	}
}

func TestASpecIsReadAsItIsWritten(t *testing.T) {
	want := tensor.Spec{Name: "x", Type: tensor.BFloat16, Shape: []int{tensor.Any, 3}}
	b, err := json.Marshal(want)
	if err != nil || string(b) != `{"name":"x","type":"bfloat16","shape":[-1,3]}` {
		t.Fatalf("%s, %v", b, err)
	}
	var got tensor.Spec
	if err := json.Unmarshal(b, &got); err != nil || got.Type != want.Type || !slices.Equal(got.Shape, want.Shape) {
		t.Errorf("%+v, %v", got, err)
	}
	if err := json.Unmarshal([]byte(`{"type":"float31"}`), &got); err == nil || !strings.Contains(err.Error(), "float31") {
		t.Error(err)
	}
}

func TestHalvesGoThereAndBack(t *testing.T) {
	for h := range 1 << 16 {
		f := tensor.FromFloat16(uint16(h))
		if back := tensor.ToFloat16(f); back != uint16(h) && f == f {
			t.Fatalf("%#x is %v and comes back as %#x", h, f, back)
		}
	}
	for f, want := range map[float32]float32{
		1: 1, 65504: 65504, 65519: 65504, 65520: float32(math.Inf(1)), 1e-8: 0, 6e-8: 1.0 / (1 << 24), 2049: 2048, 2051: 2052, -0.1: -0.099975586,
	} {
		if got := tensor.FromFloat16(tensor.ToFloat16(f)); got != want {
			t.Errorf("%v becomes %v, not %v", f, got, want)
		}
	}
}
