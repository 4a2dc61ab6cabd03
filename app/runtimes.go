package app

import (
	"io"
	"log/slog"
	"path/filepath"

	"github.com/lineshaft/lineshaft/internal/units"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/batch"
	"github.com/lineshaft/lineshaft/serve/onnx"
	"github.com/lineshaft/lineshaft/serve/runtime"
)

// ONNX is how ONNX models are served: with the library that the configuration names, or the one installed beside the
// data. memory is the most that a model's process may take; 0 is no limit.
func (c Config) ONNX(memory units.Bytes, log *slog.Logger) onnx.Options {
	return onnx.Options{Library: c.ONNXLibrary, Folder: filepath.Join(c.Data, "runtimes"), Memory: memory, Log: log}
}

// runtimes is what computes, by the format of the model. Both queue as n says.
func runtimes(o onnx.Options, n runtime.Options) serve.Formats {
	o.Lanes, o.Batch = n.Workers, batch.Options{Cores: n.Cores, MaxRows: n.Batch, Batching: n.Batching}
	native := runtime.New(n)
	return serve.Formats{model.KerasH5: native, model.KerasZip: native, model.Packed: native, model.SavedModel: native, model.ONNX: onnx.New(o)}
}

// checkModel says what is wrong with a file that cannot be served.
func checkModel(f model.Format, r io.ReaderAt, size int64) error {
	if f == model.ONNX {
		return onnx.Check(f, r, size)
	}
	return runtime.Check(f, r, size)
}
