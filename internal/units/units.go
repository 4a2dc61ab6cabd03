// Package units gives quantities types, so that no bare number crosses a package's border.
package units

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Bytes is a size. It reads "512MiB", "1.5GB", "1TB" or a plain number of bytes, and prints in binary units.
type Bytes int64

// Watts is electrical power. It reads "700W", "6.5kW", "1.2MW" or a plain number.
type Watts float64

// BitsPerSecond is a bandwidth. It reads "1Gbit/s", "100Mbps" or a plain number.
type BitsPerSecond int64

// Sizes.
const (
	KiB Bytes = 1 << (10 * (iota + 1))
	MiB
	GiB
	TiB
)

var byteUnits = []struct {
	suffix string
	factor float64
}{
	{"KIB", 1 << 10},
	{"MIB", 1 << 20},
	{"GIB", 1 << 30},
	{"TIB", 1 << 40},
	{"PIB", 1 << 50},
	{"KI", 1 << 10},
	{"MI", 1 << 20},
	{"GI", 1 << 30},
	{"TI", 1 << 40},
	{"PI", 1 << 50},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"TB", 1e12},
	{"PB", 1e15},
	{"K", 1e3},
	{"M", 1e6},
	{"G", 1e9},
	{"T", 1e12},
	{"P", 1e15},
	{"B", 1},
	{"", 1},
}

var bitUnits = []struct {
	suffix string
	factor float64
}{
	{"KBIT/S", 1e3},
	{"MBIT/S", 1e6},
	{"GBIT/S", 1e9},
	{"TBIT/S", 1e12},
	{"KBPS", 1e3},
	{"MBPS", 1e6},
	{"GBPS", 1e9},
	{"TBPS", 1e12},
	{"BIT/S", 1},
	{"BPS", 1},
	{"", 1},
}

var wattUnits = []struct {
	suffix string
	factor float64
}{
	{"KW", 1e3},
	{"MW", 1e6},
	{"W", 1},
	{"", 1},
}

func parse(what, s string, units []struct {
	suffix string
	factor float64
},
) (int64, error) {
	v, err := parseFloat(what, s, units)
	return int64(math.Round(v)), err
}

func parseFloat(what, s string, units []struct {
	suffix string
	factor float64
},
) (float64, error) {
	t := strings.ToUpper(strings.ReplaceAll(strings.TrimSpace(s), " ", ""))
	for _, u := range units {
		num, ok := strings.CutSuffix(t, u.suffix)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(num, 64)
		if err != nil || math.IsNaN(v) || v < 0 || v*u.factor >= math.MaxInt64 {
			break
		}
		return v * u.factor, nil
	}
	return 0, errs.Errorf("units.parse", errs.Invalid, "%q is not a %s", s, what)
}

// ParseBytes reads a size; it must not be negative.
func ParseBytes(s string) (Bytes, error) {
	v, err := parse("size: write for example 512MiB, 1.5GB or a number of bytes", s, byteUnits)
	return Bytes(v), err
}

// ParseBitsPerSecond reads a bandwidth; it must not be negative.
func ParseBitsPerSecond(s string) (BitsPerSecond, error) {
	v, err := parse("bandwidth: write for example 1Gbit/s or 100Mbit/s", s, bitUnits)
	return BitsPerSecond(v), err
}

// ParseWatts reads a power; it must not be negative.
func ParseWatts(s string) (Watts, error) {
	v, err := parseFloat("power: write for example 700W, 6.5kW or a number of watts", s, wattUnits)
	return Watts(v), err
}

// String prints with a binary unit and at most one decimal.
func (b Bytes) String() string {
	names := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	v, i := float64(b), 0
	for math.Abs(v) >= 1024 && i < len(names)-1 {
		v, i = v/1024, i+1
	}
	return trim(v) + " " + names[i]
}

// MarshalYAML writes the size exactly, in the largest unit that divides it.
func (b Bytes) MarshalYAML() (any, error) {
	for i, unit := range []Bytes{TiB, GiB, MiB, KiB} {
		if b != 0 && b%unit == 0 {
			return strconv.FormatInt(int64(b/unit), 10) + []string{"TiB", "GiB", "MiB", "KiB"}[i], nil
		}
	}
	return int64(b), nil
}

// String prints with a decimal unit.
func (b BitsPerSecond) String() string {
	names := []string{"bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"}
	v, i := float64(b), 0
	for math.Abs(v) >= 1000 && i < len(names)-1 {
		v, i = v/1000, i+1
	}
	return trim(v) + " " + names[i]
}

// String prints with a decimal unit.
func (w Watts) String() string {
	names := []string{"W", "kW", "MW"}
	v, i := float64(w), 0
	for math.Abs(v) >= 10_000 && i < len(names)-1 {
		v, i = v/1000, i+1
	}
	return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64) + " " + names[i]
}

func trim(v float64) string {
	if v == math.Trunc(v) {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}

// UnmarshalJSON reads a number or a string with a unit.
func (b *Bytes) UnmarshalJSON(data []byte) error { return unmarshal(data, ParseBytes, b) }

// UnmarshalJSON reads a number or a string with a unit.
func (b *BitsPerSecond) UnmarshalJSON(data []byte) error {
	return unmarshal(data, ParseBitsPerSecond, b)
}

// UnmarshalJSON reads a number or a string with a unit.
func (w *Watts) UnmarshalJSON(data []byte) error { return unmarshal(data, ParseWatts, w) }

func unmarshal[T any](data []byte, parse func(string) (T, error), dst *T) error {
	s := string(data)
	if s == "null" {
		return nil
	}
	if len(data) > 0 && data[0] == '"' {
		if err := json.Unmarshal(data, &s); err != nil {
			return fmt.Errorf("read a quantity: %w", err)
		}
	}
	v, err := parse(s)
	if err == nil {
		*dst = v
	}
	return err
}
