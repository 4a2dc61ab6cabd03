package cli

import (
	"encoding/json"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
)

func TestAModelIsNamedWithItsVersionOrAlias(t *testing.T) {
	for ref, want := range map[string]modelRef{
		"mnist": {name: "mnist"}, "mnist:3": {name: "mnist", version: 3}, "mnist@prod": {name: "mnist", alias: "prod"}, "model/mnist:12": {name: "mnist", version: 12},
	} {
		if got, err := parseModel(ref); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", ref, got, err)
		}
	}
	for _, ref := range []string{"", ":3", "mnist:", "mnist:x", "mnist:0", "mnist:-1", "mnist@", "@prod"} {
		if got, err := parseModel(ref); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: got %+v, %v", ref, got, err)
		}
	}
}

func TestAFieldIsAddedWhereItMovesNoLine(t *testing.T) {
	if got := string(withField([]byte("{}"), "code", "x")); !json.Valid([]byte(got)) {
		t.Errorf("%s", got)
	}
	digest := "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	for _, text := range []string{"name: a\ncommand: [x]\n", `{"name": "a", "command": ["x"]}`, "name: a\ncommand:\n- x\n...\n"} {
		if spec, err := job.Parse(withField([]byte(text), "code", digest)); err != nil || spec.Code != digest {
			t.Errorf("%q: code %q, %v", text, spec.Code, err)
		}
	}
}

func TestFlagsOfRunMakeASpecification(t *testing.T) {
	o := runFlags{sizes: map[string]*string{"memory": new("2GiB")}, env: []string{"A=1", "B=x=y"}, secrets: []string{"hub=TOKEN", "key=/key.pem"}}
	text, err := o.text([]string{"python3", "t.py"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := job.Parse(text)
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if s.Name != "python3" || s.Env["B"] != "x=y" || s.Secrets[0].Env != "TOKEN" || s.Secrets[1].File != "key.pem" || s.Resources.Memory.String() != "2 GiB" {
		t.Errorf("%+v", s)
	}
	for _, bad := range []runFlags{{sizes: map[string]*string{"memory": new("much")}}, {env: []string{"A"}}, {secrets: []string{"x"}}, {secrets: []string{"=X"}}} {
		if _, err := bad.text([]string{"x"}); !errs.Is(err, errs.Invalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
