package tfserving

import (
	"context"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/serve"
	"github.com/lineshaft/lineshaft/serve/rpc"
	"github.com/lineshaft/lineshaft/serve/tensor"
	tfproto "github.com/lineshaft/lineshaft/serve/tfserving/proto"
)

// metadata answers PredictionService.GetModelMetadata.
func (s *calls) metadata(ctx context.Context, r *tfproto.GetModelMetadataRequest) (proto.Message, error) {
	const op = "tfserving.metadata"
	if len(r.GetMetadataField()) == 0 {
		return nil, errs.Errorf(op, errs.Invalid, "GetModelMetadataRequest must specify at least one metadata_field: signature_def")
	}
	for _, field := range r.GetMetadataField() {
		if field != "signature_def" {
			return nil, errs.Errorf(op, errs.Invalid, "Metadata field %s is not supported: signature_def is", errs.Clip(field))
		}
	}
	to := specOf(r.GetModelSpec())
	lease, err := s.acquire(ctx, "read", to)
	if err != nil {
		return nil, err
	}
	defer lease.Release()
	def, err := anypb.New(&tfproto.SignatureDefMap{SignatureDef: map[string]*tfproto.SignatureDef{defaultSignature: signatureDef(lease.Signature())}})
	if err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	return &tfproto.GetModelMetadataResponse{ModelSpec: specProto(to.model, lease.Version()), Metadata: map[string]*anypb.Any{"signature_def": def}}, nil
}

// signatureDef describes what a version takes and gives, with names as a SavedModel has them.
func signatureDef(sig serve.Signature) *tfproto.SignatureDef {
	def := &tfproto.SignatureDef{MethodName: predictMethod, Inputs: map[string]*tfproto.TensorInfo{}, Outputs: map[string]*tfproto.TensorInfo{}}
	for i := range sig.Inputs {
		def.Inputs[sig.Inputs[i].Name] = tensorProtoInfo(sig.Inputs[i], inputName(sig, i))
	}
	for i := range sig.Outputs {
		def.Outputs[sig.Outputs[i].Name] = tensorProtoInfo(sig.Outputs[i], outputName(i))
	}
	return def
}

func tensorProtoInfo(s tensor.Spec, name string) *tfproto.TensorInfo {
	info := &tfproto.TensorInfo{Encoding: &tfproto.TensorInfo_Name{Name: name}, Dtype: dtypeOf(s.Type), TensorShape: &tfproto.TensorShapeProto{}}
	for _, d := range s.Shape {
		info.TensorShape.Dim = append(info.TensorShape.Dim, &tfproto.TensorShapeProto_Dim{Size: int64(d)})
	}
	return info
}

const predictMethod = "tensorflow/serving/predict"

// inputName and outputName are the names that tensors have inside a SavedModel.
func inputName(sig serve.Signature, i int) string {
	return defaultSignature + "_" + sig.Inputs[i].Name + ":0"
}

func outputName(i int) string { return "StatefulPartitionedCall:" + strconv.Itoa(i) }

func specProto(model string, version int64) *tfproto.ModelSpec {
	return &tfproto.ModelSpec{Name: model, VersionChoice: &tfproto.ModelSpec_Version{Version: wrapperspb.Int64(version)}}
}

// status answers ModelService.GetModelStatus.
func (s *calls) status(ctx context.Context, r *tfproto.GetModelStatusRequest) (proto.Message, error) {
	const op = "tfserving.status"
	to := specOf(r.GetModelSpec())
	if _, err := s.c.Allow(ctx, "read", to.model); err != nil {
		return nil, err
	}
	if to.model == "" {
		return nil, errs.Errorf(op, errs.Invalid, "Missing ModelSpec: the request names no model")
	}
	all, err := statuses(s.c.Manager, to.target)
	if err != nil {
		return nil, err
	}
	reply := &tfproto.GetModelStatusResponse{}
	for _, v := range all {
		st := &tfproto.StatusProto{ErrorMessage: v.Error}
		if v.Error != "" {
			st.ErrorCode = tfproto.Code_UNKNOWN
		}
		reply.ModelVersionStatus = append(reply.ModelVersionStatus, &tfproto.ModelVersionStatus{
			Version: v.Version, State: tfproto.ModelVersionStatus_State(tfproto.ModelVersionStatus_State_value[string(v.State)]), Status: st,
		})
	}
	return reply, nil
}

// statuses finds the versions that a status is asked of.
func statuses(m *serve.Manager, to target) ([]serve.VersionStatus, error) {
	s, err := m.Get(to.model)
	if err != nil {
		return nil, err
	}
	if to.label != "" {
		lease, err := m.Acquire(to.model, 0, to.label)
		if err != nil {
			return nil, err
		}
		to.version = lease.Version()
		lease.Release()
	}
	all := []serve.VersionStatus{}
	for _, v := range s.Versions {
		if to.version == 0 || v.Version == to.version {
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		return nil, errs.Errorf("tfserving.status", errs.NotFound, "model %q has no version %d in service; GET /v1/models/%s lists them", to.model, to.version, to.model)
	}
	return all, nil
}

// reload answers ModelService.HandleReloadConfigRequest. As in TensorFlow Serving, what went wrong stands in the answer.
func (s *calls) reload(ctx context.Context, r *tfproto.ReloadConfigRequest) (proto.Message, error) {
	const op = "tfserving.reload"
	list := r.GetConfig().GetModelConfigList()
	for _, m := range append([]*tfproto.ModelConfig{nil}, list.GetConfig()...) {
		if _, err := s.c.Allow(ctx, "load", m.GetName()); err != nil {
			return nil, err
		}
	}
	var err error
	switch {
	case s.c.Reload == nil:
		return nil, errs.Errorf(op, errs.Unsupported, "this server takes its models from its registry: deploy with `lineshaft deploy NAME:VERSION`")
	case r.GetConfig().GetModelConfigList() == nil:
		err = errs.Errorf(op, errs.Invalid, "only a model_config_list is supported by HandleReloadConfigRequest")
	default:
		err = s.c.Reload(ctx, list.GetConfig())
	}
	st := &tfproto.StatusProto{}
	if err != nil {
		st.ErrorCode, st.ErrorMessage = tfproto.Code(rpc.Code(errs.KindOf(err))), err.Error()
	}
	return &tfproto.ReloadConfigResponse{Status: st}, nil
}
