package savedmodel

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// This file takes TensorFlow's messages apart, as far as they are needed: names and numbers of fields are those of its
// .proto files.

func bad(format string, args ...any) error {
	return errs.Errorf("savedmodel.Read", errs.Invalid, format, args...)
}

func unsupported(format string, args ...any) error {
	return errs.Errorf("savedmodel.Read", errs.Unsupported, format, args...)
}

// fieldsOf calls f with each field of a message: v of a number, b of bytes.
func fieldsOf(what string, m []byte, f func(n protowire.Number, v uint64, b []byte) error) error {
	for len(m) > 0 {
		num, typ, n := protowire.ConsumeTag(m)
		if n < 0 {
			return bad("%s does not parse as a protocol buffer: the file is damaged, or is no SavedModel", what)
		}
		m = m[n:]
		var v uint64
		var b []byte
		switch typ {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(m)
		case protowire.Fixed32Type:
			var w uint32
			w, n = protowire.ConsumeFixed32(m)
			v = uint64(w)
		case protowire.Fixed64Type:
			v, n = protowire.ConsumeFixed64(m)
		case protowire.BytesType:
			b, n = protowire.ConsumeBytes(m)
		default:
			n = protowire.ConsumeFieldValue(num, typ, m)
		}
		if n < 0 {
			return bad("%s does not parse as a protocol buffer: the file is damaged, or is no SavedModel", what)
		}
		m = m[n:]
		if err := f(num, v, b); err != nil {
			return err
		}
	}
	return nil
}

// entryOf takes an entry of a map from strings to messages apart.
func entryOf(what string, m []byte) (key string, value []byte, err error) {
	err = fieldsOf(what, m, func(n protowire.Number, _ uint64, b []byte) error {
		switch n {
		case 1:
			key = string(b)
		case 2:
			value = b
		}
		return nil
	})
	return key, value, err
}

// operation is a NodeDef.
type operation struct {
	name, op string
	in       []string
	attrs    map[string]attrValue
}

// attrValue is the part of an AttrValue that is needed.
type attrValue struct {
	text     string // s
	float    float64
	number   int64 // i, or a type
	on       bool
	tensor   []byte
	function string
}

func operationOf(m []byte) (*operation, error) {
	o := &operation{attrs: map[string]attrValue{}}
	err := fieldsOf("a node", m, func(n protowire.Number, _ uint64, b []byte) error {
		switch n {
		case 1:
			o.name = string(b)
		case 2:
			o.op = string(b)
		case 3:
			o.in = append(o.in, string(b))
		case 5:
			key, value, err := entryOf("an attribute", b)
			if err != nil {
				return err
			}
			a := attrValue{}
			err = fieldsOf("an attribute", value, func(n protowire.Number, v uint64, b []byte) error {
				switch n {
				case 2:
					a.text = string(b)
				case 3, 6:
					a.number = int64(v)
				case 4:
					a.float = float64(math.Float32frombits(uint32(v)))
				case 5:
					a.on = v != 0
				case 8:
					a.tensor = b
				case 10:
					return fieldsOf("a function's name", b, func(n protowire.Number, _ uint64, b []byte) error {
						if n == 1 {
							a.function = string(b)
						}
						return nil
					})
				}
				return nil
			})
			o.attrs[key] = a
			return err
		}
		return nil
	})
	return o, err
}

// function is a FunctionDef.
type function struct {
	args, outs []string
	ret        map[string]string
	nodes      map[string]*operation
}

