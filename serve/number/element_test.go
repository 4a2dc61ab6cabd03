package number

import (
	"math"
	"strconv"
	"testing"

	"github.com/lineshaft/lineshaft/serve/tensor"
)

func TestElementsAreReadExactlyOrRefused(t *testing.T) {
	cases := []struct {
		typ  tensor.Type
		text string
		want string // as Append writes it; empty: refused
	}{
		{tensor.Bool, "true", "true"},
		{tensor.Bool, "false", "false"},
		{tensor.Bool, "1", "true"},
		{tensor.Bool, "0", "false"},
		{tensor.Bool, "2", ""},
		{tensor.Bool, "1.0", ""},
		{tensor.Bool, "-1", ""},
		{tensor.Bool, "True", ""},
		{tensor.Bool, "tru", ""},
		{tensor.Bool, "", ""},
		{tensor.Uint8, "255", "255"},
		{tensor.Uint8, "256", ""},
		{tensor.Uint8, "-1", ""},
		{tensor.Uint8, "-0", "0"},
		{tensor.Uint8, "1e2", "100"},
		{tensor.Uint8, "3.0", "3"},
		{tensor.Uint8, "3.5", ""},
		{tensor.Uint8, "NaN", ""},
		{tensor.Uint8, "007", ""},
		{tensor.Uint16, "65535", "65535"},
		{tensor.Uint16, "65536", ""},
		{tensor.Uint32, "4294967295", "4294967295"},
		{tensor.Uint32, "4294967296", ""},
		{tensor.Uint64, "18446744073709551615", "18446744073709551615"},
		{tensor.Uint64, "18446744073709551616", ""},
		{tensor.Uint64, "1e300", ""},
		{tensor.Int8, "-128", "-128"},
		{tensor.Int8, "-129", ""},
		{tensor.Int8, "127", "127"},
		{tensor.Int8, "128", ""},
		{tensor.Int8, "-1.0", "-1"},
		{tensor.Int16, "-32768", "-32768"},
		{tensor.Int16, "32768", ""},
		{tensor.Int32, "-2147483648", "-2147483648"},
		{tensor.Int32, "2147483648", ""},
		{tensor.Int64, "-9223372036854775808", "-9223372036854775808"},
		{tensor.Int64, "9223372036854775807", "9223372036854775807"},
		{tensor.Int64, "9223372036854775808", ""},
		{tensor.Int64, "-", ""},
		{tensor.Int64, "\"1\"", ""},
		{tensor.Int64, "Infinity", ""},
		{tensor.Float16, "0.1", "0.099975586"},
		{tensor.Float16, "65504", "65504.0"},
		{tensor.Float16, "65520", ""},
		{tensor.Float16, "Infinity", "Infinity"},
		{tensor.BFloat16, "1.005", "1.0078125"},
		{tensor.BFloat16, "3.4e38", ""},
		{tensor.BFloat16, "NaN", "NaN"},
		{tensor.BFloat16, "-Infinity", "-Infinity"},
		{tensor.Float32, "0.1", "0.1"},
		{tensor.Float32, "1e39", ""},
		{tensor.Float32, "16777217", "1.6777216e+07"},
		{tensor.Float64, "0.1", "0.1"},
		{tensor.Float64, "1e309", ""},
		{tensor.Float64, "NaN", "NaN"},
		{tensor.Float64, "-Infinity", "-Infinity"},
		{tensor.Float64, "-5", "-5.0"},
		{tensor.Float64, ".5", ""},
		{tensor.Float64, "1.7976931348623157e308", "1.7976931348623157e+308"},
	}
	for _, c := range cases {
		dst := make([]byte, c.typ.Size())
		end, ok := Read(c.typ, dst, []byte(c.text), 0)
		if !ok {
			if c.want != "" {
				t.Errorf("%s %q is refused at %d", c.typ, c.text, end)
			}
			continue
		}
		if got := string(Append(nil, c.typ, dst)); got != c.want || end != len(c.text) {
			t.Errorf("%s %q is read as %s up to %d, want %s", c.typ, c.text, got, end, c.want)
		}
	}
}

// FuzzElement holds every type against the standard library's reading of the same text.
func FuzzElement(f *testing.F) {
	for _, s := range []string{"1", "-0.5", "1e5", "255", "-129", "18446744073709551615", "NaN", "-Infinity", "1e999", "00", "true", "1.0"} {
		for typ := tensor.Bool; typ < tensor.Bytes; typ++ {
			f.Add(uint8(typ), []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		typ := tensor.Type(kind)
		dst := make([]byte, typ.Size())
		end, ok := Read(typ, dst, b, 0)
		if end < 0 || end > len(b) {
			t.Fatalf("%s %q ends at %d", typ, b, end)
		}
		if !ok {
			return
		}
		text := string(b[:end])
		got := string(Append(nil, typ, dst))
		switch typ {
		case tensor.Float64:
			want, err := strconv.ParseFloat(text, 64)
			if v, _ := strconv.ParseFloat(got, 64); err != nil || v != want && !math.IsNaN(want) {
				t.Fatalf("%q as float64 is %s, want %v (%v)", text, got, want, err)
			}
		case tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64:
			if want, err := strconv.ParseInt(text, 10, 8*typ.Size()); err == nil && got != strconv.FormatInt(want, 10) {
				t.Fatalf("%q as %s is %s", text, typ, got)
			}
		case tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64:
			if want, err := strconv.ParseUint(text, 10, 8*typ.Size()); err == nil && got != strconv.FormatUint(want, 10) {
				t.Fatalf("%q as %s is %s", text, typ, got)
			}
		}
	})
}
