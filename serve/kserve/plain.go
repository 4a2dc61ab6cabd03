package kserve

import (
	"slices"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// decode makes the request of what was read. plain says that no JSON came, only the bytes of the one input.
func (r *room) decode(sig serve.Signature, plain bool) error {
	if plain {
		r.begin()
		r.binary = true
		return r.plain(sig)
	}
	if err := r.decoder.header(&r.request, r.head); err != nil {
		return err
	}
	return r.decoder.binaries(&r.request, r.raw)
}

// plain makes the one input of a model from bytes alone, as Triton's raw binary request: what the signature leaves open
// of its shape follows from their number.
func (r *room) plain(sig serve.Signature) error {
	const op = "kserve.plain"
	if len(sig.Inputs) != 1 {
		return errs.Errorf(op, errs.Invalid, "a request without JSON (%s: 0) is for models of one input; this one takes %s", lengthHeader, names(sig.Inputs))
	}
	spec := sig.Inputs[0]
	in := r.add()
	in.name, in.tensor.Type = spec.Name, spec.Type
	in.shape = append(in.shape[:0], spec.Shape...)
	size, open := spec.Type.Size(), 0
	for _, d := range spec.Shape {
		if d == tensor.Any {
			open++
			continue
		}
		size *= d
	}
	at := slices.Index(spec.Shape, tensor.Any)
	switch {
	case spec.Type == tensor.Bytes && open == 0:
	case spec.Type == tensor.Bytes || open > 1:
		return errs.Errorf(op, errs.Invalid, "the shape of the input %q, %s, does not follow from the number of bytes: send it in JSON before them", spec.Name, tensor.Text(spec.Shape))
	case open == 1:
		if size == 0 || len(r.raw)%size != 0 || len(r.raw) == 0 {
			return errs.Errorf(op, errs.Invalid, "the input %q of the shape %s takes a multiple of %d bytes, and %d came", spec.Name, tensor.Text(spec.Shape), size, len(r.raw))
		}
		in.shape[at] = len(r.raw) / size
	}
	return r.decoder.view(in, r.raw)
}
