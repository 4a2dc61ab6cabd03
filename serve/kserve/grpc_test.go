package kserve_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/lineshaft/lineshaft/serve/kserve"
	kserveproto "github.com/lineshaft/lineshaft/serve/kserve/proto"
	"github.com/lineshaft/lineshaft/serve/rpc"
	"github.com/lineshaft/lineshaft/serve/tensor"
)

// dial asks what open serves by gRPC.
func (s *served) dial(t testing.TB) *grpc.ClientConn {
	t.Helper()
	g := rpc.New(rpc.Options{Authorize: func(_ context.Context, _, action, model string) (string, error) { return s.authorize(action, model) }},
		func(g grpc.ServiceRegistrar, allow rpc.Allow) { kserve.Register(g, allow, s.options) })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- g.Serve(ln) }()
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		g.Stop()
		<-done
	})
	return conn
}

const service = "/inference.GRPCInferenceService/"

func call[R any, P interface {
	*R
	proto.Message
}](t testing.TB, conn *grpc.ClientConn, method string, req proto.Message) (P, error) {
	t.Helper()
	resp := P(new(R))
	return resp, conn.Invoke(t.Context(), service+method, req, resp)
}

func infer(t testing.TB, conn *grpc.ClientConn, req *kserveproto.ModelInferRequest) (*kserveproto.ModelInferResponse, error) {
	t.Helper()
	return call[kserveproto.ModelInferResponse](t, conn, "ModelInfer", req)
}

func inputOf(name string, typ string, contents *kserveproto.InferTensorContents, shape ...int64) *kserveproto.ModelInferRequest_InferInputTensor {
	return &kserveproto.ModelInferRequest_InferInputTensor{Name: name, Datatype: typ, Shape: shape, Contents: contents}
}

func floats(x ...float32) *kserveproto.InferTensorContents {
	return &kserveproto.InferTensorContents{Fp32Contents: x}
}

