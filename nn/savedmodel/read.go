package savedmodel

import (
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/lineshaft/lineshaft/nn"
)

// maxFile is the largest saved_model.pb that is read: a protocol buffer holds no more.
const maxFile = mostBytes

// Signature is how a SavedModel is asked.
type Signature struct {
	Inputs, Outputs []Tensor // by name
}

// Tensor is an input or an output.
type Tensor struct {
	Name  string
	Shape []int // -1 where it is open; nil where nothing is known
	dtype uint64
	node  string // what gives it in the graph
}

// Type is TensorFlow's name of the type.
func (t Tensor) Type() string {
	names := map[uint64]string{1: "float", 2: "double", 3: "int32", 4: "uint8", 6: "int8", 7: "string", 9: "int64", 10: "bool", 14: "bfloat16", 19: "half"}
	if name, ok := names[t.dtype]; ok {
		return name
	}
	return "type " + strconv.FormatUint(t.dtype, 10)
}

func (s Signature) String() string {
	side := func(all []Tensor) string {
		var out []string
		for _, t := range all {
			var dims []string
			for _, d := range t.Shape {
				if d < 0 {
					dims = append(dims, "?")
				} else {
					dims = append(dims, strconv.Itoa(d))
				}
			}
			out = append(out, t.Name+" "+t.Type()+" ["+strings.Join(dims, ", ")+"]")
		}
		return strings.Join(out, ", ")
	}
	return side(s.Inputs) + " → " + side(s.Outputs)
}

// Model is what a SavedModel holds: its signature serving_default and, where it is a chain of layers that nn has, the
// network. Where it is not, Why says what is in the way.
type Model struct {
	Signature Signature
	Network   *nn.Network
	Why       error
}

// Read reads a SavedModel's folder. An error means that the files are damaged or are none; a model that is whole and not
// known here has no Network.
func Read(fsys fs.FS) (*Model, error) {
	text, err := readFile(fsys, File, maxFile)
	if err != nil {
		return nil, err
	}
	if text == nil {
		return nil, bad("no %s is there: a SavedModel is a folder that holds one", File)
	}
	g := &reader{nodes: map[string]*operation{}, functions: map[string]*function{}, keys: map[string]string{}}
	if err := g.parse(text); err != nil {
		return nil, err
	}
	if g.signature == nil {
		return nil, unsupported("the SavedModel has no signature serving_default for the tag serve")
	}
	m := &Model{Signature: *g.signature}
	if g.bundle, err = openBundle(fsys); err != nil {
		return nil, err
	}
	m.Network, m.Why = g.network()
	return m, nil
}

// reader is a SavedModel taken apart.
type reader struct {
	nodes     map[string]*operation
	functions map[string]*function
	signature *Signature
	restore   string            // the node that reads the variables
	keys      map[string]string // of variables: node → name in the bundle
	bundle    *bundle
	steps     int
}

// parse takes the file apart: of its graphs that for serving.
func (g *reader) parse(text []byte) error {
	return fieldsOf(File, text, func(n protowire.Number, _ uint64, meta []byte) error {
		if n != 2 || g.signature != nil {
			return nil
		}
		var tags []string
		var def, signature []byte
		err := fieldsOf(File, meta, func(n protowire.Number, _ uint64, b []byte) error {
			switch n {
			case 1:
				return fieldsOf(File, b, func(n protowire.Number, _ uint64, b []byte) error {
					if n == 4 {
						tags = append(tags, string(b))
					}
					return nil
				})
			case 2:
				def = b
			case 3:
				return fieldsOf(File, b, func(n protowire.Number, _ uint64, b []byte) error {
					if n == 3 {
						g.restore = string(b)
					}
					return nil
				})
			case 5:
				key, value, err := entryOf(File, b)
				if key == "serving_default" {
					signature = value
				}
				return err
			}
			return nil
		})
		if err != nil || !slices.Contains(tags, "serve") || signature == nil {
			return err
		}
		if g.signature, err = signatureOf(signature); err != nil {
			return err
		}
		return g.graph(def)
	})
}

// graph reads a GraphDef.
func (g *reader) graph(def []byte) error {
	return fieldsOf("the graph", def, func(n protowire.Number, _ uint64, b []byte) error {
		switch n {
		case 1:
			o, err := operationOf(b)
			if err == nil {
				g.nodes[o.name] = o
			}
			return err
		case 2:
			return fieldsOf("the library", b, func(n protowire.Number, _ uint64, b []byte) error {
				if n != 1 {
					return nil
				}
				name, f, err := functionOf(b)
				g.functions[name] = f
				return err
			})
		}
		return nil
	})
}

func signatureOf(m []byte) (*Signature, error) {
	s := &Signature{}
	err := fieldsOf("the signature", m, func(n protowire.Number, _ uint64, b []byte) error {
		if n != 1 && n != 2 {
			return nil
		}
		name, info, err := entryOf("the signature", b)
		if err != nil {
			return err
		}
		t := Tensor{Name: name}
		err = fieldsOf("the signature", info, func(n protowire.Number, v uint64, b []byte) (err error) {
			switch n {
			case 1:
				t.node = string(b)
			case 2:
				t.dtype = v
			case 3:
				t.Shape, err = shapeIn(b)
			}
			return err
		})
		if n == 1 {
			s.Inputs = append(s.Inputs, t)
		} else {
			s.Outputs = append(s.Outputs, t)
		}
		return err
	})
	for _, side := range [][]Tensor{s.Inputs, s.Outputs} {
		slices.SortFunc(side, func(a, b Tensor) int { return strings.Compare(a.Name, b.Name) })
	}
	return s, err
}

// restored finds out under which name the bundle has each variable: the function that restores them says so. In graphs of
// TensorFlow 1 a variable is stored under its own name.
func (g *reader) restored() error {
	call := g.nodes[g.restore]
	if call == nil {
		return nil
	}
	f := g.functions[call.attrs["f"].function]
	if f == nil {
		return nil
	}
	given := map[string]string{}
	for i, arg := range f.args {
		if i < len(call.in) {
			given[arg] = call.in[i]
		}
	}
	for _, o := range f.nodes {
		if o.op != "AssignVariableOp" || len(o.in) < 2 {
			continue
		}
		from := o.in[1]
		for range 4 { // through identities
			name, rest, _ := strings.Cut(from, ":")
			source := f.nodes[name]
			if source == nil {
				break
			}
			if source.op == "Identity" && len(source.in) > 0 {
				from = source.in[0]
				continue
			}
			if source.op != "RestoreV2" || len(source.in) < 2 {
				break
			}
			_, index, _ := strings.Cut(rest, ":")
			i, err := strconv.Atoi(index)
			names := f.nodes[strings.Split(source.in[1], ":")[0]]
			if err != nil || names == nil {
				break
			}
			list, err := tensorOf(names.attrs["value"].tensor)
			if err != nil {
				return err
			}
			if i >= 0 && i < len(list.texts) {
				g.keys[given[o.in[0]]] = list.texts[i]
			}
			break
		}
	}
	return nil
}