func functionOf(m []byte) (name string, f *function, err error) {
	f = &function{ret: map[string]string{}, nodes: map[string]*operation{}}
	err = fieldsOf("a function", m, func(n protowire.Number, _ uint64, b []byte) error {
		switch n {
		case 1:
			return fieldsOf("a function's signature", b, func(n protowire.Number, _ uint64, b []byte) error {
				arg := func() (s string, err error) {
					err = fieldsOf("an argument", b, func(n protowire.Number, _ uint64, b []byte) error {
						if n == 1 {
							s = string(b)
						}
						return nil
					})
					return s, err
				}
				var err error
				var s string
				switch n {
				case 1:
					name = string(b)
				case 2:
					s, err = arg()
					f.args = append(f.args, s)
				case 3:
					s, err = arg()
					f.outs = append(f.outs, s)
				}
				return err
			})
		case 3:
			o, err := operationOf(b)
			if err == nil {
				f.nodes[o.name] = o
			}
			return err
		case 4:
			key, value, err := entryOf("a function's result", b)
			f.ret[key] = string(value)
			return err
		}
		return nil
	})
	return name, f, err
}

// array is a value that is fixed.
type array struct {
	shape  []int
	floats []float32
	whole  []int64
	texts  []string
}

func elements(shape []int, most int) (int, bool) {
	n := 1
	for _, d := range shape {
		if d < 0 || d > most || n*d > most {
			return 0, false
		}
		n *= d
	}
	return n, true
}

// tensorOf reads a TensorProto. One value may stand for many.
func tensorOf(m []byte) (*array, error) {
	a := &array{}
	dtype, content := uint64(0), []byte(nil)
	err := fieldsOf("a constant", m, func(n protowire.Number, v uint64, b []byte) error {
		switch n {
		case 1:
			dtype = v
		case 2:
			shape, err := shapeIn(b)
			a.shape = shape
			return err
		case 4:
			content = b
		case 5:
			if b == nil {
				a.floats = append(a.floats, math.Float32frombits(uint32(v)))
			}
			for ; len(b) >= 4; b = b[4:] {
				a.floats = append(a.floats, math.Float32frombits(binary.LittleEndian.Uint32(b)))
			}
		case 7, 10:
			if b == nil {
				a.whole = append(a.whole, int64(v))
			}
			for len(b) > 0 {
				v, k := protowire.ConsumeVarint(b)
				if k < 0 {
					return bad("a constant is damaged")
				}
				a.whole, b = append(a.whole, int64(v)), b[k:]
			}
		case 8:
			a.texts = append(a.texts, string(b))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	n, ok := elements(a.shape, max(len(m), 1<<16)) // one value may be repeated, not without end
	if !ok {
		return nil, bad("a constant has the shape %v, for which the file is too small", a.shape)
	}
	switch {
	case dtype == typeFloat && len(content) == 4*n:
		for ; len(content) > 0; content = content[4:] {
			a.floats = append(a.floats, math.Float32frombits(binary.LittleEndian.Uint32(content)))
		}
	case dtype == typeInt32 && len(content) == 4*n:
		for ; len(content) > 0; content = content[4:] {
			a.whole = append(a.whole, int64(int32(binary.LittleEndian.Uint32(content))))
		}
	case len(content) > 0:
		return nil, unsupported("a constant has a type that is not known here (DataType %d, shape %v)", dtype, a.shape)
	}
	if len(a.floats) > n || len(a.whole) > n {
		return nil, bad("a constant has more values than its shape %v", a.shape)
	}
	for 0 < len(a.floats) && len(a.floats) < n {
		a.floats = append(a.floats, a.floats[len(a.floats)-1])
	}
	for 0 < len(a.whole) && len(a.whole) < n {
		a.whole = append(a.whole, a.whole[len(a.whole)-1])
	}
	return a, nil
}

// shapeIn reads a TensorShapeProto; a dimension that is open is -1.
func shapeIn(m []byte) (shape []int, err error) {
	shape = []int{}
	err = fieldsOf("a shape", m, func(n protowire.Number, v uint64, b []byte) error {
		switch n {
		case 2:
			d := 0
			err := fieldsOf("a dimension", b, func(n protowire.Number, v uint64, _ []byte) error {
				if n == 1 {
					d = int(int64(v))
				}
				return nil
			})
			shape = append(shape, d)
			return err
		case 3:
			if v != 0 {
				shape = nil
			}
		}
		return nil
	})
	return shape, err
}
