package solve

import (
	"math"
	"strings"

	"github.com/lineshaft/lineshaft/internal/lp"
)

// ParseMPS reads MPS in its free form (words between blanks) and in its fixed form (fields in columns 2, 5, 15, 25, 40
// and 50, so that names may contain blanks). What solvers disagree about is read so:
//
//   - The first row of type N is the objective; others of that type are left out.
//   - Without OBJSENSE the objective is minimised. A right side of the objective is subtracted from it.
//   - An integer variable of a MARKER section without any bound lies between 0 and 1.
//   - A negative upper bound of a variable that has no lower bound is refused: some solvers make it unbounded below,
//     others infeasible.
func ParseMPS(data []byte) (*Problem, error) {
	if err := readable(data); err != nil {
		return nil, err
	}
	p, err := parseMPS(string(data), freeFields)
	if err == nil {
		return p, nil
	}
	if p, again := parseMPS(string(data), fixedFields); again == nil {
		return p, nil
	}
	return nil, err
}

// mpsField is one word of a line.
type mpsField struct {
	place
	text string
}

// freeFields are the words between blanks.
func freeFields(n int, line string) []mpsField {
	var out []mpsField
	for i := 0; i < len(line); {
		if line[i] == ' ' || line[i] == '\t' {
			i++
			continue
		}
		end := i
		for end < len(line) && line[end] != ' ' && line[end] != '\t' {
			end++
		}
		out = append(out, mpsField{place{n, columnOf(line, i)}, line[i:end]})
		i = end
	}
	return out
}

// fixedFields are the fields at their columns, without the blanks around them. Empty ones in between are left out.
func fixedFields(n int, line string) []mpsField {
	starts := []int{1, 4, 14, 24, 39, 49, len(line)}
	var out []mpsField
	for i, start := range starts[:6] {
		if start >= len(line) {
			break
		}
		stop := min(max(starts[i+1], start), len(line))
		if i == 5 {
			stop = len(line)
		}
		if text := strings.Trim(line[start:stop], " \t"); text != "" {
			out = append(out, mpsField{place{n, columnOf(line, start)}, text})
		}
	}
	return out
}

type mpsParser struct {
	draft     *draft
	lines     lines
	fields    func(int, string) []mpsField
	section   string
	types     map[int]string // of rows
	objective string         // its name
	ignored   map[string]bool
	integer   bool // between markers
	bounded   map[int]bool
	upperAt   map[int]place // of negative upper bounds
	ranges    map[int]float64
	rhs       map[int]float64
	column    int // the one being read, -1 before the first
	seen      map[int]int
}

func parseMPS(text string, fields func(int, string) []mpsField) (*Problem, error) {
	p := &mpsParser{
		draft: newDraft(), lines: lines{rest: text}, fields: fields,
		types: map[int]string{}, ignored: map[string]bool{}, bounded: map[int]bool{}, upperAt: map[int]place{},
		ranges: map[int]float64{}, rhs: map[int]float64{}, column: -1, seen: map[int]int{},
	}
	for {
		line, ok := p.lines.next()
		if !ok {
			return nil, place{max(p.lines.n, 1), 1}.wrong("the file ends without ENDATA")
		}
		if strings.TrimLeft(line, " \t") == "" || line[0] == '*' {
			continue
		}
		if line[0] != ' ' && line[0] != '\t' {
			done, err := p.header(line)
			if err != nil {
				return nil, err
			}
			if done {
				return p.finish()
			}
			continue
		}
		f := fields(p.lines.n, line)
		if len(f) == 0 {
			return nil, place{p.lines.n, 1}.wrong("fields of the fixed form begin in column 2")
		}
		if err := p.entry(f); err != nil {
			return nil, err
		}
	}
}

// header reads the line that begins a section.
func (p *mpsParser) header(line string) (done bool, err error) {
	f := freeFields(p.lines.n, line)
	word := strings.ToUpper(f[0].text)
	switch word {
	case "NAME":
		p.draft.problem.Name = strings.TrimSpace(line[len(f[0].text):])
		if err := p.draft.fits(f[0].place, p.draft.problem.Name); err != nil {
			return false, err
		}
	case "OBJSENSE":
		if p.section = word; len(f) > 1 {
			return false, p.sense(f[1])
		}
	case "ROWS", "COLUMNS", "RHS", "RANGES", "BOUNDS":
		p.section = word
	case "ENDATA":
		return true, nil
	case "QUADOBJ", "QMATRIX", "QSECTION", "QCMATRIX", "SOS", "SOS1", "SOS2", "CSECTION", "INDICATORS", "GENCONS":
		return false, f[0].unsupported("section %s (quadratic, conic, indicator or set) is not supported", word)
	default:
		return false, f[0].wrong("unknown section %q%s", f[0].text, meant(word, []string{"NAME", "OBJSENSE", "ROWS", "COLUMNS", "RHS", "RANGES", "BOUNDS", "ENDATA"}))
	}
	return false, nil
}

