package solve

import (
	"bytes"
	"path/filepath"
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Format is how a problem is written down.
type Format string

// The formats.
const (
	LP   Format = "lp"
	MPS  Format = "mps"
	YAML Format = "yaml" // or JSON
)

// FormatOf finds the format from the file's name, and from what the text looks like where the name does not tell.
func FormatOf(name string, data []byte) Format {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".lp":
		return LP
	case ".mps":
		return MPS
	case ".yaml", ".yml", ".json":
		return YAML
	}
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		text := strings.TrimSpace(string(line[:min(len(line), 200)]))
		if text == "" || text[0] == '#' {
			continue
		}
		if text[0] == '\\' {
			return LP
		}
		if text[0] == '*' {
			return MPS
		}
		word, rest, _ := strings.Cut(text, " ")
		switch s := sections[strings.ToLower(word)]; {
		case strings.HasPrefix(strings.TrimSpace(rest), ":"): // a field of YAML
		case s == minimise || s == maximise:
			return LP
		case word == "NAME" || word == "ROWS" || word == "OBJSENSE":
			return MPS
		}
		break
	}
	return YAML
}

// Parse reads a problem. An empty format is found by FormatOf. Errors are errs.Invalid and name line and column,
// errs.TooLarge, or errs.Unsupported for what the formats know and this package does not.
func Parse(format Format, name string, data []byte) (*Problem, error) {
	if format == "" {
		format = FormatOf(name, data)
	}
	switch format {
	case LP:
		return ParseLP(data)
	case MPS:
		return ParseMPS(data)
	case YAML:
		return ParseYAML(data)
	}
	return nil, errs.Errorf("solve.Parse", errs.Invalid, "no format %q; lp, mps and yaml are known", format)
}
