// Package manifest reads what people write: a document in YAML or JSON, strictly, into a struct.
//
// Strictly means that nothing is guessed and nothing is passed over. A field that the struct does not have is an error
// that names the line, the column and the nearest right name; so is a value of the wrong type, a field given twice, or
// anything of YAML that hides what is meant (anchors, aliases, merges, tags). JSON gets the same errors at the same
// places, because both are read into one tree before the struct is looked at.
//
//	var spec job.Spec
//	err := manifest.Decode(data, &spec)
//	// line 4, column 3: unknown field "resorces"; did you mean "resources"?
//
// The document comes from outside: its size and depth are bounded, and no input makes Decode panic or take long.
package manifest

import (
	"bytes"
	"fmt"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Limits of a document.
const (
	MaxSize  = 256 << 10
	maxLine  = 16 << 10 // of YAML, whose parser is quadratic in what one line can nest
	maxDepth = 64
	maxOpen  = 512 // brackets open at once, counted before YAML is parsed, strings included
)

// Section gives a json.RawMessage field of the struct, by its path ("train"), a type to be checked against: a value of
// that type. The field still gets the raw JSON.
type Section struct {
	Path string
	Type any
}

// Decode reads data into dst, a pointer to a struct, by the names of its json tags. Errors are errs.Invalid, or
// errs.TooLarge.
func Decode(data []byte, dst any, sections ...Section) error {
	const op = "manifest.Decode"
	if len(data) > MaxSize {
		return errs.Errorf(op, errs.TooLarge, "the document has %d bytes; at most %d are allowed", len(data), MaxSize)
	}
	read := fromYAML
	if b := bytes.TrimLeft(data, " \t\r\n"); len(b) > 0 && b[0] == '{' {
		read = fromJSON
	}
	root, err := read(data)
	if err != nil {
		return errs.E(op, errs.Invalid, err)
	}
	return errs.E(op, errs.Invalid, decode(root, dst, sections))
}

// kind is the shape of a node.
type kind int

const (
	null kind = iota
	boolean
	number
	text
	list
	mapping
)

func (k kind) String() string {
	return [...]string{"nothing", "true or false", "a number", "text", "a list", "a mapping"}[k]
}

// node is one value of the document and where it stands.
type node struct {
	kind      kind
	line, col int    // from 1; columns count characters
	text      string // a number as JSON writes it, a text's content, "true"
	fields    []field
	items     []*node
}

type field struct {
	name      string
	line, col int
	value     *node
}

// add refuses a second field of the name.
func (n *node) add(f field) error {
	for _, old := range n.fields {
		if old.name == f.name {
			return at(f.line, f.col, "field %q is given twice; the first is in line %d", f.name, old.line)
		}
	}
	n.fields = append(n.fields, f)
	return nil
}

// at makes an error that says where.
func at(line, col int, format string, args ...any) error {
	return fmt.Errorf("line %d, column %d: "+format, append([]any{line, col}, args...)...)
}
