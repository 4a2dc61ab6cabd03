package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"
)

// fromJSON reads a JSON document into a tree with positions, which encoding/json alone does not keep.
func fromJSON(data []byte) (*node, error) {
	if !utf8.Valid(data) {
		return nil, at(1, 1, "the document is not UTF-8 text")
	}
	r := &jsonReader{data: data, dec: json.NewDecoder(bytes.NewReader(data)), line: 1, col: 1}
	r.dec.UseNumber()
	n, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if line, col := r.next(); r.offset < len(data) {
		return nil, at(line, col, "something follows the end of the document")
	}
	return n, nil
}

type jsonReader struct {
	data              []byte
	dec               *json.Decoder
	offset, line, col int // how far positions have been counted
}

// next is the position of the next token.
func (r *jsonReader) next() (line, col int) {
	to := int(r.dec.InputOffset())
	for to < len(r.data) && bytes.IndexByte([]byte(" \t\r\n,:"), r.data[to]) >= 0 {
		to++
	}
	r.count(to)
	return r.line, r.col
}

func (r *jsonReader) count(to int) {
	for r.offset < to {
		c, size := utf8.DecodeRune(r.data[r.offset:])
		if r.offset += size; c == '\n' {
			r.line, r.col = r.line+1, 1
		} else {
			r.col++
		}
	}
}

func (r *jsonReader) token() (json.Token, error) {
	line, col := r.next()
	t, err := r.dec.Token()
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, at(line, col, "the document ends too early")
	case errors.As(err, &syntax):
		return nil, at(line, col, "this is not JSON: %v", syntax)
	case err != nil:
		return nil, at(line, col, "this is not JSON: %v", err)
	}
	return t, nil
}

func (r *jsonReader) value(depth int) (*node, error) {
	line, col := r.next()
	n := &node{line: line, col: col}
	if depth > maxDepth {
		return nil, at(line, col, "nested too deeply: at most %d levels are allowed", maxDepth)
	}
	t, err := r.token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case nil:
	case bool:
		n.kind, n.text = boolean, "false"
		if t {
			n.text = "true"
		}
	case json.Number:
		n.kind, n.text = number, t.String()
	case string:
		n.kind, n.text = text, t
	case json.Delim:
		if t == '[' {
			n.kind = list
			return n, r.items(n, depth)
		}
		n.kind = mapping
		return n, r.members(n, depth)
	}
	return n, nil
}

func (r *jsonReader) items(n *node, depth int) error {
	for r.dec.More() {
		v, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		n.items = append(n.items, v)
	}
	_, err := r.token()
	return err
}

func (r *jsonReader) members(n *node, depth int) error {
	for r.dec.More() {
		line, col := r.next()
		t, err := r.token()
		if err != nil {
			return err
		}
		name, ok := t.(string)
		if !ok {
			return at(line, col, "a field's name must be text in quotes")
		}
		v, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		if err := n.add(field{name, line, col, v}); err != nil {
			return err
		}
	}
	_, err := r.token()
	return err
}
