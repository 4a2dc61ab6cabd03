package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/internal/units"
)

// This file writes quantities for people.

// age is how long ago t was: "3m".
func (e *env) age(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return short(e.now().Sub(t))
}

// short is a duration in its largest unit.
func short(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return strconv.Itoa(int(d/time.Second)) + "s"
	case d < time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + "m"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	}
	return strconv.Itoa(int(d/(24*time.Hour))) + "d"
}

// span is a duration in two units: "1m20s".
func span(d time.Duration) string {
	d = max(0, d)
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

func seconds(s float64) time.Duration {
	if math.IsNaN(s) || s < 0 || s > 1e9 {
		return 0
	}
	return time.Duration(s * float64(time.Second))
}

// when is a point in time with its age.
func (e *env) when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	at := t.Local().Format("2006-01-02 15:04:05")
	if left := t.Sub(e.now()); left > 0 {
		return at + " (in " + short(left) + ")"
	}
	return at + " (" + e.age(t) + " ago)"
}

func (e *env) whenPtr(t *time.Time) string {
	if t == nil {
		return ""
	}
	return e.when(*t)
}

// number writes at most four significant digits, without needless zeros.
func number(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

// rate is how often a second.
func rate(v float64) string {
	switch {
	case v == 0:
		return ""
	case v < 0.1:
		return "<0.1"
	case v < 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return thousands(int64(math.Round(v)))
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func size(n int64) string { return units.Bytes(n).String() }

// count writes "1 file", "2 files".
func count[N int | int64](n N, one string) string {
	s := fmt.Sprintf("%s %s", thousands(int64(n)), one)
	if n != 1 {
		s += "s"
	}
	return s
}

// thousands groups digits: 60,000.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	var b strings.Builder
	for i, r := range s {
		if i > 0 && s[i-1] != '-' && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// digest is the part of a digest that people compare.
func digest(d string) string {
	name, hex, ok := strings.Cut(d, ":")
	if !ok || len(hex) <= 12 {
		return d
	}
	return name + ":" + hex[:12]
}
