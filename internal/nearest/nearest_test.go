package nearest_test

import (
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/nearest"
)

func TestAMistypedNameFindsTheNearest(t *testing.T) {
	names := []string{"submit", "run", "jobs", "models", "Epochs"}
	for typed, want := range map[string]string{
		"sumbit": "submit", "job": "jobs", "modles": "models", "epochs": "Epochs", "SUBMIT": "submit",
		"completely-else": "", strings.Repeat("x", 65): "",
	} {
		if got := nearest.Name(typed, names); got != want {
			t.Errorf("%q: got %q, want %q", typed, got, want)
		}
	}
}
