package tfserving

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/rpc"
	"github.com/lineshaft/lineshaft/serve/tensor"
	tfproto "github.com/lineshaft/lineshaft/serve/tfserving/proto"
)

// Calls is what the gRPC services work with.
type Calls struct {
	Manager *serve.Manager
	// Allow says who calls, or refuses. Actions are predict, read and load.
	Allow func(ctx context.Context, action, model string) (actor string, err error)
	// Reload makes exactly these models served; nil: not offered here.
	Reload func(ctx context.Context, models []*tfproto.ModelConfig) error
}

const (
	predictionService = "tensorflow.serving.PredictionService"
	modelService      = "tensorflow.serving.ModelService"
)

// Register lets g answer tensorflow.serving.PredictionService and ModelService.
func Register(g grpc.ServiceRegistrar, c Calls) {
	s := &calls{c}
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: predictionService, HandlerType: (*any)(nil), Metadata: "serve/tfserving/proto/serving.proto",
		Methods: []grpc.MethodDesc{
			rpc.Method(predictionService, "Predict", s.predict),
			rpc.Method(predictionService, "Classify", s.examplesCall(findScores)),
			rpc.Method(predictionService, "Regress", s.examplesCall(findValues)),
			rpc.Method(predictionService, "MultiInference", s.multi),
			rpc.Small(predictionService, "GetModelMetadata", s.metadata),
		},
	}, s)
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: modelService, HandlerType: (*any)(nil), Metadata: "serve/tfserving/proto/serving.proto",
		Methods: []grpc.MethodDesc{
			rpc.Small(modelService, "GetModelStatus", s.status),
			rpc.Small(modelService, "HandleReloadConfigRequest", s.reload),
		},
	}, s)
}

type calls struct{ c Calls }

// spec is a ModelSpec.
type spec struct {
	target
	versioned bool
	signature string
}

func (s *spec) scan(b []byte) error {
	return rpc.Fields(b, func(num protowire.Number, typ protowire.Type, b []byte, _ uint64) error {
		if typ != protowire.BytesType {
			return nil
		}
		switch num {
		case 1:
			s.model = string(b)
		case 2:
			s.versioned, s.version, s.label = true, 0, ""
			return rpc.Fields(b, func(num protowire.Number, typ protowire.Type, _ []byte, n uint64) error {
				if num == 1 && typ == protowire.VarintType {
					s.version = int64(n)
				}
				return nil
			})
		case 3:
			s.signature = string(b)
		case 4:
			s.versioned, s.version, s.label = false, 0, string(b)
		}
		return nil
	})
}

func specOf(m *tfproto.ModelSpec) spec {
	s := spec{target: target{model: m.GetName(), version: m.GetVersion().GetValue(), label: m.GetVersionLabel()}, signature: m.GetSignatureName()}
	_, s.versioned = m.GetVersionChoice().(*tfproto.ModelSpec_Version)
	return s
}

// acquire finds what is to answer, for a caller who may.
func (s *calls) acquire(ctx context.Context, action string, to spec) (serve.Lease, error) {
	const op = "tfserving.grpc"
	if _, err := s.c.Allow(ctx, action, to.model); err != nil {
		return serve.Lease{}, err
	}
	switch {
	case to.model == "":
		return serve.Lease{}, errs.Errorf(op, errs.Invalid, "the request names no model: set model_spec.name")
	case to.versioned && to.version < 0: // version 0 is the newest, as OpenVINO's client has it
		return serve.Lease{}, errs.Errorf(op, errs.NotFound, "model %q has no version %d: versions begin at 1; leave model_spec.version out for the newest", errs.Clip(to.model), to.version)
	}
	lease, err := s.c.Manager.Acquire(to.model, to.version, to.label)
	if err == nil && to.signature != "" && to.signature != defaultSignature {
		lease.Release()
		return serve.Lease{}, status.Errorf(codes.FailedPrecondition, "Serving signature key %q not found.", errs.Clip(to.signature))
	}
	return lease, err
}

// prediction is the room of one Predict.
type prediction struct {
	spec   spec
	inputs []entry
	filter []string
	call   serve.Call
	room   []tensor.Tensor // what inputs are decoded into
	outs   []output
}

// entry is an input under its name, its tensor not yet read.
type entry struct{ name, tensor []byte }

var predictions = sync.Pool{New: func() any { return new(prediction) }}

func (p *prediction) put() {
	for i := range p.call.In { // what they share with the message goes
		p.call.In[i].Data, p.call.In[i].Strings = nil, nil
	}
	for i := range p.room {
		clear(p.room[i].Strings)
		if cap(p.room[i].Data) > keepRoom || cap(p.room[i].Strings) > keepRoom/24 {
			p.room[i] = tensor.Tensor{}
		}
	}
	for i := range p.call.Out {
		if cap(p.call.Out[i].Data) > keepRoom || cap(p.call.Out[i].Strings) > 0 {
			p.call.Out[i] = tensor.Tensor{}
		}
	}
	clear(p.inputs)
	clear(p.outs)
	predictions.Put(p)
}

// maxNames bounds the inputs and the outputs that a request may name.
const maxNames = 1024