func rawFloats(x ...float32) (b []byte) {
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// listed has two elements of every type in its list; those without one are left out.
var listed = map[tensor.Type]*kserveproto.InferTensorContents{
	tensor.Bool: {BoolContents: []bool{true, false}}, tensor.Uint8: {UintContents: []uint32{0, 255}}, tensor.Uint16: {UintContents: []uint32{1, 65535}},
	tensor.Uint32: {UintContents: []uint32{2, math.MaxUint32}}, tensor.Uint64: {Uint64Contents: []uint64{3, math.MaxUint64}},
	tensor.Int8: {IntContents: []int32{-128, 127}}, tensor.Int16: {IntContents: []int32{-32768, 32767}}, tensor.Int32: {IntContents: []int32{math.MinInt32, 7}},
	tensor.Int64: {Int64Contents: []int64{math.MinInt64, math.MaxInt64}}, tensor.Float32: {Fp32Contents: []float32{0.1, -3e38}},
	tensor.Float64: {Fp64Contents: []float64{0.1, 1e308}}, tensor.Bytes: {BytesContents: [][]byte{{0, 255}, []byte("日本")}},
}

// raw has two elements of every type as bytes.
var raw = map[tensor.Type]string{
	tensor.Bool: "\x01\x00", tensor.Uint8: "\x00\xff", tensor.Uint16: "\x01\x00\xff\xff", tensor.Uint32: "\x02\x00\x00\x00\xff\xff\xff\xff",
	tensor.Uint64: "\x03\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff", tensor.Int8: "\x80\x7f", tensor.Int16: "\x00\x80\xff\x7f",
	tensor.Int32: "\x00\x00\x00\x80\x07\x00\x00\x00", tensor.Int64: "\x00\x00\x00\x00\x00\x00\x00\x80\xff\xff\xff\xff\xff\xff\xff\x7f",
	tensor.Float16: "\x00\x3c\x00\xc0", tensor.BFloat16: "\x80\x3f\x00\xc0", tensor.Float32: "\x00\x00\x80\x3f\x00\x00\xc0\x7f",
	tensor.Float64: "\x00\x00\x00\x00\x00\x00\xf0\x3f\x00\x00\x00\x00\x00\x00\xf8\xff", tensor.Bytes: "\x02\x00\x00\x00\x00\xff\x00\x00\x00\x00",
}

func TestEveryTypeComesBackAsItWasByGRPC(t *testing.T) {
	s := open(t)
	conn := s.dial(t)
	byBytes := &kserveproto.ModelInferRequest{ModelName: "all", ModelVersion: "1", Id: "7"}
	for i, typ := range every {
		byBytes.Inputs = append(byBytes.Inputs, inputOf(fmt.Sprint("in", i), datatypes[typ], nil, 1, 2))
		byBytes.RawInputContents = append(byBytes.RawInputContents, []byte(raw[typ]))
	}
	got, err := infer(t, conn, byBytes)
	if err != nil || got.ModelName != "all" || got.ModelVersion != "1" || got.Id != "7" || len(got.Outputs) != len(every) {
		t.Fatalf("%v %v", err, got)
	}
	for i, typ := range every {
		o := got.Outputs[i]
		if o.Name != fmt.Sprint("out", i) || o.Datatype != datatypes[typ] || !reflect.DeepEqual(o.Shape, []int64{1, 2}) || o.Contents != nil || string(got.RawOutputContents[i]) != raw[typ] {
			t.Errorf("%v: %q", o, got.RawOutputContents[i])
		}
	}
	// Each type alone, in the list of its type.
	for typ, contents := range listed {
		name := "one" + typ.String()
		s.world.mu.Lock()
		s.world.models[name], s.world.files[name] = echoOf(true, []int{tensor.Any, 2}, typ), []string{name}
		s.world.mu.Unlock()
		if _, err := s.manager.Deploy(t.Context(), "user/ann", name, 0); err != nil {
			t.Fatal(err)
		}
		got, err := infer(t, conn, &kserveproto.ModelInferRequest{ModelName: name, Inputs: []*kserveproto.ModelInferRequest_InferInputTensor{inputOf("in0", datatypes[typ], contents, 1, 2)}})
		if err != nil || len(got.RawOutputContents) != 0 || !proto.Equal(got.Outputs[0].Contents, contents) {
			t.Errorf("%s: %v %v", typ, err, got)
		}
	}
}

func TestOutputsAreChosenByGRPCAndTurnedIntoClasses(t *testing.T) {
	conn := open(t).dial(t)
	req := &kserveproto.ModelInferRequest{
		ModelName: "f", ModelVersion: "prod", Inputs: []*kserveproto.ModelInferRequest_InferInputTensor{inputOf("in0", "FP32", floats(1, 3, 2), 1, 3)},
		Outputs: []*kserveproto.ModelInferRequest_InferRequestedOutputTensor{{Name: "out0", Parameters: map[string]*kserveproto.InferParameter{
			"classification": {ParameterChoice: &kserveproto.InferParameter_Int64Param{Int64Param: 2}}, "binary_data": {ParameterChoice: &kserveproto.InferParameter_BoolParam{BoolParam: true}},
		}}},
		Parameters: map[string]*kserveproto.InferParameter{"priority": {ParameterChoice: &kserveproto.InferParameter_Uint64Param{Uint64Param: 3}}},
	}
	got, err := infer(t, conn, req)
	if err != nil || got.ModelVersion != "1" || fmt.Sprintf("%s", got.Outputs[0].Contents.BytesContents) != "[3.000000:1 2.000000:2]" || fmt.Sprint(got.Outputs[0].Shape) != "[1 2]" {
		t.Errorf("%v %v", err, got)
	}
}

func TestWhatIsWrongIsSaidWithItsCode(t *testing.T) {
	conn := open(t).dial(t)
	in := func(typ string, contents *kserveproto.InferTensorContents, shape ...int64) []*kserveproto.ModelInferRequest_InferInputTensor {
		return []*kserveproto.ModelInferRequest_InferInputTensor{inputOf("in0", typ, contents, shape...)}
	}
	timeout := map[string]*kserveproto.InferParameter{"timeout": {ParameterChoice: &kserveproto.InferParameter_Int64Param{Int64Param: 1000}}}
	for _, c := range []struct {
		req  *kserveproto.ModelInferRequest
		code codes.Code
		want string
	}{
		{&kserveproto.ModelInferRequest{ModelName: "nope"}, codes.NotFound, `no model "nope"`},
		{&kserveproto.ModelInferRequest{ModelName: "f", ModelVersion: "0"}, codes.InvalidArgument, `a version is a whole number`},
		{&kserveproto.ModelInferRequest{ModelName: "f"}, codes.InvalidArgument, `the input "in0" is missing`},
		{&kserveproto.ModelInferRequest{ModelName: "f", Inputs: in("FP32", floats(1, 2), 1, 3)}, codes.InvalidArgument, `has 3 elements, and 2 came`},
		{&kserveproto.ModelInferRequest{ModelName: "f", Inputs: in("FP32", floats(1, 2, 3, 4), 1, 3)}, codes.InvalidArgument, `has 3 elements, and 4 came`},
		{&kserveproto.ModelInferRequest{ModelName: "f", Inputs: in("FP32", floats(1, 2, 3), -1, 3)}, codes.InvalidArgument, `negative dimension`},
		{&kserveproto.ModelInferRequest{ModelName: "f", Inputs: in("FP32", floats(1, 2, 3), math.MaxInt64, math.MaxInt64)}, codes.ResourceExhausted, `more than 1073741824 elements`},
		{&kserveproto.ModelInferRequest{ModelName: "f", Inputs: in("FP32", floats(1, 2, 3), 300_000_000, 3)}, codes.InvalidArgument, `and fewer came`},
		{&kserveproto.ModelInferRequest{ModelName: "f", Inputs: in("FP32", floats(1, 2, 3), make([]int64, 40)...)}, codes.InvalidArgument, `more than 32 dimensions`},
		{&kserveproto.ModelInferRequest{ModelName: "f", Inputs: in("FP64", floats(1, 2, 3), 1, 3)}, codes.InvalidArgument, `in the list of another type`},
		{&kserveproto.ModelInferRequest{ModelName: "f", Inputs: in("FP16", floats(1, 2, 3), 1, 3)}, codes.InvalidArgument, `for which contents have no list`},
		{&kserveproto.ModelInferRequest{ModelName: "f", Inputs: in("INT8", &kserveproto.InferTensorContents{IntContents: []int32{1, 128, 3}}, 1, 3)}, codes.InvalidArgument, `its element 1 does not fit INT8`},
		{&kserveproto.ModelInferRequest{ModelName: "f", Inputs: in("INT32", &kserveproto.InferTensorContents{IntContents: []int32{1, 2, 3}}, 1, 3)}, codes.InvalidArgument, `is of FP32, and INT32 came`},
		{&kserveproto.ModelInferRequest{ModelName: "f", Inputs: in("FP23", floats(1, 2, 3), 1, 3)}, codes.InvalidArgument, `no datatype is called "FP23"`},
		{&kserveproto.ModelInferRequest{ModelName: "f", Inputs: in("", floats(1, 2, 3), 1, 3)}, codes.InvalidArgument, `no datatype`},
		{&kserveproto.ModelInferRequest{ModelName: "f", Inputs: in("FP32", nil, 1, 3), RawInputContents: [][]byte{make([]byte, 11)}}, codes.InvalidArgument, `has 12 bytes, and 11 came`},
		{&kserveproto.ModelInferRequest{ModelName: "f", Inputs: in("FP32", nil, 1, 3), RawInputContents: [][]byte{make([]byte, 12), nil}}, codes.InvalidArgument, `2 raw_input_contents came for 1 inputs`},
		{&kserveproto.ModelInferRequest{ModelName: "f", Inputs: in("FP32", floats(1), 1, 3), RawInputContents: [][]byte{make([]byte, 12)}}, codes.InvalidArgument, `raw_input_contents has them too`},
		{&kserveproto.ModelInferRequest{ModelName: "slow", Inputs: in("FP32", floats(1, 2, 3), 1, 3), Parameters: timeout}, codes.DeadlineExceeded, `within the timeout of 1ms`},
	} {
		_, err := infer(t, conn, c.req)
		if s := status.Convert(err); s.Code() != c.code || !strings.Contains(s.Message(), c.want) {
			t.Errorf("%v:\n\t%v\n\t%v %s", c.req, err, c.code, c.want)
		}
	}
}

func TestTheServerAndItsModelsAreDescribedByGRPC(t *testing.T) {
	s := open(t)
	conn := s.dial(t)
	if r, err := call[kserveproto.ServerLiveResponse](t, conn, "ServerLive", &kserveproto.ServerLiveRequest{}); err != nil || !r.Live {
		t.Errorf("%v %v", r, err)
	}
	if r, err := call[kserveproto.ServerReadyResponse](t, conn, "ServerReady", &kserveproto.ServerReadyRequest{}); err != nil || !r.Ready {
		t.Errorf("%v %v", r, err)
	}
	if r, err := call[kserveproto.ServerMetadataResponse](t, conn, "ServerMetadata", &kserveproto.ServerMetadataRequest{}); err != nil || r.Name != "lineshaft" || r.Version != "1.2.3" || len(r.Extensions) < 5 {
		t.Errorf("%v %v", r, err)
	}
	for model, want := range map[string]bool{"f": true, "nope": false} {
		if r, err := call[kserveproto.ModelReadyResponse](t, conn, "ModelReady", &kserveproto.ModelReadyRequest{Name: model}); err != nil || r.Ready != want {
			t.Errorf("%s: %v %v", model, r, err)
		}
	}
	if r, err := call[kserveproto.ModelMetadataResponse](t, conn, "ModelMetadata", &kserveproto.ModelMetadataRequest{Name: "s"}); err != nil || r.Inputs[0].Datatype != "BYTES" || fmt.Sprint(r.Outputs[0].Shape, r.Versions) != "[-1 -1] [1]" {
		t.Errorf("%v %v", r, err)
	}
	if r, err := call[kserveproto.ModelConfigResponse](t, conn, "ModelConfig", &kserveproto.ModelConfigRequest{Name: "f", Version: "2"}); err != nil || r.Config.MaxBatchSize != 1024 ||
		r.Config.Input[0].DataType != kserveproto.DataType_TYPE_FP32 || fmt.Sprint(r.Config.Input[0].Dims) != "[3]" || r.Config.DynamicBatching == nil {
		t.Errorf("%v %v", r, err)
	}
	if _, err := infer(t, conn, &kserveproto.ModelInferRequest{ModelName: "f", Inputs: []*kserveproto.ModelInferRequest_InferInputTensor{inputOf("in0", "FP32", floats(1, 2, 3), 1, 3)}}); err != nil {
		t.Error(err)
	}
	if r, err := call[kserveproto.ModelStatisticsResponse](t, conn, "ModelStatistics", &kserveproto.ModelStatisticsRequest{Name: "f", Version: "2"}); err != nil || r.ModelStats[0].InferenceCount != 1 || r.ModelStats[0].InferenceStats.Success.Ns == 0 {
		t.Errorf("%v %v", r, err)
	}
	s.denied = "read"
	for method, req := range map[string]proto.Message{
		"ServerMetadata": &kserveproto.ServerMetadataRequest{}, "ModelMetadata": &kserveproto.ModelMetadataRequest{Name: "f"}, "ModelReady": &kserveproto.ModelReadyRequest{Name: "f"},
		"ModelConfig": &kserveproto.ModelConfigRequest{Name: "f"}, "ModelStatistics": &kserveproto.ModelStatisticsRequest{Name: "f"},
	} {
		if err := conn.Invoke(t.Context(), service+method, req, &kserveproto.ServerLiveResponse{}); status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: %v", method, err)
		}
	}
}

