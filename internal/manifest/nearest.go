package manifest

import (
	"strings"

	"github.com/lineshaft/lineshaft/internal/nearest"
)

// unknown refuses a field that the struct does not have, with the nearest name or all of them.
func unknown(f field, path string, names []string) error {
	where := ""
	if path != "" {
		where = " in " + path
	}
	if best := nearest.Name(f.name, names); best != "" {
		return at(f.line, f.col, "unknown field %q%s; did you mean %q?", clip(f.name), where, best)
	}
	return at(f.line, f.col, "unknown field %q%s; there are: %s", clip(f.name), where, strings.Join(names, ", "))
}

func clip(s string) string {
	if r := []rune(s); len(r) > 64 {
		return string(r[:64]) + "…"
	}
	return s
}
