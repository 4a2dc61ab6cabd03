package layout_test

import (
	"bytes"
	"testing"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/serve/layout"
)

func network(t *testing.T) *nn.Network {
	t.Helper()
	n := &nn.Network{Input: []int{2, 3}, Layers: []nn.Layer{nn.NewFlatten("flatten"), nn.NewDense("out", 4, nn.DenseConfig{Activation: "softmax"})}}
	if err := n.Build(1); err != nil {
		t.Fatal(err)
	}
	return n
}

func text(t *testing.T, f layout.File) string {
	t.Helper()
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestATritonRepositoryHasAConfigurationAndAnONNXFile(t *testing.T) {
	files, err := layout.Files(layout.Triton, layout.Model{Name: "m", Version: 3, Network: network(t)})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 2 || files[0].Path != "m/config.pbtxt" || !files[0].Whole || files[1].Path != "m/3/model.onnx" || files[1].Whole {
		t.Fatalf("%+v", files)
	}
	const want = `name: "m"
backend: "onnxruntime"
max_batch_size: 64
input [
  {
    name: "flatten_input"
    data_type: TYPE_FP32
    dims: [ 2, 3 ]
  }
]
output [
  {
    name: "out"
    data_type: TYPE_FP32
    dims: [ 4 ]
  }
]
dynamic_batching { }
`
	if got := text(t, files[0]); got != want {
		t.Error(got)
	}
	if got := text(t, files[1]); len(got) < 100 {
		t.Errorf("%q", got)
	}
}

func TestAnONNXFileIsLaidOutAsItIs(t *testing.T) {
	files, err := layout.Files(layout.Triton, layout.Model{Name: "m", Version: 1, ONNX: []byte("bytes")})
	if err != nil || text(t, files[1]) != "bytes" || text(t, files[0]) != "name: \"m\"\nbackend: \"onnxruntime\"\n" {
		t.Errorf("%+v, %v", files, err)
	}
}

func TestABasePathOfTensorFlowServingHasASavedModel(t *testing.T) {
	files, err := layout.Files(layout.TensorFlowServing, layout.Model{Name: "m", Version: 2, Network: network(t)})
	if err != nil || len(files) != 1 || files[0].Path != "m/2/saved_model.pb" || len(text(t, files[0])) < 100 {
		t.Fatalf("%+v, %v", files, err)
	}
	if _, err := layout.Files(layout.TensorFlowServing, layout.Model{Name: "m", Version: 2, ONNX: []byte("x")}); !errs.Is(err, errs.Unsupported) {
		t.Error(err)
	}
}

func TestAnUnknownLayoutIsRefused(t *testing.T) {
	if _, err := layout.Files("torchserve", layout.Model{}); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
}
