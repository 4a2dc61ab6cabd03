package batch

import (
	"slices"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// alike says whether two calls have inputs of the same row shapes.
func alike(a, b *call) bool {
	for i := range a.in {
		if !slices.Equal(a.in[i].Shape[1:], b.in[i].Shape[1:]) {
			return false
		}
	}
	return true
}

// join lays the inputs of the slot's calls after one another, and fills the batch up with copies of its first row.
func (s *slot) join() error {
	for i := range s.in {
		to, first := &s.in[i], &s.calls[0].in[i]
		s.shape = append(s.shape[:0], first.Shape...)
		s.shape[0] = s.padded
		even := true
		for _, c := range s.calls[1:] {
			for k, d := range c.in[i].Shape[1:] {
				even = even && d == s.shape[k+1]
				s.shape[k+1] = max(s.shape[k+1], d)
			}
		}
		if _, err := tensor.Elements(s.shape); err != nil {
			return errs.Errorf("batch.join", errs.KindOf(err), "the requests of a batch, filled up to the longest, are too large together: %v", err)
		}
		to.Reset(first.Type, s.shape...)
		at := 0
		for _, c := range s.calls {
			switch {
			case !even:
				stretch(to, &c.in[i], at)
			case to.Type == tensor.Bytes:
				copy(to.Strings[at*perRow(&c.in[i]):], c.in[i].Strings)
			default:
				copy(to.Data[at*perRow(&c.in[i])*to.Type.Size():], c.in[i].Data)
			}
			at += c.rows
		}
		s.fill(to, at)
	}
	return nil
}

// perRow is the number of elements of a row.
func perRow(t *tensor.Tensor) int {
	n := 1
	for _, d := range t.Shape[1:] {
		n *= d
	}
	return n
}

// fill copies the first row to those from row at on.
func (s *slot) fill(t *tensor.Tensor, at int) {
	n := perRow(t)
	for ; at < s.padded; at++ {
		if t.Type == tensor.Bytes {
			copy(t.Strings[at*n:(at+1)*n], t.Strings[:n])
			continue
		}
		n := n * t.Type.Size()
		copy(t.Data[at*n:(at+1)*n], t.Data[:n])
	}
}

// stretch copies the rows of from to those of to from row at on; what from does not have is filled with its first
// element, as TensorFlow Serving fills it.
func stretch(to, from *tensor.Tensor, at int) {
	if len(from.Data) == 0 && len(from.Strings) == 0 {
		return // rows of nothing: there is no first element, and what is there is as good
	}
	n := perRow(to)
	for e := range from.Shape[0] * n { // the elements of to that these rows cover
		// The position of e in to, from the last dimension to the first, and in from where it has one.
		rest, source, stride, inside := e, 0, 1, true
		for k := len(to.Shape) - 1; k > 0; k-- {
			d := rest % to.Shape[k]
			rest /= to.Shape[k]
			inside = inside && d < from.Shape[k]
			source += d * stride
			stride *= from.Shape[k]
		}
		if source += rest * stride; !inside {
			source = 0
		}
		put(to, at*n+e, from, source)
	}
}

func put(to *tensor.Tensor, i int, from *tensor.Tensor, j int) {
	if to.Type == tensor.Bytes {
		to.Strings[i] = from.Strings[j]
		return
	}
	size := to.Type.Size()
	copy(to.Data[i*size:(i+1)*size], from.Data[j*size:(j+1)*size])
}

// split gives every call its rows of the outputs.
func (s *slot) split() error {
	for i := range s.out {
		from := &s.out[i]
		if len(from.Shape) == 0 || from.Shape[0] != s.padded {
			return errs.Errorf("batch.split", errs.Other, "the model was given %d rows and answers with the shape %s in %q: its rows are not independent, and it must not be joined",
				s.padded, tensor.Text(from.Shape), s.b.sig.Outputs[i].Name)
		}
		n, at := perRow(from), 0
		for _, c := range s.calls {
			s.shape = append(append(s.shape[:0], c.rows), from.Shape[1:]...)
			to := &c.out[i]
			to.Reset(from.Type, s.shape...)
			if from.Type == tensor.Bytes {
				copy(to.Strings, from.Strings[at*n:])
			} else {
				copy(to.Data, from.Data[at*n*from.Type.Size():])
			}
			at += c.rows
		}
	}
	return nil
}
