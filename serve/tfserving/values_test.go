package tfserving_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// everyType is two rows of two values for each type, as JSON.
func everyType() (rows [2]string, columns string) {
	all := [][3]string{
		{"bool", "[true, false]", "[false, true]"},
		{"uint8", "[0, 255]", "[1, 2]"},
		{"uint16", "[0, 65535]", "[1, 2]"},
		{"uint32", "[0, 4294967295]", "[1, 2]"},
		{"uint64", "[0, 18446744073709551615]", "[1, 2]"},
		{"int8", "[-128, 127]", "[1, 2]"},
		{"int16", "[-32768, 32767]", "[1, 2]"},
		{"int32", "[-2147483648, 2147483647]", "[1, 2]"},
		{"int64", "[-9223372036854775808, 9223372036854775807]", "[1, 2]"},
		{"float16", "[0.5, -65504.0]", "[1.0, 2.0]"},
		{"bfloat16", "[0.5, -256.0]", "[1.0, 2.0]"},
		{"float32", "[0.1, -1e-20]", "[1.0, 2.0]"},
		{"float64", "[0.1, -1e-200]", "[1.0, 2.0]"},
		{"bytes", `["a", "\"\\\u0001é"]`, `["", "b"]`},
	}
	var first, second, whole []string
	for _, c := range all {
		first = append(first, fmt.Sprintf("%q: %s", c[0], c[1]))
		second = append(second, fmt.Sprintf("%q: %s", c[0], c[2]))
		whole = append(whole, fmt.Sprintf("%q: [%s, %s]", c[0], c[1], c[2]))
	}
	join := func(s []string) string { return "{" + strings.Join(s, ", ") + "}" }
	return [2]string{join(first), join(second)}, join(whole)
}

// same compares two documents, numbers by their text.
func same(t *testing.T, what, got, want string) {
	t.Helper()
	read := func(s string) (v any) {
		d := json.NewDecoder(strings.NewReader(s))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%s: %q: %v", what, s, err)
		}
		return v
	}
	if !reflect.DeepEqual(read(got), read(want)) {
		t.Errorf("%s: %s\nwant %s", what, got, want)
	}
}

func TestValuesOfEveryTypeGoBothWaysByRowsAndByColumns(t *testing.T) {
	p, _ := openEchoes(t)
	rows, columns := everyType()
	outs := func(s string) string {
		for _, name := range []string{"uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64", "bool", "bytes"} {
			s = strings.ReplaceAll(s, `"`+name+`"`, `"`+name+`_out"`)
		}
		return s
	}
	code, text := p.ask(t, "POST", "/v1/models/all:predict", `{"instances": [`+rows[0]+`, `+rows[1]+`]}`)
	if code != 200 {
		t.Fatal(text)
	}
	same(t, "rows", text, outs(`{"predictions": [`+rows[0]+`, `+rows[1]+`]}`))
	if code, text = p.ask(t, "POST", "/v1/models/all:predict", `{"inputs": `+columns+`}`); code != 200 {
		t.Fatal(text)
	}
	same(t, "columns", text, outs(`{"outputs": `+columns+`}`))
}

func TestRequestsAreAnsweredInTheirForm(t *testing.T) {
	p, _ := openEchoes(t)
	for _, c := range []struct{ model, body, want string }{
		{"three", `{"instances": [[1, 2, 3]]}`, `{"predictions": [[1.0, 2.0, 3.0]]}`},
		{"loose", `{"instances": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]}`, `{"predictions": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]}`},
		{"loose", `{"inputs": {"x": [[[1, 2]]]}}`, `{"outputs": [[[1, 2]]]}`},
		{"loose", `{"inputs": [[[3.0, 2e2]]]}`, `{"outputs": [[[3, 200]]]}`},
		{"loose", `{"instances": [[], []]}`, `{"predictions": [[], []]}`},
		{"mixed", `{"inputs": {"input": [[1, NaN, -Infinity]], "sr": 16000}}`, ""},
		{"mixed", `{"inputs": {"sr": 16000, "input": [[1, 2], [3, 4]]}}`, `{"outputs": {"output": [[1.0, 2.0], [3.0, 4.0]], "rate": 16000}}`},
		{
			"word", `{"instances": ["a", {"b64": "YWI="}, {"b64": "YWI"}, { "b64" : "_-8=" }, ""]}`,
			`{"predictions": [{"b64": "YQ=="}, {"b64": "YWI="}, {"b64": "YWI="}, {"b64": "/+8="}, {"b64": ""}]}`,
		},
		{"word", `{"inputs": ["x"]}`, `{"outputs": [{"b64": "eA=="}]}`},
		{"word", `{"inputs": {"word": ["x"]}}`, `{"outputs": [{"b64": "eA=="}]}`},
		{
			"words", `{"instances": [{"word": "a\tb", "raw": ["c"]}, {"raw": [{"b64": "ZA=="}], "word": {"b64": "/w=="}}]}`,
			`{"predictions": [{"text": "a\tb", "raw_bytes": [{"b64": "Yw=="}]}, {"text": "\ufffd", "raw_bytes": [{"b64": "ZA=="}]}]}`,
		},
		{"images", `{"instances": [[1, 2, 3], [4, 5, 6]]}`, `{"predictions": [[1, 2, 3], [4, 5, 6]]}`},
	} {
		code, text := p.ask(t, "POST", "/v1/models/"+c.model+":predict", c.body)
		if code != 200 {
			t.Errorf("%s: %d %s", c.body, code, text)
		} else if c.want != "" {
			same(t, c.body, text, c.want)
		} else if !strings.Contains(text, `[[1.0,NaN,-Infinity]]`) {
			t.Errorf("%s: %s", c.body, text)
		}
	}
}

