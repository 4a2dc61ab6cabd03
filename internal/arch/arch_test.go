// Package arch holds the direction of imports: the table below is the architecture, and a package that is not in it or
// imports upwards fails the test.
package arch_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/lineshaft/lineshaft/"

// allowed says what each top-level folder may import beside internal/*, its own sub-packages and libraries.
// A folder that contains "/" overrides its parent.
var allowed = map[string][]string{
	"cmd":        {"app", "exec"},
	"app":        {"*"},
	"app/cli":    {"client", "api", "calendar", "job", "model", "data", "control", "fleet", "trust", "serve", "train", "nn", "solve", "app", "twin", "sched"},
	"api":        {"control", "calendar", "solve", "trust", "fleet", "job", "sched", "exec", "data", "model", "serve", "train", "telemetry", "insight"},
	"client":     {"api", "calendar", "job", "model", "data", "control", "fleet", "trust", "serve", "solve", "train"},
	"bench":      {"*"},
	"twin":       {"control", "job", "sched", "serve", "insight", "fleet", "exec"},
	"store":      {"job", "sched", "calendar", "model", "data", "trust", "control", "fleet", "serve"},
	"control":    {"job", "serve", "fleet", "insight", "telemetry", "exec", "trust"},
	"job":        {"sched", "exec", "fleet"},
	"sched":      {"fleet"},
	"calendar":   {"sched", "fleet"},
	"train":      {"data", "model", "job", "nn"},
	"serve":      {"model", "job", "nn"},
	"exec":       {"fleet"},
	"exec/local": {"exec", "fleet"},
	"fleet":      {},
	"data":       {},
	"model":      {},
	"trust":      {},
	"telemetry":  {},
	"nn":         {},
	"solve":      {},
	"console":    {},
	"examples":   {},
	"internal":   {},

	"internal/testkit": {"*"},
}

type listed struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// rule finds the row for a package path relative to the module: the longest folder that is a prefix.
func rule(rel string) (string, []string, bool) {
	for folder := rel; folder != ""; {
		if may, ok := allowed[folder]; ok {
			return folder, may, true
		}
		i := strings.LastIndex(folder, "/")
		if i < 0 {
			break
		}
		folder = folder[:i]
	}
	return "", nil, false
}

func TestImportsPointDownOnly(t *testing.T) {
	all := packages(t)
	if len(all) < 10 {
		t.Fatalf("go list found only %d packages: the test would prove nothing", len(all))
	}
	for _, p := range all {
		from := strings.TrimPrefix(p.ImportPath, module)
		folder, may, ok := rule(from)
		if !ok {
			t.Errorf("%s: no row for this folder in the table of internal/arch; decide where it stands", from)
			continue
		}
		for _, imported := range p.Imports {
			to, own := strings.CutPrefix(imported, module)
			if !own || slices.Contains(may, "*") {
				continue
			}
			top, _, _ := strings.Cut(to, "/")
			testkit := to == "internal/testkit"
			if (top == "internal" && !testkit) || strings.HasPrefix(to+"/", folder+"/") || slices.Contains(may, top) && !testkit {
				continue
			}
			t.Errorf("%s imports %s: %s may import %v", from, to, folder, may)
		}
	}
}

func TestThePureCoresReadNoClock(t *testing.T) {
	for _, p := range packages(t) {
		from := strings.TrimPrefix(p.ImportPath, module)
		top, _, _ := strings.Cut(from, "/")
		if !slices.Contains([]string{"sched", "insight", "solve", "nn"}, top) {
			continue
		}
		for _, bad := range []string{"net/http", "os/exec", "database/sql", module + "internal/clock"} {
			if slices.Contains(p.Imports, bad) {
				t.Errorf("%s imports %s: it answers from what it is given and touches nothing else", from, bad)
			}
		}
	}
}
