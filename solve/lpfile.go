package solve

import (
	"math"
	"strings"

	"github.com/lineshaft/lineshaft/internal/lp"
)

// ParseLP reads CPLEX's LP format: an objective, constraints, bounds, integer and binary variables, end. What is read
// otherwise than in CPLEX, so that nothing is guessed:
//
//   - The words maximise and minimise are taken beside maximize and minimize.
//   - A section's word counts only where it begins a line, so that a variable may be called "free" or "st".
//   - The right side of a constraint is a number. A variable after it in the same line is refused.
//   - A variable that only bounds or kinds name is refused: it is most often mistyped.
//   - Bounds of a binary variable are kept, and must lie within 0 and 1.
//   - A coefficient given twice in one row is summed.
//
// Quadratic terms, indicator constraints, semi-continuous variables and special ordered sets are refused by name.
func ParseLP(data []byte) (*Problem, error) {
	if err := readable(data); err != nil {
		return nil, err
	}
	p := &lpParser{draft: newDraft(), scan: lpScanner{lines: lines{rest: string(data)}}}
	if err := p.scan.next(); err != nil {
		return nil, err
	}
	if err := p.file(); err != nil {
		return nil, err
	}
	return p.draft.done()
}

// lpToken is one word of the file.
type lpToken struct {
	place
	kind  lpKind
	text  string
	value float64
	first bool // begins its line
}

type lpKind int

const (
	lpEnd     lpKind = iota
	lpNumber         // without a sign
	lpName           // of a variable, a constraint, or a word of the format
	lpSense          // <= = >=
	lpSign           // + -
	lpColon          // :
	lpForeign        // brackets, arrows and the like, for messages
)

// lpScanner cuts the text into tokens; the current one is tok, the one after it ahead.
type lpScanner struct {
	lines      lines
	line       string
	at         int
	begun      bool // a token of the line was given
	tok, ahead lpToken
	primed     bool
}

// next moves on by one token.
func (s *lpScanner) next() error {
	if !s.primed {
		s.primed = true
		t, err := s.read()
		if err != nil {
			return err
		}
		s.ahead = t
	}
	t, err := s.read()
	s.tok, s.ahead = s.ahead, t
	return err
}

func (s *lpScanner) read() (lpToken, error) {
	for {
		for s.at < len(s.line) && (s.line[s.at] == ' ' || s.line[s.at] == '\t') {
			s.at++
		}
		if s.at < len(s.line) && s.line[s.at] != '\\' {
			break
		}
		line, ok := s.lines.next()
		if !ok {
			return lpToken{place: place{max(s.lines.n, 1), columnOf(s.line, len(s.line))}, first: true}, nil
		}
		s.line, s.at, s.begun = line, 0, false
	}
	t := lpToken{place: place{s.lines.n, columnOf(s.line, s.at)}, first: !s.begun}
	s.begun = true
	rest := s.line[s.at:]
	n := s.classify(rest, &t)
	if n == 0 {
		return t, t.wrong("%q is not part of the LP format", firstRune(rest))
	}
	t.text = rest[:n]
	s.at += n
	if t.kind == lpNumber {
		t.value, _ = number(t.text)
	}
	return t, nil
}

func firstRune(s string) string {
	for _, r := range s {
		return string(r)
	}
	return ""
}

// classify says what stands at the begin of rest and how long it is.
func (s *lpScanner) classify(rest string, t *lpToken) int {
	switch c := rest[0]; {
	case c == ':':
		t.kind = lpColon
		return 1
	case strings.HasPrefix(rest, "->"):
		t.kind = lpForeign
		return 2
	case c == '+' || c == '-':
		t.kind = lpSign
		return 1
	case c == '<' || c == '>' || c == '=':
		t.kind = lpSense
		if len(rest) > 1 && (c != '=' && rest[1] == '=' || c == '=' && (rest[1] == '<' || rest[1] == '>')) {
			return 2
		}
		return 1
	case c == '[' || c == ']' || c == '^' || c == '*':
		t.kind = lpForeign
		return 1
	}
	if n := numberLength(rest); n > 0 {
		t.kind = lpNumber
		return n
	}
	t.kind = lpName
	n := 0
	for n < len(rest) && lpLetter(rest[n]) {
		n++
	}
	return n
}

// lpLetter says which bytes names are made of; those above ASCII are taken too.
func lpLetter(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c >= 0x80:
		return true
	}
	return strings.IndexByte("!\"#$%&/,.;?@_'`{}()|~", c) >= 0
}

// sense of a comparison: -1 at most, 0 equal, 1 at least.
func (t lpToken) sense() int {
	switch {
	case strings.Contains(t.text, "<"):
		return -1
	case strings.Contains(t.text, ">"):
		return 1
	}
	return 0
}

