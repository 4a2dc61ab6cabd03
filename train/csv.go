package train

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// A CSV set is one file of numbers for training and, where `validation.file` names one, a second. The columns that
// `target` names are what the network shall answer, the last one where none is named; the others are its inputs, in
// order. With a categorical loss and one target column the target is a class: a whole number from 0 to 255, or a word,
// numbered in alphabetical order. Every mistake is told with its line and column.

var errEmpty = errors.New("it is empty: fill in a value or leave the row out")

const (
	maxColumns = 1 << 16
	maxClasses = 256
)

// table is a CSV file: the inputs row by row, and the targets' texts.
type table struct {
	name    string
	columns []string // nil without a header
	targets []int
	inputs  []float32
	answers [][]string
	lines   []int
}

// loadCSV reads the training file, and the validation file where one is named.
func loadCSV(cfg Config, files map[string]File, names []string) (data, val *Dataset, err error) {
	const op = "train.Load"
	csvs := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !isCSV(n) })
	if v := cfg.Validation.File; v != "" {
		if !slices.Contains(csvs, v) {
			return nil, nil, errs.Errorf(op, errs.Invalid, "train: validation.file %q is not a CSV file of the data set; it has %v", v, names)
		}
		csvs = slices.DeleteFunc(csvs, func(n string) bool { return n == v })
	}
	if len(csvs) != 1 {
		return nil, nil, errs.Errorf(op, errs.Invalid, "a CSV set needs just one file beside the one that validation.file names; it has %v", csvs)
	}
	classes := cfg.classes()
	t, err := readTable(files[csvs[0]], cfg, maxData)
	if err != nil {
		return nil, nil, err
	}
	if data, err = t.dataset(classes, nil); err != nil {
		return nil, nil, err
	}
	if cfg.Validation.File == "" {
		return data, nil, nil
	}
	v, err := readTable(files[cfg.Validation.File], cfg, maxData)
	if err != nil {
		return nil, nil, err
	}
	if !slices.Equal(v.columns, t.columns) {
		return nil, nil, errs.Errorf(op, errs.Invalid, "%s has the columns %v and %s %v: they must be the same", v.name, v.columns, t.name, t.columns)
	}
	if val, err = v.dataset(classes, data); err != nil {
		return nil, nil, err
	}
	if !slices.Equal(val.Shape, data.Shape) {
		return nil, nil, errs.Errorf(op, errs.Invalid, "%s has %d inputs a row and %s %d", v.name, val.Shape[0], t.name, data.Shape[0])
	}
	return data, val, nil
}

// classes says that a single target is a class rather than a value.
func (c Config) classes() bool {
	return strings.HasSuffix(c.Defaults().Loss, "categorical_crossentropy")
}

// plain reads through gzip where there is one; the limit is on what comes out.
func plain(r io.Reader, limit int64) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 1<<16)
	if magic, err := b.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, fmt.Errorf("not a whole gzip file: %w", err)
		}
		b = bufio.NewReader(z)
	}
	return &limited{r: b, left: limit, limit: limit}, nil
}

// limited fails where io.LimitReader would pretend that the file ends.
type limited struct {
	r           io.Reader
	left, limit int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p[:min(int64(len(p)), l.left+1)])
	if l.left -= int64(n); l.left < 0 {
		return 0, errs.Errorf("train.Load", errs.TooLarge, "it has over %d bytes", l.limit)
	}
	return n, err
}

func readTable(f File, cfg Config, limit int64) (*table, error) {
	const op = "train.Load"
	in, err := plain(f.Reader, limit)
	if err != nil {
		return nil, errs.Errorf(op, errs.Invalid, "%s: %v", f.Name, err)
	}
	t := &table{name: f.Name}
	r := csv.NewReader(in)
	r.ReuseRecord = true
	width := 0
	for first := true; ; first = false {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, t.broken(err)
		}
		if !first {
			if err := t.add(row, r); err != nil {
				return nil, err
			}
			continue
		}
		row[0] = strings.TrimPrefix(row[0], "\ufeff")
		if width = len(row); width > maxColumns {
			return nil, errs.Errorf(op, errs.TooLarge, "%s has %d columns: there may be %d", f.Name, width, maxColumns)
		}
		if isHeader(row, cfg) {
			for _, name := range row {
				t.columns = append(t.columns, strings.TrimSpace(name))
			}
		}
		if t.targets, err = t.find(cfg.Target, width); err != nil {
			return nil, err
		}
		if t.columns == nil {
			if err := t.add(row, r); err != nil {
				return nil, err
			}
		}
	}
	if len(t.answers) == 0 {
		return nil, errs.Errorf(op, errs.Invalid, "%s has no rows", f.Name)
	}
	return t, nil
}

// broken words an error of the CSV reader.
func (t *table) broken(err error) error {
	const op = "train.Load"
	var parse *csv.ParseError
	switch {
	case errors.As(err, &parse) && errors.Is(err, csv.ErrFieldCount):
		return errs.Errorf(op, errs.Invalid, "%s, line %d: another number of columns than in the first line", t.name, parse.Line)
	case errors.As(err, &parse):
		return errs.Errorf(op, errs.Invalid, "%s, line %d, column %d: %v", t.name, parse.Line, parse.Column, parse.Err)
	case errs.Is(err, errs.TooLarge):
		return errs.E(op, errs.TooLarge, fmt.Errorf("%s: %w", t.name, err))
	}
	return errs.Errorf(op, errs.Invalid, "%s: %v", t.name, err)
}

