package highs

import (
	"context"
	"errors"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/lp"
)

func load(t *testing.T) *Module {
	t.Helper()
	if !Built() {
		t.Fatal("this tree has no HiGHS yet: run `make solve/highs/build/highs.wasm`")
	}
	m, err := Load(t.Context(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

var one = &lp.Problem{Maximise: true, Columns: []lp.Column{{Cost: 2, Upper: 3}}}

func solves(t *testing.T, m *Module) {
	t.Helper()
	h, err := m.New(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := errors.Join(h.Pass(one), h.Run()); err != nil || h.Status() != Optimal {
		t.Fatalf("%v, %v", err, h.Status())
	}
	if x, reduced, _, _, err := h.Solution(); err != nil || x[0] != 3 || reduced[0] != 2 {
		t.Fatalf("%v %v %v", x, reduced, err)
	}
}

func TestATrapEndsItsInstanceAlone(t *testing.T) {
	m := load(t)
	for what, harm := range map[string]func(h *Instance){
		"a pointer to nowhere": func(h *Instance) { h.call("Highs_run", 0xffff_fff0) },
		"an exception":         func(h *Instance) { h.call("Highs_passLp", h.solver, 1<<31-1, 1, 0, 2, 1, 0, 8, 8, 8, 8, 8, 8, 8, 8) },
		"no such function":     func(h *Instance) { h.call("Highs_fly") },
		"no such option":       func(h *Instance) { h.set("wings", 2) },
		"too much memory":      func(h *Instance) { h.memory(make([]byte, 2<<30)) },
	} {
		h, err := m.New(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		harm(h)
		if h.Err() == nil {
			t.Errorf("%s goes unnoticed", what)
		}
		before := h.Err()
		if h.Run(); !errors.Is(h.Err(), before) {
			t.Errorf("after %s, the instance goes on: %v", what, h.Err())
		}
		h.Close()
		solves(t, m)
	}
}

func TestAnInstanceEndsWithItsContext(t *testing.T) {
	m := load(t)
	ctx, cancel := context.WithCancel(t.Context())
	h, err := m.New(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	cancel()
	if err := errors.Join(h.Pass(one), h.Run()); !errs.Is(err, errs.Canceled) {
		t.Fatal(err)
	}
	solves(t, m)
}

func TestEveryNameIsThere(t *testing.T) {
	m := load(t)
	there := m.compiled.ExportedFunctions()
	for name, short := range exports {
		if there[short] == nil {
			t.Errorf("the wasm exports no %q for %s", short, name)
		}
	}
	for _, f := range m.compiled.ImportedFunctions() {
		if _, short, _ := f.Import(); functions[imports[short]] == nil {
			t.Errorf("the wasm imports %q, which nobody gives", short)
		}
	}
}
