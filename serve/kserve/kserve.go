// Package kserve speaks KServe's Open Inference Protocol, version 2, as Triton and KServe's clients do, by REST and by
// gRPC (package inference, GRPCInferenceService), with Triton's extensions for binary tensors, classification,
// statistics, model configuration and the model repository:
//
//	GET  /v2, /v2/health/live, /v2/health/ready
//	GET  /v2/models, /v2/models/stats
//	GET  /v2/models/M[/versions/V], …/ready, …/config, …/stats
//	POST /v2/models/M[/versions/V]/infer
//	POST /v2/repository/index, /v2/repository/models/M/load, …/unload
//
// A request becomes a serve.Call whichever way it came: tensors that come as bytes are not copied, those in JSON are read
// straight into place. V is the number of a version or a label, as aliases give them. Errors are {"error": "…"} with the
// status of what was wrong, in gRPC the code of it.
//
// What is taken beyond the protocol: FP16 and BF16 in JSON, NaN, Infinity and -Infinity as Python's json writes them.
// What is not: shared memory, sequences that the server keeps state of (a sequence_id is let pass), trace and log
// settings.
package kserve

import (
	"context"
	"io"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/model"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// Options is what the protocol works with, on either port.
type Options struct {
	Manager *serve.Manager
	Version string // of the server
	// Registry lists the models that can be loaded; nil: only those in service are known.
	Registry func(ctx context.Context) ([]model.Model, error)
	// Load seals a model file as a new version, serves it beside the others and gives its number; nil: none is taken.
	Load func(ctx context.Context, actor, model, filename string, body io.Reader) (version int64, err error)
}

// name is how the server calls itself.
const name = "lineshaft"

// extensions are those of Triton's that are spoken here, by its names.
var extensions = []string{
	"classification", "model_repository", "model_repository(unload_dependents)", "model_configuration", "statistics", "binary_tensor_data", "schedule_policy",
}

// datatype is the protocol's name of a type.
func datatype(t tensor.Type) string {
	if int(t) < len(datatypes) {
		return datatypes[t]
	}
	return ""
}

var datatypes = [...]string{
	tensor.Bool: "BOOL", tensor.Uint8: "UINT8", tensor.Uint16: "UINT16", tensor.Uint32: "UINT32", tensor.Uint64: "UINT64",
	tensor.Int8: "INT8", tensor.Int16: "INT16", tensor.Int32: "INT32", tensor.Int64: "INT64", tensor.Float16: "FP16",
	tensor.BFloat16: "BF16", tensor.Float32: "FP32", tensor.Float64: "FP64", tensor.Bytes: "BYTES",
}

// typeOf finds the type with a name of the protocol; none is zero.
func typeOf[S string | []byte](name S) tensor.Type {
	for t, n := range datatypes {
		if n == string(name) && n != "" {
			return tensor.Type(t)
		}
	}
	return 0
}

// version takes what names a version apart: a number, or a label.
func version(text string) (number int64, label string, err error) {
	if text == "" {
		return 0, "", nil
	}
	for i := range len(text) {
		if text[i]-'0' > 9 {
			return 0, text, nil
		}
		if number > (1<<63-1)/10-1 {
			break
		}
		number = number*10 + int64(text[i]-'0')
		if i == len(text)-1 && number > 0 {
			return number, "", nil
		}
	}
	return 0, "", errs.Errorf("kserve.version", errs.Invalid, "a version is a whole number from 1 or a label, not %q", errs.Clip(text))
}