func TestModelsAreBroughtIntoServiceByGRPC(t *testing.T) {
	s := open(t)
	conn := s.dial(t)
	text := func(s string) *kserveproto.ModelRepositoryParameter {
		return &kserveproto.ModelRepositoryParameter{ParameterChoice: &kserveproto.ModelRepositoryParameter_StringParam{StringParam: s}}
	}
	blob := func(s string) *kserveproto.ModelRepositoryParameter {
		return &kserveproto.ModelRepositoryParameter{ParameterChoice: &kserveproto.ModelRepositoryParameter_BytesParam{BytesParam: []byte(s)}}
	}
	for i, step := range []struct {
		parameters map[string]*kserveproto.ModelRepositoryParameter
		code       codes.Code
		want       string
	}{
		{nil, codes.OK, "spare:2 READY"},
		{map[string]*kserveproto.ModelRepositoryParameter{"config": text(`{"version_policy":{"specific":{"versions":["1"]}}}`)}, codes.OK, "spare:1 READY"},
		{map[string]*kserveproto.ModelRepositoryParameter{"config": text("{}"), "file:1/m.h5": blob("f")}, codes.OK, "spare:3 READY"},
		{map[string]*kserveproto.ModelRepositoryParameter{"file:1/m.h5": text("f")}, codes.InvalidArgument, "spare:3 READY"},
		{map[string]*kserveproto.ModelRepositoryParameter{"config": text("{")}, codes.InvalidArgument, "spare:3 READY"},
	} {
		_, err := call[kserveproto.RepositoryModelLoadResponse](t, conn, "RepositoryModelLoad", &kserveproto.RepositoryModelLoadRequest{ModelName: "spare", Parameters: step.parameters})
		index, err2 := call[kserveproto.RepositoryIndexResponse](t, conn, "RepositoryIndex", &kserveproto.RepositoryIndexRequest{})
		got := ""
		for _, v := range index.Models {
			got += v.Name + ":" + v.Version + " " + v.State + "\n"
		}
		if status.Code(err) != step.code || err2 != nil || !strings.Contains(got, step.want) {
			t.Errorf("%d: %v %v\n%s", i, err, err2, got)
		}
	}
	if _, err := call[kserveproto.RepositoryModelUnloadResponse](t, conn, "RepositoryModelUnload", &kserveproto.RepositoryModelUnloadRequest{ModelName: "spare"}); err != nil {
		t.Error(err)
	}
	s.denied = "deploy"
	for method, req := range map[string]proto.Message{
		"RepositoryModelLoad": &kserveproto.RepositoryModelLoadRequest{ModelName: "spare"}, "RepositoryModelUnload": &kserveproto.RepositoryModelUnloadRequest{ModelName: "f"},
	} {
		if err := conn.Invoke(t.Context(), service+method, req, &kserveproto.ServerLiveResponse{}); status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: %v", method, err)
		}
	}
}

