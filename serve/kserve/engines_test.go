//go:build engines

package kserve_test

import (
	"archive/zip"
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
	"github.com/lineshaft/lineshaft/serve/onnx"
	"github.com/lineshaft/lineshaft/serve/runtime"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

//go:embed testdata/triton.py
var tritonScript string

//go:embed testdata/kserve.py
var kserveScript string

//go:embed testdata/silero.py
var sileroScript string

// files loads Keras files with the built-in runtime, others with ONNX Runtime, and what the world knows from there.
type files struct {
	*world
	keras *runtime.Runtime
	onnx  *onnx.Runtime
}

func (k files) Load(ctx context.Context, f model.Format, r io.ReaderAt, size int64) (serve.Servable, error) {
	var magic [4]byte
	switch _, err := r.ReadAt(magic[:], 0); {
	case size < 100:
		return k.world.Load(ctx, f, r, size)
	case err != nil:
		return nil, err
	case string(magic[:]) == "\x89HDF":
		return k.keras.Load(ctx, f, r, size)
	}
	return k.onnx.Load(ctx, model.ONNX, r, size)
}

// openKeras serves a classifier that Keras trained as "digits", strings as "text", and an echo of every type.
func openKeras(t *testing.T) (s *served, x, y string) {
	t.Helper()
	b, err := os.ReadFile("../../nn/keras/testdata/keras3.h5")
	if err != nil {
		t.Fatal(err)
	}
	s = openWith(t, func(w *world) serve.Runtime { return files{w, runtime.New(runtime.Options{}), nil} })
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
	s.run(t, python, script, x+" "+y, "../../nn/keras/testdata/keras3.json")
}

// run has a script ask the server; its last argument is a file.
func (s *served) run(t *testing.T, python, script, input, argument string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "client.py")
	if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, path, s.Listener.Addr().String(), s.dial(t).Target(), argument)
	cmd.Stdin = strings.NewReader(input)
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

// TestEnginesSileroIsAnsweredAsInPython asks a model with several inputs, a scalar among them, that ONNX Runtime computes.
func TestEnginesSileroIsAnsweredAsInPython(t *testing.T) {
	python, err := pyenv.Make(t.Context(), "tritonclient[http,grpc]==2.73.0", "numpy==2.4.6", "onnxruntime=="+onnx.Release)
	if err != nil {
		t.Fatal(err)
	}
	wheel, err := pyenv.Package(t.Context(), python, "silero-vad==6.2.3")
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.OpenReader(wheel)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	f, err := z.Open("silero_vad/data/silero_vad.onnx")
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "silero.onnx")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(cache, "lineshaft-test", "runtimes")
	if _, err := onnx.Install(t.Context(), folder, onnx.Source{Index: os.Getenv("PIP_INDEX_URL")}); err != nil {
		t.Fatal(err)
	}
	s := openWith(t, func(w *world) serve.Runtime {
		return files{w, runtime.New(runtime.Options{}), onnx.New(onnx.Options{Folder: folder})}
	})
	s.world.add("silero", string(b))
	if _, err := s.manager.Deploy(t.Context(), "user/ann", "silero", 0); err != nil {
		t.Fatal(err)
	}
	s.run(t, python, sileroScript, "", path)
}
