package solve

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/lp"
	"github.com/lineshaft/lineshaft/internal/nearest"
)

// Limits of a file.
const (
	MaxSize  = 64 << 20
	maxName  = 255
	infinite = 1e20 // limits from here on mean that there is none, as in HiGHS
)

// place is where something stands in the text, from 1; columns count characters.
type place struct{ line, column int }

// wrong makes the error of a place.
func (at place) wrong(format string, args ...any) error {
	return errs.Errorf("solve.Parse", errs.Invalid, "line %d, column %d: "+format, append([]any{at.line, at.column}, args...)...)
}

func (at place) unsupported(format string, args ...any) error {
	return errs.Errorf("solve.Parse", errs.Unsupported, "line %d, column %d: "+format, append([]any{at.line, at.column}, args...)...)
}

// numberLength is how many bytes of s are a number without a sign: digits with a point and an exponent.
func numberLength(s string) int {
	digits := func(i int) int {
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		return i
	}
	i := digits(0)
	whole := i
	if i < len(s) && s[i] == '.' {
		if i = digits(i + 1); i == whole+1 && whole == 0 {
			return 0 // a point alone
		}
	}
	if i == 0 {
		return 0
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		j := i + 1
		if j < len(s) && (s[j] == '+' || s[j] == '-') {
			j++
		}
		if end := digits(j); end > j {
			return end
		}
	}
	return i
}

// number reads s, which may have a sign; nothing else than a decimal number or infinity is one.
func number(s string) (float64, bool) {
	sign, rest := 1.0, s
	if rest != "" && (rest[0] == '+' || rest[0] == '-') {
		if rest[0] == '-' {
			sign = -1
		}
		rest = rest[1:]
	}
	if strings.EqualFold(rest, "inf") || strings.EqualFold(rest, "infinity") {
		return math.Inf(int(sign)), true
	}
	if rest == "" || numberLength(rest) != len(rest) {
		return 0, false
	}
	v, err := strconv.ParseFloat(rest, 64)
	if err != nil && !math.IsInf(v, 1) {
		return 0, false
	}
	return sign * v, true
}

// asLimit takes huge numbers for infinite ones.
func asLimit(v float64) float64 {
	if math.Abs(v) >= infinite {
		return math.Inf(int(math.Copysign(1, v)))
	}
	return v
}

// coefficient refuses what no coefficient is.
func coefficient(at place, v float64) error {
	if !(math.Abs(v) <= lp.MaxCost) {
		return at.wrong("%v is no coefficient: give a number between -%v and %v", v, lp.MaxCost, lp.MaxCost)
	}
	return nil
}

// draft is a problem while it is read. Columns and rows are found by name.
type draft struct {
	problem    Problem
	columns    map[string]int
	rows       map[string]int
	lowerGiven map[int]bool
	terms      int
}

func newDraft() *draft {
	return &draft{columns: map[string]int{}, rows: map[string]int{}, lowerGiven: map[int]bool{}}
}

// column finds or adds the column.
func (d *draft) column(at place, name string) (int, error) {
	if i, ok := d.columns[name]; ok {
		return i, nil
	}
	if err := d.fits(at, name); err != nil {
		return 0, err
	}
	if len(d.problem.Columns) >= lp.MaxColumns {
		return 0, at.wrong("more than %d variables", lp.MaxColumns)
	}
	i := len(d.problem.Columns)
	d.columns[name] = i
	d.problem.Columns = append(d.problem.Columns, lp.Column{Name: name, Upper: lp.NoUpper})
	return i, nil
}

// known finds the column, which must be there already.
func (d *draft) known(at place, name string) (int, error) {
	i, ok := d.columns[name]
	if !ok {
		return 0, at.wrong("variable %q stands neither in the objective nor in a constraint%s", name, d.meant(name))
	}
	return i, nil
}

func (d *draft) meant(name string) string {
	if len(d.columns) > 1000 {
		return ""
	}
	names := make([]string, len(d.problem.Columns))
	for i, c := range d.problem.Columns {
		names[i] = c.Name
	}
	return meant(name, names)
}

// row adds a row; the name may be empty.
func (d *draft) row(at place, name string) (int, error) {
	if name != "" {
		if _, ok := d.rows[name]; ok {
			return 0, at.wrong("constraint %q is there twice", name)
		}
		if err := d.fits(at, name); err != nil {
			return 0, err
		}
		d.rows[name] = len(d.problem.Rows)
	}
	if len(d.problem.Rows) >= lp.MaxRows {
		return 0, at.wrong("more than %d constraints", lp.MaxRows)
	}
	d.problem.Rows = append(d.problem.Rows, lp.Row{Name: name, Lower: lp.NoLower, Upper: lp.NoUpper})
	return len(d.problem.Rows) - 1, nil
}

// add appends a term to the row.
func (d *draft) add(at place, row int, t lp.Term) error {
	if d.terms++; d.terms > lp.MaxTerms {
		return at.wrong("more than %d coefficients", lp.MaxTerms)
	}
	r := &d.problem.Rows[row]
	r.Terms = append(r.Terms, t)
	return nil
}

func (d *draft) fits(at place, name string) error {
	if len(name) > maxName {
		return at.wrong("a name of %d bytes; at most %d are allowed", len(name), maxName)
	}
	return nil
}

// done checks the whole.
func (d *draft) done() (*Problem, error) {
	p := &d.problem
	return p, errs.E("solve.Parse", errs.Other, p.Validate())
}

// lines walks the text.
type lines struct {
	rest string
	n    int
}

// next is the next line without its end; columns are counted from its begin.
func (l *lines) next() (string, bool) {
	if l.rest == "" {
		return "", false
	}
	line, rest, _ := strings.Cut(l.rest, "\n")
	l.rest = rest
	l.n++
	return strings.TrimSuffix(line, "\r"), true
}

// columnOf counts characters before the byte offset.
func columnOf(line string, offset int) int { return utf8.RuneCountInString(line[:offset]) + 1 }

// readable refuses what is no text.
func readable(data []byte) error {
	const op = "solve.Parse"
	if len(data) > MaxSize {
		return errs.Errorf(op, errs.TooLarge, "the problem has %d bytes; at most %d are read", len(data), MaxSize)
	}
	if !utf8.Valid(data) {
		return errs.Errorf(op, errs.Invalid, "the problem is not UTF-8 text")
	}
	return nil
}

// meant proposes the nearest name.
func meant(name string, names []string) string {
	if n := nearest.Name(name, names); n != "" {
		return "; did you mean " + strconv.Quote(n) + "?"
	}
	return ""
}