func TestAStreamIsAnsweredInOrderWithItsErrors(t *testing.T) {
	s := open(t)
	conn := s.dial(t)
	desc := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	stream, err := conn.NewStream(t.Context(), desc, service+"ModelStreamInfer")
	if err != nil {
		t.Fatal(err)
	}
	const requests = 100
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := range requests {
			req := &kserveproto.ModelInferRequest{ModelName: "f", Id: fmt.Sprint(i), Inputs: []*kserveproto.ModelInferRequest_InferInputTensor{inputOf("in0", "FP32", nil, 1, 3)}, RawInputContents: [][]byte{rawFloats(float32(i), 1, 2)}}
			switch {
			case i%10 == 3:
				req.ModelName = "nope"
			case i == 50:
				req.Parameters = map[string]*kserveproto.InferParameter{"triton_enable_empty_final_response": {ParameterChoice: &kserveproto.InferParameter_BoolParam{BoolParam: true}}}
			}
			err = errors.Join(err, stream.SendMsg(req))
		}
		sent <- errors.Join(err, stream.CloseSend())
	}()
	for i := range requests {
		var got kserveproto.ModelStreamInferResponse
		if err := stream.RecvMsg(&got); err != nil {
			t.Fatal(err)
		}
		r := got.InferResponse
		switch {
		case r.GetId() != fmt.Sprint(i):
			t.Errorf("%d: %v", i, &got)
		case i%10 == 3:
			if !strings.Contains(got.ErrorMessage, `no model "nope"`) {
				t.Errorf("%d: %v", i, &got)
			}
		case got.ErrorMessage != "" || string(r.RawOutputContents[0]) != string(rawFloats(float32(i), 1, 2)) || r.Parameters["triton_final_response"].GetBoolParam() != (i == 50):
			t.Errorf("%d: %v", i, &got)
		}
	}
	if err := stream.RecvMsg(&kserveproto.ModelStreamInferResponse{}); !errors.Is(err, io.EOF) {
		t.Errorf("after the last: %v", err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	// Large requests are answered one after another.
	if stream, err = conn.NewStream(t.Context(), desc, service+"ModelStreamInfer"); err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		rows := 1 + i%2*100_000
		req := &kserveproto.ModelInferRequest{
			ModelName: "f", Id: fmt.Sprint(i), RawInputContents: [][]byte{bytes.Repeat([]byte{byte(i), 0, 0, 0}, 3*rows)},
			Inputs: []*kserveproto.ModelInferRequest_InferInputTensor{inputOf("in0", "FP32", nil, int64(rows), 3)},
		}
		if err := stream.SendMsg(req); err != nil {
			t.Fatal(err)
		}
		var got kserveproto.ModelStreamInferResponse
		if err := stream.RecvMsg(&got); err != nil || got.InferResponse.GetId() != fmt.Sprint(i) || !bytes.Equal(got.InferResponse.RawOutputContents[0], req.RawInputContents[0]) {
			t.Errorf("%d: %v %v", i, err, got.ErrorMessage)
		}
	}
	// A client that leaves in the middle is no trouble.
	ctx, cancel := context.WithCancel(t.Context())
	stream, err = conn.NewStream(ctx, desc, service+"ModelStreamInfer")
	if err != nil {
		t.Fatal(err)
	}
	for range 40 {
		if err := stream.SendMsg(&kserveproto.ModelInferRequest{ModelName: "slow", Inputs: []*kserveproto.ModelInferRequest_InferInputTensor{inputOf("in0", "FP32", floats(1, 2, 3), 1, 3)}}); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
}
