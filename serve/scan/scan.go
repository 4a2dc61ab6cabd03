// Package scan reads JSON in one pass, for protocols whose bodies are large and go straight into tensors: nothing is
// built in between, memory is bounded by the body, and a fault is named with where it stands:
//
//	inputs[0].data[3][17]: "x" where a number is needed (byte 4711 of the body)
//
// It takes RFC 8259's JSON. Who reads an object is called for each value, the scanner standing before it, and reads or
// skips it.
package scan

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/number"
)

// maxDepth is how deep a value that is skipped may nest.
const maxDepth = 64

// Scanner stands somewhere in a body. The zero value with B set stands at its beginning.
type Scanner struct {
	B  []byte
	At int
	// Op names who reads, for the operator's log.
	Op string

	path []step
}

// step is a level of where the scanner stands: a key, or an index where the key is nil.
type step struct {
	key []byte
	n   int
}

// Reset makes s stand at the beginning of another body, and keeps its memory.
func (s *Scanner) Reset(b []byte) { s.B, s.At, s.path = b, 0, s.path[:0] }

// Push and Pop tell in which element of a list the scanner is.
func (s *Scanner) Push(n int) { s.path = append(s.path, step{n: n}) }

// Pop leaves what was pushed last.
func (s *Scanner) Pop() { s.path = s.path[:len(s.path)-1] }

// Space says which bytes are white space.
var Space = [256]bool{' ': true, '\t': true, '\n': true, '\r': true}

// Next passes over white space and gives the byte that follows, or 0 at the end.
func (s *Scanner) Next() byte {
	for s.At < len(s.B) && Space[s.B[s.At]] {
		s.At++
	}
	if s.At == len(s.B) {
		return 0
	}
	return s.B[s.At]
}

// End says that nothing but white space follows.
func (s *Scanner) End() error {
	if s.Next() != 0 || s.At < len(s.B) {
		return s.Fault("%s follows the end of the request", s.What())
	}
	return nil
}

// Object reads an object, and has each value read by field. Keys are views of the body.
func (s *Scanner) Object(field func(key []byte) error) error {
	if s.Next() != '{' {
		return s.Fault("%s where an object is needed", s.What())
	}
	s.At++
	if s.Next() == '}' {
		s.At++
		return nil
	}
	for {
		if s.Next() != '"' {
			return s.Fault("%s where a key in double quotes is needed", s.What())
		}
		key, err := s.Text()
		if err != nil {
			return err
		}
		if s.Next() != ':' {
			return s.Fault("%s where ':' is needed after the key %q", s.What(), errs.Clip(string(key)))
		}
		s.At++
		s.Next()
		s.path = append(s.path, step{key: key})
		if err := field(key); err != nil {
			return err
		}
		s.Pop()
		switch s.Next() {
		case ',':
			s.At++
		case '}':
			s.At++
			return nil
		default:
			return s.Fault("%s where ',' or '}' is needed", s.What())
		}
	}
}

// List reads a list, and has each element read by element.
func (s *Scanner) List(element func(n int) error) error {
	if s.Next() != '[' {
		return s.Fault("%s where a list is needed", s.What())
	}
	s.At++
	if s.Next() == ']' {
		s.At++
		return nil
	}
	for n := 0; ; n++ {
		s.Next()
		s.Push(n)
		if err := element(n); err != nil {
			return err
		}
		s.Pop()
		more, err := s.More()
		if err != nil || !more {
			return err
		}
	}
}

// More passes over what follows an element of a list: a comma, or the end.
func (s *Scanner) More() (bool, error) {
	switch s.Next() {
	case ',':
		s.At++
		return true, nil
	case ']':
		s.At++
		return false, nil
	}
	return false, s.Fault("%s where ',' or ']' is needed", s.What())
}

// Text reads a string: a view of the body where it has no escapes.
func (s *Scanner) Text() ([]byte, error) {
	if s.Next() != '"' {
		return nil, s.Fault("%s where a string is needed", s.What())
	}
	from := s.At
	escaped := false
	for i := from + 1; i < len(s.B); i++ {
		switch c := s.B[i]; {
		case c == '"':
			s.At = i + 1
			if !escaped {
				return s.B[from+1 : i : i], nil
			}
			var text string
			if err := json.Unmarshal(s.B[from:s.At], &text); err != nil {
				s.At = from
				return nil, s.Fault("a string has an escape that JSON does not have")
			}
			return []byte(text), nil
		case c == '\\':
			escaped = true
			i++
		case c < ' ':
			s.At = i
			return nil, s.Fault("a string holds a control character: write it as an escape")
		}
	}
	s.At = len(s.B)
	return nil, s.Fault("a string does not end")
}