func (p *mpsParser) sense(f mpsField) error {
	switch strings.ToUpper(f.text) {
	case "MAX", "MAXIMIZE", "MAXIMISE":
		p.draft.problem.Maximise = true
	case "MIN", "MINIMIZE", "MINIMISE":
		p.draft.problem.Maximise = false
	default:
		return f.wrong("%q is no sense; MAX or MIN is", f.text)
	}
	return nil
}

func (p *mpsParser) entry(f []mpsField) error {
	switch p.section {
	case "OBJSENSE":
		return p.sense(f[0])
	case "ROWS":
		return p.rowEntry(f)
	case "COLUMNS":
		return p.columnEntry(f)
	case "RHS", "RANGES":
		return p.sideEntry(f)
	case "BOUNDS":
		return p.boundEntry(f)
	}
	return f[0].wrong("this line stands before the first section")
}

func (p *mpsParser) rowEntry(f []mpsField) error {
	if len(f) != 2 {
		return f[0].wrong("a row has a type and a name")
	}
	kind, name := strings.ToUpper(f[0].text), f[1].text
	if p.objective == name && name != "" || p.ignored[name] {
		return f[1].wrong("row %q is there twice", name)
	}
	switch kind {
	case "N":
		if _, ok := p.draft.rows[name]; ok {
			return f[1].wrong("row %q is there twice", name)
		}
		if err := p.draft.fits(f[1].place, name); err != nil {
			return err
		}
		if p.objective == "" {
			p.objective = name
		} else {
			p.ignored[name] = true
		}
		return nil
	case "L", "G", "E":
		row, err := p.draft.row(f[1].place, name)
		if err != nil {
			return err
		}
		p.types[row] = kind
		return nil
	}
	return f[0].wrong("unknown type of row %q; N, L, G and E are known", f[0].text)
}

// value reads a finite number.
func (f mpsField) value() (float64, error) {
	v, ok := number(f.text)
	if !ok || math.IsNaN(v) {
		return 0, f.wrong("%q is not a number", f.text)
	}
	return v, nil
}

// find gives the row's index; objective and ignored rows have none.
func (p *mpsParser) find(f mpsField) (row int, isRow, isObjective bool, err error) {
	if row, ok := p.draft.rows[f.text]; ok {
		return row, true, false, nil
	}
	if f.text == p.objective || p.ignored[f.text] {
		return 0, false, f.text == p.objective, nil
	}
	names := []string{p.objective}
	if len(p.draft.problem.Rows) <= 1000 {
		for _, r := range p.draft.problem.Rows {
			names = append(names, r.Name)
		}
	}
	return 0, false, false, f.wrong("no row %q%s", f.text, meant(f.text, names))
}

func (p *mpsParser) columnEntry(f []mpsField) error {
	if len(f) == 3 && strings.Trim(f[1].text, "'") == "MARKER" {
		switch strings.Trim(f[2].text, "'") {
		case "INTORG":
			p.integer = true
		case "INTEND":
			p.integer = false
		default:
			return f[2].wrong("unknown marker %s; 'INTORG' and 'INTEND' are known", f[2].text)
		}
		return nil
	}
	if len(f) != 3 && len(f) != 5 {
		return f[0].wrong("a column's line has its name and one or two pairs of row and number, not %d fields", len(f))
	}
	column, known := p.draft.columns[f[0].text]
	if known && column != p.column {
		return f[0].wrong("column %q goes on after another one began; its lines must stand together", f[0].text)
	}
	if !known {
		var err error
		if column, err = p.draft.column(f[0].place, f[0].text); err != nil {
			return err
		}
		p.column = column
		clear(p.seen)
		if p.integer {
			p.draft.problem.Columns[column].Kind = lp.Integer
		}
	}
	for i := 1; i+1 < len(f); i += 2 {
		row, isRow, isObjective, err := p.find(f[i])
		if err != nil {
			return err
		}
		v, err := f[i+1].value()
		if err == nil {
			err = coefficient(f[i+1].place, v)
		}
		if err != nil {
			return err
		}
		key := row
		if isObjective {
			key = -1
		}
		if _, twice := p.seen[key]; twice && (isRow || isObjective) {
			return f[i].wrong("column %q has row %q twice", f[0].text, f[i].text)
		}
		switch {
		case isObjective:
			p.seen[-1] = 0
			p.draft.problem.Columns[column].Cost = v
		case isRow:
			p.seen[row] = 0
			if err := p.draft.add(f[i].place, row, lp.Term{Column: column, Value: v}); err != nil {
				return err
			}
		}
	}
	return nil
}

