package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// A first dimension that requests choose may count independent rows, steps of a sequence, or boxes in a picture; the
// file does not say which. Requests may only be joined in the first case, so it is tried: three rows together must give
// what each gives alone.

// triedRows is how many rows are computed together.
const triedRows = 3

// triedSizes are given to the other dimensions that requests choose, all alike, until the model takes one.
var triedSizes = [...]int{1, 8, 32, 48, 64, 224, 320}

// near is how far numbers may lie apart, relative to the largest of the output: kernels add in another order for more
// rows, and quantisation takes its scale from all of them.
const near = 0.02

// independent tries whether rows are independent of each other. known is false where the model takes nothing of what is
// tried. compute runs the model.
func independent(sig serve.Signature, compute func(in, out []tensor.Tensor) error) (yes, known bool, why string) {
	for _, size := range triedSizes {
		alone := make([][]tensor.Tensor, triedRows)
		failed := false
		for r := range alone {
			alone[r] = make([]tensor.Tensor, len(sig.Outputs))
			if compute(rowsOf(sig, size, r, 1), alone[r]) != nil {
				failed = true
				break
			}
		}
		if failed {
			if !choosable(sig) {
				break // the other sizes are the same
			}
			continue
		}
		together := make([]tensor.Tensor, len(sig.Outputs))
		if err := compute(rowsOf(sig, size, 0, triedRows), together); err != nil {
			return false, true, fmt.Sprintf("it takes one row and not %d: %v", triedRows, err)
		}
		for i, s := range sig.Outputs {
			if why := apart(&together[i], alone, i); why != "" {
				return false, true, fmt.Sprintf("of the output %q %s", s.Name, why)
			}
		}
		return true, true, ""
	}
	return false, false, "it takes nothing of what was tried"
}

// choosable tells whether requests choose another dimension than the first of some input.
func choosable(sig serve.Signature) bool {
	return slices.ContainsFunc(sig.Inputs, func(s tensor.Spec) bool { return slices.Contains(s.Shape[1:], tensor.Any) })
}

// rowsOf makes inputs of rows rows, of which the first is row first of a fixed sequence. Whole numbers are 0 or 1, which
// are good as indices too.
func rowsOf(sig serve.Signature, size, first, rows int) []tensor.Tensor {
	in := make([]tensor.Tensor, len(sig.Inputs))
	for i, s := range sig.Inputs {
		shape := slices.Clone(s.Shape)
		shape[0] = rows
		n := 1
		for j, d := range shape[1:] {
			if d == tensor.Any {
				shape[j+1] = size
			}
			n *= shape[j+1]
		}
		in[i].Reset(s.Type, shape...)
		for e := range rows * n {
			seed := uint32(first+e/max(n, 1))*2654435761 + uint32(e%max(n, 1))*40503 + uint32(i)*97 + 1
			seed ^= seed >> 15
			seed *= 2246822519
			seed ^= seed >> 13
			put(&in[i], e, seed)
		}
	}
	return in
}

func put(t *tensor.Tensor, e int, seed uint32) {
	f, bit := float64(seed>>8)/(1<<24), seed>>20&1
	switch t.Type {
	case tensor.Bytes:
		t.Strings[e] = []byte{'a' + byte(bit)}
	case tensor.Float32:
		binary.LittleEndian.PutUint32(t.Data[4*e:], math.Float32bits(float32(f)))
	case tensor.Float64:
		binary.LittleEndian.PutUint64(t.Data[8*e:], math.Float64bits(f))
	case tensor.Float16:
		binary.LittleEndian.PutUint16(t.Data[2*e:], tensor.ToFloat16(float32(f)))
	case tensor.BFloat16:
		binary.LittleEndian.PutUint16(t.Data[2*e:], uint16(math.Float32bits(float32(f))>>16))
	default:
		size := t.Type.Size()
		clear(t.Data[size*e : size*(e+1)])
		t.Data[size*e] = byte(bit)
	}
}

// apart says how the rows together differ from those alone, "" where they do not.
func apart(together *tensor.Tensor, alone [][]tensor.Tensor, output int) string {
	if len(together.Shape) == 0 || together.Shape[0] != triedRows {
		return fmt.Sprintf("has the shape %s for %d rows", tensor.Text(together.Shape), triedRows)
	}
	n := 1
	for _, d := range together.Shape[1:] {
		n *= d
	}
	largest := 0.0
	for e := range triedRows * n {
		if v := math.Abs(together.Number(e)); !math.IsNaN(v) && !math.IsInf(v, 0) {
			largest = max(largest, v)
		}
	}
	for r := range alone {
		one := &alone[r][output]
		if len(one.Shape) != len(together.Shape) || one.Shape[0] != 1 || !slices.Equal(one.Shape[1:], together.Shape[1:]) || one.Type != together.Type {
			return fmt.Sprintf("has the shape %s for one row and %s for %d", tensor.Text(one.Shape), tensor.Text(together.Shape), triedRows)
		}
		for e := range n {
			a, b := one.Number(e), together.Number(r*n+e)
			same := a == b || math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= near*largest
			if one.Type == tensor.Bytes {
				same = string(one.Strings[e]) == string(together.Strings[r*n+e])
			}
			if !same {
				return fmt.Sprintf("a row depends on the rows beside it (%g alone, %g together)", a, b)
			}
		}
	}
	return ""
}
