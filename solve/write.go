package solve

import (
	"math"
	"strconv"
	"strings"

	"github.com/lineshaft/lineshaft/internal/lp"
)

// WriteLP is the problem in CPLEX's LP format. ParseLP reads the same problem from it, up to the order of columns that
// the objective leaves out and the names of what has none. A row with two limits is written 1 <= x + y <= 3, which not
// every other reader of the format takes; MPS is safer there.
func WriteLP(p *Problem) string {
	var b strings.Builder
	b.WriteString(map[bool]string{false: "minimize\n obj:", true: "maximize\n obj:"}[p.Maximise])
	for i, c := range p.Columns {
		b.WriteString(signed(c.Cost) + " " + p.ColumnName(i))
		if i%8 == 7 {
			b.WriteString("\n ")
		}
	}
	if p.Offset != 0 || len(p.Columns) == 0 {
		b.WriteString(signed(p.Offset))
	}
	b.WriteString("\nsubject to\n")
	for i, r := range p.Rows {
		b.WriteString(" " + p.RowName(i) + ":")
		two := !math.IsInf(r.Lower, 0) && !math.IsInf(r.Upper, 0) && r.Lower != r.Upper
		if two {
			b.WriteString(" " + plain(r.Lower) + " <=")
		}
		for j, t := range r.Terms {
			b.WriteString(signed(t.Value) + " " + p.ColumnName(t.Column))
			if j%8 == 7 {
				b.WriteString("\n  ")
			}
		}
		if len(r.Terms) == 0 {
			b.WriteString(" 0")
			if len(p.Columns) > 0 {
				b.WriteString(" " + p.ColumnName(0))
			}
		}
		switch {
		case r.Lower == r.Upper:
			b.WriteString(" = " + plain(r.Lower) + "\n")
		case math.IsInf(r.Upper, 1) && !math.IsInf(r.Lower, -1):
			b.WriteString(" >= " + plain(r.Lower) + "\n")
		default:
			b.WriteString(" <= " + plain(r.Upper) + "\n")
		}
	}
	writeBounds(&b, p)
	for _, k := range []struct {
		word string
		kind lp.Kind
	}{{"general", lp.Integer}, {"binary", lp.Binary}} {
		first := true
		for i, c := range p.Columns {
			if c.Kind != k.kind {
				continue
			}
			if first {
				b.WriteString(k.word + "\n")
				first = false
			}
			b.WriteString(" " + p.ColumnName(i) + "\n")
		}
	}
	b.WriteString("end\n")
	return b.String()
}

func writeBounds(b *strings.Builder, p *Problem) {
	first := true
	for i, c := range p.Columns {
		usual := c.Lower == 0 && (math.IsInf(c.Upper, 1) || c.Kind == lp.Binary && c.Upper == 1)
		if usual {
			continue
		}
		if first {
			b.WriteString("bounds\n")
			first = false
		}
		if math.IsInf(c.Lower, -1) && math.IsInf(c.Upper, 1) {
			b.WriteString(" " + p.ColumnName(i) + " free\n")
			continue
		}
		b.WriteString(" " + plain(c.Lower) + " <= " + p.ColumnName(i) + " <= " + plain(c.Upper) + "\n")
	}
}

func plain(v float64) string {
	switch {
	case math.IsInf(v, 1):
		return "infinity"
	case math.IsInf(v, -1):
		return "-infinity"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

func signed(v float64) string {
	if math.Signbit(v) {
		return " - " + plain(-v)
	}
	return " + " + plain(v)
}

// WriteMPS is the problem in free MPS.
func WriteMPS(p *Problem) string {
	var b strings.Builder
	line := func(words ...string) { b.WriteString(" " + strings.Join(words, " ") + "\n") }
	b.WriteString("NAME " + p.Name + "\n")
	if p.Maximise {
		b.WriteString("OBJSENSE\n MAX\n")
	}
	b.WriteString("ROWS\n N COST\n")
	columns := make([][]lp.Term, len(p.Columns)) // by column: row and value
	for i, r := range p.Rows {
		kind := "L"
		switch {
		case r.Lower == r.Upper:
			kind = "E"
		case math.IsInf(r.Upper, 1):
			kind = "G"
		}
		line(kind, p.RowName(i))
		for _, t := range r.Terms {
			columns[t.Column] = append(columns[t.Column], lp.Term{Column: i, Value: t.Value})
		}
	}
	b.WriteString("COLUMNS\n")
	whole := false
	mark := func(want bool) {
		if want != whole {
			line("MARKER", "'MARKER'", map[bool]string{true: "'INTORG'", false: "'INTEND'"}[want])
			whole = want
		}
	}
	for i, c := range p.Columns {
		mark(c.Kind != lp.Continuous)
		line(p.ColumnName(i), "COST", plain(c.Cost))
		for _, t := range columns[i] {
			line(p.ColumnName(i), p.RowName(t.Column), plain(t.Value))
		}
	}
	mark(false)
	b.WriteString("RHS\n")
	if p.Offset != 0 {
		line("RHS", "COST", plain(-p.Offset))
	}
	var ranges strings.Builder
	for i, r := range p.Rows {
		limit := r.Upper
		if math.IsInf(r.Upper, 1) {
			limit = r.Lower
		}
		if limit != 0 {
			line("RHS", p.RowName(i), plain(limit))
		}
		if !math.IsInf(r.Lower, 0) && !math.IsInf(r.Upper, 0) && r.Lower != r.Upper {
			ranges.WriteString(" RNG " + p.RowName(i) + " " + plain(r.Upper-r.Lower) + "\n")
		}
	}
	if ranges.Len() > 0 {
		b.WriteString("RANGES\n" + ranges.String())
	}
	b.WriteString("BOUNDS\n")
	for i, c := range p.Columns {
		name := p.ColumnName(i)
		if c.Kind == lp.Binary {
			line("BV", "BND", name)
		}
		switch {
		case c.Kind == lp.Binary && c.Lower == 0 && c.Upper == 1:
		case c.Lower == 0 && math.IsInf(c.Upper, 1):
			line("PL", "BND", name)
		case math.IsInf(c.Lower, -1) && math.IsInf(c.Upper, 1):
			line("FR", "BND", name)
		default:
			if math.IsInf(c.Lower, -1) {
				line("MI", "BND", name)
			} else {
				line("LO", "BND", name, plain(c.Lower))
			}
			if !math.IsInf(c.Upper, 1) {
				line("UP", "BND", name, plain(c.Upper))
			}
		}
	}
	b.WriteString("ENDATA\n")
	return b.String()
}
