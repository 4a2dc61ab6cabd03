package manifest

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// fromYAML reads one YAML document into a tree.
func fromYAML(data []byte) (n *node, err error) {
	if err := bounded(data); err != nil {
		return nil, err
	}
	defer func() { // the parser is a library's: what it did not foresee is the document's fault
		if r := recover(); r != nil {
			n, err = nil, at(1, 1, "this is not YAML: %v", r)
		}
	}()
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, yamlError(err)
	}
	var body ast.Node
	for _, d := range file.Docs {
		if d.Body == nil {
			continue
		}
		if body != nil {
			line, col := place(d.Body)
			return nil, at(line, col, "a second document begins here; give one")
		}
		body = d.Body
	}
	if body == nil {
		return nil, at(1, 1, "the document is empty")
	}
	return fromNode(body, 0)
}

// bounded refuses what would keep the parser busy for long.
func bounded(data []byte) error {
	if !utf8.Valid(data) {
		return at(1, 1, "the document is not UTF-8 text")
	}
	line, open := 0, 0
	for l := range bytes.Lines(data) {
		line++
		if len(l) > maxLine {
			return at(line, 1, "the line has %d bytes; at most %d are allowed", len(l), maxLine)
		}
		for i, c := range l {
			switch c {
			case '[', '{':
				open++
			case ']', '}':
				open--
			}
			if open > maxOpen {
				return at(line, i+1, "nested too deeply: %d brackets are open", open)
			}
		}
	}
	return nil
}

func yamlError(err error) error {
	var e yaml.Error
	if !errors.As(err, &e) {
		return at(1, 1, "this is not YAML: %v", err)
	}
	line, col := position(e.GetToken())
	return at(line, col, "this is not YAML: %s", e.GetMessage())
}

func position(t *token.Token) (line, col int) {
	if t == nil || t.Position == nil {
		return 1, 1
	}
	return t.Position.Line, t.Position.Column
}

// place is where a value begins: a mapping's own token is the colon after its first key.
func place(n ast.Node) (line, col int) {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return position(n.Values[0].Key.GetToken())
		}
	case *ast.MappingValueNode:
		return position(n.Key.GetToken())
	}
	return position(n.GetToken())
}

func fromNode(in ast.Node, depth int) (*node, error) {
	line, col := place(in)
	n := &node{line: line, col: col}
	if depth > maxDepth {
		return nil, at(line, col, "nested too deeply: at most %d levels are allowed", maxDepth)
	}
	switch in := in.(type) {
	case *ast.NullNode:
	case *ast.BoolNode:
		n.kind, n.text = boolean, strconv.FormatBool(in.Value)
	case *ast.StringNode:
		n.kind, n.text = text, in.Value
	case *ast.LiteralNode:
		n.kind, n.text = text, in.Value.Value
	case *ast.IntegerNode:
		n.kind = number
		switch v := in.Value.(type) {
		case int64:
			n.text = strconv.FormatInt(v, 10)
		case uint64:
			n.text = strconv.FormatUint(v, 10)
		default:
			return nil, at(line, col, "this number is not understood")
		}
	case *ast.FloatNode:
		if math.IsNaN(in.Value) || math.IsInf(in.Value, 0) {
			return nil, at(line, col, "a number must be finite")
		}
		n.kind, n.text = number, strconv.FormatFloat(in.Value, 'g', -1, 64)
	case *ast.SequenceNode:
		n.kind = list
		return n, n.addItems(in.Values, depth)
	case *ast.MappingNode:
		n.kind = mapping
		return n, n.addFields(in.Values, depth)
	case *ast.MappingValueNode:
		n.kind = mapping
		return n, n.addFields([]*ast.MappingValueNode{in}, depth)
	case *ast.InfinityNode, *ast.NanNode:
		return nil, at(line, col, "a number must be finite")
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		return nil, at(line, col, "anchors, aliases and tags are not taken: write the value out")
	default:
		return nil, at(line, col, "%s is not taken here", in.Type())
	}
	return n, nil
}

func (n *node) addItems(values []ast.Node, depth int) error {
	for _, v := range values {
		if v == nil {
			return at(n.line, n.col, "the list has an empty item")
		}
		item, err := fromNode(v, depth+1)
		if err != nil {
			return err
		}
		n.items = append(n.items, item)
	}
	return nil
}

func (n *node) addFields(values []*ast.MappingValueNode, depth int) error {
	for _, v := range values {
		line, col := position(v.Key.GetToken())
		key, ok := v.Key.(ast.ScalarNode)
		if !ok || v.Key.IsMergeKey() || v.Value == nil {
			return at(line, col, "a field's name must be plain text, without merges")
		}
		value, err := fromNode(v.Value, depth+1)
		if err != nil {
			return err
		}
		name := key.GetToken().Value
		if err := n.add(field{name, line, col, value}); err != nil {
			return err
		}
	}
	return nil
}
