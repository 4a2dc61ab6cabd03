package access_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/trust/access"
)

// documented reads the table of rights out of the package's comment: extents by "type action", in the order admin,
// developer, viewer, service.
func documented(t *testing.T) map[string][]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "rights.go", nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	return tableIn(t, f.Doc)
}

func tableIn(t *testing.T, doc *ast.CommentGroup) map[string][]string {
	t.Helper()
	table := map[string][]string{}
	for _, line := range strings.Split(doc.Text(), "\n") {
		words := strings.Fields(line)
		if !strings.HasPrefix(line, "\t") || len(words) < 6 || words[0] == "type" {
			continue
		}
		n := len(words)
		for _, action := range words[1 : n-4] {
			key := words[0] + " " + action
			if _, twice := table[key]; twice {
				t.Errorf("%q is in the table twice", key)
			}
			table[key] = words[n-4:]
		}
	}
	return table
}

func TestTheTableOfRightsIsWhatIsDecided(t *testing.T) {
	w := newWorld(t)
	table := documented(t)
	if len(table) < 60 {
		t.Fatalf("the package's comment has a table of %d rights only", len(table))
	}
	types, actions := map[string]bool{}, map[string]bool{}
	for key := range table {
		kind, action, _ := strings.Cut(key, " ")
		types[kind], actions[action] = true, true
	}
	who := []access.Principal{w.as("ann"), w.as("dev"), w.as("vic"), w.as("bot")}
	for kind := range types {
		for action := range actions {
			row, ok := table[kind+" "+action]
			if !ok {
				row = []string{"-", "-", "-", "-"}
			}
			for i, p := range who {
				for owner, extents := range map[string][]string{p.Name: {"any", "own"}, "eve": {"any"}, "": {"any"}} {
					err := w.Authorize(t.Context(), p, action, access.Resource{Type: kind, Name: "x", Owner: owner})
					if want := slices.Contains(extents, row[i]); want != (err == nil) {
						t.Errorf("%s: %s %s of %q gave %v; the table says %q", p.Role, action, kind, owner, err, row[i])
					}
					if err != nil && !errs.Is(err, errs.Denied) && !errs.Is(err, errs.NotFound) {
						t.Errorf("%s: %s %s gave an error of kind %v", p.Role, action, kind, errs.KindOf(err))
					}
				}
			}
			if err := w.Authorize(t.Context(), access.Anonymous(), action, access.Resource{Type: kind, Name: "x"}); err == nil {
				t.Errorf("anonymous may %s %s", action, kind)
			}
		}
	}
}

func TestTheExportedTableIsTheOneInTheComment(t *testing.T) {
	table := documented(t)
	n := 0
	for _, r := range access.Rights {
		for _, action := range r.Actions {
			n++
			var got []string
			for _, e := range []access.Extent{r.Admin, r.Developer, r.Viewer, r.Service} {
				if e == access.None {
					e = "-"
				}
				got = append(got, string(e))
			}
			if want := table[r.Type+" "+action]; !slices.Equal(got, want) {
				t.Errorf("%s %s is %v, and %v in the comment", r.Type, action, got, want)
			}
		}
	}
	if n != len(table) {
		t.Errorf("%d rights are decided, %d are in the comment", n, len(table))
	}
}
