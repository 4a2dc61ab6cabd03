package number

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
)

// same compares with the standard library's reading of the same text, bit by bit.
func same(t *testing.T, text string) {
	t.Helper()
	want, err := strconv.ParseFloat(text, 32)
	got, end, ok := Float32([]byte(text), 0)
	if end != len(text) || ok != (err == nil) || ok && math.Float32bits(got) != math.Float32bits(float32(want)) {
		t.Errorf("%s: %v (%#x), end %d, %v; want %v (%#x)", text, got, math.Float32bits(got), end, ok, want, math.Float32bits(float32(want)))
	}
}

func TestNumbersAreTheNearestFloat32(t *testing.T) {
	for _, text := range []string{
		"0", "-0", "0.0", "-0.0", "1", "-1", "0.1", "0.5", "255", "16777216", "16777217", "16777219", "33554433", "0.49411764705882355",
		"1.00000005960464477539", "1.0000000596046448", "1.000000178813934326", "0.0000000000000000001", "9999999999999999999",
		"9223372036854775807", "18446744073709551615", "1e10", "1E+5", "1e-45", "1e-46", "3.4028235e38", "3.4028236e38", "1e39", "-1e400",
		"0.000000059604644775390625", "123456789.123456789", "8388608.5", "8388609.5", "0.30000000000000004", "1e-400", "7.006492321624085e-46",
	} {
		same(t, text)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300_000 {
		switch rng.IntN(4) {
		case 0: // any float32, as it prints
			f := math.Float32frombits(rng.Uint32())
			if f == f && !math.IsInf(float64(f), 0) {
				same(t, strconv.FormatFloat(float64(f), 'f', -1, 32))
				same(t, strconv.FormatFloat(float64(f), 'e', -1, 64))
			}
		case 1: // what json.dumps makes of pixels
			same(t, strconv.FormatFloat(float64(rng.IntN(256))/255, 'f', -1, 64))
		case 2: // digits with a point somewhere
			m := strconv.FormatUint(rng.Uint64()>>rng.IntN(60), 10)
			at := 1 + rng.IntN(len(m))
			if m[0] != '0' && at < len(m) {
				same(t, m[:at]+"."+m[at:])
				same(t, "0."+m)
			}
		case 3: // close to the middle between two float32
			f := math.Float32frombits(rng.Uint32()&0x807fffff | uint32(64+rng.IntN(126))<<23)
			middle := (float64(f) + float64(math.Nextafter32(f, math.MaxFloat32))) / 2
			same(t, strconv.FormatFloat(middle, 'f', rng.IntN(25), 64))
		}
	}
}

func TestWhatIsNoNumberIsNotReadAsOne(t *testing.T) {
	for _, text := range []string{"", "-", "+1", ".5", "01", "-01", "1.", "1.e5", "1e", "1e+", "abc", "nan", "-NaN", "Inf", "--1", "\"1\"", "[", "true"} {
		if v, end, _ := Float32([]byte(text), 0); end != 0 {
			t.Errorf("%q is read as %v up to %d", text, v, end)
		}
	}
	for text, want := range map[string]float64{"NaN": math.NaN(), "Infinity": math.Inf(1), "-Infinity": math.Inf(-1)} {
		v, end, ok := Float32([]byte(text+","), 0)
		if !ok || end != len(text) || fmt.Sprint(v) != fmt.Sprint(want) {
			t.Errorf("%s: %v, %d, %v", text, v, end, ok)
		}
	}
}

func FuzzNumber(f *testing.F) {
	for _, s := range []string{"1", "-0.5", "1e5", "0.49411764705882355", "NaN", "-Infinity", "1e999", "00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, end, ok := Float32(b, 0)
		if end < 0 || end > len(b) {
			t.Fatalf("%q ends at %d", b, end)
		}
		if end == 0 || string(b[:end]) == "NaN" {
			return
		}
		want, err := strconv.ParseFloat(string(b[:end]), 32)
		if ok != (err == nil) || ok && math.Float32bits(v) != math.Float32bits(float32(want)) {
			t.Fatalf("%q: %v, %v; want %v, %v", b[:end], v, ok, want, err)
		}
	})
}
