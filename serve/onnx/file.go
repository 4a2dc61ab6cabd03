package onnx

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// Limits of a file. Those of names and inputs hold memory down while a hostile file is read.
const (
	mostFile    = math.MaxInt32 // protobuf's own
	mostName    = 4 << 10
	mostDeclare = 100_000 // inputs, those that are weights counted in: old files list every weight among them
	mostNames   = 16 << 20
	mostDepth   = 32 // of graphs within operators
	mostOpsets  = 64
)

// Header is what a file says about itself: everything but its operators and weights.
type Header struct {
	IR       int64
	Producer string
	Opsets   map[string]int64 // by domain; "" is ONNX's own
	Inputs   []tensor.Spec    // without those that have a weight as their default
	Outputs  []tensor.Spec    // a nil Shape is one that the file does not say
	Nodes    int
}

// Read reads the header of an ONNX file and looks through the rest for what cannot be served: weights in other files,
// inputs and outputs that are no tensors. It needs little memory, however large the file.
func Read(r io.ReaderAt, size int64) (Header, error) {
	const op = "onnx.Read"
	if size > mostFile {
		return Header{}, errs.Errorf(op, errs.TooLarge, "an ONNX file has at most 2 GiB, this one has %d bytes", size)
	}
	s := &scan{wire: newWire(r), header: Header{Opsets: map[string]int64{}}}
	err := s.model(size)
	var known *errs.Error
	switch {
	case errors.As(err, &known):
		return Header{}, err
	case errors.Is(err, errWire) || errors.Is(err, io.ErrUnexpectedEOF):
		return Header{}, errs.Errorf(op, errs.Invalid, "this is no ONNX file, or a damaged one: %w", err)
	case err != nil:
		return Header{}, errs.E(op, errs.Other, err)
	}
	return s.header, nil
}

type scan struct {
	*wire
	header  Header
	graph   *field
	inputs  []value
	outputs []value
	names   int64 // bytes of all names kept
}

// value is an input or an output as the graph declares it.
type value struct {
	name  string
	known bool // a tensor whose type is served
	what  string
	spec  tensor.Spec
}

func invalid(format string, args ...any) error {
	return errs.Errorf("onnx.Read", errs.Invalid, format, args...)
}

