package manifest

import "reflect"

// At is a value that remembers where it stands, for errors that only its meaning shows.
type At[T any] struct {
	Value        T
	Line, Column int // from 1; 0 when it is absent
}

func (a *At[T]) put(line, column int) any {
	a.Line, a.Column = line, column
	return &a.Value
}

// Fields is a mapping whose names are the author's, in the order in which they stand.
type Fields[T any] []Field[T]

// Field is one of them. The place is the name's.
type Field[T any] struct {
	Name         string
	Line, Column int
	Value        T
}

func (f *Fields[T]) put(name string, line, column int) any {
	*f = append(*f, Field[T]{Name: name, Line: line, Column: column})
	return &(*f)[len(*f)-1].Value
}

// placed sets what remembers its place; other values are not its business.
func (d *decoder) placed(n *node, v reflect.Value, path string) (mine bool, err error) {
	switch into := v.Addr().Interface().(type) {
	case interface{ put(int, int) any }:
		return true, d.set(n, reflect.ValueOf(into.put(n.line, n.col)).Elem(), path)
	case interface{ put(string, int, int) any }:
		if n.kind != mapping {
			return true, at(n.line, n.col, "%s must be a mapping, not %v", name(path), n.kind)
		}
		for _, f := range n.fields {
			value := reflect.ValueOf(into.put(f.name, f.line, f.col)).Elem()
			if err := d.set(f.value, value, join(path, f.name)); err != nil {
				return true, err
			}
		}
		return true, nil
	}
	return false, nil
}
