package demo

import "strings"

// A digit of 28 × 28 grey values is drawn as 14 columns by 7 rows of half blocks: four pixels are averaged to one, and
// a character shows two of those, one above the other.
const (
	side    = 28
	columns = side / 2
	rows    = side / 4
)

// threshold is the grey above which a pixel is ink.
const threshold = 64

// draw gives the rows of the picture, each columns wide. pixels are side × side, 0 is paper and 255 ink.
func draw(pixels []byte) []string {
	ink := func(x, y int) bool {
		sum := 0
		for _, at := range []int{2*y*side + 2*x, 2*y*side + 2*x + 1, (2*y+1)*side + 2*x, (2*y+1)*side + 2*x + 1} {
			sum += int(pixels[at])
		}
		return sum/4 > threshold
	}
	out := make([]string, rows)
	for r := range rows {
		var b strings.Builder
		for x := range columns {
			switch upper, lower := ink(x, 2*r), ink(x, 2*r+1); {
			case upper && lower:
				b.WriteRune('█')
			case upper:
				b.WriteRune('▀')
			case lower:
				b.WriteRune('▄')
			default:
				b.WriteByte(' ')
			}
		}
		out[r] = b.String()
	}
	return out
}