// section is a part of the file.
type section int

const (
	noSection section = iota
	minimise
	maximise
	constraints
	bounds
	integers
	binaries
	semi
	sos
	end
)

var sections = map[string]section{
	"min": minimise, "minimum": minimise, "minimise": minimise, "minimize": minimise,
	"max": maximise, "maximum": maximise, "maximise": maximise, "maximize": maximise,
	"st": constraints, "st.": constraints, "s.t.": constraints, "subject to": constraints, "such that": constraints,
	"bound": bounds, "bounds": bounds,
	"gen": integers, "general": integers, "generals": integers, "int": integers, "integer": integers, "integers": integers,
	"bin": binaries, "binary": binaries, "binaries": binaries,
	"semi": semi, "semis": semi, "semi-continuous": semi,
	"sos": sos, "sos1": sos, "sos2": sos,
	"end": end,
}

// section is the section whose word is the current token, and whether it has two words.
func (s *lpScanner) section() (section, bool) {
	if s.tok.kind != lpName || !s.tok.first || s.ahead.kind == lpColon {
		return noSection, false
	}
	word := strings.ToLower(s.tok.text)
	if word == "subject" || word == "such" {
		found := sections[word+" "+strings.ToLower(s.ahead.text)]
		return found, found != noSection
	}
	return sections[word], false
}

type lpParser struct {
	scan    lpScanner
	draft   *draft
	oneLine bool // the expression must not go on in a new line
}

// take moves past the section's words.
func (p *lpParser) take(two bool) error {
	if two {
		if err := p.scan.next(); err != nil {
			return err
		}
	}
	return p.scan.next()
}

func (p *lpParser) file() error {
	found, two := p.scan.section()
	if found != minimise && found != maximise {
		return p.scan.tok.wrong("the LP format begins with minimise or maximise")
	}
	p.draft.problem.Maximise = found == maximise
	if err := p.take(two); err != nil {
		return err
	}
	if err := p.objective(); err != nil {
		return err
	}
	for {
		found, two := p.scan.section()
		at := p.scan.tok
		if at.kind == lpEnd {
			return at.wrong("the file ends without the word end")
		}
		if err := p.take(two); err != nil {
			return err
		}
		var err error
		switch found {
		case constraints:
			err = p.each(p.constraint)
		case bounds:
			err = p.each(p.bound)
		case integers:
			err = p.each(func() error { return p.kind(lp.Integer) })
		case binaries:
			err = p.each(func() error { return p.kind(lp.Binary) })
		case end:
			if p.scan.tok.kind != lpEnd {
				return p.scan.tok.wrong("%q stands after the word end", p.scan.tok.text)
			}
			return nil
		case semi:
			return at.unsupported("semi-continuous variables are not supported")
		case sos:
			return at.unsupported("special ordered sets are not supported")
		case minimise, maximise:
			return at.wrong("a second objective; only one is possible")
		default:
			return at.wrong("%q is out of place: a section (subject to, bounds, general, binary, end) must begin here", at.text)
		}
		if err != nil {
			return err
		}
	}
}

// each repeats one entry until the next section.
func (p *lpParser) each(entry func() error) error {
	for {
		if found, _ := p.scan.section(); found != noSection || p.scan.tok.kind == lpEnd {
			return nil
		}
		if err := entry(); err != nil {
			return err
		}
	}
}

// label reads "name:" when it is there.
func (p *lpParser) label() (string, error) {
	if p.scan.ahead.kind != lpColon {
		return "", nil
	}
	name := p.scan.tok
	if name.kind != lpName {
		return "", name.wrong("%q is no name; one stands before a colon", name.text)
	}
	if err := p.scan.next(); err != nil {
		return "", err
	}
	return name.text, p.scan.next()
}

