package config

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// This file reads protobuf's text format into fields with their places; what they mean is decided in decode.go.

const maxDepth = 32 // messages within messages

// place is where something stands in the file, from 1 on; columns count letters.
type place struct{ line, col int }

// field is one field of a message: a name with a scalar or a message.
type field struct {
	name  string
	at    place
	value value
}

type kind uint8

const (
	word    kind = iota // an identifier: true, an enum's value
	number              // digits as they stand, with their sign
	quoted              // a string, without quotes and escapes
	message             // fields
)

type value struct {
	kind   kind
	at     place
	text   string
	fields []field
}

func (k kind) String() string {
	return [...]string{"a word", "a number", "a string", "a message in braces"}[k]
}

type parser struct {
	file string
	text string
	pos  int
	at   place
}

func parse(file string, text []byte) ([]field, error) {
	if len(text) > Limit {
		return nil, errs.Errorf("config.parse", errs.TooLarge, "%s has %d bytes and may have %d", file, len(text), Limit)
	}
	p := &parser{file: file, text: string(text), at: place{1, 1}}
	if !utf8.Valid(text) {
		return nil, errs.Errorf("config.parse", errs.Invalid, "%s is no text: it is not UTF-8", file)
	}
	fields, err := p.fields(0, 0)
	if err != nil {
		return nil, err
	}
	return fields, nil
}

func errorf(file string, kind errs.Kind, at place, format string, args ...any) error {
	args = append([]any{file, at.line, at.col}, args...)
	return errs.Errorf("config.parse", kind, "%s:%d:%d: "+format, args...)
}

func (p *parser) errorf(at place, format string, args ...any) error {
	return errorf(p.file, errs.Invalid, at, format, args...)
}

// peek is the next letter after space and comments; 0 at the end.
func (p *parser) peek() byte {
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; c {
		case ' ', '\t', '\n', '\r', '\v', '\f':
			p.step(1)
		case '#':
			end := strings.IndexByte(p.text[p.pos:], '\n')
			if end < 0 {
				end = len(p.text) - p.pos
			}
			p.step(end)
		default:
			return c
		}
	}
	return 0
}

// step goes on by n bytes, which are whole letters.
func (p *parser) step(n int) {
	for _, r := range p.text[p.pos : p.pos+n] {
		if r == '\n' {
			p.at = place{p.at.line + 1, 1}
		} else {
			p.at.col++
		}
	}
	p.pos += n
}

// next shows what stands there, for an error.
func (p *parser) next() string {
	if p.peek() == 0 && p.pos >= len(p.text) {
		return "the end of the file"
	}
	r, _ := utf8.DecodeRuneInString(p.text[p.pos:])
	if w := p.text[p.pos : p.pos+wordLen(p.text[p.pos:])]; w != "" {
		if len(w) > 40 {
			w = w[:40] + "…"
		}
		return strconv.Quote(w)
	}
	return strconv.QuoteRune(r)
}

// fields reads fields up to the closing letter, or to the end of the file where that is 0.
func (p *parser) fields(closing byte, depth int) (all []field, err error) {
	begin := p.at
	for {
		c := p.peek()
		if p.pos >= len(p.text) {
			if closing == 0 {
				return all, nil
			}
			return nil, p.errorf(begin, "this message is not closed: %q is missing", closing)
		}
		if closing != 0 && c == closing {
			p.step(1)
			return all, nil
		}
		if all, err = p.field(all, depth); err != nil {
			return nil, err
		}
		if c := p.peek(); c == ',' || c == ';' {
			p.step(1)
		}
	}
}

// field reads one field, or several where its value is a list.
func (p *parser) field(all []field, depth int) ([]field, error) {
	at := p.at
	name := ""
	if p.text[p.pos] == '[' { // an extension, or a type's address
		end := strings.IndexByte(p.text[p.pos:], ']')
		if end < 0 {
			return nil, p.errorf(at, "'[' is not closed")
		}
		name = p.text[p.pos : p.pos+end+1]
		p.step(end + 1)
	} else if name = p.word(); name == "" {
		return nil, p.errorf(at, "a field's name is expected, not %s", p.next())
	}
	c := p.peek()
	colon := c == ':'
	if colon {
		p.step(1)
		c = p.peek()
	}
	if c == '[' {
		p.step(1)
		return p.list(all, name, at, depth)
	}
	if !colon && c != '{' && c != '<' {
		return nil, p.errorf(p.at, "after %q a ':' with a value or a '{' is expected, not %s", short(name), p.next())
	}
	v, err := p.value(depth)
	return append(all, field{name, at, v}), err
}

