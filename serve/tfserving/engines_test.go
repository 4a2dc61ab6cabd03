//go:build engines

package tfserving_test

import (
	"context"
	_ "embed"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/internal/pyenv"
	"github.com/lineshaft/lineshaft/internal/testkit"
	"github.com/lineshaft/lineshaft/serve/tfserving"
	tfproto "github.com/lineshaft/lineshaft/serve/tfserving/proto"
)

//go:embed testdata/tfclient.py
var tfClient string

//go:embed testdata/ovmsclient.py
var ovmsClient string

func TestEnginesTensorFlowsClientsAskUnchanged(t *testing.T) {
	python := testkit.Python(t, append(pyenv.Keras(), "tensorflow-serving-api==2.21.0", "grpcio==1.80.0")...)
	p, conn := openEchoes(t, func(c *tfserving.Calls) {
		c.Reload = func(context.Context, []*tfproto.ModelConfig) error { return nil }
	})
	p.files.add("c", keras(t, "keras3.keras"))
	if _, err := p.manager.Deploy(t.Context(), "user/ann", "c", 0); err != nil {
		t.Fatal(err)
	}
	reference, err := filepath.Abs("../../nn/keras/testdata/keras3.json")
	if err != nil {
		t.Fatal(err)
	}
	out := testkit.RunPython(t, python, tfClient, p.Listener.Addr().String(), conn.Target(), reference)
	if !strings.HasSuffix(out, "ok\n") {
		t.Error(out)
	}
}

func TestEnginesOpenVINOsClientAsksUnchanged(t *testing.T) {
	python := testkit.Python(t, "ovmsclient==2023.1", "grpcio==1.80.0", "protobuf==3.20.3", "numpy==1.26.4", "requests==2.32.3")
	p, conn := openEchoes(t)
	if out := testkit.RunPython(t, python, ovmsClient, p.Listener.Addr().String(), conn.Target()); !strings.HasSuffix(out, "ok\n") {
		t.Error(out)
	}
}