// expression reads signed terms up to a comparison, a label or a section, and calls term for each; constants are summed.
// A name after a constant in a new line begins the next entry only after a comparison, so it is a term here.
func (p *lpParser) expression(term func(at place, column int, v float64) error) (constant float64, n int, err error) {
	for ; ; n++ {
		at, v, signed := p.scan.tok.place, 1.0, false
		if p.oneLine && p.scan.tok.first && p.scan.tok.kind == lpSign {
			return 0, 0, at.wrong("a constraint that begins with a number and goes on in a new line needs a name, as in c1: 1 <= x + y <= 3")
		}
		for p.scan.tok.kind == lpSign {
			if p.scan.tok.text == "-" {
				v = -v
			}
			signed = true
			if err := p.scan.next(); err != nil {
				return 0, 0, err
			}
		}
		if found, _ := p.scan.section(); found != noSection && !signed {
			return constant, n, nil
		}
		t, isNumber := p.scan.tok, false
		if t.kind == lpNumber {
			isNumber = true
			v *= t.value
			if err := p.scan.next(); err != nil {
				return 0, 0, err
			}
		}
		switch name := p.scan.tok; {
		case name.kind == lpForeign:
			return 0, 0, foreign(name)
		case name.kind == lpName && p.scan.ahead.kind != lpColon && (!name.first || !p.isSection()):
			if n > 0 && !signed {
				return 0, 0, at.wrong("a sign must stand before %q", t.text)
			}
			if err := coefficient(at, v); err != nil {
				return 0, 0, err
			}
			column, err := p.draft.column(name.place, name.text)
			if err == nil {
				err = term(at, column, v)
			}
			if err == nil {
				err = p.scan.next()
			}
			if err != nil {
				return 0, 0, err
			}
		case isNumber:
			if n > 0 && !signed {
				return 0, 0, at.wrong("a sign must stand before %q", t.text)
			}
			constant += v
			if err := coefficient(at, constant); err != nil {
				return 0, 0, err
			}
		case signed:
			return 0, 0, name.wrong("a number or a variable must follow the sign, not %s", name.words())
		default:
			return constant, n, nil
		}
	}
}

func (p *lpParser) isSection() bool {
	found, _ := p.scan.section()
	return found != noSection
}

func (t lpToken) words() string {
	if t.kind == lpEnd {
		return "the end of the file"
	}
	return "\"" + t.text + "\""
}

func foreign(t lpToken) error {
	switch t.text {
	case "->":
		return t.unsupported("indicator constraints (->) are not supported")
	case "[", "]", "^":
		return t.unsupported("quadratic terms are not supported")
	}
	return t.wrong("%q is not part of the LP format; write a coefficient before its variable: 3 x", t.text)
}

func (p *lpParser) objective() error {
	if _, err := p.label(); err != nil {
		return err
	}
	constant, _, err := p.expression(func(_ place, column int, v float64) error {
		p.draft.problem.Columns[column].Cost += v
		return nil
	})
	p.draft.problem.Offset = constant
	if err == nil && !p.isSection() && p.scan.tok.kind != lpEnd {
		return p.scan.tok.wrong("%s is out of place in the objective", p.scan.tok.words())
	}
	return err
}

// constraint reads "name: expression sense number" or "number sense expression sense number".
func (p *lpParser) constraint() error {
	at := p.scan.tok.place
	name, err := p.label()
	if err != nil {
		return err
	}
	row, err := p.draft.row(at, name)
	if err != nil {
		return err
	}
	seen := map[int]int{} // place of the column's term
	terms := 0
	constant, _, err := p.expression(func(at place, column int, v float64) error {
		terms++
		return p.term(at, row, seen, column, v)
	})
	if err != nil {
		return err
	}
	if p.scan.tok.kind != lpSense {
		return p.scan.tok.wrong("a comparison (<=, =, >=) must follow, not %s", p.scan.tok.words())
	}
	if terms == 0 {
		return p.twoSides(row, constant, name != "", seen)
	}
	sense, limit, err := p.side()
	if err != nil {
		return err
	}
	if err := p.narrow(row, sense, limit-constant); err != nil {
		return err
	}
	return p.rightSide()
}

// term adds v to the column's coefficient in the row.
func (p *lpParser) term(at place, row int, seen map[int]int, column int, v float64) error {
	if i, ok := seen[column]; ok {
		p.draft.problem.Rows[row].Terms[i].Value += v
		return nil
	}
	seen[column] = len(p.draft.problem.Rows[row].Terms)
	return p.draft.add(at, row, lp.Term{Column: column, Value: v})
}

// twoSides reads what follows "number" in "number <= expression <= number". Without the last part it could not be seen
// where the constraint ends, so that part must be there.
func (p *lpParser) twoSides(row int, left float64, named bool, seen map[int]int) error {
	first := p.scan.tok
	if err := p.scan.next(); err != nil {
		return err
	}
	terms := 0
	p.oneLine = !named
	constant, _, err := p.expression(func(at place, column int, v float64) error {
		terms++
		return p.term(at, row, seen, column, v)
	})
	p.oneLine = false
	if err != nil {
		return err
	}
	if terms == 0 {
		return first.wrong("a constraint without a variable")
	}
	second := p.scan.tok
	if second.kind != lpSense {
		return first.wrong("a second comparison must follow, as in 1 <= x + y <= 3; with one comparison the number stands on the right side")
	}
	if err := p.narrow(row, -first.sense(), asLimit(left)-constant); err != nil {
		return err
	}
	if second.sense() != first.sense() || first.sense() == 0 {
		return second.wrong("a constraint with two comparisons needs the same direction twice, as in 1 <= x + y <= 3")
	}
	sense, limit, err := p.side()
	if err != nil {
		return err
	}
	if err := p.narrow(row, sense, limit-constant); err != nil {
		return err
	}
	return p.rightSide()
}

