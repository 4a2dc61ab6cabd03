package pyenv_test

import (
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/pyenv"
)

func TestAPackageWithoutAVersionIsRefused(t *testing.T) {
	if _, err := pyenv.Make(t.Context(), "keras"); !errs.Is(err, errs.Invalid) {
		t.Errorf("got %v", err)
	}
}

func TestWithoutPythonItSaysWhatIsNeeded(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	if _, err := pyenv.Make(t.Context(), "keras==3.15.1"); !errs.Is(err, errs.Unavailable) {
		t.Errorf("got %v", err)
	}
}