// scan reads a PredictRequest, all but its tensors.
func (p *prediction) scan(msg []byte) error {
	p.spec, p.inputs, p.filter = spec{}, p.inputs[:0], p.filter[:0]
	return rpc.Fields(msg, func(num protowire.Number, typ protowire.Type, b []byte, _ uint64) error {
		switch {
		case typ != protowire.BytesType:
			return nil
		case len(p.inputs) > maxNames || len(p.filter) > maxNames:
			return errs.Errorf("tfserving.grpc", errs.TooLarge, "a request names at most %d inputs and as many outputs", maxNames)
		case num == 1:
			return p.spec.scan(b)
		case num == 2:
			return p.scanEntry(b)
		case num == 3:
			p.filter = append(p.filter, string(b))
		}
		return nil
	})
}

func (p *prediction) scanEntry(b []byte) error {
	var e entry
	err := rpc.Fields(b, func(num protowire.Number, typ protowire.Type, b []byte, _ uint64) error {
		switch {
		case typ != protowire.BytesType:
		case num == 1:
			e.name = b
		case num == 2:
			e.tensor = b
		}
		return nil
	})
	for i := range p.inputs {
		if string(p.inputs[i].name) == string(e.name) { // the last of a name counts, as in every map
			p.inputs[i] = e
			return err
		}
	}
	p.inputs = append(p.inputs, e)
	return err
}

// predict answers PredictionService.Predict.
func (s *calls) predict(ctx context.Context, msg []byte) (any, error) {
	start := time.Now()
	p := predictions.Get().(*prediction)
	defer p.put()
	if err := p.scan(msg); err != nil {
		return nil, err
	}
	lease, err := s.acquire(ctx, "predict", p.spec)
	if err != nil {
		return nil, err
	}
	defer lease.Release()
	var reply any
	if err = lease.Admit(ctx); err == nil {
		reply, err = p.answer(ctx, lease)
	}
	lease.Observe(time.Since(start), err != nil)
	return reply, err
}

func (p *prediction) answer(ctx context.Context, lease serve.Lease) (any, error) {
	sig := lease.Signature()
	if err := p.read(sig); err != nil {
		return nil, err
	}
	if err := p.choose(sig); err != nil {
		return nil, err
	}
	if err := lease.Run(ctx, &p.call); err != nil {
		return nil, err
	}
	for i := range p.outs {
		for k := range sig.Outputs {
			if sig.Outputs[k].Name == p.outs[i].name {
				p.outs[i].t = &p.call.Out[k]
			}
		}
	}
	spec := answered{model: p.spec.model, version: lease.Version(), signature: defaultSignature}
	size := replySize(p.outs, spec)
	return rpc.Encode(size, func(b []byte) []byte { return appendReply(b, p.outs, spec) }), nil
}

// read gives every input of the signature its tensor.
func (p *prediction) read(sig serve.Signature) error {
	p.call.In = slices.Grow(p.call.In[:0], len(sig.Inputs))[:len(sig.Inputs)]
	p.room = slices.Grow(p.room[:0], len(sig.Inputs))[:len(sig.Inputs)]
	found := 0
	for i := range sig.Inputs {
		name := sig.Inputs[i].Name
		at := slices.IndexFunc(p.inputs, func(e entry) bool { return string(e.name) == name })
		if at < 0 {
			return p.mismatch(sig)
		}
		found++
		if err := readTensor(p.inputs[at].tensor, name, &p.call.In[i], &p.room[i]); err != nil {
			return err
		}
	}
	if found != len(p.inputs) {
		return p.mismatch(sig)
	}
	return nil
}

// mismatch says which inputs are missing and which are not the model's, as TensorFlow Serving does.
func (p *prediction) mismatch(sig serve.Signature) error {
	var sent, want, extra, missing []string
	for _, e := range p.inputs {
		sent = append(sent, errs.Clip(string(e.name)))
	}
	for _, in := range sig.Inputs {
		want = append(want, in.Name)
		if !slices.Contains(sent, in.Name) {
			missing = append(missing, in.Name)
		}
	}
	for _, name := range sent {
		if !slices.Contains(want, name) {
			extra = append(extra, name)
		}
	}
	slices.Sort(sent)
	slices.Sort(want)
	const most = 20
	list := func(names []string) string {
		if len(names) > most {
			names = append(names[:most:most], "…")
		}
		return strings.Join(names, ",")
	}
	return errs.Errorf("tfserving.predict", errs.Invalid, "input size does not match signature: %d!=%d len({%s}) != len({%s}). Sent extra: {%s}. Missing but required: {%s}.",
		len(sent), len(want), list(sent), list(want), list(extra), list(missing))
}

// choose lists the outputs that are asked for: those of the filter, or all.
func (p *prediction) choose(sig serve.Signature) error {
	p.outs = p.outs[:0]
	if len(p.filter) == 0 {
		for i := range sig.Outputs {
			p.outs = append(p.outs, output{name: sig.Outputs[i].Name})
		}
		return nil
	}
	for _, name := range p.filter {
		if !slices.ContainsFunc(sig.Outputs, func(s tensor.Spec) bool { return s.Name == name }) {
			names := ""
			for i := range sig.Outputs {
				names += "," + sig.Outputs[i].Name
			}
			return errs.Errorf("tfserving.predict", errs.Invalid, "output tensor alias not found in signature: %s Outputs expected to be in the set {%s}.", errs.Clip(name), names[1:])
		}
		if slices.ContainsFunc(p.outs, func(o output) bool { return o.name == name }) {
			return errs.Errorf("tfserving.predict", errs.Invalid, "duplicate output tensor alias: %s", name)
		}
		p.outs = append(p.outs, output{name: name})
	}
	return nil
}
