package scan_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve/scan"
)

func TestAFaultSaysWhatAndWhere(t *testing.T) {
	for body, want := range map[string]string{
		`{"a": [{"b": tru}]}`:        `a[0].b: "tru" where a value is needed (byte 13 of the body)`,
		`{"a" 1}`:                    `"1" where ':' is needed after the key "a"`,
		`{a: 1}`:                     `"a:" where a key in double quotes is needed`,
		`{"a": 1`:                    `the end of the body where ',' or '}' is needed`,
		`{"a": [1 2]}`:               `a: "2" where ',' or ']' is needed`,
		`{"a": "x`:                   `a: a string does not end`,
		"{\"a\": \"x\ny\"}":          `a: a string holds a control character`,
		`{"a": "\q"}`:                `a: a string has an escape that JSON does not have`,
		`{"a": é}`:                   `a: "é" where a value is needed`,
		`[]`:                         `a list where an object is needed`,
		`{"a": 01}`:                  `a: "01" where a value is needed`,
		strings.Repeat(`{"a":`, 200): `a value nests deeper than 64`,
		`{} x`:                       `"x" follows the end of the request`,
		"{}\x00":                     `follows the end of the request`,
		``:                           `the end of the body where an object is needed`,
	} {
		s := scan.Scanner{B: []byte(body)}
		err := s.Object(func([]byte) error { return s.Skip() })
		if err == nil {
			err = s.End()
		}
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n\t%v\n\t%s", body, err, want)
		}
	}
}

func TestWholeNumbersAndTruthAreReadExactly(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, " 12,": 12, "9223372036854775807": 1<<63 - 1, "-1": -1, "1.0": -1, "1e3": -1, "9223372036854775808": -1, "x": -1, "": -1} {
		s := scan.Scanner{B: []byte(text)}
		if n, err := s.Uint(); n != max(0, want) || (err != nil) != (want < 0) {
			t.Errorf("%q: %d %v", text, n, err)
		}
	}
	for text, want := range map[string]string{"true": "true", " false": "false", "1": "", "tru": "", "\"true\"": ""} {
		s := scan.Scanner{B: []byte(text)}
		if v, err := s.Bool(); (err == nil) != (want != "") || err == nil && v != (want == "true") {
			t.Errorf("%q: %v %v", text, v, err)
		}
	}
}

// FuzzSkip holds that what is skipped is what the standard library takes, and that text comes back as it was.
func FuzzSkip(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e3,"x\u00e9\n",true,null,{}]}`, `[]`, `"\ud800"`, `-0`, `[1,]`, "{\"\":\"\xff\"}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := scan.Scanner{B: b}
		err := s.Skip()
		if err == nil {
			err = s.End()
		}
		if err != nil && !errs.Is(err, errs.Invalid) {
			t.Fatalf("%q: %v", b, err)
		}
		if json.Valid(b) && err != nil && !strings.Contains(err.Error(), "nests deeper") {
			t.Fatalf("%q is JSON and was refused: %v", b, err)
		}
		var back string
		if q := scan.AppendText(nil, b); json.Unmarshal(q, &back) != nil || utf8.Valid(b) && back != string(b) {
			t.Fatalf("%q is written as %s", b, q)
		}
	})
}
