package release_test

import (
	"math"
	"testing"
	"time"

	"github.com/lineshaft/lineshaft/serve/release"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

func TestCopiesAreComparedByNumbersAndByTheirLargest(t *testing.T) {
	var c release.Copies
	one := []tensor.Tensor{tensor.Float32s([]float32{0.1, 0.9, 0.75, 0.25}, 2, 2)}
	c.Compare(one, one, time.Millisecond, 3*time.Millisecond)
	c.Compare(one, []tensor.Tensor{tensor.Float32s([]float32{0.1, 0.9, 0.25, 0.75}, 2, 2)}, time.Millisecond, time.Millisecond)
	if c.Compared != 2 || c.Alike != 1 || c.Rows != 4 || c.Agreed != 3 || c.MaxAbs != 0.5 || c.MeanAbs != 0.125 || c.StableMs != 1 || c.ShadowMs != 2 {
		t.Errorf("%+v", c)
	}
	if math.Abs(c.MaxRel-2.0/3) > 1e-9 {
		t.Errorf("relative %v", c.MaxRel)
	}
	c.Compare(one, []tensor.Tensor{tensor.Float32s([]float32{0.1, 0.9}, 1, 2)}, 0, 0)
	c.Compare(one, nil, 0, 0)
	if c.Failed != 2 || c.Error != "it answers with 0 outputs, not 1" {
		t.Errorf("%+v", c)
	}
	inf := float32(math.Inf(1))
	c = release.Copies{}
	odd := []tensor.Tensor{tensor.Float32s([]float32{inf, float32(math.NaN())}, 2)}
	c.Compare(odd, odd, 0, 0)
	if c.MaxAbs != 0 || c.Alike != 1 {
		t.Errorf("%+v", c)
	}
	c.Compare(odd, []tensor.Tensor{tensor.Float32s([]float32{1, 2}, 2)}, 0, 0)
	if math.IsInf(c.MaxAbs, 0) || math.IsNaN(c.MeanAbs) {
		t.Errorf("%+v", c)
	}
}

func TestANumberIsReadFromEveryType(t *testing.T) {
	for typ := tensor.Bool; typ < tensor.Bytes; typ++ {
		var x tensor.Tensor
		x.Reset(typ, 2)
		if got := x.Number(1); got != 0 {
			t.Errorf("%v: %v", typ, got)
		}
	}
}
