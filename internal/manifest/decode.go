package manifest

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
)

var rawMessage = reflect.TypeFor[json.RawMessage]()

// decoder fills a struct from a tree.
type decoder struct{ sections []Section }

func decode(root *node, dst any, sections []Section) error {
	d := &decoder{sections}
	return d.set(root, reflect.ValueOf(dst).Elem(), "")
}

// set puts the node into v. A null leaves v as it is, as if the field were absent.
func (d *decoder) set(n *node, v reflect.Value, path string) error {
	if n.kind == null {
		return nil
	}
	if v.Type() == rawMessage {
		v.SetBytes(appendJSON(nil, n))
		return d.section(n, path)
	}
	if mine, err := d.placed(n, v, path); mine {
		return err
	}
	if u, ok := v.Addr().Interface().(json.Unmarshaler); ok {
		if err := u.UnmarshalJSON(appendJSON(nil, n)); err != nil {
			return at(n.line, n.col, "%s: %v", name(path), err)
		}
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		return d.set(n, v.Elem(), path)
	case reflect.Struct:
		return d.setStruct(n, v, path)
	case reflect.Map:
		return d.setMap(n, v, path)
	case reflect.Slice:
		return d.setSlice(n, v, path)
	}
	return setScalar(n, v, path)
}

// section checks the raw field against the type that stands for it.
func (d *decoder) section(n *node, path string) error {
	for _, s := range d.sections {
		if s.Path == path && s.Type != nil {
			return d.set(n, reflect.New(reflect.TypeOf(s.Type)).Elem(), path)
		}
	}
	return nil
}

func setScalar(n *node, v reflect.Value, path string) error {
	var err error
	want := text
	switch v.Kind() {
	case reflect.String:
		if n.kind == text {
			v.SetString(n.text)
			return nil
		}
		if n.kind == number || n.kind == boolean {
			return at(n.line, n.col, "%s must be text, not %v: write %q in quotes", name(path), n.kind, n.text)
		}
	case reflect.Bool:
		if want = boolean; n.kind == boolean {
			v.SetBool(n.text == "true")
			return nil
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Float32, reflect.Float64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if want = number; n.kind == number {
			if err = json.Unmarshal([]byte(n.text), v.Addr().Interface()); err == nil {
				return nil
			}
			return at(n.line, n.col, "%s: %s is not %s", name(path), n.text, numberWords(v.Kind()))
		}
	default:
		return at(n.line, n.col, "%s cannot be given here", name(path))
	}
	return at(n.line, n.col, "%s must be %v, not %v", name(path), want, n.kind)
}

func numberWords(k reflect.Kind) string {
	switch k {
	case reflect.Float32, reflect.Float64:
		return "a number in range"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number from 0 in range"
	default:
		return "a whole number in range"
	}
}

func (d *decoder) setSlice(n *node, v reflect.Value, path string) error {
	if n.kind != list {
		return at(n.line, n.col, "%s must be a list, not %v", name(path), n.kind)
	}
	out := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
	for i, item := range n.items {
		if err := d.set(item, out.Index(i), path+"["+strconv.Itoa(i)+"]"); err != nil {
			return err
		}
	}
	v.Set(out)
	return nil
}

func (d *decoder) setMap(n *node, v reflect.Value, path string) error {
	if n.kind != mapping || v.Type().Key().Kind() != reflect.String {
		return at(n.line, n.col, "%s must be a mapping, not %v", name(path), n.kind)
	}
	out := reflect.MakeMap(v.Type())
	for _, f := range n.fields {
		value := reflect.New(v.Type().Elem()).Elem()
		if err := d.set(f.value, value, join(path, f.name)); err != nil {
			return err
		}
		out.SetMapIndex(reflect.ValueOf(f.name).Convert(v.Type().Key()), value)
	}
	v.Set(out)
	return nil
}

func (d *decoder) setStruct(n *node, v reflect.Value, path string) error {
	if n.kind != mapping {
		return at(n.line, n.col, "%s must be a mapping, not %v", name(path), n.kind)
	}
	index, names := fieldsOf(v.Type())
	for _, f := range n.fields {
		i, ok := index[f.name]
		if !ok {
			return unknown(f, path, names)
		}
		if err := d.set(f.value, v.Field(i), join(path, f.name)); err != nil {
			return err
		}
	}
	return nil
}

// fieldsOf are the fields by the names of their json tags.
func fieldsOf(t reflect.Type) (index map[string]int, names []string) {
	index = map[string]int{}
	for i := range t.NumField() {
		f := t.Field(i)
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || tag == "-" {
			continue
		}
		if tag == "" {
			tag = f.Name
		}
		index[tag] = i
		names = append(names, tag)
	}
	return index, names
}

func join(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}

func name(path string) string {
	if path == "" {
		return "the document"
	}
	return path
}

// appendJSON writes the tree as JSON.
func appendJSON(b []byte, n *node) []byte {
	quoted := func(s string) []byte {
		q, _ := json.Marshal(s) // text always encodes
		return q
	}
	switch n.kind {
	case null:
		return append(b, "null"...)
	case text:
		return append(b, quoted(n.text)...)
	case list:
		b = append(b, '[')
		for i, item := range n.items {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSON(b, item)
		}
		return append(b, ']')
	case mapping:
		b = append(b, '{')
		for i, f := range n.fields {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(b, quoted(f.name)...), ':')
			b = appendJSON(b, f.value)
		}
		return append(b, '}')
	default:
		return append(b, n.text...)
	}
}
