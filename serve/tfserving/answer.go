package tfserving

import (
	"math"
	"strconv"
)

// appendAnswer writes rows answers of a shape as TensorFlow Serving does: nested lists under "predictions", or under
// "outputs" where the request had columns. The one output goes without its name.
func appendAnswer(b []byte, y []float32, rows int, shape []int, columnar bool) []byte {
	if columnar {
		b = append(b, `{"outputs":[`...)
	} else {
		b = append(b, `{"predictions":[`...)
	}
	size := len(y) / rows
	for r := range rows {
		if r > 0 {
			b = append(b, ',')
		}
		b = appendTensor(b, y[r*size:(r+1)*size], shape)
	}
	return append(b, "]}\n"...)
}

func appendTensor(b []byte, y []float32, shape []int) []byte {
	if len(shape) == 0 {
		return appendFloat(b, y[0])
	}
	b = append(b, '[')
	size := len(y) / shape[0]
	for i := range shape[0] {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendTensor(b, y[i*size:(i+1)*size], shape[1:])
	}
	return append(b, ']')
}

// appendFloat writes the shortest decimal that reads back as v. Whole numbers get ".0", so that a reader sees that
// they are not integers; what JSON cannot say is written NaN, Infinity, -Infinity.
func appendFloat(b []byte, v float32) []byte {
	f := float64(v)
	switch {
	case f != f:
		return append(b, "NaN"...)
	case math.IsInf(f, 1):
		return append(b, "Infinity"...)
	case math.IsInf(f, -1):
		return append(b, "-Infinity"...)
	}
	from := len(b)
	b = strconv.AppendFloat(b, f, 'g', -1, 32)
	for _, c := range b[from:] {
		if c == '.' || c == 'e' {
			return b
		}
	}
	return append(b, ".0"...)
}