// Bool reads true or false.
func (s *Scanner) Bool() (bool, error) {
	s.Next()
	switch {
	case s.word("true"):
		return true, nil
	case s.word("false"):
		return false, nil
	}
	return false, s.Fault("%s where true or false is needed", s.What())
}

// Uint reads a whole number from 0 to 2⁶³-1.
func (s *Scanner) Uint() (int64, error) {
	s.Next()
	end := s.At
	for end < len(s.B) && s.B[end]-'0' <= 9 {
		end++
	}
	n, err := strconv.ParseInt(string(s.B[s.At:end]), 10, 64)
	if err != nil || end < len(s.B) && (s.B[end] == '.' || s.B[end]|0x20 == 'e') {
		return 0, s.Fault("%s where a whole number, not below 0 and not above 2^63-1, is needed", s.What())
	}
	s.At = end
	return n, nil
}

func (s *Scanner) word(w string) bool {
	if len(s.B)-s.At < len(w) || string(s.B[s.At:s.At+len(w)]) != w {
		return false
	}
	s.At += len(w)
	return true
}

// Skip passes over any value.
func (s *Scanner) Skip() error { return s.skip(0) }

func (s *Scanner) skip(depth int) error {
	if depth == maxDepth {
		return s.Fault("a value nests deeper than %d", maxDepth)
	}
	switch c := s.Next(); c {
	case '{':
		return s.Object(func([]byte) error { return s.skip(depth + 1) })
	case '[':
		return s.List(func(int) error { return s.skip(depth + 1) })
	case '"':
		_, err := s.Text()
		return err
	case 't', 'f', 'n':
		if s.word("true") || s.word("false") || s.word("null") {
			return nil
		}
	}
	_, end, _ := number.Float32(s.B, s.At)
	if end == s.At {
		return s.Fault("%s where a value is needed", s.What())
	}
	s.At = end
	return nil
}

// What names what the scanner stands at.
func (s *Scanner) What() string {
	switch c := s.Next(); {
	case c == 0 && s.At == len(s.B):
		return "the end of the body"
	case c == '[':
		return "a list"
	case c == '{':
		return "an object"
	case c == '"':
		return "a string"
	case c >= utf8.RuneSelf:
		r, _ := utf8.DecodeRune(s.B[s.At:])
		return strconv.Quote(string(r))
	case c != ',' && c != ']' && c != '}' && c != ':' && c > ' ':
		end := s.At
		for end < len(s.B) && end < s.At+40 && s.B[end] > ' ' && s.B[end] < utf8.RuneSelf && s.B[end] != ',' && s.B[end] != ']' && s.B[end] != '}' {
			end++
		}
		return strconv.Quote(string(s.B[s.At:end]))
	default:
		return strconv.Quote(string(rune(c)))
	}
}

// Where names the value that the scanner is in, as inputs[0].data; empty for the whole body.
func (s *Scanner) Where() string {
	where := ""
	for _, p := range s.path {
		switch {
		case p.key == nil:
			where += "[" + strconv.Itoa(p.n) + "]"
		case where == "":
			where = errs.Clip(string(p.key))
		default:
			where += "." + errs.Clip(string(p.key))
		}
	}
	return where
}

// Fault says what is wrong and where.
func (s *Scanner) Fault(format string, args ...any) error {
	where := s.Where()
	if where != "" {
		where += ": "
	}
	args = append(append([]any{where}, args...), s.At)
	return errs.Errorf(s.Op, errs.Invalid, "%s"+format+" (byte %d of the body)", args...)
}

// AppendText writes a string as JSON has it.
func AppendText(b []byte, text []byte) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c >= utf8.RuneSelf {
			if r, size := utf8.DecodeRune(text[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
			b = append(append(b, text[from:i]...), `\ufffd`...)
			i++
			from = i
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, text[from:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\t':
			b = append(b, '\\', 't')
		case '\r':
			b = append(b, '\\', 'r')
		default:
			const hex = "0123456789abcdef"
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		from = i
	}
	return append(append(b, text[from:]...), '"')
}
