// Package layout writes a model as the folder from which other servers serve it, a model repository:
//
//	NAME/config.pbtxt, NAME/VERSION/model.onnx                    Triton
//	NAME/VERSION/saved_model.pb                                   TensorFlow Serving
//
// The names, types and shapes of inputs and outputs are those by which Lineshaft serves the model, so that clients need
// not be changed.
package layout

import (
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn"
	"github.com/lineshaft/lineshaft/nn/graph"
	"github.com/lineshaft/lineshaft/nn/onnx"
	"github.com/lineshaft/lineshaft/nn/savedmodel"
)

// The layouts.
const (
	Triton            = "triton"
	TensorFlowServing = "tfserving"
)

// All lists the layouts.
func All() []string { return []string{Triton, TensorFlowServing} }

// Model is what is laid out: a network, or an ONNX file as it is.
type Model struct {
	Name    string
	Version int64
	Network *nn.Network
	ONNX    []byte
}

// File is one file of a repository.
type File struct {
	Path  string // with slashes, under the repository
	Whole bool   // of the model, not of this version: left as it is where it is there
	Write func(io.Writer) error
}

// maxBatch is how many rows Triton may join; Lineshaft's own default is near it.
const maxBatch = 64

// Files lays a model out.
func Files(layout string, m Model) ([]File, error) {
	version := path.Join(m.Name, strconv.FormatInt(m.Version, 10))
	switch layout {
	case Triton:
		return []File{
			{Path: path.Join(m.Name, "config.pbtxt"), Whole: true, Write: m.config},
			{Path: path.Join(version, "model.onnx"), Write: m.onnx},
		}, nil
	case TensorFlowServing:
		if m.Network == nil {
			return nil, errs.Errorf("layout.Files", errs.Unsupported, "model %s:%d is kept as ONNX, which TensorFlow Serving does not read: lay it out for triton, or serve it with `lineshaft serve`", m.Name, m.Version)
		}
		return []File{{Path: path.Join(version, savedmodel.File), Write: func(w io.Writer) error { return savedmodel.Write(w, m.Network) }}}, nil
	}
	return nil, errs.Errorf("layout.Files", errs.Invalid, "layout %q is not known; there are %s", layout, strings.Join(All(), ", "))
}

func (m Model) onnx(w io.Writer) error {
	if m.Network == nil {
		_, err := w.Write(m.ONNX)
		return err
	}
	return onnx.Write(w, m.Network)
}

// config is Triton's ModelConfig. Of an ONNX file Triton completes it by itself.
func (m Model) config(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "name: %q\nbackend: \"onnxruntime\"\n", m.Name)
	if n := m.Network; n != nil {
		fmt.Fprintf(&b, "max_batch_size: %d\n", maxBatch)
		for _, t := range []struct {
			field, name string
			shape       []int
		}{{"input", graph.Input(n), n.Input}, {"output", graph.Output(n), n.OutputShape()}} {
			fmt.Fprintf(&b, "%s [\n  {\n    name: %q\n    data_type: TYPE_FP32\n    dims: [ %s ]\n  }\n]\n", t.field, t.name, dims(t.shape))
		}
		b.WriteString("dynamic_batching { }\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func dims(shape []int) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(shape), "[]"), " ", ", ")
}
