package kserve

import (
	"encoding/binary"
	"strconv"
	"unicode/utf8"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/number"
	"github.com/lineshaft/lineshaft/serve/scan"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// appendAnswer writes the JSON of an answer; raw is how many bytes of binary tensors follow it.
func (r *room) appendAnswer(b []byte, model string, version int64) (out []byte, raw int, err error) {
	b = append(b, `{"model_name":`...)
	b = scan.AppendText(b, []byte(model))
	b = append(b, `,"model_version":"`...)
	b = strconv.AppendInt(b, version, 10)
	b = append(b, '"')
	if r.id != "" {
		b = append(b, `,"id":`...)
		b = scan.AppendText(b, []byte(r.id))
	}
	b = append(b, `,"outputs":[`...)
	for i := range r.outputs {
		if i > 0 {
			b = append(b, ',')
		}
		o, t := &r.outputs[i], r.result(i)
		b = append(b, `{"name":`...)
		b = scan.AppendText(b, []byte(o.name))
		b = append(b, `,"datatype":"`...)
		b = append(b, datatype(t.Type)...)
		b = append(b, `","shape":[`...)
		for j, d := range t.Shape {
			if j > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, int64(d), 10)
		}
		b = append(b, ']')
		if o.binary {
			size := t.Packed()
			raw += size
			b = append(b, `,"parameters":{"binary_data_size":`...)
			b = append(strconv.AppendInt(b, int64(size), 10), "}}"...)
			continue
		}
		b = append(b, `,"data":[`...)
		if b, err = appendData(b, o.name, t); err != nil {
			return b, 0, err
		}
		b = append(b, "]}"...)
	}
	return append(b, "]}"...), raw, nil
}

func appendData(b []byte, name string, t *tensor.Tensor) ([]byte, error) {
	if t.Type == tensor.Bytes {
		for i, s := range t.Strings {
			if !utf8.Valid(s) {
				return b, errs.Errorf("kserve.encode", errs.Invalid, "the output %q holds bytes that are no text, which JSON cannot say: ask for it with the parameter \"binary_data\": true", name)
			}
			if i > 0 {
				b = append(b, ',')
			}
			b = scan.AppendText(b, s)
		}
		return b, nil
	}
	size := t.Type.Size()
	for at := 0; at < len(t.Data); at += size {
		if at > 0 {
			b = append(b, ',')
		}
		b = number.Append(b, t.Type, t.Data[at:at+size])
	}
	return b, nil
}

// appendRaw writes a tensor's bytes; strings each after their length in four bytes.
func appendRaw(b []byte, t *tensor.Tensor) []byte {
	if t.Type != tensor.Bytes {
		return append(b, t.Data...)
	}
	for _, s := range t.Strings {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return b
}
