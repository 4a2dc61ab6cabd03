package manifest

import "strings"

// unknown refuses a field that the struct does not have, with the nearest name or all of them.
func unknown(f field, path string, names []string) error {
	where := ""
	if path != "" {
		where = " in " + path
	}
	if best := nearest(f.name, names); best != "" {
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

// nearest is the name that takes the fewest edits, "" when none is near.
func nearest(s string, names []string) string {
	best, least := "", max(2, len(s)/3)+1
	if len(s) > 64 {
		return ""
	}
	for _, n := range names {
		if d := distance(strings.ToLower(s), n); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance counts insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