func TestAValueThatDoesNotFitIsRefusedWithItsPlace(t *testing.T) {
	p, _ := openEchoes(t)
	rows, _ := everyType()
	all := func(from, to string) string {
		if !strings.Contains(rows[0], from) {
			t.Fatalf("%q is not there", from)
		}
		return `{"instances": [` + rows[1] + `, ` + strings.Replace(rows[0], from, to, 1) + `]}`
	}
	for _, c := range []struct{ model, body, says string }{
		{"all", all("255", "256"), `instances[1][1]: "256" does not fit a uint8`},
		{"all", all("255", "-1"), `"-1" does not fit a uint8`},
		{"all", all("255", "1.5"), `"1.5" does not fit a uint8`},
		{"all", all("65535", "65536"), `does not fit a uint16`},
		{"all", all("4294967295", "4294967296"), `does not fit a uint32`},
		{"all", all("18446744073709551615", "18446744073709551616"), `does not fit a uint64`},
		{"all", all("-128", "-129"), `does not fit an int8`},
		{"all", all("32767", "32768"), `does not fit an int16`},
		{"all", all("2147483647", "2147483648"), `does not fit an int32`},
		{"all", all("9223372036854775807", "9223372036854775808"), `does not fit an int64`},
		{"all", all("-65504.0", "-65520"), `does not fit a float16`},
		{"all", all("-1e-200", "1e400"), `does not fit a float64`},
		{"all", all("true", `"true"`), `a string where true or false is needed`},
		{"all", all(`"a"`, `7`), `"7" where a string or {"b64": …} is needed`},
		{"all", all(`"a"`, `{"b64": "?"}`), `the string is not base64`},
		{"all", all(`"a"`, `{"b64": "YQ==", "x": 1}`), `and nothing else`},
		{"all", all(`"uint8": [0, 255], `, ``), `instances[1]: the input "uint8" is missing`},
		{"all", all(`"uint8": [0, 255], `, `"uint8": [0, 1], "uint8": [0, 1], `), `the input "uint8" stands twice`},
		{"all", all(`"uint8"`, `"nope"`), `the model has no input "nope"`},
		{"all", `{"instances": [[1, 2]]}`, `instances[0]: a list where an object with the inputs "bool", "uint8"`},
		{"all", `{"inputs": [[1, 2]]}`, `inputs: a list where an object with the inputs "bool"`},
		{"loose", `{"instances": [[[1, 2], [3]]]}`, `instances[0][1]: the list has 1 elements and 2 are needed`},
		{"loose", `{"instances": [[[1, 2], [3, 4]], [[5, 6]]]}`, `instances[1]: the list has 1 elements and 2 are needed: a row of the input "x" has the shape [?, 2], and in this request [2, 2]`},
		{"loose", `{"instances": [[[1, 2]], [[5, 6], [7, 8]]]}`, `instances[1]: the list has more than 1 elements`},
		{"loose", `{"instances": [[], [[5, 6]]]}`, `instances[1]: the list has more than 0 elements`},
		{"loose", `{"instances": [[1, 2]]}`, `instances[0][0]: "1" where a list of 2 is needed`},
		{"images", `{"instances": [1]}`, `instances[0]: "1" where a list is needed`},
		{"mixed", `{"instances": [{"input": [1], "sr": 1}]}`, `the input "sr" has no rows: send "inputs"`},
		{"mixed", `{"inputs": {"input": [[1, 2], [3]], "sr": 1}}`, `inputs[1]: the list has 1 elements and 2 are needed`},
		{"mixed", `{"inputs": {"input": [[1]], "sr": [1]}}`, `a list where a number is needed`},
		{"words", `{"instances": [{"word": "a", "raw": ["b", "c"]}]}`, `the list has more than 1 elements`},
		{"words", `{"instances": [{"word": "a", "raw": {"b64": "YQ=="}}]}`, `where a list is needed`},
		{"words", `{"inputs": {"word": ["a", "b"], "raw": [["c"]]}}`, `"word" has 2 rows and "raw" has 1`},
		{"words", `{"instances": [{"b64": "YQ=="}]}`, `where the inputs "word", "raw" are needed`},
	} {
		code, text := p.ask(t, "POST", "/v1/models/"+c.model+":predict", c.body)
		var got struct{ Error string }
		if err := json.Unmarshal([]byte(text), &got); err != nil || code != 400 || !strings.Contains(got.Error, c.says) {
			t.Errorf("%s\n\t%d %s\n\twant %s", c.body, code, text, c.says)
		}
	}
}

func TestMetadataHasEveryTypeAndShape(t *testing.T) {
	p, _ := openEchoes(t)
	code, text := p.ask(t, "GET", "/v1/models/mixed/metadata", "")
	for _, part := range []string{`"dtype": "DT_INT64"`, `"dtype": "DT_FLOAT"`, `"dim": []`, `"StatefulPartitionedCall:1"`} {
		if code != 200 || !strings.Contains(text, part) {
			t.Errorf("%s is not in %d %s", part, code, text)
		}
	}
}
