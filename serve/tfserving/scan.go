package tfserving

import (
	"encoding/json"
	"strconv"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/number"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// This file reads the body of a predict request in one pass, straight into the float32 that the network takes. The
// model's signature says what shape is to come, so that nothing is built in between, and a list that is too short, too
// long or not a list is found where it stands and named: instances[3][17].
//
// It takes JSON (RFC 8259) and, as TensorFlow Serving does, NaN, Infinity and -Infinity where a number may stand.
// Memory is bounded by the body: a value takes two bytes there and four here. Keys that nobody asked for are skipped.

// maxDepth is how deep a value that is skipped may nest.
const maxDepth = 64

// defaultSignature is the one signature that our networks have.
const defaultSignature = "serving_default"

// request is what a body asks for.
type request struct {
	x        []float32 // row by row
	rows     int
	columnar bool // "inputs": the answer is "outputs"
}

type scanner struct {
	b     []byte
	at    int
	input tensor.Spec
	x     []float32
	// Where a fault is: the key, and the indices of the lists that are open.
	key   string
	index []int
}

// parse reads a body for a model that takes input. x is room to read into.
func parse(body []byte, input tensor.Spec, x []float32) (request, error) {
	var room [8]int
	s := scanner{b: body, input: input, x: x[:0], index: room[:0]}
	rows, key, err := s.body()
	return request{x: s.x, rows: rows, columnar: key == "inputs"}, err
}

// body reads the outermost object.
func (s *scanner) body() (rows int, found string, err error) {
	if s.next() != '{' {
		return 0, "", s.fault("the body must be a JSON object such as {\"instances\": [[…]]}, not %s", s.what())
	}
	var signature bool
	err = s.object(func(key string) error {
		switch key {
		case "signature_name":
			if signature {
				return s.fault("the key \"signature_name\" stands twice")
			}
			signature = true
			return s.signature()
		case "instances", "inputs":
			if found == key {
				return s.fault("the key %q stands twice", key)
			}
			if found != "" {
				return s.fault("a request has either \"instances\" or \"inputs\", not both")
			}
			found, s.key = key, key
			var err error
			rows, err = s.values()
			return err
		}
		return s.skip(0)
	})
	switch {
	case err != nil:
		return 0, "", err
	case s.next() != 0 || s.at < len(s.b):
		s.key = ""
		return 0, "", s.fault("%s follows the end of the request", s.what())
	case found == "":
		s.key = ""
		return 0, "", s.fault("neither \"instances\" nor \"inputs\" is there")
	}
	return rows, found, nil
}

// object reads an object, the opening brace being next, and has each value read by field.
func (s *scanner) object(field func(key string) error) error {
	s.at++
	if s.next() == '}' {
		s.at++
		return nil
	}
	for {
		if s.next() != '"' {
			return s.fault("%s where a key in double quotes is needed", s.what())
		}
		key, err := s.text()
		if err != nil {
			return err
		}
		if s.next() != ':' {
			return s.fault("%s where ':' is needed after the key %q", s.what(), clip(key))
		}
		s.at++
		s.next()
		if err := field(key); err != nil {
			return err
		}
		switch s.next() {
		case ',':
			s.at++
		case '}':
			s.at++
			return nil
		default:
			return s.fault("%s where ',' or '}' is needed", s.what())
		}
	}
}

func (s *scanner) signature() error {
	if s.next() == 'n' {
		return s.skip(0)
	}
	if s.next() != '"' {
		return s.fault("\"signature_name\" must be a string, not %s", s.what())
	}
	name, err := s.text()
	if err == nil && name != "" && name != defaultSignature {
		return s.fault("serving signature name %q not found in signature def: this model has %q", clip(name), defaultSignature)
	}
	return err
}

// values reads what "instances" or "inputs" holds: rows, rows with the input's name each, or an object of columns.
func (s *scanner) values() (rows int, err error) {
	switch s.next() {
	case '[':
		return s.rows(s.key == "instances")
	case '{':
		if s.key == "inputs" {
			err := s.named(func() (err error) {
				if s.next() != '[' {
					return s.fault("%s where a list of rows is needed", s.what())
				}
				rows, err = s.rows(false)
				return err
			})
			return rows, err
		}
	}
	return 0, s.fault("%s where a list of rows is needed", s.what())
}

// rows reads a list of rows; objects says that a row may be an object with the input's name.
func (s *scanner) rows(objects bool) (int, error) {
	s.at++
	if s.next() == ']' {
		return 0, s.fault("the list is empty: send at least one row")
	}
	for n := 0; ; n++ {
		s.index = append(s.index[:0], n)
		var err error
		if objects && s.next() == '{' {
			err = s.named(func() error { return s.tensor(s.input.RowShape()) })
		} else {
			err = s.tensor(s.input.RowShape())
		}
		if err != nil {
			return 0, err
		}
		switch s.next() {
		case ',':
			s.at++
		case ']':
			s.at++
			s.index = s.index[:0]
			return n + 1, nil
		default:
			return 0, s.fault("%s where ',' or ']' is needed after the row", s.what())
		}
	}
}

// named reads an object whose one key is the input's name.
func (s *scanner) named(value func() error) error {
	found := false
	err := s.object(func(key string) error {
		switch {
		case key == "b64":
			return s.fault("bytes ({\"b64\": …}) where numbers are needed: the input %q is of float32", s.input.Name)
		case key != s.input.Name:
			return s.fault("the model has no input %q; its input is %q", clip(key), s.input.Name)
		case found:
			return s.fault("the input %q stands twice", key)
		}
		found = true
		return value()
	})
	if err == nil && !found {
		return s.fault("the input %q is missing", s.input.Name)
	}
	return err
}

// tensor reads nested lists of exactly that shape and appends their numbers.
func (s *scanner) tensor(shape []int) error {
	if s.next() != '[' {
		return s.fault("%s where a list of %d is needed: %s", s.what(), shape[0], s.takes())
	}
	if len(shape) == 1 {
		return s.numbers(shape[0])
	}
	s.at++
	level := len(s.index)
	for n := 0; ; n++ {
		if s.next() == ']' && n == 0 {
			return s.length(0, shape[0])
		}
		s.index = append(s.index[:level], n)
		if n == shape[0] {
			s.index = s.index[:level]
			return s.length(-1, shape[0])
		}
		if err := s.tensor(shape[1:]); err != nil {
			return err
		}
		switch s.next() {
		case ',':
			s.at++
		case ']':
			s.index = s.index[:level]
			if n+1 < shape[0] {
				return s.length(n+1, shape[0])
			}
			s.at++
			return nil
		default:
			return s.fault("%s where ',' or ']' is needed", s.what())
		}
	}
}

// numbers reads a list of exactly want numbers. Nearly all the time of a request's reading is spent in this loop.
func (s *scanner) numbers(want int) error {
	b, x, at := s.b, s.x, s.at+1
	for n := 0; ; n++ {
		for at < len(b) && b[at] <= ' ' && space[b[at]] {
			at++
		}
		if len(b)-at > 4 && b[at] == '0' && b[at+1] == '.' && b[at+2] == '0' && b[at+3] == ',' && n < want {
			x = append(x, 0) // the most frequent number by far
			at += 4
			continue
		}
		v, end, ok := number.Float32(b, at)
		if end == at || !ok || n == want {
			s.at = at
			return s.badNumber(n, want, end == at)
		}
		x = append(x, v)
		for at = end; at < len(b) && b[at] <= ' ' && space[b[at]]; {
			at++
		}
		if at < len(b) && b[at] == ',' {
			at++
			continue
		}
		s.at, s.x = at, x
		if at == len(b) || b[at] != ']' {
			s.index = append(s.index, n)
			return s.fault("%s where ',' or ']' is needed", s.what())
		}
		if n+1 < want {
			return s.length(n+1, want)
		}
		s.at++
		return nil
	}
}

// badNumber says why the n'th element, at which the scanner stands, was not taken.
func (s *scanner) badNumber(n, want int, none bool) error {
	switch {
	case s.next() == ']' && n == 0:
		return s.length(0, want)
	case n == want && s.next() != ']':
		return s.length(-1, want)
	}
	s.index = append(s.index, n)
	if none {
		return s.fault("%s where a number is needed: %s", s.what(), s.takes())
	}
	return s.fault("%s does not fit a float32", s.what())
}

// length says that a list has got elements, or with -1 more than it may have.
func (s *scanner) length(got, want int) error {
	if got < 0 {
		return s.fault("the list has more than %d elements: %s", want, s.takes())
	}
	return s.fault("the list has %d elements and %d are needed: %s", got, want, s.takes())
}

func (s *scanner) takes() string {
	text := "a row of the input \"" + s.input.Name + "\" has the shape ["
	for i, d := range s.input.RowShape() {
		if i > 0 {
			text += ", "
		}
		text += strconv.Itoa(d)
	}
	return text + "]"
}

var space = [256]bool{' ': true, '\t': true, '\n': true, '\r': true}

// next passes over white space and gives the byte that follows, or 0 at the end.
func (s *scanner) next() byte {
	for s.at < len(s.b) && space[s.b[s.at]] {
		s.at++
	}
	if s.at == len(s.b) {
		return 0
	}
	return s.b[s.at]
}

// text reads a string, the opening quote being next.
func (s *scanner) text() (string, error) {
	from := s.at
	escaped := false
	for i := from + 1; i < len(s.b); i++ {
		switch c := s.b[i]; {
		case c == '"':
			s.at = i + 1
			if !escaped {
				return string(s.b[from+1 : i]), nil
			}
			var text string
			if err := json.Unmarshal(s.b[from:s.at], &text); err != nil {
				s.at = from
				return "", s.fault("a string has an escape that JSON does not have")
			}
			return text, nil
		case c == '\\':
			escaped = true
			i++
		case c < ' ':
			s.at = i
			return "", s.fault("a string holds a control character: write it as an escape")
		}
	}
	s.at = len(s.b)
	return "", s.fault("a string does not end")
}

// skip passes over any value.
func (s *scanner) skip(depth int) error {
	if depth == maxDepth {
		return s.fault("a value nests deeper than %d", maxDepth)
	}
	switch c := s.next(); c {
	case '{':
		return s.object(func(string) error { return s.skip(depth + 1) })
	case '[':
		return s.skipList(depth)
	case '"':
		_, err := s.text()
		return err
	case 't', 'f', 'n':
		for _, word := range []string{"true", "false", "null"} {
			if len(s.b)-s.at >= len(word) && string(s.b[s.at:s.at+len(word)]) == word {
				s.at += len(word)
				return nil
			}
		}
	}
	_, end, _ := number.Float32(s.b, s.at)
	if end == s.at {
		return s.fault("%s where a value is needed", s.what())
	}
	s.at = end
	return nil
}

func (s *scanner) skipList(depth int) error {
	s.at++
	if s.next() == ']' {
		s.at++
		return nil
	}
	for {
		if err := s.skip(depth + 1); err != nil {
			return err
		}
		switch s.next() {
		case ',':
			s.at++
		case ']':
			s.at++
			return nil
		default:
			return s.fault("%s where ',' or ']' is needed", s.what())
		}
	}
}

// what names what the scanner stands at.
func (s *scanner) what() string {
	switch c := s.next(); {
	case c == 0 && s.at == len(s.b):
		return "the end of the body"
	case c == '[':
		return "a list"
	case c == '{':
		return "an object"
	case c == '"':
		return "a string"
	case c == 't', c == 'f', c == 'n', c == 'N', c == 'I', c == '-', c-'0' <= 9:
		end := s.at
		for end < len(s.b) && end < s.at+40 && !space[s.b[end]] && s.b[end] != ',' && s.b[end] != ']' && s.b[end] != '}' {
			end++
		}
		return strconv.Quote(string(s.b[s.at:end]))
	default:
		return strconv.Quote(string(rune(c)))
	}
}

// fault says what is wrong and where.
func (s *scanner) fault(format string, args ...any) error {
	where := s.key
	for _, n := range s.index {
		where += "[" + strconv.Itoa(n) + "]"
	}
	if where != "" {
		where += ": "
	}
	args = append(append([]any{where}, args...), s.at)
	return errs.Errorf("tfserving.parse", errs.Invalid, "%s"+format+" (byte %d of the body)", args...)
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
