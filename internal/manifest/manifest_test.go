package manifest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/manifest"
	"github.com/lineshaft/lineshaft/internal/units"
)

type document struct {
	Name  string            `json:"name"`
	Count int               `json:"count"`
	Share float64           `json:"share"`
	On    bool              `json:"on"`
	Size  units.Bytes       `json:"size"`
	Words []string          `json:"words"`
	Env   map[string]string `json:"env"`
	Part  *part             `json:"part"`
	Raw   json.RawMessage   `json:"raw"`
	Skip  string            `json:"-"`
}

type part struct {
	Layers []struct {
		Units int `json:"units"`
	} `json:"layers"`
}

const asYAML = `# a comment
name: été
count: 0x10
share: 1.5
on: true
size: 1GiB
words: [a, 'b c', "d\n"]
env:
  A: "1"
  B: two
part:
  layers:
    - units: 512
    - {units: 10}
raw: {a: [1, null, x]}
`

const asJSON = `{"name": "\u00e9t\u00e9", "count": 16, "share": 15e-1, "on": true,
 "size": 1073741824, "words": ["a", "b c", "d\n"], "env": {"A": "1", "B": "two"},
 "part": {"layers": [{"units": 512}, {"units": 10}]}, "raw": {"a": [1, null, "x"]}}`

func TestYAMLAndJSONSayTheSame(t *testing.T) {
	var a, b document
	if err := manifest.Decode([]byte(asYAML), &a); err != nil {
		t.Fatal(err)
	}
	if err := manifest.Decode([]byte(asJSON), &b); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, b) {
		t.Fatalf("YAML gives\n%+v\nJSON gives\n%+v", a, b)
	}
	if a.Name != "été" || a.Count != 16 || a.Size != units.GiB || a.Words[2] != "d\n" || a.Part.Layers[0].Units != 512 || string(a.Raw) != `{"a":[1,null,"x"]}` {
		t.Fatalf("%+v", a)
	}
}

func TestMistakesAreNamedWithTheirPlace(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"name: a\nnmae: b\n", `line 2, column 1: unknown field "nmae"; did you mean "name"?`},
		{"name: a\npart:\n  layres: []\n", `line 3, column 3: unknown field "layres" in part; did you mean "layers"?`},
		{"part:\n  layers:\n    - units: 1\n    - unit: 2\n", `line 4, column 7: unknown field "unit" in part.layers[1]; did you mean "units"?`},
		{"{\n  \"coun\": 1}", `line 2, column 3: unknown field "coun"; did you mean "count"?`},
		{`{"name": "é", "zzzzzz": 1}`, `line 1, column 15: unknown field "zzzzzz"; there are: name, count, share, on, size, words, env, part, raw`},
		{"Skip: a", `line 1, column 1: unknown field "Skip"; there are: name, count, share, on, size, words, env, part, raw`},
		{"count: many", `line 1, column 8: count must be a number, not text`},
		{"count: 1.5", `line 1, column 8: count: 1.5 is not a whole number in range`},
		{`{"count": 99999999999999999999}`, `line 1, column 11: count: 99999999999999999999 is not a whole number in range`},
		{"share: .inf", `line 1, column 8: a number must be finite`},
		{"env:\n  A: 1\n", `line 2, column 6: env.A must be text, not a number: write "1" in quotes`},
		{"size: huge", `line 1, column 7: size: "huge" is not a size: write for example 512MiB, 1.5GB or a number of bytes`},
		{"words: a", `line 1, column 8: words must be a list, not text`},
		{"words:\n  - [a]\n", `line 2, column 5: words[0] must be text, not a list`},
		{"part: 3", `line 1, column 7: part must be a mapping, not a number`},
		{"- a", `line 1, column 1: the document must be a mapping, not a list`},
		{`{"name": "a", "name": "b"}`, `line 1, column 15: field "name" is given twice; the first is in line 1`},
		{`{"name": "a"} x`, `line 1, column 15: something follows the end of the document`},
		{`{"name": `, `line 1, column 10: the document ends too early`},
		{"a: &x 1", `line 1, column 4: anchors, aliases and tags are not taken: write the value out`},
		{"---\nname: a\n---\nname: b\n", `line 4, column 1: a second document begins here; give one`},
		{"", `line 1, column 1: the document is empty`},
		{"\xff", `line 1, column 1: the document is not UTF-8 text`},
	} {
		err := manifest.Decode([]byte(c.in), &document{})
		if err == nil || err.Error() != c.want || !errs.Is(err, errs.Invalid) {
			t.Errorf("%q:\n  got  %v\n  want %s", c.in, err, c.want)
		}
	}
}

