package solve_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/lp"
	"github.com/lineshaft/lineshaft/solve"
)

const article = `maximize
 obj: + 3 task1 + 2 task2
subject to
 cpu: + 2 task1 + 1 task2 <= 4
 gpu: + 4 task1 + 2 task2 <= 4
binary
 task1
 task2
end
`

func TestTheSameProblemInEveryForm(t *testing.T) {
	for name, text := range map[string]string{
		"a.lp":  article,
		"short": "\\ two tasks\nMax 3task1 + 2 task2\ns.t.\n\ncpu: 2 task1 + task2 =< 4 gpu: 4 task1\n + 2 task2 < 4\nBin task1 task2\n End\n",
		"free": "* two tasks\nNAME\nOBJSENSE MAX\nROWS\n N COST\n L cpu\n L gpu\nCOLUMNS\n task1 COST 3 cpu 2\n task1 gpu 4.0\n" +
			" task2 COST 2 cpu 1\n task2 gpu 2\nRHS\n RHS cpu 4 gpu 4\nBOUNDS\n BV BND task1\n BV task2\nENDATA\n",
		"a.mps": "NAME\nOBJSENSE\n    MAX\nROWS\n N  COST\n L  cpu\n L  gpu\nCOLUMNS\n" +
			"    task1     COST      3.0            cpu       2.0\n    task1     gpu       4.0\n" +
			"    task2     COST      2.0            cpu       1.0\n    task2     gpu       2.0\n" +
			"RHS\n    RHS       cpu       4.0            gpu       4.0\nBOUNDS\n BV BND       task1\n BV BND       task2\nENDATA\n",
		"a.yaml": "maximise: {task1: 3, task2: 2}\nconstraints:\n- {name: cpu, terms: {task1: 2, task2: 1}, at_most: 4}\n- {name: gpu, terms: {task1: 4, task2: 2}, at_most: 4}\nbinary: [task1, task2]\n",
		"tasks":  "tasks:\n  task1: {cpu: 2, gpu: 4, value: 3}\n  task2: {cpu: 1, gpu: 2, value: 2}\navailable: {cpu: 4, gpu: 4}\n",
		"a.json": `{"tasks": {"task1": {"cpu": 2, "gpu": 4, "value": 3}, "task2": {"cpu": 1, "gpu": 2, "value": 2}}, "available": {"cpu": 4, "gpu": 4}}`,
	} {
		p, err := solve.Parse("", name, []byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := solve.WriteLP(p); got != article {
			t.Errorf("%s is read as\n%s", name, got)
		}
	}
	p, err := solve.Parse("", "", []byte("c: [-3, -2]\nA:\n- [2, 1]\n- [4, 0]\nb: [4, 4]\nx: integer\n"))
	if err != nil || solve.WriteLP(p) != "minimize\n obj: - 3 x1 - 2 x2\nsubject to\n r1: + 2 x1 + 1 x2 <= 4\n r2: + 4 x1 <= 4\ngeneral\n x1\n x2\nend\n" {
		t.Error(err)
	}
}

func TestRangesBoundsAndInfinities(t *testing.T) {
	lpText := "min\n x + 2 y - 3 + z + w\nst\n a: -1 <= x + y - z <= 5\n b: 2 x + 3 x + w >= 1\n x + z >= 4\n -x - - y = -2\nbounds\n x free\n -2 <= y\n z <= 1e30\n w = 4\nend\n"
	p, err := solve.ParseLP([]byte(lpText))
	if err != nil {
		t.Fatal(err)
	}
	want := "minimize\n obj: + 1 x + 2 y + 1 z + 1 w - 3\nsubject to\n a: -1 <= + 1 x + 1 y - 1 z <= 5\n b: + 5 x + 1 w >= 1\n r3: + 1 x + 1 z >= 4\n r4: - 1 x + 1 y = -2\nbounds\n x free\n -2 <= y <= infinity\n 4 <= w <= 4\nend\n"
	if got := solve.WriteLP(p); got != want {
		t.Fatalf("got\n%s", got)
	}
	mps := "NAME x\nROWS\n N c\n N other\n L l\n G g\n E e\n E f\nCOLUMNS\n M 'MARKER' 'INTORG'\n i c 1 l 1\n j other 5 g 1\n M 'MARKER' 'INTEND'\n x e 1 f 1\n x c 2\n" +
		"RHS\n c 7 l 4\n g 1 e 2\n f 3\nRANGES\n R l 1 g 2\n R e -1.5\n f 1\nBOUNDS\n LO B j 2\n MI B x\n UP B x -1\nENDATA\n"
	if p, err = solve.ParseMPS([]byte(mps)); err != nil {
		t.Fatal(err)
	}
	want = "minimize\n obj: + 1 i + 0 j + 2 x - 7\nsubject to\n l: 3 <= + 1 i <= 4\n g: 1 <= + 1 j <= 3\n e: 0.5 <= + 1 x <= 2\n f: 3 <= + 1 x <= 4\nbounds\n 0 <= i <= 1\n 2 <= j <= infinity\n -infinity <= x <= -1\ngeneral\n i\n j\nend\n"
	if got := solve.WriteLP(p); got != want {
		t.Fatalf("got\n%s", got)
	}
	fixed := "NAME\nROWS\n N  the cost\n G  a row\nCOLUMNS\n    my x      the cost  1.5            a row     2\nRHS\n              a row     3\nENDATA\n"
	if p, err = solve.ParseMPS([]byte(fixed)); err != nil || p.Columns[0].Name != "my x" || p.Rows[0].Name != "a row" || p.Rows[0].Lower != 3 || p.Columns[0].Cost != 1.5 {
		t.Fatalf("%v %+v", err, p)
	}
}

func TestErrorsNameLineAndColumn(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a.lp", "", "line 1, column 1: the LP format begins with minimise or maximise"},
		{"a.lp", "min\n x\nst\n x > 3\n", "line 4, column 7: the file ends without the word end"},
		{"a.lp", "min\n x\nst\n x 3\nend\n", `line 4, column 4: a sign must stand before "3"`},
		{"a.lp", "min\n x\nst\n x + 3 y\nend\n", `line 5, column 1: a comparison (<=, =, >=) must follow, not "end"`},
		{"a.lp", "min\n x\nst\n x >= y\nend\n", `line 4, column 7: a number must follow the comparison, not "y"; variables stand on the left side`},
		{"a.lp", "min\n x\nst\n x >= 2 y\nend\n", `line 4, column 9: "y" stands after the number on the right side; variables stand on the left side, and the next constraint begins a line or has a name`},
		{"a.lp", "min\n x\nst\n c: x >= 2\n c: x >= 3\nend\n", `line 5, column 2: constraint "c" is there twice`},
		{"a.lp", "min\n xvalue\nst\n xvalue >= 2\nbounds\n xvlue <= 4\nend\n", `line 6, column 2: variable "xvlue" stands neither in the objective nor in a constraint; did you mean "xvalue"?`},
		{"a.lp", "min\n [ x ^ 2 ] / 2\nst\nend\n", "line 2, column 2: quadratic terms are not supported"},
		{"a.lp", "min\n x\nst\n c: b = 1 -> x >= 2\nend\n", "line 4, column 11: indicator constraints (->) are not supported"},
		{"a.lp", "min\n x\nst\n x >= 1\nsos\n", "line 5, column 1: special ordered sets are not supported"},
		{"a.lp", "min\n 3 * x\nst\nend\n", `line 2, column 4: "*" is not part of the LP format; write a coefficient before its variable: 3 x`},
		{"a.lp", "min\n x\nst\n 1 <= x >= 2\nend\n", "line 4, column 9: a constraint with two comparisons needs the same direction twice, as in 1 <= x + y <= 3"},
		{"a.lp", "min\n x\nst\n 1 <= x\n - y <= 4\nend\n", "line 5, column 2: a constraint that begins with a number and goes on in a new line needs a name, as in c1: 1 <= x + y <= 3"},
		{"a.lp", "min\n x\nst\n 1 <= x\nend\n", "line 4, column 4: a second comparison must follow, as in 1 <= x + y <= 3; with one comparison the number stands on the right side"},
		{"a.lp", "min\n x\nst\n 1 <= 2\nend\n", "line 4, column 4: a constraint without a variable"},
		{"a.lp", "min\n x\nst\n x >= 1\nbounds\n x <= 3\nbinary\n x\nend\n", `line 8, column 2: binary variable "x" has bounds 0 to 3: they must lie within 0 and 1`},
		{"a.lp", "min\n 1e400 x\nst\nend\n", "line 2, column 2: +Inf is no coefficient: give a number between -1e+15 and 1e+15"},
		{"a.lp", "min\n x\nmax\n x\nend\n", "line 3, column 1: a second objective; only one is possible"},
		{"a.lp", "min\n x\nst\n x >= 1\nend\nx", `line 6, column 1: "x" stands after the word end`},
		{"a.mps", "ROWS\n N c\n L a\nCOLUMNS\n x c 1 b 2\nENDATA\n", `line 5, column 8: no row "b"; did you mean "c"?`},
		{"a.mps", "ROWS\n N c\n X a\n", `line 3, column 2: unknown type of row "X"; N, L, G and E are known`},
		{"a.mps", "ROW\n", `line 1, column 1: unknown section "ROW"; did you mean "ROWS"?`},
		{"a.mps", "ROWS\n N c\n", "line 2, column 1: the file ends without ENDATA"},
		{"a.mps", "ROWS\n N c\nCOLUMNS\n x c 1\nBOUNDS\n UP B x -1\nENDATA\n", `line 6, column 2: column "x" has a negative upper bound and no lower one, which solvers read differently; add a bound LO or MI`},
		{"a.mps", "ROWS\n N c\nCOLUMNS\n x c 0x10\nENDATA\n", `line 4, column 6: "0x10" is not a number`},
		{"a.mps", "ROWS\n N c\nCOLUMNS\n x c 1\n y c 1\n x c 2\nENDATA\n", `line 6, column 2: column "x" goes on after another one began; its lines must stand together`},
		{"a.mps", "ROWS\n N c\nQUADOBJ\n", "line 3, column 1: section QUADOBJ (quadratic, conic, indicator or set) is not supported"},
		{"a.yaml", "maximize: {x: 1}\n", `line 1, column 1: unknown field "maximize"; did you mean "maximise"?`},
		{"a.yaml", "tasks:\n  a: {cpu: 1, gpus: 2}\navailable: {cpu: 4, gpu: 4}\n", `line 2, column 15: task "a" needs "gpus", which is not among what is available; did you mean "gpu"?`},
		{"a.yaml", "tasks:\n  a: {cpu: -1}\navailable: {cpu: 4}\n", `line 2, column 7: task "a" cannot need -1 of cpu`},
		{"a.yaml", "c: [1, 2]\nA:\n- [1, 2]\n- [1]\nb: [3, 4]\n", "line 4, column 3: row 2 of A has 1 numbers and c has 2; they must be as many"},
		{"a.yaml", "c: [1, 2]\nA: [[1, 2]]\nb: [3, 4]\n", "line 3, column 4: A has 1 rows and b has 2 numbers; they must be as many"},
		{"a.yaml", "c: [1]\nA: [[1]]\nb: [3]\nx: boolean\n", `line 4, column 4: x is continuous, integer or binary, not "boolean"`},
		{"a.yaml", "c: [1]\nminimise: {x: 1}\n", "line 1, column 1: minimise and c cannot stand in one document; give one of them"},
		{"a.yaml", "maximise: {x: 1}\nconstraints:\n- terms: {x: 1}\n", "line 3, column 3: a constraint needs at_most, at_least or equals"},
		{"a.yaml", "maximise: {x: 1}\nbinary: [y]\n", `line 2, column 10: variable "y" stands neither in the objective nor in a constraint; did you mean "x"?`},
		{"a.yaml", "name: x\n", "line 1, column 1: the document says no problem; give minimise or maximise with constraints, or c, A and b, or tasks and available"},
	} {
		_, err := solve.Parse("", c.name, []byte(c.text))
		if err == nil || err.Error() != c.want {
			t.Errorf("%q\ngot  %v\nwant %s", c.text, err, c.want)
		} else if k := errs.KindOf(err); k != errs.Invalid && k != errs.Unsupported {
			t.Errorf("%q: kind %v", c.text, k)
		}
	}
	if _, err := solve.Parse("", "x.lp", make([]byte, solve.MaxSize+1)); !errs.Is(err, errs.TooLarge) {
		t.Error(err)
	}
}

