// Package testkit holds what the tests of several packages need. Only tests import it.
package testkit

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/pyenv"
)

// Python gives the path of a Python with the pinned packages. Without it the test fails: a test that asks for an engine
// proves nothing when it skips.
func Python(t testing.TB, packages ...string) string {
	t.Helper()
	python, err := pyenv.Make(t.Context(), packages...)
	if err != nil {
		t.Fatalf("no Python with %v: %v", packages, err)
	}
	return python
}

// RunPython runs a script with arguments and gives what it printed; the test fails when the script does.
func RunPython(t testing.TB, python, script string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), python, append([]string{"-c", script}, args...)...)
	cmd.Env = append(os.Environ(), "TF_CPP_MIN_LOG_LEVEL=3", "KERAS_BACKEND=tensorflow", "CUDA_VISIBLE_DEVICES=", "PYTHONDONTWRITEBYTECODE=1")
	var out, problems strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		text := problems.String()
		t.Fatalf("python: %v\n%s", err, text[max(0, len(text)-2000):])
	}
	return out.String()
}