// side reads a comparison and the number after it.
func (p *lpParser) side() (sense int, limit float64, err error) {
	sense = p.scan.tok.sense()
	if err := p.scan.next(); err != nil {
		return 0, 0, err
	}
	limit, err = p.limit()
	return sense, limit, err
}

// limit reads a number with signs, or infinity.
func (p *lpParser) limit() (float64, error) {
	sign := 1.0
	for p.scan.tok.kind == lpSign {
		if p.scan.tok.text == "-" {
			sign = -sign
		}
		if err := p.scan.next(); err != nil {
			return 0, err
		}
	}
	t := p.scan.tok
	v, ok := t.value, t.kind == lpNumber
	if t.kind == lpName {
		v, ok = number(t.text)
	}
	if !ok {
		return 0, t.wrong("a number must follow the comparison, not %s; variables stand on the left side", t.words())
	}
	return asLimit(sign * v), p.scan.next()
}

// rightSide refuses a variable that stands in the line after the number.
func (p *lpParser) rightSide() error {
	t := p.scan.tok
	if t.kind == lpForeign {
		return foreign(t)
	}
	if !t.first && t.kind != lpEnd && p.scan.ahead.kind != lpColon {
		return t.wrong("%s stands after the number on the right side; variables stand on the left side, and the next constraint begins a line or has a name", t.words())
	}
	return nil
}

// narrow sets the row's limit.
func (p *lpParser) narrow(row, sense int, limit float64) error {
	r := &p.draft.problem.Rows[row]
	if sense >= 0 && !(sense == 1 && math.IsInf(limit, -1)) {
		r.Lower = limit
	}
	if sense <= 0 && !(sense == -1 && math.IsInf(limit, 1)) {
		r.Upper = limit
	}
	return nil
}

// bound reads "x <= 3", "1 <= x <= 3", "x free" and the like.
func (p *lpParser) bound() error {
	var left *float64
	sense := 0
	if p.scan.tok.kind == lpNumber || p.scan.tok.kind == lpSign || p.isInfinity() {
		v, err := p.limit()
		if err != nil {
			return err
		}
		if p.scan.tok.kind != lpSense {
			return p.scan.tok.wrong("a comparison must follow the number, not %s", p.scan.tok.words())
		}
		left, sense = &v, p.scan.tok.sense()
		if err := p.scan.next(); err != nil {
			return err
		}
	}
	name := p.scan.tok
	if name.kind != lpName {
		return name.wrong("a variable must stand here, not %s", name.words())
	}
	column, err := p.draft.known(name.place, name.text)
	if err == nil {
		err = p.scan.next()
	}
	if err != nil {
		return err
	}
	if left != nil {
		p.draft.bound(column, -sense, *left)
	}
	switch t := p.scan.tok; {
	case t.kind == lpSense:
		sense, v, err := p.side()
		if err != nil {
			return err
		}
		p.draft.bound(column, sense, v)
	case left == nil && t.kind == lpName && strings.EqualFold(t.text, "free"):
		p.draft.bound(column, 1, lp.NoLower)
		p.draft.bound(column, -1, lp.NoUpper)
		return p.scan.next()
	case left == nil:
		return t.wrong("a comparison or the word free must follow %q, not %s", name.text, t.words())
	}
	return nil
}

func (p *lpParser) isInfinity() bool {
	if p.scan.tok.kind != lpName {
		return false
	}
	_, ok := number(p.scan.tok.text)
	return ok
}

// bound sets a column's bound: sense -1 upper, 1 lower, 0 both.
func (d *draft) bound(column, sense int, v float64) {
	c := &d.problem.Columns[column]
	if sense >= 0 {
		c.Lower = v
		d.lowerGiven[column] = true
	}
	if sense <= 0 {
		c.Upper = v
	}
}

// kind reads one name of an integer or binary section.
func (p *lpParser) kind(k lp.Kind) error {
	t := p.scan.tok
	if t.kind != lpName {
		return t.wrong("a variable must stand here, not %s", t.words())
	}
	column, err := p.draft.known(t.place, t.text)
	if err != nil {
		return err
	}
	c := &p.draft.problem.Columns[column]
	if c.Kind = k; k == lp.Binary {
		if math.IsInf(c.Upper, 1) {
			c.Upper = 1
		}
		if c.Lower < 0 || c.Upper > 1 {
			return t.wrong("binary variable %q has bounds %v to %v: they must lie within 0 and 1", t.text, c.Lower, c.Upper)
		}
	}
	return p.scan.next()
}