func TestFormsAreToldByNameOrLooks(t *testing.T) {
	for text, want := range map[string]solve.Format{
		"# tasks\ntasks: {}": solve.YAML, "maximise: {x: 1}": solve.YAML, `{"c": [1]}`: solve.YAML, "": solve.YAML, "min : {x: 1}": solve.YAML,
		"max\n x": solve.LP, "MINIMIZE obj: x": solve.LP, "\\ comment": solve.LP, "NAME x": solve.MPS, "\n* x": solve.MPS, "ROWS\n": solve.MPS,
	} {
		if got := solve.FormatOf("-", []byte(text)); got != want {
			t.Errorf("%q is %s", text, got)
		}
	}
}

// named gives a random problem names, as every file has them.
func named(seed uint64) *solve.Problem {
	r := rand.New(rand.NewPCG(seed, 9))
	p := random(r, 1+r.IntN(12), r.IntN(8), lp.Kind(r.IntN(3)))
	for i := range p.Columns {
		p.Columns[i].Name = fmt.Sprintf("%c%d", 'a'+rune(r.IntN(20)), i)
		if p.Columns[i].Kind != lp.Binary && r.IntN(2) == 0 {
			p.Columns[i].Kind = lp.Kind(r.IntN(2))
		}
	}
	for i := range p.Rows {
		p.Rows[i].Name = fmt.Sprintf("row_%d", i)
		if r.IntN(8) == 0 {
			p.Rows[i].Lower, p.Rows[i].Upper = lp.NoLower, lp.NoUpper
		}
		if len(p.Rows[i].Terms) == 0 {
			p.Rows[i].Terms = []lp.Term{{Column: 0, Value: 0.125}}
		}
	}
	return p
}

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	for seed := range uint64(500) {
		p := named(seed)
		for form, text := range map[solve.Format]string{solve.LP: solve.WriteLP(p), solve.MPS: solve.WriteMPS(p)} {
			got, err := solve.Parse(form, "", []byte(text))
			if err != nil {
				t.Fatalf("seed %d: %v\n%s", seed, err, text)
			}
			if !reflect.DeepEqual(got, p) {
				t.Fatalf("seed %d, %s:\n%+v\nis read as\n%+v\nfrom\n%s", seed, form, p, got, text)
			}
		}
	}
}

