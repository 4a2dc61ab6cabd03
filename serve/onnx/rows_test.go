//go:build linux

package onnx_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/onnx"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// TestRowsAreJoinedOnlyWhereTheyAreIndependent tries models that say they take any number of rows.
func TestRowsAreJoinedOnlyWhereTheyAreIndependent(t *testing.T) {
	type compute = func(in, out []tensor.Tensor) error
	each := func(f func(all []float32, row, n int) float32) compute {
		return func(in, out []tensor.Tensor) error {
			x, rows := in[0].Float32s(), in[0].Shape[0]
			out[0].Reset(tensor.Float32, rows)
			for r := range rows {
				out[0].Float32s()[r] = f(x, r, len(x)/rows)
			}
			return nil
		}
	}
	sum := func(x []float32, row, n int) (s float32) {
		for _, v := range x[row*n : (row+1)*n] {
			s += v
		}
		return s
	}
	fixed, free := []int{tensor.Any, 4}, []int{tensor.Any, 3, tensor.Any}
	for name, c := range map[string]struct {
		shape      []int
		run        compute
		yes, known bool
		says       string
	}{
		"sums of rows": {fixed, each(sum), true, true, ""},
		"a running sum": {fixed, each(func(x []float32, row, n int) float32 {
			return sum(x, 0, (row+1)*n)
		}), false, true, "depends on the rows beside it"},
		"a share of the whole": {fixed, each(func(x []float32, row, n int) float32 {
			return sum(x, row, n) / sum(x, 0, len(x))
		}), false, true, "depends"},
		"boxes": {fixed, func(in, out []tensor.Tensor) error {
			out[0].Reset(tensor.Float32, 7)
			clear(out[0].Data)
			return nil
		}, false, true, "shape"},
		"one row alone": {fixed, func(in, out []tensor.Tensor) error {
			if in[0].Shape[0] != 1 {
				return errors.New("a batch of one is wanted")
			}
			out[0].Reset(tensor.Float32, 1)
			return nil
		}, false, true, "not 3"},
		"refuses all": {fixed, func([]tensor.Tensor, []tensor.Tensor) error { return errors.New("no") }, false, false, "nothing"},
		"pictures of 48": {free, func(in, out []tensor.Tensor) error {
			if in[0].Shape[2] != 48 {
				return errors.New("the height must be 48")
			}
			return each(sum)(in, out)
		}, true, true, ""},
	} {
		sig := serve.Signature{
			Inputs:  []tensor.Spec{{Name: "x", Type: tensor.Float32, Shape: c.shape}},
			Outputs: []tensor.Spec{{Name: "y", Type: tensor.Float32, Shape: []int{tensor.Any}}},
		}
		yes, known, why := onnx.Independent(sig, c.run)
		if yes != c.yes || known != c.known || !strings.Contains(why, c.says) {
			t.Errorf("%s: %v, %v, %q", name, yes, known, why)
		}
	}
	every := serve.Signature{}
	for typ := tensor.Bool; typ <= tensor.Bytes; typ++ {
		every.Inputs = append(every.Inputs, tensor.Spec{Name: typ.String(), Type: typ, Shape: []int{tensor.Any, 5}})
	}
	every.Outputs = every.Inputs
	if yes, known, why := onnx.Independent(every, func(in, out []tensor.Tensor) error {
		copy(out, in)
		return nil
	}); !yes || !known {
		t.Errorf("every type: %s", why)
	}
	if yes, _, _ := onnx.Independent(every, func(in, out []tensor.Tensor) error { // the first row again and again
		for i := range in {
			row := in[i].Shape[0]
			out[i].Reset(in[i].Type, in[i].Shape...)
			for r := range row {
				if in[i].Type == tensor.Bytes {
					copy(out[i].Strings[r*5:], in[i].Strings[:5])
				} else {
					n := len(in[i].Data) / row
					copy(out[i].Data[r*n:], in[i].Data[:n])
				}
			}
		}
		return nil
	}); yes {
		t.Error("the first row for all was not noticed")
	}
}
