package solve

import (
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/lp"
	"github.com/lineshaft/lineshaft/internal/manifest"
)

// document is the YAML form. It has three ways to say a problem, of which a document uses one. Variables are 0 or more
// unless something else is said.
//
// By names:
//
//	maximise: {bread: 3, cake: 5}          # or minimise
//	constraints:
//	- {name: flour, terms: {bread: 2, cake: 1}, at_most: 100}
//	bounds: {cake: {at_least: 1, at_most: 40}, loss: {free: true}}
//	integer: [bread, cake]
//	binary: []
//
// By matrices, min cᵀx subject to Ax ≤ b; sense is minimise (when absent) or maximise, x continuous, integer or binary:
//
//	c: [-3, -5]
//	A: [[2, 1]]
//	b: [100]
//	x: binary
//
// As a selection of tasks, each taken or not, for the greatest value; a value is 1 when absent:
//
//	tasks:
//	  train: {cpu: 2, gpu: 4, value: 3}
//	available: {cpu: 4, gpu: 4}
type document struct {
	Name string `json:"name"`

	Minimise    *manifest.Fields[float64]   `json:"minimise"`
	Maximise    *manifest.Fields[float64]   `json:"maximise"`
	Constant    float64                     `json:"constant"`
	Constraints []manifest.At[yamlRow]      `json:"constraints"`
	Bounds      manifest.Fields[yamlBounds] `json:"bounds"`
	Integer     []manifest.At[string]       `json:"integer"`
	Binary      []manifest.At[string]       `json:"binary"`

	Sense manifest.At[string]      `json:"sense"`
	C     *manifest.At[[]float64]  `json:"c"`
	A     []manifest.At[[]float64] `json:"A"`
	B     manifest.At[[]float64]   `json:"b"`
	X     manifest.At[string]      `json:"x"`

	Tasks     *manifest.Fields[manifest.Fields[manifest.At[float64]]] `json:"tasks"`
	Available manifest.Fields[float64]                                `json:"available"`
}

type yamlRow struct {
	Name    string                   `json:"name"`
	Terms   manifest.Fields[float64] `json:"terms"`
	AtLeast *float64                 `json:"at_least"`
	AtMost  *float64                 `json:"at_most"`
	Equals  *float64                 `json:"equals"`
}

type yamlBounds struct {
	AtLeast *float64 `json:"at_least"`
	AtMost  *float64 `json:"at_most"`
	Free    bool     `json:"free"`
}

// ParseYAML reads the YAML form, or the same in JSON.
func ParseYAML(data []byte) (*Problem, error) {
	var doc document
	if err := manifest.Decode(data, &doc); err != nil {
		return nil, errs.E("solve.ParseYAML", errs.Other, err)
	}
	d := newDraft()
	d.problem.Name = doc.Name
	var ways []string
	read := func(*draft) error {
		return place{1, 1}.wrong("the document says no problem; give minimise or maximise with constraints, or c, A and b, or tasks and available")
	}
	for _, w := range []struct {
		name string
		used bool
		read func(*draft) error
	}{
		{"minimise", doc.Minimise != nil, doc.named},
		{"maximise", doc.Maximise != nil, doc.named},
		{"c", doc.C != nil, doc.matrices},
		{"tasks", doc.Tasks != nil, doc.selection},
	} {
		if w.used {
			ways, read = append(ways, w.name), w.read
		}
	}
	if len(ways) > 1 {
		return nil, place{1, 1}.wrong("%s cannot stand in one document; give one of them", strings.Join(ways, " and "))
	}
	if err := doc.stray(); err != nil {
		return nil, err
	}
	if err := read(d); err != nil {
		return nil, err
	}
	return d.done()
}

// stray refuses fields that belong to another way of saying it.
func (doc *document) stray() error {
	named, matrices, selection := doc.Minimise != nil || doc.Maximise != nil, doc.C != nil, doc.Tasks != nil
	for _, f := range []struct {
		name, with string
		stray      bool
	}{
		{"constraints", "minimise or maximise", len(doc.Constraints) > 0 && !named},
		{"bounds", "minimise or maximise", len(doc.Bounds) > 0 && !named},
		{"integer and binary", "minimise or maximise", len(doc.Integer)+len(doc.Binary) > 0 && !named},
		{"constant", "minimise or maximise", doc.Constant != 0 && !named},
		{"A, b, sense and x", "c", (len(doc.A) > 0 || doc.B.Line > 0 || doc.Sense.Line > 0 || doc.X.Line > 0) && !matrices},
		{"available", "tasks", len(doc.Available) > 0 && !selection},
	} {
		if f.stray {
			return place{1, 1}.wrong("%s: only together with %s", f.name, f.with)
		}
	}
	return nil
}