func TestASectionIsCheckedAndKeptRaw(t *testing.T) {
	var d document
	err := manifest.Decode([]byte("raw:\n  layers: [{units: 3}]\n"), &d, manifest.Section{Path: "raw", Type: part{}})
	if err != nil || string(d.Raw) != `{"layers":[{"units":3}]}` {
		t.Fatalf("raw %s, %v", d.Raw, err)
	}
	err = manifest.Decode([]byte("raw:\n  layer: []\n"), &d, manifest.Section{Path: "raw", Type: part{}})
	if want := `line 2, column 3: unknown field "layer" in raw; did you mean "layers"?`; err == nil || err.Error() != want {
		t.Fatalf("got %v, want %s", err, want)
	}
}

func TestHostileDocumentsAreRefusedAtOnce(t *testing.T) {
	for name, doc := range map[string]string{
		"huge":          strings.Repeat("a", manifest.MaxSize+1),
		"brackets":      strings.Repeat("[\n", 100_000),
		"JSON depth":    "{\"raw\":" + strings.Repeat("[", 200_000),
		"dashes":        strings.Repeat("- ", 100_000),
		"anchors":       strings.Repeat("&a ", 50_000),
		"flow mappings": strings.Repeat("{a: ", 50_000),
		"deep blocks":   deep(500),
	} {
		err := manifest.Decode([]byte(doc), &document{})
		if !errs.Is(err, errs.Invalid) && !errs.Is(err, errs.TooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func deep(n int) string {
	var b bytes.Buffer
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{asYAML, asJSON, "name: a", `{"part":{"layers":[{}]}}`, "a: |\n  b\n", "? a\n: b", "- - -", "{{", "a: *b", "x: !!int 3", "\"\\u0000\": ~", "<<: {a: b}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var d document
		err := manifest.Decode(data, &d, manifest.Section{Path: "raw", Type: part{}})
		if err == nil && d.Raw != nil && !json.Valid(d.Raw) {
			t.Fatalf("raw is not JSON: %q", d.Raw)
		}
		if err != nil && errs.KindOf(err) != errs.Invalid && errs.KindOf(err) != errs.TooLarge {
			t.Fatalf("kind %v: %v", errs.KindOf(err), err)
		}
	})
}

func TestPlacedValuesKnowWhereTheyStand(t *testing.T) {
	var doc struct {
		Tasks manifest.Fields[manifest.Fields[float64]] `json:"tasks"`
		Rows  []manifest.At[[]float64]                  `json:"rows"`
	}
	if err := manifest.Decode([]byte("tasks:\n  b: {cpu: 2}\n  a: {gpu: 1, cpu: 3}\nrows:\n- [1, 2]\n- [3]\n"), &doc); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(doc); got != "{[{b 2 3 [{cpu 2 7 2}]} {a 3 3 [{gpu 3 7 1} {cpu 3 15 3}]}] [{[1 2] 5 3} {[3] 6 3}]}" {
		t.Fatal(got)
	}
	err := manifest.Decode([]byte("tasks:\n  b: {cpu: x}\n"), &doc)
	if err == nil || err.Error() != "line 2, column 12: tasks.b.cpu must be a number, not text" {
		t.Fatal(err)
	}
}