// isHeader: as the configuration says, else a line that names the targets or in which nothing is a number.
func isHeader(row []string, cfg Config) bool {
	if cfg.Header != nil {
		return *cfg.Header
	}
	named := len(cfg.Target) > 0
	for _, want := range cfg.Target {
		named = named && slices.ContainsFunc(row, func(have string) bool { return strings.TrimSpace(have) == want })
	}
	numbers := slices.ContainsFunc(row, func(s string) bool {
		_, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		return err == nil
	})
	return named || !numbers
}

// find gives the numbers of the target columns.
func (t *table) find(names []string, width int) ([]int, error) {
	const op = "train.Load"
	if width < 2 {
		return nil, errs.Errorf(op, errs.Invalid, "%s has %d column: it needs an input and a target", t.name, width)
	}
	for i, name := range t.columns {
		if slices.Contains(t.columns[:i], name) {
			return nil, errs.Errorf(op, errs.Invalid, "%s, line 1: two columns are named %q", t.name, name)
		}
	}
	if len(names) == 0 {
		return []int{width - 1}, nil
	}
	if t.columns == nil {
		return nil, errs.Errorf(op, errs.Invalid, "%s has no header line, so target %v names no column: add one, or leave target out to use the last column", t.name, names)
	}
	var at []int
	for _, name := range names {
		i := slices.Index(t.columns, name)
		if i < 0 {
			return nil, errs.Errorf(op, errs.Invalid, "%s has no column %q for target; it has %v", t.name, name, t.columns)
		}
		if slices.Contains(at, i) {
			return nil, errs.Errorf(op, errs.Invalid, "train: target names %q twice", name)
		}
		at = append(at, i)
	}
	if len(at) == width {
		return nil, errs.Errorf(op, errs.Invalid, "train: target names all columns of %s: nothing is left for the inputs", t.name)
	}
	return at, nil
}

func (t *table) add(row []string, r *csv.Reader) error {
	line, _ := r.FieldPos(0)
	for i, field := range row {
		if slices.Contains(t.targets, i) {
			continue
		}
		v, err := number(field)
		if err != nil {
			return t.wrong(line, i, err)
		}
		t.inputs = append(t.inputs, v)
	}
	answer := make([]string, len(t.targets))
	for k, i := range t.targets {
		if answer[k] = strings.TrimSpace(strings.Clone(row[i])); answer[k] == "" {
			return t.wrong(line, i, errEmpty)
		}
	}
	t.answers, t.lines = append(t.answers, answer), append(t.lines, line)
	return nil
}

func (t *table) wrong(line, column int, err error) error {
	what := strconv.Itoa(column + 1)
	if t.columns != nil {
		what = strconv.Quote(t.columns[column])
	}
	return errs.Errorf("train.Load", errs.Invalid, "%s, line %d, column %s: %v", t.name, line, what, err)
}

// number reads a finite number that a float32 holds.
func number(s string) (float32, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, errEmpty
	}
	v, err := strconv.ParseFloat(s, 32)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%.40q is not a finite number", s)
	}
	return float32(v), nil
}

// dataset makes classes or values of the targets; classes are numbered as in like, where that is given.
func (t *table) dataset(classes bool, like *Dataset) (*Dataset, error) {
	d := &Dataset{Rows: len(t.answers), Floats: t.inputs, Shape: []int{len(t.inputs) / len(t.answers)}}
	if classes && len(t.targets) == 1 {
		return d, t.label(d, like)
	}
	d.Outputs = len(t.targets)
	for r, answer := range t.answers {
		for k, s := range answer {
			v, err := number(s)
			if err != nil {
				return nil, t.wrong(t.lines[r], t.targets[k], err)
			}
			d.Values = append(d.Values, v)
		}
	}
	return d, d.Validate()
}

// label numbers the classes.
func (t *table) label(d, like *Dataset) error {
	d.ClassNames = t.words()
	if like != nil {
		d.ClassNames = like.ClassNames
	}
	if len(d.ClassNames) > maxClasses {
		return errs.Errorf("train.Load", errs.TooLarge, "%s has over %d different classes in column %d: name the right column in target", t.name, maxClasses, t.targets[0]+1)
	}
	d.Classes = len(d.ClassNames)
	for r, answer := range t.answers {
		class, ok := slices.BinarySearch(d.ClassNames, answer[0])
		if d.ClassNames == nil {
			var err error
			class, err = strconv.Atoi(answer[0])
			ok = err == nil && class >= 0 && class < maxClasses
			d.Classes = max(d.Classes, class+1, 2)
		}
		switch {
		case !ok && d.ClassNames == nil:
			return t.wrong(t.lines[r], t.targets[0], fmt.Errorf("class %.40q is not a whole number from 0 to %d", answer[0], maxClasses-1))
		case !ok:
			return t.wrong(t.lines[r], t.targets[0], fmt.Errorf("class %.40q does not occur in the training part, which has %v", answer[0], d.ClassNames))
		}
		d.Labels = append(d.Labels, byte(class))
	}
	if like != nil {
		if d.Classes > like.Classes && like.ClassNames == nil {
			like.Classes = d.Classes
		}
		d.Classes = like.Classes
	}
	return d.Validate()
}

// words lists the classes in order where they are not all numbers, else nil.
func (t *table) words() []string {
	numbers := true
	seen := map[string]bool{}
	for _, answer := range t.answers {
		if _, err := strconv.Atoi(answer[0]); err != nil {
			numbers = false
		}
		if len(seen) <= maxClasses {
			seen[answer[0]] = true
		}
	}
	if numbers {
		return nil
	}
	words := make([]string, 0, len(seen))
	for w := range seen {
		words = append(words, w)
	}
	slices.Sort(words)
	return words
}