func (doc *document) named(d *draft) error {
	d.problem.Offset = doc.Constant
	costs := doc.Minimise
	if doc.Maximise != nil {
		costs, d.problem.Maximise = doc.Maximise, true
	}
	for _, f := range *costs {
		i, err := d.column(place{f.Line, f.Column}, f.Name)
		if err != nil {
			return err
		}
		d.problem.Columns[i].Cost = f.Value
	}
	for _, c := range doc.Constraints {
		at := place{c.Line, c.Column}
		row, err := d.row(at, c.Value.Name)
		if err != nil {
			return err
		}
		lower, upper, err := sides(at, c.Value.AtLeast, c.Value.AtMost, c.Value.Equals)
		if err != nil {
			return err
		}
		if lower == nil && upper == nil {
			return at.wrong("a constraint needs at_most, at_least or equals")
		}
		r := &d.problem.Rows[row]
		r.Lower, r.Upper = asLimit(or(lower, lp.NoLower)), asLimit(or(upper, lp.NoUpper))
		for _, t := range c.Value.Terms {
			at := place{t.Line, t.Column}
			column, err := d.column(at, t.Name)
			if err == nil {
				err = d.add(at, row, lp.Term{Column: column, Value: t.Value})
			}
			if err != nil {
				return err
			}
		}
	}
	return doc.limits(d)
}

// limits reads bounds and kinds.
func (doc *document) limits(d *draft) error {
	for _, f := range doc.Bounds {
		at := place{f.Line, f.Column}
		column, err := d.known(at, f.Name)
		if err != nil {
			return err
		}
		c, b := &d.problem.Columns[column], f.Value
		if b.Free {
			if b.AtLeast != nil || b.AtMost != nil {
				return at.wrong("variable %q is free and has bounds; give one", f.Name)
			}
			c.Lower = lp.NoLower
		}
		c.Lower, c.Upper = asLimit(or(b.AtLeast, c.Lower)), asLimit(or(b.AtMost, c.Upper))
	}
	given := map[int]bool{}
	for i, list := range [][]manifest.At[string]{doc.Integer, doc.Binary} {
		for _, f := range list {
			at := place{f.Line, f.Column}
			column, err := d.known(at, f.Value)
			if err != nil {
				return err
			}
			if given[column] {
				return at.wrong("variable %q is there twice among integer and binary", f.Value)
			}
			given[column] = true
			c := &d.problem.Columns[column]
			if c.Kind = lp.Integer; i == 1 {
				c.Kind, c.Upper = lp.Binary, min(c.Upper, 1)
			}
		}
	}
	return nil
}

func or(v *float64, otherwise float64) float64 {
	if v != nil {
		return *v
	}
	return otherwise
}

func sides(at place, least, most, equals *float64) (lower, upper *float64, err error) {
	if equals != nil {
		if least != nil || most != nil {
			return nil, nil, at.wrong("equals excludes at_least and at_most")
		}
		return equals, equals, nil
	}
	return least, most, nil
}

func (doc *document) matrices(d *draft) error {
	switch s := doc.Sense; s.Value {
	case "", "minimise":
	case "maximise":
		d.problem.Maximise = true
	default:
		return place{s.Line, s.Column}.wrong("sense is minimise or maximise, not %q", s.Value)
	}
	kind, upper := lp.Continuous, lp.NoUpper
	switch x := doc.X; x.Value {
	case "", "continuous":
	case "integer":
		kind = lp.Integer
	case "binary":
		kind, upper = lp.Binary, 1
	default:
		return place{x.Line, x.Column}.wrong("x is continuous, integer or binary, not %q", x.Value)
	}
	for _, cost := range doc.C.Value {
		d.problem.Columns = append(d.problem.Columns, lp.Column{Cost: cost, Upper: upper, Kind: kind})
	}
	if n := len(doc.B.Value); n != len(doc.A) {
		return place{max(doc.B.Line, 1), max(doc.B.Column, 1)}.wrong("A has %d rows and b has %d numbers; they must be as many", len(doc.A), n)
	}
	for i, a := range doc.A {
		at := place{a.Line, a.Column}
		if len(a.Value) != len(doc.C.Value) {
			return at.wrong("row %d of A has %d numbers and c has %d; they must be as many", i+1, len(a.Value), len(doc.C.Value))
		}
		r, err := d.row(at, "")
		if err != nil {
			return err
		}
		d.problem.Rows[r].Upper = asLimit(doc.B.Value[i])
		for j, v := range a.Value {
			if v != 0 {
				if err := d.add(at, r, lp.Term{Column: j, Value: v}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// selection makes a 0/1 variable of each task and a row of each resource.
func (doc *document) selection(d *draft) error {
	d.problem.Maximise = true
	var resources []string
	for _, f := range doc.Available {
		at := place{f.Line, f.Column}
		if f.Value < 0 {
			return at.wrong("%v of %s cannot be available", f.Value, f.Name)
		}
		row, err := d.row(at, f.Name)
		if err != nil {
			return err
		}
		d.problem.Rows[row].Upper = f.Value
		resources = append(resources, f.Name)
	}
	for _, task := range *doc.Tasks {
		column, err := d.column(place{task.Line, task.Column}, task.Name)
		if err != nil {
			return err
		}
		c := &d.problem.Columns[column]
		c.Cost, c.Upper, c.Kind = 1, 1, lp.Binary
		for _, need := range task.Value {
			at, v := place{need.Line, need.Column}, need.Value.Value
			if need.Name == "value" {
				c.Cost = v
				continue
			}
			row, ok := d.rows[need.Name]
			switch {
			case !ok:
				return at.wrong("task %q needs %q, which is not among what is available%s", task.Name, need.Name, meant(need.Name, resources))
			case v < 0:
				return at.wrong("task %q cannot need %v of %s", task.Name, v, need.Name)
			case v > 0:
				if err := d.add(at, row, lp.Term{Column: column, Value: v}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
