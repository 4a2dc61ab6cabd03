package tfserving

import (
	"slices"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// column is one input of the model, filled row by row: each row's elements follow those of the row before, so that what
// has been read is the tensor.
type column struct {
	spec    *tensor.Spec
	dims    []int     // of a row; tensor.Any until the first row has shown it
	rows    int       // that were begun
	x       []float32 // the elements, where the type is float32
	data    []byte    // where it is another of fixed size
	strings [][]byte  // where it is bytes
}

// reset makes c empty; its memory is used again.
func (c *column) reset(spec *tensor.Spec) {
	c.spec, c.rows = spec, 0
	c.dims = append(c.dims[:0], spec.RowShape()...)
	c.x, c.data = c.x[:0], c.data[:0]
	clear(c.strings)
	c.strings = c.strings[:0]
}

// large says whether c's memory is too much to keep.
func (c *column) large() bool {
	return cap(c.x) > keepRoom/4 || cap(c.data) > keepRoom || cap(c.strings) > keepRoom/24
}

// elements is how many there are.
func (c *column) elements() int {
	switch size := c.spec.Type.Size(); {
	case c.spec.Type == tensor.Float32:
		return len(c.x)
	case size > 0:
		return len(c.data) / size
	}
	return len(c.strings)
}

// bytes is what the elements take, but for the strings themselves.
func (c *column) bytes() int { return 4*len(c.x) + len(c.data) + 24*len(c.strings) }

// single says that the input has no dimensions: it is one value for all rows.
func (c *column) single() bool { return len(c.spec.Shape) == 0 }

// tensor makes t what was read; it shares c's memory.
func (c *column) tensor(t *tensor.Tensor) {
	t.Type, t.Data, t.Strings, t.Shape = c.spec.Type, nil, nil, t.Shape[:0]
	if !c.single() {
		t.Shape = append(append(t.Shape, c.rows), c.dims...)
	}
	switch c.spec.Type {
	case tensor.Float32:
		t.Data = tensor.Float32s(c.x).Data
	case tensor.Bytes:
		t.Strings = c.strings
	default:
		t.Data = c.data
	}
}

// flat ends a row whose n elements came as one list: they must fill the row's shape, and show what it leaves open.
func (c *column) flat(n int) error {
	const op = "tfserving.flat"
	open, size := -1, 1
	for i, d := range c.dims {
		switch {
		case d != tensor.Any:
			size *= d
		case open >= 0:
			return errs.Errorf(op, errs.Invalid, "the input %q has the shape %s, which one list of values cannot fill: ask with predict", c.spec.Name, tensor.Text(c.spec.Shape))
		default:
			open = i
		}
	}
	switch {
	case open < 0 && n == size:
		return nil
	case open >= 0 && size > 0 && n%size == 0:
		c.dims[open] = n / size
		return nil
	}
	return errs.Errorf(op, errs.Invalid, "the feature %q has %d values: a row of the input has the shape %s", c.spec.Name, n, tensor.Text(c.dims))
}

// repeat begins a row with the values of another column's only row.
func (c *column) repeat(from *column) error {
	c.rows++
	c.x, c.data, c.strings = append(c.x, from.x...), append(c.data, from.data...), append(c.strings, from.strings...)
	return c.flat(from.elements())
}

// columns are the inputs of one request.
type columns []column

// reset makes the columns those of a signature.
func (cs columns) reset(sig *serve.Signature) columns {
	cs = slices.Grow(cs[:0], len(sig.Inputs))[:len(sig.Inputs)]
	for i := range cs {
		cs[i].reset(&sig.Inputs[i])
	}
	return cs
}

// find gives the column of a name, or nil.
func (cs columns) find(name string) *column {
	for i := range cs {
		if cs[i].spec.Name == name {
			return &cs[i]
		}
	}
	return nil
}

// names lists the inputs: "a", "b".
func (cs columns) names() string {
	text := ""
	for i := range cs {
		if i > 0 {
			text += ", "
		}
		text += "\"" + cs[i].spec.Name + "\""
	}
	return text
}

// tensors fills the inputs of a call.
func (cs columns) tensors(c *serve.Call) {
	c.In = slices.Grow(c.In[:0], len(cs))[:len(cs)]
	for i := range cs {
		cs[i].tensor(&c.In[i])
	}
}

// free lets go of what the columns share with a body, and of memory that is too much to keep.
func (cs columns) free() {
	for i := range cs {
		clear(cs[i].strings)
		if cs[i].large() {
			cs[i] = column{}
		}
	}
}
