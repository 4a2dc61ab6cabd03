package tfserving

import "github.com/lineshaft/lineshaft/serve/number"

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
		return number.AppendFloat(b, float64(y[0]), 32)
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
