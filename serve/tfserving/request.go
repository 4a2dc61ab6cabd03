package tfserving

import (
	"encoding/binary"
	"math"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/number"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// This file reads the body of a predict request in one pass, straight into the tensors that the model takes. The model's
// signature says what shape is to come, so that nothing is built in between, and a list that is too short, too long or
// not a list is found where it stands and named: instances[3][17]. Where the signature leaves a dimension open, the
// first list in its place says how long all are.
//
// Memory is bounded by the body: a value takes two bytes there and at most 24 here. Keys that nobody asked for are skipped.

// defaultSignature is the one signature that our models have.
const defaultSignature = "serving_default"

// request is what a body asks for.
type request struct {
	scanner
	cols     columns // in the order of the signature's inputs
	rows     int
	columnar bool   // "inputs": the answer is "outputs"
	found    string // the key that was there
	signed   bool   // so was signature_name
}

// parse reads a body for a model of a signature. Memory of the request before is used again.
func (s *request) parse(body []byte, sig *serve.Signature) error {
	*s = request{scanner: scanner{b: body, index: s.index[:0]}, cols: s.cols.reset(sig)}
	if err := s.whole(s.predictField); err != nil {
		return err
	}
	if s.found == "" {
		return s.fault("neither \"instances\" nor \"inputs\" is there")
	}
	return nil
}

// whole reads the outermost object, which is the whole body; a field that is not known is skipped.
func (s *request) whole(field func(key string) (known bool, err error)) error {
	if s.next() != '{' {
		return s.fault("the body must be a JSON object such as {\"instances\": [[…]]}, not %s", s.what())
	}
	err := s.object(func(key string) error {
		if key == "signature_name" {
			return s.signature()
		}
		known, err := field(key)
		if err == nil && !known {
			err = s.skip(0)
		}
		return err
	})
	if err != nil {
		return err
	}
	s.key = ""
	if s.next() != 0 || s.at < len(s.b) {
		return s.fault("%s follows the end of the request", s.what())
	}
	return nil
}

func (s *request) predictField(key string) (bool, error) {
	switch {
	case key != "instances" && key != "inputs":
		return false, nil
	case s.found == key:
		return true, s.fault("the key %q stands twice", key)
	case s.found != "":
		return true, s.fault("a request has either \"instances\" or \"inputs\", not both")
	}
	s.found, s.key, s.columnar = key, key, key == "inputs"
	if s.columnar {
		return true, s.inputs()
	}
	return true, s.instances()
}

func (s *request) signature() error {
	if s.signed {
		return s.fault("the key \"signature_name\" stands twice")
	}
	s.signed = true
	if s.next() == 'n' {
		return s.skip(0)
	}
	if s.next() != '"' {
		return s.fault("\"signature_name\" must be a string, not %s", s.what())
	}
	name, err := s.text()
	if err == nil && name != "" && name != defaultSignature {
		return s.fault("serving signature name %q not found in signature def: this model has %q", errs.Clip(name), defaultSignature)
	}
	return err
}

// instances reads rows: each the value of the one input, or an object with the values of all.
func (s *request) instances() error {
	if s.next() != '[' {
		return s.fault("%s where a list of rows is needed", s.what())
	}
	for i := range s.cols {
		if s.cols[i].single() {
			return s.fault("the input %q has no rows: send \"inputs\" with each input's whole value", s.cols[i].spec.Name)
		}
	}
	n, err := s.list(func(int) error {
		switch {
		case s.next() == '{' && !(len(s.cols) == 1 && s.packed()):
			return s.row()
		case len(s.cols) > 1:
			return s.fault("%s where an object with the inputs %s is needed", s.what(), s.cols.names())
		}
		s.cols[0].rows++
		return s.value(&s.cols[0], 0)
	})
	s.rows = n
	return err
}

// list reads a list of at least one row.
func (s *request) list(row func(n int) error) (int, error) {
	s.at++
	if s.next() == ']' {
		return 0, s.fault("the list is empty: send at least one row")
	}
	level := len(s.index)
	for n := 0; ; n++ {
		s.index = append(s.index[:level], n)
		if err := row(n); err != nil {
			return 0, err
		}
		switch s.next() {
		case ',':
			s.at++
		case ']':
			s.at++
			s.index = s.index[:level]
			return n + 1, nil
		default:
			return 0, s.fault("%s where ',' or ']' is needed after the row", s.what())
		}
	}
}

// row reads an object with a value for every input.
func (s *request) row() error {
	n := s.index[len(s.index)-1]
	return s.named(n, func(c *column) error { return s.value(c, 0) })
}

// named reads an object with all inputs, of which each has n rows so far.
func (s *request) named(n int, value func(c *column) error) error {
	err := s.object(func(key string) error {
		c := s.cols.find(key)
		switch {
		case c == nil && key == "b64":
			return s.fault("bytes ({\"b64\": …}) where the inputs %s are needed", s.cols.names())
		case c == nil:
			return s.fault("the model has no input %q; its inputs are %s", errs.Clip(key), s.cols.names())
		case c.rows > n:
			return s.fault("the input %q stands twice", key)
		}
		c.rows++
		return value(c)
	})
	for i := range s.cols {
		if err == nil && s.cols[i].rows <= n {
			return s.fault("the input %q is missing", s.cols[i].spec.Name)
		}
	}
	return err
}

// inputs reads columns: the whole value of the one input, or an object with those of all.
func (s *request) inputs() error {
	if s.next() == '{' && !(len(s.cols) == 1 && s.packed()) {
		return s.named(0, s.column)
	}
	if len(s.cols) > 1 {
		return s.fault("%s where an object with the inputs %s is needed", s.what(), s.cols.names())
	}
	return s.column(&s.cols[0])
}

// column reads an input's whole value.
func (s *request) column(c *column) error {
	switch {
	case c.single():
		return s.value(c, 0)
	case s.packed():
		return s.fault("bytes ({\"b64\": …}) where a list of rows is needed")
	case s.next() != '[':
		return s.fault("%s where a list of rows is needed", s.what())
	}
	rows, err := s.list(func(int) error { return s.value(c, 0) })
	c.rows, s.rows = rows, max(s.rows, rows)
	return err
}

// value reads nested lists of the shape that is left below a level, and appends their elements.
func (s *request) value(c *column, level int) error {
	if level == len(c.dims) {
		return s.element(c)
	}
	want := c.dims[level]
	if s.next() != '[' {
		if s.packed() {
			return s.misfit(c, true)
		}
		if want == tensor.Any {
			return s.fault("%s where a list is needed: %s", s.what(), s.takes(c))
		}
		return s.fault("%s where a list of %d is needed: %s", s.what(), want, s.takes(c))
	}
	var n int
	var err error
	if level == len(c.dims)-1 && c.spec.Type == tensor.Float32 {
		n, err = s.numbers(c, want)
	} else {
		n, err = s.values(c, level, want)
	}
	if err == nil && want == tensor.Any {
		c.dims[level] = n
		for i := level + 1; n == 0 && i < len(c.dims); i++ {
			c.dims[i] = max(c.dims[i], 0) // no list will show it
		}
	}
	return err
}

// values reads a list of want values, or of any number of them.
func (s *request) values(c *column, level, want int) (int, error) {
	s.at++
	depth := len(s.index)
	for n := 0; ; n++ {
		if s.next() == ']' && n == 0 {
			if want > 0 {
				return 0, s.length(c, 0, want)
			}
			s.at++
			return 0, nil
		}
		if n == want {
			return 0, s.length(c, -1, want)
		}
		s.index = append(s.index[:depth], n)
		if err := s.value(c, level+1); err != nil {
			return 0, err
		}
		s.index = s.index[:depth]
		switch s.next() {
		case ',':
			s.at++
		case ']':
			if n+1 < want {
				return 0, s.length(c, n+1, want)
			}
			s.at++
			return n + 1, nil
		default:
			return 0, s.fault("%s where ',' or ']' is needed", s.what())
		}
	}
}

// element reads one value.
func (s *request) element(c *column) error {
	s.next()
	if c.spec.Type == tensor.Bytes {
		var text []byte
		var err error
		switch {
		case s.next() == '"':
			text, err = s.bytes()
		case s.packed():
			text, err = s.unpack()
		default:
			return s.misfit(c, true)
		}
		c.strings = append(c.strings, text)
		return err
	}
	var room [8]byte
	e := room[:c.spec.Type.Size()]
	end, ok := number.Read(c.spec.Type, e, s.b, s.at)
	if !ok {
		return s.misfit(c, end == s.at)
	}
	s.at = end
	if c.spec.Type == tensor.Float32 {
		c.x = append(c.x, math.Float32frombits(binary.LittleEndian.Uint32(e)))
	} else {
		c.data = append(c.data, e...)
	}
	return nil
}

// numbers reads a list of exactly want numbers, or of any number of them, into a column of float32. Nearly all the time of a request's reading is spent in this loop.
func (s *request) numbers(c *column, want int) (int, error) {
	b, x, at := s.b, c.x, s.at+1
	most := want
	if want == tensor.Any {
		most = math.MaxInt
	}
	for n := 0; ; n++ {
		for at < len(b) && b[at] <= ' ' && space[b[at]] {
			at++
		}
		if len(b)-at > 4 && b[at] == '0' && b[at+1] == '.' && b[at+2] == '0' && b[at+3] == ',' && n < most {
			x = append(x, 0) // the most frequent number by far
			at += 4
			continue
		}
		v, end, ok := number.Float32(b, at)
		if end == at || !ok || n == most {
			s.at = at
			return s.badNumber(c, n, want, end == at)
		}
		x = append(x, v)
		for at = end; at < len(b) && b[at] <= ' ' && space[b[at]]; {
			at++
		}
		if at < len(b) && b[at] == ',' {
			at++
			continue
		}
		s.at, c.x = at, x
		if at == len(b) || b[at] != ']' {
			s.index = append(s.index, n)
			return 0, s.fault("%s where ',' or ']' is needed", s.what())
		}
		if n+1 < want { // never where any number will do
			return 0, s.length(c, n+1, want)
		}
		s.at++
		return n + 1, nil
	}
}

// badNumber says why the n'th element, at which the scanner stands, was not taken.
func (s *request) badNumber(c *column, n, want int, none bool) (int, error) {
	switch {
	case s.next() == ']' && n == 0 && want <= 0: // an empty list where the model takes one
		s.at++
		return 0, nil
	case s.next() == ']' && n == 0:
		return 0, s.length(c, 0, want)
	case n == want && s.next() != ']':
		return 0, s.length(c, -1, want)
	}
	s.index = append(s.index, n)
	return 0, s.misfit(c, none)
}

// misfit says why the value at which the scanner stands is none of the input's.
func (s *request) misfit(c *column, none bool) error {
	switch t := c.spec.Type; {
	case s.packed() && t != tensor.Bytes && none:
		return s.fault("an object where a number is needed: the input %q is of %s, not of bytes ({\"b64\": …})", c.spec.Name, t)
	case t == tensor.Bytes && s.packed():
		return s.fault("a string where a list is needed: %s", s.takes(c))
	case t == tensor.Bytes:
		return s.fault("%s where a string or {\"b64\": …} is needed: %s", s.what(), s.takes(c))
	case t == tensor.Bool:
		return s.fault("%s where true or false is needed: %s", s.what(), s.takes(c))
	case none:
		return s.fault("%s where a number is needed: %s", s.what(), s.takes(c))
	default:
		return s.fault("%s does not fit %s %s", s.what(), map[bool]string{true: "an", false: "a"}[t.String()[0] == 'i'], t)
	}
}

// length says that a list has got elements, or with -1 more than it may have.
func (s *request) length(c *column, got, want int) error {
	if got < 0 {
		return s.fault("the list has more than %d elements: %s", want, s.takes(c))
	}
	return s.fault("the list has %d elements and %d are needed: %s", got, want, s.takes(c))
}

// takes says what a row of the input is like: its shape as the model states it and, where that leaves dimensions open, as
// the first row had it.
func (s *request) takes(c *column) string {
	shape := tensor.Text(c.spec.RowShape())
	text := "a row of the input \"" + c.spec.Name + "\" has the shape " + shape
	if have := tensor.Text(c.dims); have != shape {
		text += ", and in this request " + have
	}
	return text
}
