package cli

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/term"
)

// table is rows under a header. On a terminal the widest columns are cut until a row fits into a line; into a pipe
// everything is written whole.
type table struct {
	head  []string
	rows  [][]string
	right map[int]bool // columns of numbers
	empty string       // what to say when there are no rows
}

// newTable names the columns; a name that ends in ">" is a column of numbers, set right.
func newTable(empty string, head ...string) *table {
	t := &table{right: map[int]bool{}, empty: empty}
	for i, h := range head {
		name, right := strings.CutSuffix(h, ">")
		t.right[i] = right
		t.head = append(t.head, name)
	}
	return t
}

func (t *table) row(cells ...any) {
	row := make([]string, len(t.head))
	for i, c := range cells {
		row[i] = oneLine(fmt.Sprint(c))
		if row[i] == "" {
			row[i] = "-"
		}
	}
	t.rows = append(t.rows, row)
}

const (
	gap      = 2
	narrowst = 8 // no column is cut below this
)

func (t *table) write(w io.Writer, width int, color bool) {
	if len(t.rows) == 0 {
		fmt.Fprintln(w, t.empty)
		return
	}
	widths := t.fit(width)
	line := func(cells []string, paint bool) {
		var b strings.Builder
		for i, c := range cells[:len(widths)] {
			c = cut(c, widths[i])
			pad := strings.Repeat(" ", max(0, widths[i]-columns(c)))
			if paint {
				c = painted(c)
			}
			switch {
			case t.right[i]:
				b.WriteString(pad + c)
			case i < len(widths)-1:
				b.WriteString(c + pad)
			default:
				b.WriteString(c)
			}
			if i < len(widths)-1 {
				b.WriteString(strings.Repeat(" ", gap))
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
	line(t.head, false)
	for _, r := range t.rows {
		line(r, color)
	}
}

// fit gives the columns' widths: as wide as their cells, the widest cut first where a line is too short. Where even
// narrow columns do not fit, those on the right are left out.
func (t *table) fit(width int) []int {
	widths := make([]int, len(t.head))
	for _, r := range append([][]string{t.head}, t.rows...) {
		for i, c := range r {
			widths[i] = max(widths[i], columns(c))
		}
	}
	if width <= 0 {
		return widths
	}
	least := -gap
	for i, w := range widths {
		if least += min(w, narrowst) + gap; least > width && i > 1 {
			widths = widths[:i]
			break
		}
	}
	for {
		sum, widest := -gap, 0
		for i, w := range widths {
			sum += w + gap
			if w > widths[widest] {
				widest = i
			}
		}
		if sum <= width || widths[widest] <= narrowst {
			return widths
		}
		widths[widest]--
	}
}

// painted gives the words of states their colours.
func painted(cell string) string {
	color := ""
	switch cell {
	case "running", "AVAILABLE", "act", "ready", "ok", "yes":
		color = "32" // green
	case "failed", "denied", "no", "FAILED":
		color = "31" // red
	case "queued", "starting", "stopping", "LOADING", "UNLOADING", "advise", "proposed", "cordoned":
		color = "33" // yellow
	case "canceled", "off", "END", "-":
		color = "2" // dim
	}
	if color == "" {
		return cell
	}
	return "\x1b[" + color + "m" + cell + "\x1b[0m"
}

// print writes the table for where it goes.
func (e *env) print(w io.Writer, t *table) {
	width, _ := e.size(e.out)
	t.write(w, width, e.color(e.out))
}

// details prints pairs of a name and a value, one a line; empty values are left out.
func (e *env) details(w io.Writer, pairs ...any) {
	widest := 0
	for i := 0; i < len(pairs); i += 2 {
		widest = max(widest, len(pairs[i].(string)))
	}
	for i := 0; i < len(pairs); i += 2 {
		if v := fmt.Sprint(pairs[i+1]); v != "" {
			indent := "\n" + strings.Repeat(" ", widest+2)
			fmt.Fprintf(w, "%-*s  %s\n", widest, pairs[i], strings.ReplaceAll(clean(v), "\n", indent))
		}
	}
}

// terminal is the file descriptor of a terminal, -1 for anything else.
func terminal(stream any) int {
	if f, ok := stream.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return int(f.Fd())
	}
	return -1
}

// size is the terminal's, 0 where the stream is none.
func (e *env) size(stream any) (width, height int) {
	fd := terminal(stream)
	if fd < 0 {
		return 0, 0
	}
	if w, h, err := term.GetSize(fd); err == nil && w > 0 {
		return w, h
	}
	if n, err := strconv.Atoi(e.getenv("COLUMNS")); err == nil {
		return n, 24
	}
	return 80, 24
}

func (e *env) color(stream any) bool {
	return terminal(stream) >= 0 && e.getenv("NO_COLOR") == "" && e.getenv("TERM") != "dumb"
}

func (e *env) getenv(name string) string {
	for i := len(e.environ) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(e.environ[i], name+"="); ok {
			return v
		}
	}
	return ""
}

// columns is how many cells of a terminal s takes.
func columns(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case unicode.Is(unicode.Mn, r):
		case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul), r >= 0xff01 && r <= 0xff60, r >= 0x3000 && r <= 0x303f:
			n += 2
		default:
			n++
		}
	}
	return n
}

func cut(s string, width int) string {
	if columns(s) <= width {
		return s
	}
	n := 0
	for i, r := range s {
		if n += columns(string(r)); n > width-1 {
			return s[:i] + "…"
		}
	}
	return s
}

// clean takes out what would steer the terminal: names and reasons come from other people.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || !unicode.IsControl(r) {
			return r
		}
		return '?'
	}, s)
}

func oneLine(s string) string { return strings.Join(strings.Fields(clean(s)), " ") }