func (p *parser) list(all []field, name string, at place, depth int) ([]field, error) {
	if p.peek() == ']' {
		p.step(1)
		return all, nil
	}
	for {
		p.peek()
		v, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		all = append(all, field{name, at, v})
		switch p.peek() {
		case ',':
			p.step(1)
		case ']':
			p.step(1)
			return all, nil
		default:
			return nil, p.errorf(p.at, "in a list ',' or ']' is expected, not %s", p.next())
		}
	}
}

func (p *parser) value(depth int) (v value, err error) {
	c := p.peek()
	v.at = p.at
	switch {
	case c == '{' || c == '<':
		if depth >= maxDepth {
			return v, p.errorf(p.at, "messages lie in each other more than %d deep", maxDepth)
		}
		p.step(1)
		closing := byte('}')
		if c == '<' {
			closing = '>'
		}
		v.kind = message
		v.fields, err = p.fields(closing, depth+1)
	case c == '"' || c == '\'':
		v.kind = quoted
		v.text, err = p.strings()
	case c == '-' || c == '.' || c >= '0' && c <= '9':
		v.kind = number
		if c == '-' {
			v.text = "-"
			p.step(1)
			p.peek()
		}
		digits := p.word()
		if digits == "" {
			return v, p.errorf(p.at, "a number is expected, not %s", p.next())
		}
		v.text += digits
	default:
		v.kind = word
		if v.text = p.word(); v.text == "" {
			return v, p.errorf(p.at, "a value is expected, not %s", p.next())
		}
	}
	return v, err
}

func wordLen(s string) int {
	i := 0
	for i < len(s) {
		c := s[i]
		exponent := (c == '-' || c == '+') && i > 0 && (s[i-1] == 'e' || s[i-1] == 'E') && s[0] >= '0' && s[0] <= '9'
		if c != '_' && c != '.' && !exponent && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			break
		}
		i++
	}
	return i
}

// word reads letters, digits, '_' and '.'.
func (p *parser) word() string {
	n := wordLen(p.text[p.pos:])
	w := p.text[p.pos : p.pos+n]
	p.step(n)
	return w
}

// strings reads strings that stand beside each other as one.
func (p *parser) strings() (string, error) {
	var b strings.Builder
	for c := p.peek(); c == '"' || c == '\''; c = p.peek() {
		at := p.at
		p.step(1)
		for {
			rest := p.text[p.pos:]
			n := strings.IndexAny(rest, string(c)+"\\\n")
			if n < 0 || rest[n] == '\n' {
				return "", p.errorf(at, "the string is not closed on its line: %q is missing; a line's end within it is written \\n, or the string goes on in quotes on the next line", c)
			}
			b.WriteString(rest[:n])
			p.step(n)
			if rest[n] == c {
				p.step(1)
				break
			}
			if err := p.escape(&b); err != nil {
				return "", err
			}
		}
	}
	return b.String(), nil
}

// escape reads what a backslash begins.
func (p *parser) escape(b *strings.Builder) error {
	at := p.at
	rest := p.text[p.pos+1:]
	if rest == "" {
		return p.errorf(at, "the string is not closed")
	}
	simple := map[byte]byte{'a': '\a', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v', '\\': '\\', '\'': '\'', '"': '"', '?': '?'}
	if c, ok := simple[rest[0]]; ok {
		b.WriteByte(c)
		p.step(2)
		return nil
	}
	digits, base, most, from := "01234567", 8, 3, 0
	switch rest[0] {
	case 'x', 'X':
		digits, base, most, from = "0123456789abcdefABCDEF", 16, 2, 1
	case 'u':
		digits, base, most, from = "0123456789abcdefABCDEF", 16, 4, 1
	case 'U':
		digits, base, most, from = "0123456789abcdefABCDEF", 16, 8, 1
	}
	n := 0
	for n < most && from+n < len(rest) && strings.IndexByte(digits, rest[from+n]) >= 0 {
		n++
	}
	unicode := from == 1 && most > 2
	v, err := strconv.ParseUint(rest[from:from+n], base, 32)
	if err != nil || unicode && (n < most || !utf8.ValidRune(rune(v))) || !unicode && v > 255 {
		return p.errorf(at, "%q begins no escape that is known", p.text[p.pos:p.pos+1+min(1, len(rest))])
	}
	if unicode {
		b.WriteRune(rune(v))
	} else {
		b.WriteByte(byte(v))
	}
	p.step(1 + from + n)
	return nil
}

func short(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}