// again is a fuzz target's law: what is read can be written and is then read the same.
func again(t *testing.T, p *solve.Problem, write func(*solve.Problem) string, read func([]byte) (*solve.Problem, error), plain func(string) bool) {
	if err := p.Validate(); err != nil {
		t.Fatalf("a problem that was read is not valid: %v", err)
	}
	for _, c := range p.Columns {
		if !plain(c.Name) {
			return
		}
	}
	for _, r := range p.Rows {
		if !plain(r.Name) {
			return
		}
	}
	text := write(p)
	got, err := read([]byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if len(got.Columns) != len(p.Columns) || len(got.Rows) != len(p.Rows) || got.Integers() != p.Integers() {
		t.Fatalf("another problem is read from\n%s", text)
	}
}

func FuzzParseLP(f *testing.F) {
	f.Add([]byte(article))
	f.Add([]byte("min\n x + 2 y - 3\nst\n a: -1 <= x + y <= 5\n x >= 4\nbounds\n x free\n -2 <= y <= 1e30\nend"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := solve.ParseLP(data); err == nil {
			again(t, p, solve.WriteLP, solve.ParseLP, func(name string) bool { return name != "" && !strings.ContainsAny(name, "eEiI.sS") })
		}
	})
}

func FuzzParseMPS(f *testing.F) {
	f.Add([]byte("NAME x\nOBJSENSE\n MAX\nROWS\n N c\n L l\n G g\n E e\nCOLUMNS\n M 'MARKER' 'INTORG'\n i c 1 l 1\n M 'MARKER' 'INTEND'\n x e 1 g 1\nRHS\n R c 7 l 4\nRANGES\n R l 1\nBOUNDS\n UP B x 1\nENDATA\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := solve.ParseMPS(data); err == nil {
			p.Name = ""
			again(t, p, solve.WriteMPS, solve.ParseMPS, func(name string) bool {
				return name != "" && name != "COST" && !strings.ContainsAny(name, " \t'") && len(name) < 8
			})
		}
	})
}

func FuzzParseYAML(f *testing.F) {
	f.Add([]byte("tasks:\n  a: {cpu: 1, value: 2}\navailable: {cpu: 4}\n"))
	f.Add([]byte("maximise: {x: 1}\nconstraints:\n- {name: r, terms: {x: 2}, at_most: 3}\nbounds: {x: {at_most: 4}}\ninteger: [x]\n"))
	f.Add([]byte("c: [1, 2]\nA: [[1, 2]]\nb: [3]\nx: binary\nsense: maximise\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := solve.ParseYAML(data); err == nil {
			if err := p.Validate(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
