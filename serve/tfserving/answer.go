package tfserving

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/number"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// maxAnswer bounds what one request may make a model write: a row of one number can ask for a million back.
const maxAnswer = 8 << 20 // values

// appendAnswer writes an answer as TensorFlow Serving does: a list of rows under "predictions", or whole tensors under
// "outputs" where the request had columns. The one output of a model goes without its name; several are an object. Byte
// strings are written as text, and as {"b64": …} where the output's name ends in _bytes.
func appendAnswer(b []byte, specs []tensor.Spec, outs []tensor.Tensor, columnar bool) ([]byte, error) {
	total := 0
	for i := range outs {
		n, err := tensor.Elements(outs[i].Shape)
		if err != nil {
			return b, err
		}
		if total += n; total > maxAnswer {
			return b, errs.Errorf("tfserving.answer", errs.TooLarge, "the answer has more than %d values: send fewer rows at a time, or ask by gRPC", maxAnswer)
		}
	}
	if columnar {
		return appendColumns(append(b, `{"outputs":`...), specs, outs), nil
	}
	rows := 0
	for i := range outs {
		name, shape := specs[i].Name, outs[i].Shape
		switch {
		case len(shape) == 0:
			return b, errs.Errorf("tfserving.answer", errs.Invalid, "Tensor name: %s has no shape information: it is one value for all rows, ask with \"inputs\" instead of \"instances\"", name)
		case i > 0 && shape[0] != rows:
			return b, errs.Errorf("tfserving.answer", errs.Invalid, "Tensor name: %s has inconsistent batch size: %d expecting: %d; ask with \"inputs\" instead of \"instances\"", name, shape[0], rows)
		}
		rows = shape[0]
	}
	return appendRows(append(b, `{"predictions":[`...), specs, outs, rows), nil
}

func appendColumns(b []byte, specs []tensor.Spec, outs []tensor.Tensor) []byte {
	if len(outs) != 1 {
		b = append(b, '{')
	}
	for i := range outs {
		if len(outs) != 1 {
			b = appendKey(b, i, specs[i].Name)
		}
		w := values{t: &outs[i], encoded: encodedBytes(specs[i])}
		b = w.append(b, outs[i].Shape)
	}
	if len(outs) != 1 {
		b = append(b, '}')
	}
	return append(b, "}\n"...)
}

func appendRows(b []byte, specs []tensor.Spec, outs []tensor.Tensor, rows int) []byte {
	var room [4]values
	ws := room[:0]
	for i := range outs {
		ws = append(ws, values{t: &outs[i], encoded: encodedBytes(specs[i])})
	}
	for r := range rows {
		if r > 0 {
			b = append(b, ',')
		}
		if len(ws) == 1 {
			b = ws[0].append(b, outs[0].Shape[1:])
			continue
		}
		b = append(b, '{')
		for i := range ws {
			b = ws[i].append(appendKey(b, i, specs[i].Name), outs[i].Shape[1:])
		}
		b = append(b, '}')
	}
	return append(b, "]}\n"...)
}

func appendKey(b []byte, i int, name string) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return append(appendText(b, []byte(name)), ':')
}

func encodedBytes(s tensor.Spec) bool { return strings.HasSuffix(s.Name, "_bytes") }

// values writes a tensor's elements one after the other.
type values struct {
	t       *tensor.Tensor
	at      int
	encoded bool // byte strings as base64
}

// append writes the next elements, as many as the shape has.
func (w *values) append(b []byte, shape []int) []byte {
	if len(shape) == 0 {
		return w.element(b)
	}
	b = append(b, '[')
	for i := range shape[0] {
		if i > 0 {
			b = append(b, ',')
		}
		if len(shape) == 1 {
			b = w.element(b)
		} else {
			b = w.append(b, shape[1:])
		}
	}
	return append(b, ']')
}

func (w *values) element(b []byte) []byte {
	i := w.at
	w.at++
	if w.t.Type != tensor.Bytes {
		size := w.t.Type.Size()
		return number.Append(b, w.t.Type, w.t.Data[i*size:(i+1)*size])
	}
	text := w.t.Strings[i]
	if !w.encoded {
		return appendText(b, text)
	}
	b = append(b, `{"b64":"`...)
	b = base64.StdEncoding.AppendEncode(b, text)
	return append(b, `"}`...)
}

// appendText writes a string of JSON; what is not UTF-8 in it becomes U+FFFD.
func appendText(b, text []byte) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for len(text) > 0 {
		c := text[0]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, size := utf8.DecodeRune(text)
			b = utf8.AppendRune(b, r)
			text = text[size:]
			continue
		}
		text = text[1:]
	}
	return append(b, '"')
}
