package tfserving

import (
	"encoding/base64"
	"encoding/json"
	"strconv"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/number"
)

// This file is the grammar: JSON (RFC 8259) and, as TensorFlow Serving takes it, NaN, Infinity and -Infinity where a
// number may stand. A fault says where it is, in words (instances[3][17]) and in bytes.

// maxDepth is how deep a value that is skipped may nest.
const maxDepth = 64

type scanner struct {
	b  []byte
	at int
	// Where a fault is: the key, and the indices of the lists that are open.
	key   string
	index []int
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
			return s.fault("%s where ':' is needed after the key %q", s.what(), errs.Clip(key))
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

// bytes reads a string as bytes, the opening quote being next. It shares the body's memory where no escape is in it.
func (s *scanner) bytes() ([]byte, error) {
	from := s.at + 1
	for i := from; i < len(s.b) && s.b[i] >= ' ' && s.b[i] != '\\'; i++ {
		if s.b[i] == '"' {
			s.at = i + 1
			return s.b[from:i:i], nil
		}
	}
	text, err := s.text()
	return []byte(text), err
}

// packed says whether an object that stands next is {"b64": …}.
func (s *scanner) packed() bool {
	if s.next() != '{' {
		return false
	}
	at := s.at
	defer func() { s.at = at }()
	s.at++
	const key = `"b64"`
	return s.next() == '"' && len(s.b)-s.at >= len(key) && string(s.b[s.at:s.at+len(key)]) == key
}

// unpack reads {"b64": "…"}.
func (s *scanner) unpack() (out []byte, err error) {
	found := false
	err = s.object(func(key string) error {
		if key != "b64" || found {
			return s.fault("bytes are written {\"b64\": \"…\"} and nothing else")
		}
		found = true
		if s.next() != '"' {
			return s.fault("%s where a string in base64 is needed", s.what())
		}
		from := s.at
		text, err := s.bytes()
		if err != nil {
			return err
		}
		for len(text) > 0 && text[len(text)-1] == '=' { // with or without its end
			text = text[:len(text)-1]
		}
		out = make([]byte, base64.RawStdEncoding.DecodedLen(len(text)))
		if _, err := base64.RawStdEncoding.Decode(out, text); err != nil {
			if _, err := base64.RawURLEncoding.Decode(out, text); err != nil {
				s.at = from
				return s.fault("the string is not base64")
			}
		}
		return nil
	})
	return out, err
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
