package runtime

import (
	"io/fs"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn/savedmodel"
	"github.com/lineshaft/lineshaft/serve"
)

// Tree is a model that is a folder, a SavedModel: what Load is given has this method beside those of a reader.
type Tree interface{ FS() fs.FS }

// savedModel serves a SavedModel under the names of its own signature, where it is a chain of layers that nn has.
func (rt *Runtime) savedModel(fsys fs.FS) (serve.Servable, error) {
	m, err := savedmodel.Read(fsys)
	if err != nil {
		return nil, err
	}
	if m.Network == nil {
		return nil, errs.Errorf("runtime.Load", errs.Unsupported, "the SavedModel (%s) needs TensorFlow's own runtime: %v. Save the model by Keras (model.save(\"model.keras\")), or convert it to ONNX (python -m tf2onnx.convert --saved-model FOLDER --output model.onnx)",
			m.Signature, m.Why)
	}
	sig := signature(m.Network)
	sig.Inputs[0].Name, sig.Outputs[0].Name = m.Signature.Inputs[0].Name, m.Signature.Outputs[0].Name
	return rt.serve(m.Network, sig)
}
