package kserve

import (
	"cmp"
	"encoding/binary"
	"math"
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
	size := t.Type.Size()
	n := len(t.Data) / size
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
			all[i] = value{element(t.Type, t.Data[(row*per+i)*size:]), i}
		}
		slices.SortStableFunc(all, func(a, b value) int { return cmp.Compare(b.v, a.v) })
		for _, v := range all[:k] {
			text := append(strconv.AppendFloat(nil, v.v, 'f', 6, 64), ':')
			out.Strings = append(out.Strings, strconv.AppendInt(text, int64(v.at), 10))
		}
	}
	return out, nil
}

// element is a number of any type.
func element(t tensor.Type, b []byte) float64 {
	le := binary.LittleEndian
	switch t {
	case tensor.Uint8:
		return float64(b[0])
	case tensor.Uint16:
		return float64(le.Uint16(b))
	case tensor.Uint32:
		return float64(le.Uint32(b))
	case tensor.Uint64:
		return float64(le.Uint64(b))
	case tensor.Int8:
		return float64(int8(b[0]))
	case tensor.Int16:
		return float64(int16(le.Uint16(b)))
	case tensor.Int32:
		return float64(int32(le.Uint32(b)))
	case tensor.Int64:
		return float64(int64(le.Uint64(b)))
	case tensor.Float16:
		return float64(tensor.FromFloat16(le.Uint16(b)))
	case tensor.BFloat16:
		return float64(math.Float32frombits(uint32(le.Uint16(b)) << 16))
	case tensor.Float64:
		return math.Float64frombits(le.Uint64(b))
	}
	return float64(math.Float32frombits(le.Uint32(b)))
}