// model reads ModelProto.
func (s *scan) model(size int64) error {
	err := s.each(0, size, func(f field) (err error) {
		switch f.number {
		case 1: // ir_version
			if f.kind != kindVarint {
				return errWire
			}
			s.header.IR = int64(f.value)
		case 2: // producer_name
			s.header.Producer, err = s.name(f)
		case 7: // graph
			if f.kind != kindBytes || s.graph != nil {
				return errWire
			}
			s.graph = &f
		case 8: // opset_import
			err = s.opset(f)
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case s.graph == nil:
		return invalid("this is no ONNX file: it has no graph")
	case s.header.IR < 1 || s.header.IR > math.MaxInt32:
		return invalid("this is no ONNX file: it states no version of the format")
	case len(s.header.Opsets) == 0:
		return invalid("this ONNX file states no opset; export it anew")
	}
	if err := s.main(*s.graph); err != nil {
		return err
	}
	return s.settle()
}

// name reads a text that is kept.
func (s *scan) name(f field) (string, error) {
	text, err := s.text(f, mostName)
	if err != nil {
		return "", err
	}
	if s.names += int64(len(text)) + 64; s.names > mostNames {
		return "", invalid("this ONNX file has more names of inputs and outputs than can be served")
	}
	if !utf8.ValidString(text) {
		return "", errWire
	}
	return text, nil
}

func (s *scan) opset(f field) error {
	domain, version := "", int64(0)
	err := s.message(f, func(f field) (err error) {
		switch {
		case f.number == 1:
			domain, err = s.name(f)
		case f.number == 2 && f.kind == kindVarint:
			version = int64(f.value)
		}
		return err
	})
	if err != nil {
		return err
	}
	if domain == "ai.onnx" {
		domain = ""
	}
	if s.header.Opsets[domain] = version; len(s.header.Opsets) > mostOpsets {
		return errWire
	}
	return nil
}

// message reads the fields of a message within a field.
func (s *scan) message(f field, do func(field) error) error {
	if f.kind != kindBytes {
		return errWire
	}
	return s.each(f.from, f.to, do)
}

// main reads the GraphProto of the model: first what it declares, then the rest.
func (s *scan) main(g field) error {
	err := s.message(g, func(f field) error {
		if f.number != 11 && f.number != 12 {
			return nil
		}
		v, err := s.value(f)
		if err != nil {
			return err
		}
		if f.number == 11 {
			s.inputs = append(s.inputs, v)
		} else {
			s.outputs = append(s.outputs, v)
		}
		if len(s.inputs) > mostDeclare || len(s.outputs) > mostTensors {
			return invalid("this ONNX file has more than %d inputs or %d outputs", mostDeclare, mostTensors)
		}
		return nil
	})
	if err != nil {
		return err
	}
	weights := map[string]bool{} // of the inputs
	for _, v := range s.inputs {
		weights[v.name] = false
	}
	if err := s.body(g, weights, 0); err != nil {
		return err
	}
	s.inputs = slices.DeleteFunc(s.inputs, func(v value) bool { return weights[v.name] })
	return nil
}

// body reads the operators and weights of a GraphProto, and marks which of the names are weights.
func (s *scan) body(g field, weights map[string]bool, depth int) error {
	if depth > mostDepth {
		return invalid("this ONNX file has graphs within graphs, more than %d deep", mostDepth)
	}
	return s.message(g, func(f field) error {
		switch f.number {
		case 1: // node
			s.header.Nodes++
			return s.node(f, depth)
		case 5: // initializer
			return s.weight(f, weights)
		case 15: // sparse_initializer: values, indices, dims
			return s.message(f, func(f field) error {
				if f.number == 1 || f.number == 2 {
					return s.weight(f, weights)
				}
				return nil
			})
		}
		return nil
	})
}

// node looks into the attributes of a NodeProto: they hold weights and graphs too.
func (s *scan) node(f field, depth int) error {
	return s.message(f, func(f field) error {
		if f.number != 5 { // attribute
			return nil
		}
		return s.message(f, func(f field) error {
			switch f.number {
			case 5, 10: // t, tensors
				return s.weight(f, nil)
			case 6, 11: // g, graphs
				return s.body(f, nil, depth+1)
			}
			return nil
		})
	})
}

// weight reads a TensorProto, but not its numbers.
func (s *scan) weight(f field, weights map[string]bool) error {
	return s.message(f, func(f field) error {
		switch {
		case f.number == 13 && f.kind == kindBytes, f.number == 14 && f.kind == kindVarint && f.value != 0: // external_data, data_location
			return invalid("this ONNX file keeps its weights in another file; save it as one file: onnx.save(onnx.load(%q), %q)", "model.onnx", "whole.onnx")
		case f.number == 8 && f.to-f.from <= mostName && len(weights) > 0:
			name, err := s.text(f, mostName)
			if _, ok := weights[name]; ok {
				weights[name] = true
			}
			return err
		}
		return nil
	})
}

// value reads a ValueInfoProto.
func (s *scan) value(f field) (v value, err error) {
	v.what = "of no stated type"
	err = s.message(f, func(f field) (err error) {
		switch f.number {
		case 1: // name
			v.name, err = s.name(f)
		case 2: // type
			err = s.message(f, func(f field) error {
				switch f.number {
				case 1: // tensor_type
					return s.tensorType(f, &v)
				case 4, 5, 8, 9:
					v.what = map[int]string{4: "a sequence", 5: "a map", 8: "a sparse tensor", 9: "optional"}[f.number]
				}
				return nil
			})
		}
		return err
	})
	v.spec.Name = v.name
	return v, err
}

// tensorType reads TypeProto.Tensor.
func (s *scan) tensorType(f field, v *value) error {
	return s.message(f, func(f field) error {
		switch {
		case f.number == 1 && f.kind == kindVarint: // elem_type
			if v.spec.Type, v.known = typeOf(uint32(min(f.value, math.MaxUint32))); !v.known {
				v.what = fmt.Sprintf("of the type %d, which is not served", f.value)
			}
		case f.number == 2: // shape
			v.spec.Shape = []int{}
			return s.message(f, func(f field) error {
				if f.number != 1 { // dim
					return nil
				}
				if len(v.spec.Shape) == mostDims {
					return invalid("%q has more than %d dimensions", v.name, mostDims)
				}
				d := tensor.Any
				err := s.message(f, func(f field) error {
					if f.number == 1 && f.kind == kindVarint && f.value <= math.MaxInt32 { // dim_value; one below 0 is any
						d = int(f.value)
					}
					return nil
				})
				v.spec.Shape = append(v.spec.Shape, d)
				return err
			})
		}
		return nil
	})
}

// settle makes the header's inputs and outputs.
func (s *scan) settle() error {
	if len(s.inputs) > mostTensors {
		return invalid("the model has %d inputs, %d are the most", len(s.inputs), mostTensors)
	}
	if len(s.outputs) == 0 {
		return invalid("this ONNX file has no outputs")
	}
	seen := map[string]bool{}
	for i, v := range slices.Concat(s.inputs, s.outputs) {
		what := "input"
		if i >= len(s.inputs) {
			what = "output"
		}
		if v.name == "" || seen[what+v.name] {
			return invalid("this ONNX file has an %s without a name, or two of the name %q", what, v.name)
		}
		seen[what+v.name] = true
		if !v.known {
			advice := "export the model with tensors only"
			if v.what == "a sequence" || v.what == "a map" {
				advice += " (skl2onnx: options={\"zipmap\": False})"
			}
			return errs.Errorf("onnx.Read", errs.Unsupported, "the %s %q is %s: %s", what, v.name, v.what, advice)
		}
		if what == "input" {
			s.header.Inputs = append(s.header.Inputs, v.spec)
		} else {
			s.header.Outputs = append(s.header.Outputs, v.spec)
		}
	}
	return nil
}
