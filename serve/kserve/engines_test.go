//go:build engines

package kserve_test

import (
	"bytes"
	"context"
	_ "embed"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/pyenv"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/runtime"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

//go:embed testdata/triton.py
var tritonScript string

//go:embed testdata/kserve.py
var kserveScript string

// kerasToo loads Keras files with the built-in runtime, and what the world knows from there.
type kerasToo struct {
	*world
	keras *runtime.Runtime
}

func (k kerasToo) Load(ctx context.Context, f model.Format, r io.ReaderAt, size int64) (serve.Servable, error) {
	if size > 100 {
		return k.keras.Load(ctx, f, r, size)
	}
	return k.world.Load(ctx, f, r, size)
}

// openKeras serves a classifier that Keras trained as "digits", strings as "text", and an echo of every type.
func openKeras(t *testing.T) (s *served, x, y string) {
	t.Helper()
	b, err := os.ReadFile("../../nn/keras/testdata/keras3.h5")
	if err != nil {
		t.Fatal(err)
	}
	s = openWith(t, func(w *world) serve.Runtime { return kerasToo{w, runtime.New(runtime.Options{})} })
	s.world.add("digits", string(b))
	s.world.models["text"] = echoOf(false, []int{tensor.Any, tensor.Any}, tensor.Bytes)
	s.world.add("text", "text")
	names := []string{"digits", "text"}
	for _, typ := range every {
		name := "echo" + strings.ToLower(datatypes[typ])
		s.world.models[name] = echoOf(true, []int{tensor.Any, 2}, typ)
		s.world.add(name, name)
		names = append(names, name)
	}
	for _, name := range names {
		if _, err := s.manager.Deploy(t.Context(), "user/ann", name, 0); err != nil {
			t.Fatal(err)
		}
	}
	lease, err := s.manager.Acquire("digits", 0, "")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	return s, lease.Signature().Inputs[0].Name, lease.Signature().Outputs[0].Name
}

func run(t *testing.T, script string, packages ...string) {
	t.Helper()
	python, err := pyenv.Make(t.Context(), packages...)
	if err != nil {
		t.Fatal(err)
	}
	s, x, y := openKeras(t)
	path := filepath.Join(t.TempDir(), "client.py")
	if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, path, s.Listener.Addr().String(), s.dial(t).Target(), "../../nn/keras/testdata/keras3.json")
	cmd.Stdin = strings.NewReader(x + " " + y)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil || !strings.HasSuffix(out.String(), "ok\n") {
		t.Fatalf("%v\n%s", err, out.String())
	}
}

func TestEnginesTritonsClientIsAnswered(t *testing.T) {
	run(t, tritonScript, "tritonclient[http,grpc]==2.73.0", "numpy==2.4.6")
}

func TestEnginesKServesClientIsAnswered(t *testing.T) {
	run(t, kserveScript, "kserve==0.21.0")
}
