package kserve

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// classify makes, of the outputs that are asked for as classes, the k greatest values of each row with their indices:
// strings "0.98:7", greatest first (Triton's classification extension).
func (r *room) classify(sig serve.Signature) error {
	for i, o := range r.outputs {
		if o.classes == 0 {
			continue
		}
		for len(r.made) <= i {
			r.made = append(r.made, tensor.Tensor{})
		}
		t, err := classes(&r.call.Out[o.at], o, sig.Batched)
		if err != nil {
			return err
		}
		r.made[i] = t
	}
	return nil
}

func classes(t *tensor.Tensor, o output, batched bool) (tensor.Tensor, error) {
	if t.Type == tensor.Bytes || t.Type == tensor.Bool {
		return tensor.Tensor{}, errs.Errorf("kserve.classify", errs.Invalid, "the output %q is of %s, and classes are made of numbers", o.name, datatype(t.Type))
	}
	n := len(t.Data) / t.Type.Size()
	rows, shape := 1, []int{}
	if batched && len(t.Shape) > 0 {
		rows, shape = t.Shape[0], []int{t.Shape[0]}
	}
	if rows == 0 {
		return tensor.Tensor{Type: tensor.Bytes, Shape: []int{0, 0}, Strings: [][]byte{}}, nil
	}
	per := n / rows
	k := min(o.classes, per)
	out := tensor.Tensor{Type: tensor.Bytes, Shape: append(shape, k), Strings: make([][]byte, 0, rows*k)}
	type value struct {
		v  float64
		at int
	}
	all := make([]value, per)
	for row := range rows {
		for i := range per {
			all[i] = value{t.Number(row*per + i), i}
		}
		slices.SortStableFunc(all, func(a, b value) int { return cmp.Compare(b.v, a.v) })
		for _, v := range all[:k] {
			text := append(strconv.AppendFloat(nil, v.v, 'f', 6, 64), ':')
			out.Strings = append(out.Strings, strconv.AppendInt(text, int64(v.at), 10))
		}
	}
	return out, nil
}