// sideEntry reads right sides and ranges: the set's name may be missing.
func (p *mpsParser) sideEntry(f []mpsField) error {
	if len(f)%2 == 1 {
		f = f[1:]
	}
	if len(f) != 2 && len(f) != 4 {
		return place{p.lines.n, 1}.wrong("a line of %s has one or two pairs of row and number", p.section)
	}
	into := p.rhs
	if p.section == "RANGES" {
		into = p.ranges
	}
	for i := 0; i+1 < len(f); i += 2 {
		row, isRow, isObjective, err := p.find(f[i])
		if err != nil {
			return err
		}
		v, err := f[i+1].value()
		if err != nil {
			return err
		}
		if isRow {
			if _, twice := into[row]; twice {
				return f[i].wrong("row %q is there twice in %s", f[i].text, p.section)
			}
			into[row] = asLimit(v)
			continue
		}
		if isObjective {
			if p.section == "RANGES" {
				return f[i].wrong("the objective %q cannot have a range", f[i].text)
			}
			if err := coefficient(f[i+1].place, v); err != nil {
				return err
			}
			p.draft.problem.Offset = 0 - v
		}
	}
	return nil
}

func (p *mpsParser) boundEntry(f []mpsField) error {
	kind := strings.ToUpper(f[0].text)
	needs := 1 // numbers
	switch kind {
	case "UP", "LO", "FX", "UI", "LI":
	case "FR", "MI", "PL", "BV":
		needs = 0
	case "SC", "SI":
		return f[0].unsupported("semi-continuous variables (bound %s) are not supported", kind)
	default:
		return f[0].wrong("unknown bound %q; UP, LO, FX, FR, MI, PL, BV, UI and LI are known", f[0].text)
	}
	rest := f[1:]
	switch {
	case len(rest) == 3, len(rest) == 2 && needs == 0 && !p.isColumn(rest[0]):
		rest = rest[1:] // the set's name
	}
	if len(rest) < 1+needs || len(rest) > 2 {
		return f[0].wrong("bound %s has a variable%s", kind, map[int]string{0: "", 1: " and a number"}[needs])
	}
	column, ok := p.draft.columns[rest[0].text]
	if !ok {
		return rest[0].wrong("no column %q%s", rest[0].text, p.draft.meant(rest[0].text))
	}
	v := 0.0
	if needs == 1 {
		var err error
		if v, err = rest[1].value(); err != nil {
			return err
		}
	}
	p.bounded[column] = true
	return p.bound(f[0].place, kind, column, asLimit(v))
}

func (p *mpsParser) isColumn(f mpsField) bool {
	_, ok := p.draft.columns[f.text]
	return ok
}

func (p *mpsParser) bound(at place, kind string, column int, v float64) error {
	c := &p.draft.problem.Columns[column]
	switch kind {
	case "UI", "LI":
		c.Kind = lp.Integer
	case "BV":
		c.Kind = lp.Binary
		p.draft.bound(column, 1, 0)
		p.draft.bound(column, -1, 1)
	}
	switch kind {
	case "UP", "UI":
		p.draft.bound(column, -1, v)
		delete(p.upperAt, column)
		if v < 0 {
			p.upperAt[column] = at
		}
	case "LO", "LI":
		p.draft.bound(column, 1, v)
	case "FX":
		p.draft.bound(column, 0, v)
	case "FR":
		p.draft.bound(column, 1, lp.NoLower)
		p.draft.bound(column, -1, lp.NoUpper)
	case "MI":
		p.draft.bound(column, 1, lp.NoLower)
	case "PL":
		p.draft.bound(column, -1, lp.NoUpper)
	}
	return nil
}

// finish joins types, right sides and ranges into limits.
func (p *mpsParser) finish() (*Problem, error) {
	for i := range p.draft.problem.Rows {
		r := &p.draft.problem.Rows[i]
		v, wide := p.rhs[i], p.ranges[i]
		_, ranged := p.ranges[i]
		switch p.types[i] {
		case "L":
			if r.Upper = v; ranged {
				r.Lower = v - math.Abs(wide)
			}
		case "G":
			if r.Lower = v; ranged {
				r.Upper = v + math.Abs(wide)
			}
		case "E":
			r.Lower, r.Upper = v, v
			if ranged {
				r.Lower, r.Upper = v+min(wide, 0), v+max(wide, 0)
			}
		}
	}
	for i := range p.draft.problem.Columns {
		c := &p.draft.problem.Columns[i]
		if at, ok := p.upperAt[i]; ok && !p.draft.lowerGiven[i] && c.Upper < 0 {
			return nil, at.wrong("column %q has a negative upper bound and no lower one, which solvers read differently; add a bound LO or MI", c.Name)
		}
		if c.Kind == lp.Integer && !p.bounded[i] {
			c.Upper = 1
		}
	}
	return p.draft.done()
}
